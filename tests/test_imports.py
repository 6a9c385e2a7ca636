"""Imports point down, and one module translates: between packages, read from the syntax tree.

Each rule is one walk that tells all it found.
"""

from __future__ import annotations

import ast

from source import modules, statements

FOUNDATION = {"errors", "exit_codes", "__version__"}
EDGE = {"config", "errors", "hardening", "log", "notify", "telemetry"}  # what every process needs
SHELLS = {"recorder", "keeper", "gateways", "vault", "store", "proof", "core", "wire"}
MAY_IMPORT: dict[str, set[str]] = {
    "": set(),
    "errors": set(),
    "exit_codes": set(),
    "config": {"errors"},
    "core": {"core", "errors"},
    "wire": {"wire", "errors"},
    "vault": {"vault", "core", "wire", "errors"},
    "store": {"store", "core", "errors"},
    "proof": {"proof", "errors"},  # nothing of what it checks
    "keeper": {"keeper", "proof", "store", "vault", "core", "wire"} | EDGE,
    "recorder": {"recorder", "vault", "core", "wire"} | EDGE,  # no database, no key tree of its own
    "gateways": {"gateways", "recorder", "vault", "core", "wire"} | EDGE,  # no database, no keeper
    "hardening": {"errors"},
    "log": {"errors"},
    "notify": {"errors"},
    "telemetry": {"telemetry", "errors", "__version__"},
    "supervisor": EDGE,  # starts processes by name; holds nothing of theirs
    "processes": SHELLS | EDGE | FOUNDATION | {"supervisor"},
    "commands": SHELLS | EDGE | FOUNDATION | {"commands", "supervisor"},
    "cli": {"commands"} | FOUNDATION,
    "__main__": {"cli"},
}
TRANSLATOR = "recorder.session"


def test_every_package_has_its_place_in_the_order() -> None:
    assert {module.package for module in modules()} - MAY_IMPORT.keys() == set()


def test_imports_point_down() -> None:
    up = {module.name: module.own_packages - MAY_IMPORT.get(module.package, set()) for module in modules()}
    assert up
    assert {name: packages for name, packages in up.items() if packages} == {}


def test_core_and_wire_never_import_each_other() -> None:
    crossing = [
        module.name
        for module in modules()
        if {"core": "wire", "wire": "core"}.get(module.package) in module.own_packages
    ]
    assert crossing == []


def test_only_the_session_translates_between_wire_and_core() -> None:
    both = [module.name for module in modules() if {"core", "wire"} <= module.own_packages]
    assert set(both) <= {TRANSLATOR}


def test_imports_stand_at_the_top() -> None:
    inline = [
        f"{module.name}:{node.lineno}"
        for module in modules()
        for function in module.functions()
        for node in statements(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    assert inline == []


def test_imports_name_their_package() -> None:
    relative = [(module.name, name) for module in modules() for name in module.imports if name.startswith(".")]
    assert relative == []
