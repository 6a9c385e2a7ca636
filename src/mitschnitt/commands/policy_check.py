"""`mitschnitt policy check FILE`: what speaks against a policy, with the article behind it. Changes nothing."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from mitschnitt.commands.policy_file import PolicyFile, read_policy
from mitschnitt.core.policy_check import Finding, check_policy
from mitschnitt.core.toml_lines import Path as Place
from mitschnitt.core.toml_lines import lines_of
from mitschnitt.exit_codes import DONE, REFUSED


def run(name: str, directory: Path, *, as_json: bool) -> int:
    """REFUSED when there are errors, DONE otherwise; ConfigError when the file is no policy."""
    file = read_policy(name, directory)
    findings, lines = check_policy(file.policy), lines_of(file.text)
    errors = sum(finding.is_error for finding in findings)
    if as_json:
        typer.echo(json.dumps(_told(file, findings, lines, errors)))
    else:
        for finding in findings:
            typer.echo(_sentence(finding, lines))
        typer.echo(f"{file.policy.hash[:8]}…: {_count(errors, 'error')}, {_count(len(findings) - errors, 'warning')}")
    return REFUSED if errors else DONE


def _line(where: Place, lines: dict[Place, int]) -> int:
    """The line of what is meant, or of the section it stands in; 0 when neither stands in the file."""
    return next((lines[where[:length]] for length in range(len(where), 0, -1) if where[:length] in lines), 0)


def _place(where: Place) -> str:
    """As it stands in the file: `[[purpose]] 1 retention`, `[cells] people`, `signed_by`."""
    section, *below = where
    if below and isinstance(below[0], int):
        return " ".join((f"[[{section}]] {below[0] + 1}", *map(str, below[1:])))
    return " ".join((f"[{section}]", *map(str, below))) if below else str(section)


def _sentence(finding: Finding, lines: dict[Place, int]) -> str:
    line = _line(finding.where, lines)
    where = f"line {line}, {_place(finding.where)}" if line else _place(finding.where)
    word = "error" if finding.is_error else "warning"
    return f"{word}: {where}: {finding.sentence} ({finding.article}) [{finding.rule}]"


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def _told(file: PolicyFile, findings: tuple[Finding, ...], lines: dict[Place, int], errors: int) -> dict[str, object]:
    return {
        "policy": file.policy.hash,
        "errors": errors,
        "warnings": len(findings) - errors,
        "findings": [
            {
                "rule": finding.rule,
                "article": finding.article,
                "where": _place(finding.where),
                "line": _line(finding.where, lines) or None,
                "sentence": finding.sentence,
                "error": finding.is_error,
            }
            for finding in findings
        ],
    }
