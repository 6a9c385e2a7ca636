"""Imports point down, and one module translates: between packages, read from the syntax tree."""

from __future__ import annotations

import ast

import pytest

from source import Module, modules

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


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.name or "mitschnitt")
def test_imports_point_down(module: Module) -> None:
    assert module.package in MAY_IMPORT, f"{module.package}: a new package needs its place in the order"
    assert module.own_packages - MAY_IMPORT[module.package] == set()


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


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.name or "mitschnitt")
def test_imports_stand_at_the_top_and_name_their_package(module: Module) -> None:
    inline = [
        node.lineno
        for function in module.functions()
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    assert inline == []
    assert [name for name in module.imports if name.startswith(".")] == []
