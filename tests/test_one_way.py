"""One way to erase, to seal, to read audio, to get the time, to open a socket: a second one is red.

Each rule is a set of names in the syntax tree and the places where they may stand, each place with its reason. A place
that no longer needs its leave loses it.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import pytest

from source import Module, dotted, module_of, modules


def _names_in(node: ast.AST) -> set[str]:
    if isinstance(node, ast.Attribute):
        chain = dotted(node)
        return {chain, node.attr, ".".join(chain.split(".")[-2:])}
    if isinstance(node, ast.Name):
        return {node.id}
    if isinstance(node, ast.ImportFrom | ast.Import):
        here = getattr(node, "module", None)
        return {alias.name for alias in node.names} | {f"{here}.{alias.name}" for alias in node.names}
    return set()


@cache
def lines_by_name(module: Module) -> dict[str, set[int]]:
    """Each name that stands in the module, and its lines; made in one walk for all rules."""
    lines: dict[str, set[int]] = defaultdict(set)
    for node in ast.walk(module.tree):
        for name in _names_in(node):
            lines[name].add(getattr(node, "lineno", 0))
    return lines


@dataclass(frozen=True)
class Rule:
    """What may stand only in `places`: last parts of attributes, dotted names, or plain names."""

    what: str
    names: frozenset[str]
    places: Mapping[str, str]  # module or package: reason

    def uses(self, module: Module) -> list[int]:
        """Lines on which the module does it."""
        said = lines_by_name(module)
        return sorted({line for name in self.names for line in said.get(name, ())})

    def place_of(self, module: Module) -> str:
        """The place under which this module has leave, "" if none."""
        fitting = [place for place in self.places if f"{module.name}.".startswith(f"{place}.")]
        return max(fitting, key=len, default="")


RULES = [
    Rule(
        "remove a file",
        frozenset({"unlink", "os.remove", "rmtree", "shutil.rmtree", "rmdir", "removedirs"}),
        {
            "vault.blobs": "the one way to erase a sealed file",
            "vault.journal_files": "journals that the keeper has applied",
            "vault.slice_files": "segments whose slices are in sealed files",
            "keeper": "old KEKs, half-written states of the key tree, its own socket",
            "commands.init": "a half-written file of the new directory",
            "gateways.new_file": "the hidden name of a file that could not be written whole",
            "notify": "its own socket, half made in an earlier life",
        },
    ),
    Rule(
        "encrypt",
        frozenset({"AESGCM", "ChaCha20Poly1305", "Cipher", "Fernet"}),
        {
            "vault.sealed": "the sealed format",
            "vault.slices": "the media journal",
            "keeper": "the state of the key tree, under the KEK",
            "recorder.ledger": "personal fields of the event journal, sealed",
            "recorder.tracks": "holds the cipher of one track's journal",
        },
    ),
    Rule(
        "open what is sealed",
        frozenset({"Opener", "read_range"}),
        {"vault.sealed": "the format", "vault.door": "the one door"},
    ),
    Rule(
        "derive the key of a call",
        frozenset({"call_node", "KeyTree"}),
        {
            "vault.keytree": "the tree",
            "keeper": "the only process that holds its state",
        },
    ),
    Rule(
        "open a socket",
        frozenset(
            {
                "socket.socket",
                "socketpair",
                "create_connection",
                "open_connection",
                "open_unix_connection",
                "start_unix_server",
                "start_server",
                "create_server",
                "create_unix_server",
                "create_unix_connection",
                "create_datagram_endpoint",
            }
        ),
        {
            "recorder": "SIP and RTP come in",
            "keeper": "control API and link",
            "gateways": "they are the other side",
            "telemetry.server": "figures and health, on loopback or a private address",
            "notify": "tells systemd, and hears from the parts of `serve`, by datagrams on this machine",
            "commands.doctor": "tries whether a filter can be attached",
            "commands.ports": "tries whether a port is free",
        },
    ),
    Rule(
        "read the wall clock",
        frozenset({"datetime.now", "utcnow", "time.time", "time.time_ns", "time_ns", "date.today"}),
        {
            "recorder.clock": "the recorder's one clock; all else gets its times from it",
            "keeper": "edge of a process",
            "gateways": "they stand for another machine, with its own clock",
            "commands": "edge of a process",
        },
    ),
    Rule(
        "read the monotonic clock",
        frozenset({"monotonic", "time.monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns"}),
        {
            "recorder": "timers of a live process",
            "keeper": "timers of a live process",
            "gateways": "pace of the simulated calls",
            "commands": "how long a verb may take",
            "supervisor": "how long a part ran before it ended",
        },
    ),
    Rule(
        "draw at random",
        frozenset(
            {"secrets", "token_bytes", "token_hex", "token_urlsafe", "urandom", "getrandom", "SystemRandom", "uuid4"}
        ),
        {
            "recorder": "call ids, salts, tokens of SIP dialogs",
            "keeper": "seeds, KEKs, call ids, bearer tokens",
            "gateways": "the simulated client's SIP tokens, hidden names of new files",
            "commands.draw_commit": "values that a role commits to",
            "commands.bench_call": "salts of calls that a bench seals",
            "commands.week_recorder": "salts of the empty files that a scene seals",
            "commands.bench_silence": "ids of calls that a bench asks for",
            "vault.blobs": "names of temporary files",
        },
    ),
    Rule(
        "start a process",
        frozenset({"subprocess", "create_subprocess_exec", "create_subprocess_shell", "os.fork", "execv", "execvp"}),
        {
            "supervisor": "the one that starts keeper and recorders",
            "commands": "the demo starts `serve` and its contact centre; bench builds its C program",
            "gateways.dialogues.render": "renders the shipped speech anew",
            "gateways.bench": "builds and starts what it measures against",
        },
    ),
    Rule(
        "open the database",
        frozenset({"create_engine", "pysqlite3", "sqlite3"}),
        {"store": "one writer, one driver that is sound in WAL mode"},
    ),
    Rule(
        "print",
        frozenset({"print"}),
        {
            "commands": "the command line",
            "processes": "why a part did not start",
            "gateways": "command lines of their own",
        },
    ),
    Rule(
        "run text as a program",
        frozenset({"eval", "exec", "pickle", "marshal", "shelve"}),
        {"core.criteria": "CEL, which knows five facts, no effects and no loop without an end"},
    ),
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.what)
def test_there_is_one_way_to(rule: Rule) -> None:
    elsewhere = {
        f"{module.name}:{line}" for module in modules() if not rule.place_of(module) for line in rule.uses(module)
    }
    assert elsewhere == set(), f"only these may {rule.what}: {dict(rule.places)}"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.what)
def test_every_leave_has_its_reason(rule: Rule) -> None:
    assert all(len(reason) > 5 for reason in rule.places.values())


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.what)
def test_no_leave_is_kept_that_nobody_needs(rule: Rule) -> None:
    idle = []
    for place in rule.places:
        within = [module for module in modules() if f"{module.name}.".startswith(f"{place}.")]
        built = [module for module in within if module.path.name != "__init__.py"]
        if built and not any(rule.uses(module) for module in built):
            idle.append(place)
    assert idle == []


@pytest.mark.parametrize(
    "what, text",
    [
        ("remove a file", "import os\nos.unlink('a')"),
        ("remove a file", "from shutil import rmtree"),
        ("remove a file", "path.unlink(missing_ok=True)"),
        ("remove a file", "from os import remove\nimport os\nos.remove('a')"),
        ("encrypt", "from cryptography.hazmat.primitives.ciphers.aead import AESGCM"),
        ("open what is sealed", "from mitschnitt.vault.sealed import Opener"),
        ("open a socket", "import socket\ns = socket.socket()"),
        ("open a socket", "import asyncio\nasyncio.start_unix_server(f, 'p')"),
        ("read the wall clock", "from datetime import datetime\nx = datetime.now()"),
        ("read the wall clock", "import time\nf = time.time"),
        ("draw at random", "import secrets\nx = secrets.token_bytes(3)"),
        ("draw at random", "import os\nx = os.urandom(3)"),
        ("start a process", "import subprocess"),
        ("open the database", "import sqlite3"),
        ("run text as a program", "eval('1')"),
        ("run text as a program", "import pickle"),
    ],
)
def test_the_rule_sees_what_it_must_refuse(what: str, text: str) -> None:
    rule = next(rule for rule in RULES if rule.what == what)
    sample = module_of(text, "web.sample")
    assert rule.uses(sample)
    assert not rule.place_of(sample)


def test_a_leave_for_a_package_is_none_for_one_that_begins_alike() -> None:
    rule = Rule("x", frozenset({"x"}), {"keeper": "it may"})
    assert rule.place_of(module_of("", "keeper.kek")) == "keeper"
    assert rule.place_of(module_of("", "keepers.kek")) == ""
