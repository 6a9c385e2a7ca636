"""`mitschnitt doctor --client ADDR`: asks an SBC for its OPTIONS, then looks at one test call from it, in words.

The gate knows nothing of a test call. Of a call that is not the tester's own only its INVITE is looked at.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.text import Text

from mitschnitt.commands.door_client import Door, NotReachable
from mitschnitt.config import load_config
from mitschnitt.errors import ConfigError, PeerError
from mitschnitt.exit_codes import DONE, NOT_REACHABLE, REFUSED
from mitschnitt.gateways.options_probe import Answer, ask_options, parse_client, resolve
from mitschnitt.recorder.tls import Tls, TlsFiles
from mitschnitt.wire.findings import Finding, Severity
from mitschnitt.wire.sip.hop import Hop
from mitschnitt.wire.sip.options import read_options

ANSWER_SECONDS = 5.0  # for the answer to OPTIONS: an SBC answers within one; four copies go out over UDP
LOOK_SECONDS = 0.5  # between two looks at how far the test call is
MAX_CALL_SECONDS = 900  # of a test call, from its INVITE to its end
COLOURS = {Severity.FINE: "green", Severity.ODD: "yellow", Severity.WRONG: "red"}


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked of the command. `wait` in seconds, 0: no test call; `caller`: the tester's own address."""

    client: str
    wait: int
    caller: str = ""


def run(directory: Path, wish: Wish, *, as_json: bool) -> int:
    """0 when nothing is wrong, 1 when something is, 3 when there was no answer to OPTIONS."""
    if wish.caller and not wish.wait:
        raise ConfigError("caller: names whose test call is looked at; without --wait there is none")
    client = parse_client(wish.client)
    # We call as the site would: with its certificate, and whom it lets in.
    tls = Tls(TlsFiles(*load_config(directory).tls_files)) if client.transport == "TLS" else None
    hop, answer = asyncio.run(_ask(client, tls))
    rows = [_row("options", finding) for finding in _explained(answer)]
    if not as_json:
        _print(rows)
    if wish.wait:
        seen = _test_call(Door(directory), hop, wish)
        if not as_json:
            _print(seen)
        rows += seen
    if as_json:
        typer.echo(json.dumps(rows))
    if answer is None:
        return NOT_REACHABLE
    return REFUSED if any(row["severity"] == Severity.WRONG for row in rows) else DONE


async def _ask(hop: Hop, tls: Tls | None) -> tuple[Hop, Answer | None]:
    literal = await resolve(hop)
    return literal, await ask_options(literal, seconds=ANSWER_SECONDS, tls=tls)


def _explained(answer: Answer | None) -> list[Finding]:
    if answer is None:
        return [Finding("options.silent", {"seconds": int(ANSWER_SECONDS)})]
    return read_options(answer.response, ms=answer.ms)


def _test_call(door: Door, hop: Hop, wish: Wish) -> list[dict[str, Any]]:
    """What a test call showed, or why there was none to look at."""
    wanted = {"role": "operator", "host": hop.host, "caller": wish.caller, "wait_s": wish.wait}
    try:
        token = door.post("/trials", wanted)["token"]
    except NotReachable:
        return [_row("call", Finding("trial.unserved"))]
    typer.echo(_invitation(hop, wish), err=True)
    try:
        told = _until_told(door, token, wish.wait)
    except (KeyboardInterrupt, PeerError):
        door.post(f"/trials/{token}/stop", {"role": "operator"})
        raise
    if told["state"] != "told":
        lost = Finding("trial.lost") if told["began"] else Finding("trial.none", _place(hop, wish))
        return [_row("call", lost)]
    rows: list[dict[str, Any]] = [{"about": "call", **finding} for finding in told["findings"]]
    if not rows:
        rows.append(_row("call", Finding("trial.good")))
    if not wish.caller:
        rows.append(_row("call", Finding("trial.anonymous")))
    return rows


def _invitation(hop: Hop, wish: Wish) -> str:
    return (
        f"waiting up to {wish.wait} s for a call from {hop.host}: dial now, with your own telephone, answer the "
        "question as you would, and hang up; it is recorded only if all agree, as any call"
    )


def _place(hop: Hop, wish: Wish) -> dict[str, int | str]:
    return {"host": hop.host, "seconds": wish.wait}


def _until_told(door: Door, token: str, wait: int) -> dict[str, Any]:
    """How the trial ended; `began` says whether a call ever came."""
    began, deadline = False, time.monotonic() + wait + MAX_CALL_SECONDS
    while True:
        told: dict[str, Any] = door.get(f"/trials/{token}", **{"as": "operator"})
        began = began or told["state"] in ("running", "told")
        if told["state"] in ("told", "over") or time.monotonic() >= deadline:
            return {**told, "began": began}
        time.sleep(LOOK_SECONDS)


def _row(about: str, finding: Finding) -> dict[str, Any]:
    return {
        "about": about,
        "code": finding.code,
        "severity": finding.severity.value,
        "sentence": finding.sentence,
        "todo": finding.todo,
    }


def _print(rows: list[dict[str, Any]]) -> None:
    console = Console(highlight=False)
    for row in rows:
        _print_row(console, row)


def _print_row(console: Console, row: Mapping[str, Any]) -> None:
    head = Text(f"{row['severity']:6}", COLOURS[Severity(row["severity"])])
    console.print(head + Text(f"{row['code']}: {row['sentence']}"), soft_wrap=True)
    if row["todo"]:
        console.print(Text(f"      -> {row['todo']}"), soft_wrap=True)
