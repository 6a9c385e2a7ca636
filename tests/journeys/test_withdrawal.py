"""From *9 or the posted act to the punctured key: under one second, while the call goes on."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from journeys.running import Site, report_rows, running_site
from sqlalchemy import select

from mitschnitt.store.engine import open_reader
from mitschnitt.store.tables import calls, punctures

CALLS = 12
MAX_SECONDS = 1.0
LOOK_SECONDS = 0.01  # between two looks at the key tree's epoch; it makes the figures too long, never too short

pytestmark = [pytest.mark.journey, pytest.mark.timeout(120)]


def withdrawn_at(row: dict[str, Any]) -> datetime:
    """When the caller began to press, or the act was posted."""
    mark = next(mark for mark in row["marks"] if str(mark["what"]).startswith("step"))
    return datetime.fromisoformat(mark["at"])


def puncture_epochs(site: Site) -> dict[str, int]:
    """For each call the epoch from which on the key tree no longer derives its keys."""
    engine = open_reader(site.demo.directory / "db" / "domain.sqlite")
    try:
        with engine.connect() as connection:
            rows = connection.execute(select(punctures)).all()
            found = connection.execute(select(calls.c.call_id, calls.c.tree_index)).all()
    finally:
        engine.dispose()
    return {
        call: min(row.epoch for row in rows if row.leaf is None and row.first <= index < row.first + row.count)
        for call, index in found
    }


def watch_epochs(site: Site, until_ends: Any) -> list[tuple[int, datetime]]:
    """When each epoch of the key tree was first seen, until a process ends."""
    seen: list[tuple[int, datetime]] = []
    while until_ends.poll() is None:
        epoch = int(site.door.get("/status")["epoch"])
        if not seen or seen[-1][0] < epoch:
            seen.append((epoch, datetime.now(UTC)))
        time.sleep(LOOK_SECONDS)
    return seen


def test_a_withdrawal_punctures_the_key_within_a_second_and_the_call_goes_on(tmp_path: Path) -> None:
    report = tmp_path / "report.jsonl"
    with running_site(tmp_path) as site:
        arguments = ("--calls", str(CALLS), "--rate", "3", "--mix", "withdrew=1,withdrew_by_act=1")
        centre = site.centre(*arguments, "--report", str(report))
        seen = watch_epochs(site, centre)
        centre.communicate(timeout=10)
        assert centre.returncode == 0
        site.wait_closed(CALLS)
        epochs, took = puncture_epochs(site), {}
        for row in report_rows(report):
            assert not row["errors"], "the call itself was disturbed"
            punctured = next(at for epoch, at in seen if epoch >= epochs[row["control"]])
            took[row["scenario"], row["call"]] = (punctured - withdrawn_at(row)).total_seconds()
            assert site.rule(row["control"]) == "consent.withdrawn"
    for scenario in ("withdrew", "withdrew_by_act"):
        own = sorted(seconds for (name, _), seconds in took.items() if name == scenario)
        print(f"\n{scenario}: {len(own)} calls, median {own[len(own) // 2]:.3f} s, most {own[-1]:.3f} s")
    assert min(took.values()) > 0
    assert max(took.values()) < MAX_SECONDS
