"""`draw show`: the columns of a period from its published lists, and what they do not tell."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from commands.draw_site import publish
from mitschnitt import cli
from mitschnitt.commands import draw_show
from second.draw_cheats import case
from second.draw_lists import honest_week

WEEK = honest_week()


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return publish(tmp_path / "site", case(WEEK).files())


@pytest.fixture
def show(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], site: Path) -> Any:
    monkeypatch.setattr(draw_show, "wall_clock", lambda: datetime(2026, 11, 25, 12, tzinfo=UTC))

    def run(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["mitschnitt", "draw", "show", *arguments, "--dir", str(site)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        told = capsys.readouterr()
        return int(ended.value.code or 0), told.out + told.err

    return run


def test_a_day_says_seen_exclusions_drawn_capped_and_outcomes(show: Any) -> None:
    code, told = show("2026-11-23", "--json")
    answer = json.loads(told)
    draws = WEEK[0].draws
    assert code == 0
    assert answer["seen"] == len(draws)
    assert answer["exclusions"]["night"] == sum(draw.place == 0x8001 for draw in draws)
    rows = {row["name"]: row for row in answer["strata"]}
    for place, name in enumerate(("hotline", "orders", "new-hires")):
        own = [draw for draw in draws if draw.place == place]
        assert rows[name]["seen"] == len(own)
        assert rows[name]["drawn"] == sum(draw.verdict == "drawn" for draw in own)
        assert rows[name]["capped"] == sum(draw.verdict.startswith("capped") for draw in own)
    outcomes = [draw.outcome for draw in draws if draw.verdict == "drawn"]
    assert answer["outcomes"] == {
        "drawn": len(outcomes),
        **{name: outcomes.count(name) for name in ("kept", "failed", "not_agreed")},
    }


def test_a_week_sums_its_days_and_says_that_it_is_not_over(show: Any) -> None:
    code, told = show("2026-W48")
    assert code == 0
    assert "1,200 calls seen" in told
    assert "this period is not over: it ends with 2026-11-29" in told
    assert "no list for 2026-11-26, 2026-11-27, 2026-11-28, 2026-11-29" in told
    assert "not agreed" in told


def test_a_day_that_is_over_does_not_say_so(show: Any) -> None:
    assert "not over" not in show("2026-11-24")[1]
    assert json.loads(show("2026-11-24", "--json")[1])["over"] is True


def test_a_day_is_over_by_the_clock_of_the_policys_zone(show: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draw_show, "wall_clock", lambda: datetime(2026, 11, 24, 22, 30, tzinfo=UTC))
    assert json.loads(show("2026-11-24", "--json")[1])["over"] is False
    monkeypatch.setattr(draw_show, "wall_clock", lambda: datetime(2026, 11, 24, 23, 30, tzinfo=UTC))
    assert json.loads(show("2026-11-24", "--json")[1])["over"] is True


def test_outcomes_of_a_stratum_that_some_day_does_not_tell_alone_are_not_reckoned(show: Any) -> None:
    rows = {row["name"]: row for row in json.loads(show("2026-W48", "--json")[1])["strata"]}
    assert rows["orders"]["drawn"] > 0
    assert [rows["orders"][name] for name in ("kept", "failed", "not_agreed")] == [None, None, None]


@pytest.mark.parametrize(
    "period, words",
    [
        ("2026-11-26", "a day's list is published when the day and its calls are over"),
        ("yesterday", "expected a day 2026-11-26, week 2026-W48 or month 2026-11; found 'yesterday'"),
    ],
)
def test_a_period_without_lists_is_wrong_usage(show: Any, period: str, words: str) -> None:
    code, told = show(period)
    assert code == 2
    assert words in told


def test_a_broken_list_is_not_shown(show: Any, site: Path) -> None:
    (site / "draw" / "2026-11-23" / "public.mdl").write_bytes(b"MSDRAWP1\x00\x00\x00\x02{}")
    code, told = show("2026-11-23")
    assert code == 2
    assert "is broken" in told
