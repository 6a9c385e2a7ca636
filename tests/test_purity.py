"""What decides and what knows formats has no I/O, no clock, no randomness, no log: read from the syntax tree.

There is no list of exceptions. A pure module may import what its package's list names, and nothing else; so a clock
or a socket cannot come in. The few names inside allowed modules that would bring them in are refused one by one.
"""

from __future__ import annotations

import ast

import pytest

from source import Module, dotted, module_of, modules

VALUES = frozenset(
    {
        "__future__",
        "base64",
        "binascii",
        "calendar",
        "collections",
        "dataclasses",
        "datetime",
        "decimal",
        "difflib",
        "enum",
        "fractions",
        "functools",
        "hashlib",
        "heapq",
        "hmac",
        "ipaddress",
        "itertools",
        "json",
        "math",
        "operator",
        "re",
        "string",
        "struct",
        "tomllib",
        "types",
        "typing",
        "zlib",
    }
)  # of the standard library: values in, values out
XML = frozenset({"defusedxml", "xml.sax.saxutils", "xml.etree.ElementTree"})
MAY_IMPORT = {
    "core": VALUES | {"mitschnitt.core", "mitschnitt.errors"},
    "wire": VALUES | XML | {"numpy", "mitschnitt.wire", "mitschnitt.errors"},
    "vault": VALUES | {"numpy", "cryptography", "rfc8785"} | {f"mitschnitt.{name}" for name in ("vault", "errors")},
    "proof": VALUES
    | {"numpy", "cryptography", "py_arkworks_bls12381", "zoneinfo", "mitschnitt.proof", "mitschnitt.errors"},
}
PURE_VAULT = ("derive", "sealed", "keytree", "journal", "slices", "artefact")  # the others read or write files
PURE_PROOF = ("drand", "backward", "draws", "draw_")  # the verifier of the draw is handed streams and bytes

BUILTINS = frozenset({"open", "print", "input", "exec", "eval", "compile", "__import__", "breakpoint", "globals"})
LAST_NAMES = {
    "now": "reads the clock",
    "utcnow": "reads the clock",
    "today": "reads the clock",
    "random": "draws at random",
    "default_rng": "draws at random",
    "generate": "draws at random",
    "generate_key": "draws at random",
    "fromfile": "reads a file",
    "tofile": "writes a file",
    "memmap": "maps a file",
    "load": "reads a file",
    "save": "writes a file",
    "savez": "writes a file",
    "loadtxt": "reads a file",
    "savetxt": "writes a file",
    "genfromtxt": "reads a file",
    "file_digest": "reads a file",
}
PURE_PATHS = ("core", "wire")


def is_pure(module: Module) -> bool:
    package, _, rest = module.name.partition(".")
    return (
        package in PURE_PATHS
        or (package == "vault" and rest in PURE_VAULT)
        or (package == "proof" and rest.startswith(PURE_PROOF))
    )


PURE = [module for module in modules() if is_pure(module)]


def complaints(module: Module) -> list[str]:
    """What this module may not do and does, with its line."""
    allowed = MAY_IMPORT[module.package]
    if module.name == "core.criteria":
        allowed = allowed | {"cel_expr_python"}  # the policy's expressions: values in, values out, and nowhere else
    if module.package == "vault":
        # The names of calls and the layout of runs are values that pure formats share with the packages below.
        allowed = allowed | {"mitschnitt.core.call", "mitschnitt.wire.rtp"}
    found = [
        f"line {line}: imports {name}"
        for line, name in module.import_lines()
        if not any(name == ok or name.startswith(f"{ok}.") for ok in allowed)
    ]
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Name) and node.id in BUILTINS:
            found.append(f"line {node.lineno}: uses {node.id}")
        elif isinstance(node, ast.Attribute) and node.attr in LAST_NAMES:
            found.append(f"line {node.lineno}: {dotted(node)} {LAST_NAMES[node.attr]}")
        elif isinstance(node, ast.Global | ast.Nonlocal):
            found.append(f"line {node.lineno}: keeps state in {', '.join(node.names)}")
    return found


def test_a_pure_module_does_nothing_but_reckon() -> None:
    assert {module.name: found for module in PURE if (found := complaints(module))} == {}


def test_all_of_core_and_wire_is_pure_and_the_formats_of_the_vault_are() -> None:
    names = {module.name for module in PURE}
    assert {
        "core.gate",
        "core.consent",
        "core.policy",
        "core.view",
        "vault.sealed",
        "vault.keytree",
        "proof.drand",
    } <= names
    assert {module.name for module in modules() if module.package in PURE_PATHS} <= names


@pytest.mark.parametrize(
    "text, complaint",
    [
        ("import time", "line 1: imports time"),
        ("import os.path", "line 1: imports os.path"),
        ("from random import Random", "line 1: imports random"),
        ("import secrets", "line 1: imports secrets"),
        ("from pathlib import Path", "line 1: imports pathlib"),
        ("import logging", "line 1: imports logging"),
        ("import socket, asyncio", "line 1: imports socket"),
        ("from mitschnitt.wire import rtp", "line 1: imports mitschnitt.wire"),
        ("from mitschnitt import vault", "line 1: imports mitschnitt.vault"),
        ("from mitschnitt.config import Config", "line 1: imports mitschnitt.config"),
        ("from . import gate", "line 1: imports ."),
        ("import numpy", "line 1: imports numpy"),
        ("def f():\n    import time", "line 2: imports time"),
        ("x = open('a')", "line 1: uses open"),
        ("f = print", "line 1: uses print"),
        ("x = __import__('time')", "line 1: uses __import__"),
        ("from datetime import datetime\nx = datetime.now()", "line 2: datetime.now reads the clock"),
        ("import datetime\nx = datetime.datetime.utcnow", "line 2: datetime.datetime.utcnow reads the clock"),
        ("from datetime import date\nx = date.today()", "line 2: date.today reads the clock"),
        ("import hashlib\nhashlib.file_digest(f, 'sha256')", "line 2: hashlib.file_digest reads a file"),
        ("def f():\n    global x", "line 2: keeps state in x"),
    ],
)
def test_the_check_sees_what_it_must_refuse(text: str, complaint: str) -> None:
    assert complaint in complaints(module_of(text))


@pytest.mark.parametrize(
    "text", ["import numpy as np\nx = np.random.default_rng()", "import numpy as np\nx = np.memmap('a')"]
)
def test_the_check_sees_the_doors_of_numpy(text: str) -> None:
    assert complaints(module_of(text, "wire.sample")) != []


def test_the_check_lets_pass_what_only_reckons() -> None:
    text = "from datetime import datetime, timedelta\nimport hashlib\nx = hashlib.sha256(b'').hexdigest()\n"
    assert complaints(module_of(text)) == []
