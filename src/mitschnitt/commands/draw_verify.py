"""`mitschnitt draw verify`: checks published lists of the draw offline, and says in words what they prove and what not.

Needs no server, database or configuration. Decides nothing itself: `proof/draws` does.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

from mitschnitt.commands.draw_files import Found, content, find, keys_of, policies_of
from mitschnitt.errors import ConfigError
from mitschnitt.exit_codes import DONE, VERIFICATION_FAILED
from mitschnitt.proof.draws import Answer, Verifier

DRAW_ID = re.compile(r"[0-9a-fA-F]{32}")
KEYS_OF_SITE = (
    "whose the keys of roles are: they came from the site itself, which could have put its own there; hand over the "
    "keys that the roles gave you with --keys DIR, or compare fingerprints with them"
)
MAX_LISTS = 800  # open files: public list and bundle of each day of a year


@dataclass(frozen=True, slots=True)
class Wish:
    """What the command line asks for beside the lists."""

    council: bool = False
    ids: Sequence[str] = ()
    policies: Sequence[Path] = ()
    signatures: Sequence[Path] = ()
    keys: Path | None = None


def run(names: Sequence[str], directory: Path, wish: Wish, *, as_json: bool) -> int:
    """0 when nothing is wrong, 4 when something is; ConfigError for files that are none of the draw's."""
    ids = [_draw_id(text) for text in wish.ids]
    found = find(names, directory, council=wish.council)
    if len(found.lists) > MAX_LISTS:
        raise ConfigError(f"draw: {len(found.lists)} lists, at most {MAX_LISTS} at once")
    verifier = Verifier()
    with contextlib.ExitStack() as stack:
        for path in found.lists:
            try:
                verifier.add_list(stack.enter_context(path.open("rb")), str(path))
            except OSError as error:
                raise ConfigError(f"draw: cannot read {path}: {error.strerror}") from error
        for path in found.records:
            verifier.add_day(content(path), str(path))
        _add_policies(verifier, found, wish)
        answers = verifier.check(ids)
    for day in found.missing:
        verifier.report.leaves_open(f"{day}: there is no list")
    if as_json:
        typer.echo(json.dumps(_as_json(verifier, answers)))
    else:
        typer.echo("\n".join(_lines(verifier, answers)))
    return VERIFICATION_FAILED if verifier.report.findings else DONE


def _draw_id(text: str) -> bytes:
    if not DRAW_ID.fullmatch(text):
        raise ConfigError("draw: --id is the draw_id of a receipt, 32 hex digits")
    return bytes.fromhex(text)


def _add_policies(verifier: Verifier, found: Found, wish: Wish) -> None:
    policies, signatures, keys = list(wish.policies), list(wish.signatures), wish.keys
    if found.site is not None and not policies:
        for policy, signed in policies_of(found.site, (header.policy_hash.hex() for header in verifier.headers())):
            policies.append(policy)
            signatures += signed
        if keys is None and policies:
            keys = found.site / "roles"
            verifier.report.leaves_open(KEYS_OF_SITE)
    for path in policies:
        verifier.add_policy(content(path), str(path))
    for path in signatures:
        verifier.add_signature(content(path), str(path))
    for role, path in keys_of(keys) if keys else ():
        verifier.add_key(role, content(path))


def _as_json(verifier: Verifier, answers: Sequence[Answer]) -> dict[str, object]:
    report = verifier.report
    return {
        "days": [day.isoformat() for day in verifier.days],
        "findings": [
            {"cheat": item.cheat, "from": item.source, "when": item.when, "sentence": item.sentence}
            for item in report.findings
        ],
        "proved": report.proved,
        "not_proved": report.unproved,
        "ids": [{"id": answer.draw_id.hex(), "is": answer.word, "sentence": answer.sentence} for answer in answers],
    }


def _lines(verifier: Verifier, answers: Sequence[Answer]) -> list[str]:
    report = verifier.report
    seen = {header.day: header.seen for header in verifier.headers()}
    lines = [f"{len(seen)} days, {sum(seen.values()):,} calls"]
    lines += [f"  {answer.draw_id.hex()}  {answer.sentence}" for answer in answers]
    for title, sign, sentences in (
        ("proved", "+", report.proved),
        ("not proved", "?", report.unproved),
        ("wrong", "!", list(map(str, report.findings))),
    ):
        if sentences:
            lines += ["", title, *(f"  {sign} {sentence}" for sentence in sentences)]
    return [*lines, "", "nothing is wrong" if not report.findings else f"wrong: {len(report.findings)} findings"]
