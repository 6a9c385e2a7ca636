"""A site that drains: all recorders hear of it, also later ones, and it is known again after the keeper's restart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from mitschnitt.core.access import ROLES
from mitschnitt.errors import MalformedPacket, NotAllowed
from mitschnitt.keeper.draining import LONGEST_SECONDS, Drain


class Stage:
    """A drain whose messages are kept, at a time that the test gives."""

    def __init__(self) -> None:
        self.told: list[Mapping[str, Any]] = []
        self.seconds = 0.0
        self.drain = Drain(self.told.append, clock=lambda: self.seconds)


def test_at_first_nothing_drains() -> None:
    stage = Stage()
    assert not stage.drain.is_on
    assert stage.drain.greeting() == []
    assert stage.drain.status() == {"draining": False, "running": 0, "left_s": 0}


def test_every_recorder_is_told_and_so_is_one_that_connects_later() -> None:
    stage = Stage()
    assert stage.drain.begin("operator", 900) == {"draining": True, "running": 0, "left_s": 900}
    assert stage.told == [{"type": "drain", "within_s": 900.0}]
    stage.seconds = 100.0
    assert stage.drain.greeting() == [{"type": "drain", "within_s": 800.0}]


def test_said_again_it_can_only_become_shorter_and_never_longer_than_a_day() -> None:
    stage = Stage()
    assert stage.drain.begin("operator", 1e9)["left_s"] == LONGEST_SECONDS
    assert stage.drain.begin("operator", 60)["left_s"] == 60
    assert stage.drain.begin("operator", 900)["left_s"] == 60
    stage.seconds = 100.0
    assert stage.drain.status()["left_s"] == 0


@pytest.mark.parametrize("role", [role for role in (*ROLES, "outsider", "") if role != "operator"])
def test_only_the_operator_drains_and_looks_how_far_it_is(role: str) -> None:
    stage = Stage()
    rule = r"drain\.role" if role in ROLES else r"access\.role\.unknown"
    with pytest.raises(NotAllowed, match=rule):
        stage.drain.begin(role, 60)
    with pytest.raises(NotAllowed, match=rule):
        stage.drain.look(role)
    assert not stage.drain.is_on
    assert stage.drain.look("operator") == {"draining": False, "running": 0, "left_s": 0}


def test_what_recorders_say_still_runs_adds_up() -> None:
    stage = Stage()
    stage.drain.begin("operator", 900)
    stage.drain.told(1, {"running": 3, "left_s": 890.0})
    stage.drain.told(2, {"running": 2, "left_s": 890.0})
    stage.drain.told(1, {"running": 1, "left_s": 880.0})
    assert stage.drain.status()["running"] == 3


def test_a_keeper_that_was_started_anew_learns_it_from_a_recorder_and_tells_the_others() -> None:
    stage = Stage()
    stage.drain.told(1, {"running": 1, "left_s": 500.0})
    assert stage.drain.is_on
    assert stage.told == [{"type": "drain", "within_s": 500.0}]


@pytest.mark.parametrize(
    "message", [{}, {"running": -1, "left_s": 1}, {"running": True, "left_s": 1}, {"running": 1, "left_s": "soon"}]
)
def test_a_frame_that_is_none_is_refused(message: Mapping[str, Any]) -> None:
    stage = Stage()
    with pytest.raises(MalformedPacket, match="`running`"):
        stage.drain.told(1, message)
    assert not stage.drain.is_on
