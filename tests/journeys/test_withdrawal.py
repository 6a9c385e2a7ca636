"""From *9 or the posted act to the punctured key: under one second, while the call goes on."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select

from journeys.running import Site, report_rows, running_site
from journeys.starved import WITHDRAWAL_SYNCS, Waits, sync_seconds
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


@dataclass
class Watch:
    """What was seen of the key tree while the calls ran."""

    epochs: list[tuple[int, datetime]] = field(default_factory=list)
    indices: dict[str, int] = field(default_factory=dict)  # of live calls: the row forgets it when a call is not kept

    def look(self, site: Site, database: Engine) -> None:
        """Look once."""
        epoch = int(site.door.get("/status")["epoch"])
        if not self.epochs or self.epochs[-1][0] < epoch:
            self.epochs.append((epoch, datetime.now(UTC)))
        with database.connect() as connection:
            for row in connection.execute(select(calls.c.call_id, calls.c.tree_index)):
                if row.tree_index is not None:
                    self.indices[row.call_id] = row.tree_index

    def punctured_at(self, call: str, database: Engine) -> datetime:
        """When the tree was first seen in an epoch that no longer derives this call's keys."""
        index = self.indices[call]
        with database.connect() as connection:
            rows = connection.execute(select(punctures)).all()
        epoch = min(row.epoch for row in rows if row.leaf is None and row.first <= index < row.first + row.count)
        return next(at for seen, at in self.epochs if seen >= epoch)


def test_a_withdrawal_punctures_the_key_within_a_second_and_the_call_goes_on(tmp_path: Path) -> None:
    report = tmp_path / "report.jsonl"
    with running_site(tmp_path) as site:
        arguments = ("--calls", str(CALLS), "--rate", "3", "--mix", "withdrew=1,withdrew_by_act=1")
        centre = site.centre(*arguments, "--report", str(report))
        database, watch = open_reader(site.demo.directory / "db" / "domain.sqlite"), Watch()
        with Waits((*site.pids(), centre.pid, os.getpid())) as waits:
            while centre.poll() is None:
                watch.look(site, database)
                time.sleep(LOOK_SECONDS)
        centre.communicate(timeout=60)
        assert centre.returncode == 0
        site.wait_closed(CALLS)
        took, machines, disk = {}, {}, sync_seconds(tmp_path, WITHDRAWAL_SYNCS)
        for row in report_rows(report):
            assert not row["errors"], "the call itself was disturbed"
            begun, done = withdrawn_at(row), watch.punctured_at(row["control"], database)
            took[row["scenario"], row["call"]] = (done - begun).total_seconds()
            machines[row["scenario"], row["call"]] = waits.between(begun, done)
            assert site.rule(row["control"]) == "consent.withdrawn"
        database.dispose()
    for scenario in ("withdrew", "withdrew_by_act"):
        own = sorted(seconds for (name, _), seconds in took.items() if name == scenario)
        print(f"\n{scenario}: {len(own)} calls, median {own[len(own) // 2]:.3f} s, most {own[-1]:.3f} s")
    print(f"\nthe machine's part: {max(machines.values()):.3f} s at most, and {disk:.3f} s of its disk")
    assert min(took.values()) > 0
    assert {name: seconds for name, seconds in took.items() if seconds >= MAX_SECONDS + machines[name] + disk} == {}
