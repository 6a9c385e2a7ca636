"""Row 3 of the failure table: the control API is killed alone, in the middle of calls."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import func, select

from journeys.ivr import Ivr
from journeys.running import report_rows, running_site
from mitschnitt.gateways.control_client import ControlGone
from mitschnitt.store.engine import open_reader
from mitschnitt.store.tables import parties

CALLS = 6
PATIENCE_SECONDS = 60.0

pytestmark = [pytest.mark.journey, pytest.mark.timeout(120)]


def until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, f"{what} did not come within {PATIENCE_SECONDS:.0f} s"
        time.sleep(0.02)


def test_row_3_without_the_control_api_calls_go_on_and_are_withdrawn_by_key_and_it_comes_back(tmp_path: Path) -> None:
    report = tmp_path / "report.jsonl"
    with running_site(tmp_path, module="deaf", paths=[Path(__file__).parent]) as site:
        database = open_reader(site.demo.directory / "db" / "domain.sqlite")

        def open_parties() -> int:
            with database.connect() as connection:
                return int(connection.execute(select(func.count()).select_from(parties)).scalar_one())

        arguments = ("--calls", str(CALLS), "--rate", "20", "--mix", "withdrew=1,agreed_by_act=1")
        centre = site.centre(*arguments, "--report", str(report))
        # All have agreed; the first withdraws three seconds into the talk.
        until(lambda: open_parties() == 2 * CALLS, "the opening of all calls")
        os.kill(site.pid("keeper"), signal.SIGUSR1)
        until(lambda: not announces(Ivr(site)), "the end of the control API")
        centre.communicate(timeout=60)
        assert centre.returncode == 0
        assert not announces(Ivr(site)), "it was there all the time"
        for row in report_rows(report):
            outcome = "not_kept" if row["scenario"] == "withdrew" else "kept"
            assert site.wait_outcome(row["control"]) == outcome
            assert site.rule(row["control"]) == ("consent.withdrawn" if outcome == "not_kept" else "consent.all")
            assert not row["errors"]
        os.kill(site.pid("keeper"), signal.SIGUSR2)
        until(lambda: announces(Ivr(site)), "the control API")
        database.dispose()


def announces(ivr: Ivr) -> bool:
    """Whether a call can be announced."""
    try:
        ivr.announce(asked=False)
    except ControlGone:
        return False
    return True
