"""`mitschnitt bench silence`: does the time of an answer tell why a call was not kept? A real keeper, asked in pairs.

Journals as recorders write them for each kind of call that is not kept, in a scratch directory. Every question is put
to a call of each kind in each round. Exit code 1 when answers differ in their bytes; times decide nothing.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from mitschnitt.commands.bench_play import keeper_of
from mitschnitt.commands.demo_site import prepare
from mitschnitt.commands.door_client import Door
from mitschnitt.commands.ports import free_port
from mitschnitt.config import Config, load_config
from mitschnitt.core.call import CALL_ID_BYTES, encode_call_id
from mitschnitt.errors import MitschnittError
from mitschnitt.gateways.bench.silence import compare, rounds
from mitschnitt.keeper.apply import Applier, Holdings
from mitschnitt.keeper.clock import rfc3339, wall_clock
from mitschnitt.keeper.decisions import own_decision
from mitschnitt.keeper.process import as_it_stands, held
from mitschnitt.vault.journal_files import JournalWriter
from mitschnitt.vault.page import READERS, seal_for_nobody

CONTROL_PORT = 8_572  # if it is free
RECORDER = 1
# Kind of call: the rule in its decision. What else a recorder journals of it, `book` does.
KINDS: Mapping[str, str] = {
    "not drawn": "draw.not_drawn",
    "excluded": "draw.excluded",
    "capped": "draw.cap.agent_week",
    "refused by the caller": "consent.caller.refused",
    "refused by the agent": "consent.agent.none",
    "withdrawn": "consent.withdrawn",
}
WITHDRAWN = "withdrawn"
Question = Callable[[Door, str], object]


def _refused(ask: Callable[[], object]) -> object:
    try:
        return ask()
    except MitschnittError as error:
        return str(error)


QUESTIONS: Mapping[str, Question] = {
    "call show": lambda door, call: door.get(f"/calls/{call}", **{"as": "operator"}),
    "call why --as officer": lambda door, call: len(
        door.get(f"/calls/{call}/decision", **{"as": "officer"})["decision"]
    ),
    "call why --as caller": lambda door, call: len(door.get(f"/calls/{call}/page", **{"as": "caller"})["page"]),
    "call why --as agent": lambda door, call: len(door.get(f"/calls/{call}/page", **{"as": "agent"})["page"]),
    "play": lambda door, call: _refused(
        lambda: door.post(f"/calls/{call}/playbacks", {"purpose": "training", "role": "coach"})
    ),
}


def book(config: Config, holdings: Holdings, each: int) -> dict[str, list[str]]:
    """Calls of every kind, mixed as they come, in the journal and in the database."""
    calls = {kind: [encode_call_id(secrets.token_bytes(CALL_ID_BYTES)) for _ in range(each)] for kind in KINDS}
    order = [(kind, calls[kind][number]) for number in range(each) for kind in KINDS]
    block = holdings.leases.lease(RECORDER, "bench", len(order))
    journal = JournalWriter(config.journal(RECORDER), next_seq=1)
    for offset, (kind, call) in enumerate(order):
        now = rfc3339(datetime.now(UTC))
        told = {"index": block.first + offset, "block": block.number, "sealed": "AAAA"}
        journal.append(call, "arrived", told, at=now)
        if kind == WITHDRAWN:
            track = {"party": 0, "track": 0, "role": "caller", "codecs": {"8": ["PCMA", 8_000]}, "started_at": now}
            journal.append(call, "track", track, at=now)
            journal.append(call, "shred", {"party": None}, at=now)
        journal.append(call, "closed", _closed(call, kind, holdings), at=now)
    journal.close()
    Applier(RECORDER, config.journal(RECORDER), holdings).drain()
    return calls


def _closed(call: str, kind: str, holdings: Holdings) -> dict[str, Any]:
    decision = own_decision(holdings.officer_key, call, outcome="not_kept", rule=KINDS[kind], policy="")
    pages = {person: base64.b64encode(seal_for_nobody(person, call)).decode() for person in READERS}
    return {"kept": False, "decision": base64.b64encode(decision).decode(), "pages": pages}


@contextlib.contextmanager
def asked_site(root: Path, each: int) -> Iterator[tuple[Door, dict[str, list[str]]]]:
    """The door of a keeper, and its calls by their kind."""
    site = prepare(root / "site", control_port=free_port("127.0.0.1", CONTROL_PORT))
    config = load_config(site.directory)
    with held(config, *as_it_stands(config, wall_clock())) as (holdings, _):
        calls = book(config, holdings, each)
    with keeper_of(site.directory, root / "served.log") as door:
        yield door, calls


def differing(door: Door, calls: Mapping[str, Sequence[str]]) -> list[str]:
    """Questions that are answered in other words for one kind of call than for another."""
    wrong = []
    for name, question in QUESTIONS.items():
        told = {str(question(door, call)).replace(call, "CALL") for some in calls.values() for call in some[:3]}
        if len(told) != 1:
            wrong.append(name)
    return wrong


def measure(door: Door, calls: Mapping[str, Sequence[str]], count: int) -> dict[str, Any]:
    """Each question's kinds against the first kind, and the median time of an answer in ms."""
    dice, found = np.random.default_rng(count), {}
    for name, question in QUESTIONS.items():

        def ask(kind: str, question: Question = question) -> float:
            call = calls[kind][int(dice.integers(len(calls[kind])))]
            begin = time.perf_counter()
            question(door, call)
            return time.perf_counter() - begin

        for kind in calls:
            ask(kind)
        times = rounds(ask, list(calls), count, dice=dice)
        median = float(np.median(np.concatenate(list(times.values()))) * 1e3)
        compared = compare(times)
        found[name] = {"median_ms": median, "kinds": [asdict(one) for one in compared]}
        print(f"\n{name}, median {median:.2f} ms; each kind against `{next(iter(calls))}`")
        print(f"{'':<28} {'ratio':>8}   {'95 % interval':>20}   chance")
        for one in compared:
            print(one.line)
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Puts the same questions about calls that were not kept for different reasons; times decide nothing."""
    options = parse(argv)
    with (
        tempfile.TemporaryDirectory(prefix="s-", dir=options.dir) as scratch,
        asked_site(Path(scratch), options.each) as (door, calls),
        door.kept_open(),
    ):
        wrong = differing(door, calls)
        found = measure(door, calls, options.rounds)
    for name in wrong:
        print(f"WRONG: `{name}` answers in other words for one kind than for another")
    if options.json:
        Path(options.json).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 1 if wrong else 0


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(prog="mitschnitt bench silence", description=main.__doc__)
    parser.add_argument("--rounds", type=int, default=2_000, help="how often each question is put to each kind")
    parser.add_argument("--each", type=int, default=200, help="calls of each kind")
    parser.add_argument("--dir", default=None, help="where scratch files go (default: the system's)")
    parser.add_argument("--json", default="", help="write all figures to this file")
    return parser.parse_args(argv)
