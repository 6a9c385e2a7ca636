"""`mitschnitt call why|list` for the persons of a call: what their own page says, in German or English.

Opens pages here, with what the person holds: a receipt code, or the agent's own key. Neither is sent anywhere, and
a code is no argument of the command line, where everybody on the machine could read it.
"""

from __future__ import annotations

import base64
import json
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import typer
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from mitschnitt.commands import call as decided
from mitschnitt.commands.call import checked, checked_role
from mitschnitt.commands.door_client import Door
from mitschnitt.core.receipt_code import MAX_TYPED_CHARS, read_code
from mitschnitt.core.rule_texts import LANGUAGES, said
from mitschnitt.errors import ConfigError, Damaged, MalformedPacket, NotAllowed
from mitschnitt.vault.page import key_of_code, key_of_signer, open_page

CODE_VARIABLE = "MITSCHNITT_RECEIPT_CODE"  # read by the same user and root only, as the file is
STDIN = Path("-")


@dataclass(frozen=True, slots=True)
class Words:
    """The words around the sentences of the rules, in one language."""

    kept: str
    kept_until_unknown: str
    not_kept: str
    gone: str
    draw: str
    drawn: str
    not_drawn: str
    asked: str
    cut: str
    acts: Mapping[str, str]
    why: str
    time: str  # of which strftime makes a time that a caller reads; UTC, for nobody knows where the caller was


WORDS = {
    "de": Words(
        kept="Aufbewahrt bis {due}.",
        kept_until_unknown="Aufbewahrt.",
        not_kept="Nicht aufbewahrt.",
        gone="Alle Beteiligten hatten zugestimmt, und es gab eine Aufzeichnung. Inzwischen ist sie vernichtet.",
        draw="Los {id} vom {day}: {drawn}. Nachprüfen: mitschnitt draw verify {day} --id {id}",
        drawn="gezogen",
        not_drawn="nicht gezogen",
        asked="Gefragt: {at}",
        cut=" (die Frage war nicht vollständig zu hören)",
        acts={"yes": "Ja", "no": "Nein", "withdraw": "Widerruf", "pause": "Pause", "resume": "Ende der Pause"},
        why="Warum: {sentence}",
        time="%d.%m.%Y, %H:%M:%S (UTC)",
    ),
    "en": Words(
        kept="Kept until {due}.",
        kept_until_unknown="Kept.",
        not_kept="Not kept.",
        gone="Everybody had agreed, and there was a recording. It has been destroyed since.",
        draw="Lot {id} of {day}: {drawn}. Check it: mitschnitt draw verify {day} --id {id}",
        drawn="drawn",
        not_drawn="not drawn",
        asked="Asked: {at}",
        cut=" (the question was not heard to its end)",
        acts={"yes": "Yes", "no": "No", "withdraw": "Taken back", "pause": "Pause", "resume": "End of the pause"},
        why="Why: {sentence}",
        time="%-d %b %Y, %H:%M:%S (UTC)",
    ),
}


@dataclass(frozen=True, slots=True)
class Means:
    """With what somebody opens what is sealed to them, and in which language they read."""

    key: Path | None = None  # of officer or agent
    code_file: Path | None = None  # of a caller
    language: str = "de"


def why(call: str, directory: Path, means: Means, *, role: str, as_json: bool) -> None:
    """What the officer reads of a decision, or a person concerned on the own page."""
    if means.language not in LANGUAGES:
        raise ConfigError(f"language: expected one of {', '.join(LANGUAGES)}; found {means.language!r}")
    if checked_role(role) == "caller":
        why_for_caller(checked(call), directory, means, as_json=as_json)
    elif role == "agent":
        why_for_agent(checked(call), directory, means, as_json=as_json)
    else:
        decided.why(call, directory, key=_needed(means.key, role), role=role, as_json=as_json)


def list_calls(directory: Path, *, key: Path | None, role: str, as_json: bool) -> None:
    """All calls with their one word; to an agent the own kept ones, which the agent's key finds."""
    if role == "agent":
        list_own(directory, key=_needed(key, role), as_json=as_json)
    else:
        decided.list_calls(directory, role=role, as_json=as_json)


def _needed(key: Path | None, role: str) -> Path:
    if key is None:
        raise ConfigError(f"key: --as {role} needs --key FILE; what is sealed opens with nothing else")
    return key


def why_for_caller(call: str, directory: Path, means: Means, *, as_json: bool) -> None:
    """What the caller's page says; opened with the receipt code. VaultError when it does not open."""
    key = key_of_code(receipt_code(means.code_file))
    door = Door(directory)
    page = _opened(door, call, "caller", key)
    if page is None:
        raise Damaged(f"the page of {call} does not open with this receipt code; is it the one of this call?")
    _tell(_found(door, call, "caller", page), means.language, as_json=as_json)


def why_for_agent(call: str, directory: Path, means: Means, *, as_json: bool) -> None:
    """What an agent's page says. NotAllowed alike for a call that is not kept and for one of somebody else."""
    key = load_page_key(_needed(means.key, "agent"))
    door = Door(directory)
    page = _opened(door, call, "agent", key)
    if page is None:
        raise NotAllowed("access.not_kept", "no recording of yours is kept of this call")
    _tell(_found(door, call, "agent", page), means.language, as_json=as_json)


def list_own(directory: Path, *, key: Path, as_json: bool) -> None:
    """The kept calls whose pages open with the agent's key; of all others not even the number is told."""
    own, secret = [], load_page_key(key)
    for listed in _all_pages(Door(directory)):
        try:
            page = open_page(secret, "agent", listed["call"], base64.b64decode(listed["page"]))
        except Damaged:
            continue
        due = str(page.get("due_at") or "")
        own.append({"call": listed["call"], "month": listed["month"], "state": "kept", "due_at": due})
    own.sort(key=lambda row: (row["month"], row["due_at"], row["call"]))
    if as_json:
        typer.echo(json.dumps(own))
        return
    for row in own:
        until = f" until {row['due_at']}" if row["due_at"] else ""
        typer.echo(f"{row['call']}  {row['month']}  {row['state']}{until}")
    if not own:
        typer.echo("no calls of yours are kept")


def receipt_code(code_file: Path | None) -> str:
    """The 20 symbols, from a file (`-` is standard input), the environment, or asked for unseen.

    ConfigError, without a symbol of it, for what is no code.
    """
    if code_file == STDIN:
        typed = sys.stdin.readline(MAX_TYPED_CHARS + 2)
    elif code_file is not None:
        try:
            with code_file.open(encoding="utf-8", errors="replace") as file:
                typed = file.readline(MAX_TYPED_CHARS + 2)
        except OSError as error:
            raise ConfigError(f"code: cannot read {code_file}: {error.strerror}") from error
    else:
        typed = os.environ.get(CODE_VARIABLE, "") or typer.prompt("Code", hide_input=True)
    try:
        return read_code(typed.strip())
    except MalformedPacket as error:
        raise ConfigError(f"code: {error}") from error


def load_page_key(path: Path) -> bytes:
    """The X25519 private key that opens an agent's pages, from the agent's own PEM file: Ed25519, or X25519 itself."""
    try:
        private = load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise ConfigError(f"key: cannot read {path}: {error.strerror}") from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"key: {path} holds no unencrypted private key in PEM form") from error
    if isinstance(private, X25519PrivateKey):
        return private.private_bytes_raw()
    if isinstance(private, Ed25519PrivateKey):
        return key_of_signer(private.private_bytes_raw())
    raise ConfigError(f"key: {path} holds another kind of key; expected the agent's, Ed25519 or X25519")


def _opened(door: Door, call: str, person: str, key: bytes) -> dict[str, Any] | None:
    sealed = base64.b64decode(door.get(f"/calls/{call}/page", **{"as": person})["page"])
    try:
        return open_page(key, person, call, sealed)
    except Damaged:
        return None


def _all_pages(door: Door) -> Iterator[Mapping[str, str]]:
    after = ""
    while portion := door.get("/pages", **{"as": "agent", "after": after})["pages"]:
        yield from portion
        after = portion[-1]["call"]


def _found(door: Door, call: str, person: str, page: Mapping[str, Any]) -> dict[str, Any]:
    """The page beside what holds now: a recording may be gone that was kept when its page was sealed."""
    now = door.get(f"/calls/{call}", **{"as": person})
    state, rule = str(now["state"]), str(page.get("rule", ""))
    if rule == "recorder.lost" and state == "kept":
        rule = "recorder.truncated"
    gone = page.get("outcome") == "kept" and state != "kept"
    return {**page, "call": call, "state": state, "rule": rule, "gone": gone}


def _tell(found: Mapping[str, Any], language: str, *, as_json: bool) -> None:
    sentence = said(str(found["rule"]), language)
    if as_json:
        typer.echo(json.dumps({**found, "says": sentence}, ensure_ascii=False))
        return
    for line in _lines(found, WORDS[language], sentence):
        typer.echo(line)


def _lines(found: Mapping[str, Any], words: Words, sentence: str) -> Iterator[str]:
    """What became of it, then at once why; what somebody may look up stands below."""
    due = str(found.get("due_at") or "")
    kept = words.kept.format(due=_time(due, words)) if due else words.kept_until_unknown
    yield kept if found["state"] == "kept" else words.not_kept
    yield words.gone if found["gone"] else words.why.format(sentence=sentence)
    draw = found.get("draw") or {}
    if {"id", "day", "drawn"} <= set(draw):
        yield words.draw.format(id=draw["id"], day=draw["day"], drawn=words.drawn if draw["drawn"] else words.not_drawn)
    for asked in found.get("asked") or ():
        yield words.asked.format(at=_time(asked["at"], words)) + ("" if asked["whole"] else words.cut)
    for act in found.get("acts") or ():
        yield f"{words.acts.get(act['what'], act['what'])}: {_time(act['at'], words)}"


def _time(text: str, words: Words) -> str:
    """A time as the language writes it; as it stands where it is none."""
    try:
        return datetime.fromisoformat(text).astimezone(UTC).strftime(words.time)
    except ValueError:
        return text
