"""From *9 or the posted act to the punctured key: under one second, while the call goes on."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from journeys.running import report_rows, running_site

CALLS = 12
MAX_SECONDS = 1.0

pytestmark = [pytest.mark.journey, pytest.mark.timeout(120)]


def withdrawn_at(row: dict[str, Any]) -> datetime:
    """When the caller began to press, or the act was posted."""
    mark = next(mark for mark in row["marks"] if str(mark["what"]).startswith("step"))
    return datetime.fromisoformat(mark["at"])


def test_a_withdrawal_punctures_the_key_within_a_second_and_the_call_goes_on(tmp_path: Path) -> None:
    report = tmp_path / "report.jsonl"
    with running_site(tmp_path) as site:
        mix = "withdrew=1,withdrew_by_act=1"
        centre = site.centre("--calls", str(CALLS), "--rate", "6", "--mix", mix, "--report", str(report))
        centre.communicate(timeout=60)
        assert centre.returncode == 0
        site.wait_closed(CALLS)
        rows = report_rows(report)
        took = {}
        for row in rows:
            assert not row["errors"]
            punctured = site.door.get(f"/calls/{row['control']}", **{"as": "officer"})["punctured_at"]
            seconds = (datetime.fromisoformat(punctured) - withdrawn_at(row)).total_seconds()
            took[row["scenario"], row["call"]] = seconds
            assert site.rule(row["control"]) == "consent.withdrawn"
    for scenario in ("withdrew", "withdrew_by_act"):
        own = [seconds for (name, _), seconds in took.items() if name == scenario]
        print(f"\n{scenario}: {len(own)} calls, median {sorted(own)[len(own) // 2]:.3f} s, most {max(own):.3f} s")
    assert min(took.values()) > 0
    assert max(took.values()) < MAX_SECONDS
