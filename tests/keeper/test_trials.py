"""Test calls at the keeper: one at a time, the operator's, and nothing but findings gets through."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mitschnitt.core.access import ROLES
from mitschnitt.errors import MalformedPacket, NotAllowed
from mitschnitt.keeper.trials import KEPT_FOR, MAX_CALL, MAX_WAIT, Trials
from mitschnitt.wire.findings import Finding

FRAMES = json.loads((Path(__file__).parents[1] / "vectors" / "frames" / "messages.json").read_text(encoding="utf-8"))
NOW = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
CALL = "0" * 25 + "1"
LEAK = {"code": "rtp.leak", "values": {"count": 7}}


class World:
    """The trials, and what recorders were told."""

    def __init__(self) -> None:
        self.told: list[Mapping[str, Any]] = []
        self.trials = Trials(self.told.append)

    def begin(self, *, at: datetime = NOW, seconds: int = 60, role: str = "operator") -> str:
        begun = self.trials.begin(role, host="::FFFF", caller="+1", wait=timedelta(seconds=seconds), now=at)
        return str(begun["token"])

    def state(self, token: str, *, after: timedelta = timedelta()) -> str:
        return str(self.trials.look("operator", token, NOW + after)["state"])

    def found(self, token: str, *findings: object, recorder: int = 1) -> None:
        message = {"type": "findings", "token": token, "call": CALL, "findings": list(findings)}
        self.trials.told(recorder, message, NOW)


@pytest.fixture(name="world")
def fresh_world() -> World:
    return World()


def test_a_test_call_from_its_announcement_to_its_findings(world: World) -> None:
    token = world.begin()
    assert world.told == [{"type": "watch", "token": token, "host": "::ffff", "caller": "+1", "seconds": 60}]
    assert world.state(token) == "awaited"
    world.trials.taken(1, token, NOW)
    assert world.told[-1] == {"type": "watch", "token": token, "host": "", "caller": "", "seconds": 0}
    assert world.state(token) == "running"
    world.found(token, LEAK)
    told = world.trials.look("operator", token, NOW)
    leak = Finding("rtp.leak", {"count": 7})
    row = {"code": leak.code, "severity": "wrong", "sentence": leak.sentence, "todo": leak.todo}
    assert told == {"state": "told", "findings": [row]}


def test_a_recorder_that_comes_later_hears_of_it_while_it_is_awaited(world: World) -> None:
    token = world.begin()
    (greeting,) = world.trials.greeting(NOW + timedelta(seconds=20.5))
    assert (greeting["token"], greeting["seconds"]) == (token, 40)
    world.trials.taken(1, token, NOW)
    assert world.trials.greeting(NOW) == []
    assert World().trials.greeting(NOW) == []


@pytest.mark.parametrize("role", [role for role in (*ROLES, "outsider", "") if role != "operator"])
def test_test_calls_are_the_operators(world: World, role: str) -> None:
    rule = r"trial\.role" if role in ROLES else r"access\.role\.unknown"
    with pytest.raises(NotAllowed, match=rule):
        world.begin(role=role)
    for token in (world.begin(), "of nobody"):  # whether there is one is the operator's to know
        with pytest.raises(NotAllowed, match=rule):
            world.trials.look(role, token, NOW)
        with pytest.raises(NotAllowed, match=rule):
            world.trials.stop(role, token, NOW)


def test_there_is_one_at_a_time_until_it_is_told_or_over(world: World) -> None:
    token = world.begin()
    with pytest.raises(NotAllowed, match=r"trial\.busy"):
        world.begin()
    world.trials.taken(1, token, NOW)
    with pytest.raises(NotAllowed, match=r"trial\.busy"):
        world.begin()
    world.found(token, LEAK)
    second = world.begin()
    with pytest.raises(NotAllowed, match=r"trial\.unknown"):
        world.trials.look("operator", token, NOW)
    world.trials.stop("operator", second, NOW)
    assert world.state(second) == "over"
    assert world.begin()


def test_nobody_waits_for_ever(world: World) -> None:
    token = world.begin(seconds=60)
    assert world.state(token, after=timedelta(seconds=59)) == "awaited"
    assert world.state(token, after=timedelta(seconds=60)) == "over"
    assert world.told[-1]["host"] == ""
    world.trials.taken(1, token, NOW)
    assert world.state(token, after=timedelta(seconds=61)) == "over"
    with pytest.raises(NotAllowed, match=r"trial\.unknown"):
        world.state(token, after=timedelta(seconds=61) + KEPT_FOR)


def test_a_call_that_never_ends_is_given_up(world: World) -> None:
    token = world.begin()
    world.trials.taken(1, token, NOW)
    assert world.state(token, after=MAX_CALL) == "over"
    world.found(token, LEAK)
    assert world.trials.look("operator", token, NOW + MAX_CALL)["findings"] == []


def test_findings_of_another_call_or_recorder_are_nobodys(world: World) -> None:
    token = world.begin()
    world.found(token, LEAK)  # nobody has it yet
    world.trials.taken(1, token, NOW)
    world.found(token, LEAK, recorder=2)
    world.found("another", LEAK)
    assert world.state(token) == "running"
    world.found(token, LEAK)
    assert world.state(token) == "told"


def test_what_is_no_finding_does_not_get_through(world: World) -> None:
    token = world.begin()
    world.trials.taken(1, token, NOW)
    with pytest.raises(MalformedPacket):
        world.found(token, {"code": "caller.refused", "values": {}})
    assert world.state(token) == "running"


@pytest.mark.parametrize(
    "wrong", [{"host": "sbc.example.org"}, {"caller": "1" * 129}, {"wait": MAX_WAIT + timedelta(seconds=1)}]
)
def test_what_cannot_be_awaited_is_refused(world: World, wrong: dict[str, Any]) -> None:
    right: dict[str, Any] = {"host": "192.0.2.1", "caller": "", "wait": timedelta(seconds=1), "now": NOW}
    with pytest.raises(MalformedPacket, match="a test call"):
        world.trials.begin("operator", **{**right, **wrong})
    assert world.told == []


def test_the_frames_are_those_of_their_files(world: World) -> None:
    token = world.begin()
    watch = {**FRAMES["watch"], "token": token}
    assert set(watch) == set(world.told[0])
    world.trials.taken(1, token, NOW)
    world.trials.told(1, {**FRAMES["findings"], "token": token}, NOW)
    assert world.state(token) == "told"
