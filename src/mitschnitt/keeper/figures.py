"""What the keeper tells of itself: the table of its figures, how they are read, and whether it does its work.

Outcomes are told as one word for a hundred calls at least, and what shows a withdrawal only in batches
(docs/decisions/0020-operations.md). Reads counters; changes nothing.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from starlette.types import ASGIApp, Receive, Scope, Send

from mitschnitt.keeper.keeper import Keeper
from mitschnitt.store import queries
from mitschnitt.telemetry.metrics import LEAST_OUTCOMES, OTHER, Buckets, Figure, Kind, Told
from mitschnitt.telemetry.process import ProcessFigures, is_full, process_table

COMMIT_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)  # buckets
BEHIND_ENTRIES = 1_000  # of one journal that the database has not: seconds of the busiest recorder
COUNTER, GAUGE, HISTOGRAM = Kind.COUNTER, Kind.GAUGE, Kind.HISTOGRAM
ASKED = ("playbacks", "erase", OTHER)  # last parts of the door's paths


def table(recorders: int) -> tuple[Figure, ...]:
    """The lines for a site with so many recorders; their numbers are the only labels that come from it."""
    numbers = tuple(str(number) for number in range(1, recorders + 1))
    batch = Told.IN_BATCHES
    return (
        *process_table("keeper"),
        Figure("keeper_recorders", GAUGE, "recorders that are configured"),
        Figure("keeper_recorder_ready", GAUGE, "1 for a recorder that is linked and ready", "recorder", numbers),
        Figure("keeper_recorder_views_behind", GAUGE, "views that a recorder has not confirmed", "recorder", numbers),
        Figure("keeper_journal_behind", GAUGE, "entries of a recorder that the database has not", "recorder", numbers),
        Figure("keeper_journal_stuck", GAUGE, "1 while a journal cannot be applied: see the log", "recorder", numbers),
        Figure("keeper_journal_applied", COUNTER, "entries in the database", "recorder", numbers, batch),
        Figure("keeper_announced_calls", GAUGE, "calls that were announced and are not over"),
        Figure("keeper_lease_blocks", GAUGE, "blocks of call keys that recorders hold", told=batch),
        Figure("keeper_key_epoch", GAUGE, "batches of punctures that the key tree has taken", told=batch),
        Figure("keeper_key_copies", GAUGE, "places in which the sealed state of the key tree is kept"),
        Figure("keeper_database_waiting", GAUGE, "changes that wait for the database"),
        Figure("keeper_database_commits", COUNTER, "groups of changes that were committed", told=batch),
        Figure("keeper_database_commit_seconds", HISTOGRAM, "how long a group of changes took", told=batch),
        Figure("keeper_door_requests", COUNTER, "requests of commands at the door, by kind", "kind", ASKED, batch),
        Figure(
            "keeper_calls_closed", COUNTER, "calls that are over, by their one word", "outcome",
            (queries.KEPT, queries.NOT_KEPT), batch, LEAST_OUTCOMES,
        ),
        Figure("keeper_draining", GAUGE, "1 while the site drains"),
    )  # fmt: skip


class Stopwatch:
    """Times what is done within `lap`; one thread uses it at a time."""

    def __init__(self) -> None:
        self.times = Buckets(COMMIT_SECONDS)

    @contextmanager
    def lap(self) -> Iterator[None]:
        """Counted also when what is within fails."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.times.add(time.monotonic() - began)


class CountingDoor:
    """Around the door's application: how many requests of which kind it got, whatever came of them."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.requests: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        last = str(scope.get("path", "")).rpartition("/")[2]
        self.requests[last if last in ASKED else OTHER] += 1
        await self._app(scope, receive, send)


def read(
    keeper: Keeper, process: ProcessFigures, commits: Stopwatch, door: CountingDoor
) -> dict[str, float | Mapping[str, float] | Buckets]:
    """One reading, by the names of `table`."""
    status, recorders, writer = keeper.status(), keeper.recorders, keeper.writer
    each = {str(number): recorder for number, recorder in recorders.items()}
    own: dict[str, float | Mapping[str, float] | Buckets] = {
        "recorders": len(each),
        "recorder_ready": {name: recorder.ready for name, recorder in each.items()},
        "recorder_views_behind": {
            name: status["view"] - recorder.view_version if recorder.ready else 0 for name, recorder in each.items()
        },
        "journal_behind": {name: recorder.applier.lag for name, recorder in each.items()},
        "journal_stuck": {name: bool(recorder.complaint) for name, recorder in each.items()},
        "journal_applied": {name: recorder.applier.position.seq for name, recorder in each.items()},
        "announced_calls": status["announced"],
        "lease_blocks": status["lease_blocks"],
        "key_epoch": status["epoch"],
        "key_copies": status["state_copies"],
        "database_waiting": writer.waiting,
        "database_commits": writer.commits,
        "database_commit_seconds": commits.times,
        "door_requests": door.requests,
        "calls_closed": outcomes(keeper),
        "draining": keeper.drain.is_on,
    }
    return {**process.read(), **{f"keeper_{name}": value for name, value in own.items()}}


def outcomes(keeper: Keeper) -> Counter[str]:
    """Calls that closed since the start, by their one word."""
    return sum((recorder.applier.outcomes for recorder in keeper.recorders.values()), Counter[str]())


def ready(keeper: Keeper, process: ProcessFigures) -> list[str]:
    """Why the site does not take calls as it should, by name; nothing of any call."""
    recorders = keeper.recorders.values()
    reasons = {
        "draining": keeper.drain.is_on,
        "recorders_missing": not all(recorder.ready for recorder in recorders),
        "journal_stuck": any(recorder.complaint for recorder in recorders),
        "journal_behind": any(recorder.applier.lag > BEHIND_ENTRIES for recorder in recorders),
        "disk_full": is_full(process.room),
    }
    return [reason for reason, holds in reasons.items() if holds]
