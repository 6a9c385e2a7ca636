"""`demo --scene week`: what it shows of a short week, and that whatever is not as it must be makes exit code 4."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from commands.week_stage import SHORT, short_week
from mitschnitt.commands import demo, demo_week
from mitschnitt.commands.demo_week import KINDS, Reason
from mitschnitt.errors import ConfigError


def told(reasons: dict[str, Reason]) -> tuple[str, list[str]]:
    page = io.StringIO()
    return page.getvalue(), demo_week._why(Console(file=page), reasons)


@pytest.mark.thorough
def test_the_honest_week_is_shown_and_verified(capsys: pytest.CaptureFixture[str]) -> None:
    week = short_week().week
    assert demo_week._show(Console(file=io.StringIO()), week, SHORT) == []
    output = capsys.readouterr().out
    assert f"{week.site.week}: {SHORT} calls seen" in output
    assert "nothing is wrong" in output
    assert "officer signed policy" in output


def test_a_call_too_few_is_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    found = demo_week._show(Console(file=io.StringIO()), short_week().week, SHORT + 1)
    assert found == [f"{SHORT} calls were seen, not {SHORT + 1}"]
    assert capsys.readouterr().out


def test_a_list_that_somebody_changed_does_not_verify(capsys: pytest.CaptureFixture[str]) -> None:
    week = short_week().week
    path = week.site.directory / "draw" / week.site.days()[0].isoformat() / "public.mdl"
    before = path.read_bytes()
    path.write_bytes(before[:-18])
    try:
        with pytest.raises(ConfigError, match="broken"):
            demo_week._show(Console(file=io.StringIO()), week, SHORT)
    finally:
        path.write_bytes(before)
    assert capsys.readouterr()


def test_everybody_else_sees_one_word_of_all_that_is_not_kept() -> None:
    reasons = short_week().reasons
    assert {"not drawn", "refused by the caller", "kept"} <= set(reasons)
    words = {reason.others for kind, reason in reasons.items() if kind != "kept"}
    assert words == {frozenset({json.dumps({"state": "not_kept"})})}


def test_a_caller_learns_nothing_of_the_agent() -> None:
    reason = short_week().reasons.get("refused by the agent")
    assert reason is None or reason.caller in {"consent.others", "consent.caller.waiting"}


def whole() -> dict[str, Reason]:
    """One reason of each kind, all as it must be."""
    one = next(iter(short_week().reasons.values()))
    silent = frozenset({'{"state": "not_kept"}'})
    return {kind: replace(one, kind=kind, caller="consent.others", others=silent) for kind in KINDS}


def test_a_kind_that_did_not_come_about_is_a_failure() -> None:
    reasons = whole()
    del reasons["withdrawn"]
    assert told(reasons)[1] == ["no call was withdrawn"]
    assert told(whole())[1] == []


def test_a_second_word_for_not_kept_is_a_failure() -> None:
    reasons = whole()
    reasons["withdrawn"] = replace(reasons["withdrawn"], others=frozenset({'{"state": "withdrawn"}'}))
    assert told(reasons)[1] == ["somebody else can tell why a call was not kept"]


def test_a_caller_who_learns_that_the_agent_said_no_is_a_failure() -> None:
    reasons = whole()
    reasons["refused by the agent"] = replace(reasons["refused by the agent"], caller="consent.agent.none")
    assert told(reasons)[1] == ["a caller learns that the agent said no"]


def test_it_overwrites_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="exists"):
        demo_week.run_week(Console(file=io.StringIO()), tmp_path)


def test_there_are_two_scenes(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there are the scenes calls and week, found 'month'"):
        demo.run(scene="month", calls=1, keep=tmp_path / "new")
