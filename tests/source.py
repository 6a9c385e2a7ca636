"""The source as syntax trees, for the tests that watch over the house. Reads files; imports nothing of the product."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "mitschnitt"
FUNCTION = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def parsed(text: str) -> ast.Module:
    """The syntax tree of a file, made once: many rules walk through it, and none changes it."""
    return ast.parse(text)


def statements(node: ast.AST) -> Iterator[ast.stmt]:
    """Every statement below a node, also nested ones. Few of all nodes are, and none lies within an expression."""
    for part in ("body", "orelse", "finalbody", "handlers", "cases"):
        for child in getattr(node, part, ()):
            if isinstance(child, ast.stmt):
                yield child
            yield from statements(child)


@dataclass(frozen=True)
class Module:
    """One file: `name` is dotted and without the package's own name, for example `vault.sealed` ("" = the package)."""

    name: str
    path: Path
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        """The file's syntax tree."""
        return parsed(self.text)

    @property
    def package(self) -> str:
        """The first part of the name: `vault` of `vault.sealed`, `config` of `config`."""
        return self.name.partition(".")[0]

    @property
    def imports(self) -> tuple[str, ...]:
        """Every module that is imported anywhere in the file; relative imports begin with a dot."""
        return tuple(name for _, name in self.import_lines())

    def import_lines(self) -> Iterator[tuple[int, str]]:
        """Line and name of every import. `from mitschnitt import core` counts as `mitschnitt.core`."""
        for node in statements(self.tree):
            if isinstance(node, ast.Import):
                yield from ((node.lineno, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                name = "." * node.level + (node.module or "")
                parts = [f"{name}.{alias.name}" for alias in node.names] if name == "mitschnitt" else [name]
                yield from ((node.lineno, part) for part in parts)

    @property
    def own_packages(self) -> set[str]:
        """First parts of what it imports of mitschnitt: `core`, `errors`, ..."""
        return {name.split(".")[1] for name in self.imports if name.startswith("mitschnitt.")}

    def functions(self) -> Iterator[FUNCTION]:
        """Every function and method, also nested ones."""
        return (node for node in statements(self.tree) if isinstance(node, FUNCTION))


def module_of(text: str, name: str = "core.sample") -> Module:
    """A module that exists only in a test."""
    return Module(name, Path(f"{name}.py"), text)


@cache
def modules() -> tuple[Module, ...]:
    """Every module of the product, in order of name."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found.append(Module(name, path, path.read_text(encoding="utf-8")))
    assert found, "no walk through the source is worth anything if there is none"
    return tuple(found)


def dotted(node: ast.expr) -> str:
    """`a.b.c` of a chain of names and attributes; what stands before it, a call say, is left out."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.insert(0, node.attr)
        node = node.value
    if isinstance(node, ast.Name):
        parts.insert(0, node.id)
    else:
        parts.insert(0, "")
    return ".".join(parts)
