"""The keeper's figures: one word for outcomes, only of many calls at a time, and readiness by name."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from mitschnitt.keeper.figures import CountingDoor, Stopwatch, outcomes, read, ready, table
from mitschnitt.keeper.keeper import Keeper
from mitschnitt.telemetry.metrics import LEAST_OUTCOMES, Page, Told
from mitschnitt.telemetry.process import ProcessFigures

# What may change at once: nothing of it moves with one call's yes, no or withdrawal.
AT_ONCE = {
    "recorders", "recorder_ready", "recorder_views_behind", "journal_behind", "journal_stuck", "announced_calls",
    "key_copies", "database_waiting", "draining", "build_info", "start_time_seconds", "cpu_seconds", "resident_bytes",
    "open_files_limit", "disk_free_bytes",
}  # fmt: skip


async def _nobody(scope: Any, receive: Any, send: Any) -> None:
    """An application that answers nothing."""


def recorder(**other: Any) -> SimpleNamespace:
    applier = SimpleNamespace(lag=0, outcomes=Counter(), position=SimpleNamespace(seq=7))
    return SimpleNamespace(**{"applier": applier, "ready": True, "view_version": 3, "complaint": "", **other})


def keeper(*recorders: SimpleNamespace, draining: bool = False) -> Keeper:
    status = {"view": 5, "announced": 2, "lease_blocks": 1, "epoch": 4, "state_copies": 2}
    return cast(
        Keeper,
        SimpleNamespace(
            status=lambda: status,
            recorders=dict(enumerate(recorders, start=1)),
            writer=SimpleNamespace(waiting=0, commits=9),
            drain=SimpleNamespace(is_on=draining),
        ),
    )


def read_all(of: Keeper, place: Path) -> dict[str, Any]:
    process = ProcessFigures("keeper", place, now=lambda: 0.0)
    return dict(read(of, process, Stopwatch(), CountingDoor(_nobody)))


def test_every_line_is_read_and_nothing_without_a_line(tmp_path: Path) -> None:
    found = read_all(keeper(recorder(), recorder()), tmp_path)
    assert sorted(found) == sorted(figure.name for figure in table(2))
    assert found["keeper_recorder_views_behind"] == {"1": 2, "2": 2}
    assert found["keeper_journal_applied"] == {"1": 7, "2": 7}


def test_labels_come_from_closed_sets() -> None:
    labels = {figure.label: figure.values for figure in table(2) if figure.label}
    assert sorted(labels) == ["kind", "outcome", "recorder", "version"]
    assert labels["outcome"] == ("kept", "not_kept")
    assert labels["recorder"] == ("1", "2")


def test_only_what_is_the_same_for_a_call_that_agreed_and_one_that_did_not_is_told_at_once() -> None:
    at_once = {figure.name.removeprefix("keeper_") for figure in table(1) if figure.told is Told.AT_ONCE}
    assert at_once == AT_ONCE


def test_outcomes_are_told_of_a_hundred_calls_at_a_time(tmp_path: Path) -> None:
    one, two = recorder(), recorder()
    of, now = keeper(one, two), iter(range(100))
    page = Page(
        table(2), lambda: read_all(of, tmp_path), ended=lambda: outcomes(of).total(), clock=lambda: float(next(now))
    )

    def told() -> list[str]:
        lines = page.text("")[0].decode().splitlines()
        return [line.rpartition(" ")[2] for line in lines if line.startswith("mitschnitt_keeper_calls_closed_total{")]

    one.applier.outcomes.update(kept=60)
    two.applier.outcomes.update(not_kept=LEAST_OUTCOMES - 61)
    assert told() == ["0.0", "0.0"]
    two.applier.outcomes.update(not_kept=1)
    assert told() == ["60.0", "40.0"]
    one.applier.outcomes.update(kept=LEAST_OUTCOMES - 1)
    assert told() == ["60.0", "40.0"]


@pytest.mark.parametrize(
    "reason, other",
    [
        ("recorders_missing", {"ready": False}),
        ("journal_stuck", {"complaint": "the journal is damaged"}),
        ("journal_behind", {"applier": SimpleNamespace(lag=1_001)}),
    ],
)
def test_a_site_is_not_ready_for_a_reason_with_a_name(reason: str, other: dict[str, Any], tmp_path: Path) -> None:
    process = ProcessFigures("keeper", tmp_path, now=lambda: 0.0)
    assert ready(keeper(recorder(), recorder()), process) == []
    assert ready(keeper(recorder(), recorder(**other)), process) == [reason]


def test_a_site_that_drains_or_has_no_room_is_not_ready(tmp_path: Path) -> None:
    process = ProcessFigures("keeper", tmp_path / "gone", now=lambda: 0.0)
    assert ready(keeper(recorder(), draining=True), process) == ["draining", "disk_full"]


def test_requests_at_the_door_are_counted_by_kind_and_never_by_call() -> None:
    door = CountingDoor(_nobody)

    async def ask() -> None:
        for path in ("/calls/0123456789ABCDEFGHJKMNPQR0/playbacks", "/calls/X/erase", "/calls/X", "/status", ""):
            await door({"type": "http", "path": path}, cast(Any, None), cast(Any, None))

    asyncio.run(ask())
    assert door.requests == {"playbacks": 1, "erase": 1, "other": 3}


def test_a_commit_is_timed_also_when_it_fails() -> None:
    watch = Stopwatch()
    with watch.lap():
        pass
    with pytest.raises(OSError, match="full"), watch.lap():
        raise OSError("full")
    assert sum(watch.times.counts) == 2
