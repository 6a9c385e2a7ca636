"""Day and allowances in a view: what is half said is refused whole, so that the old view stays."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from mitschnitt.core.draw import Day
from mitschnitt.core.lent import Lent, day_from_json, day_to_json, lent_from_json, lent_to_json
from mitschnitt.errors import MalformedPacket

VIEW: dict[str, Any] = json.loads((Path(__file__).parent.parent / "vectors/core/view.json").read_text())["json"]
DAY = Day("2026-11-26", "ab" * 32, bytes(range(32)), b"\x5c" * 32)
LENT = Lent("recorder-1", "2026-W48", bytes(range(32, 64)), (1, 0), "2026-11-26", 2)


def test_the_vector_is_read_and_written_as_it_was() -> None:
    assert day_from_json(VIEW) == DAY
    assert {name: VIEW[name] for name in day_to_json(DAY)} == day_to_json(DAY)
    assert lent_from_json(VIEW["caps"], 2) == LENT
    assert lent_to_json(LENT) == VIEW["caps"]


def test_no_day_and_nothing_lent_are_said_too() -> None:
    assert day_from_json(day_to_json(None)) is None
    assert day_from_json({}) is None  # of a keeper that draws nothing
    assert lent_from_json(lent_to_json(None), 2) is None


def test_a_day_may_wait_for_its_beacon_and_never_has_half_of_one() -> None:
    assert day_from_json({**VIEW, "beacon": None}) == Day(DAY.day, DAY.policy_hash, DAY.day_key, None)


WRONG_DAYS: dict[str, dict[str, Any]] = {
    "no key": {"day_key": None},
    "a short key": {"day_key": base64.b64encode(bytes(31)).decode()},
    "a key that is not base64": {"day_key": "?"},
    "an empty beacon": {"beacon": ""},
    "a short beacon": {"beacon": "5c" * 31},
    "a beacon that is no hex": {"beacon": "xy" * 32},
    "a beacon that is a number": {"beacon": 5},
    "no day": {"day": None},
    "another spelling of the day": {"day": "20261126"},
    "a day that does not exist": {"day": "2026-11-31"},
    "no policy": {"day_policy": None},
    "a policy in capitals": {"day_policy": "AB" * 32},
}


@pytest.mark.parametrize("phrase", WRONG_DAYS)
def test_half_a_day_is_refused(phrase: str) -> None:
    with pytest.raises(MalformedPacket, match="view: "):
        day_from_json({**VIEW, **WRONG_DAYS[phrase]})


WRONG_LOTS: dict[str, Any] = {
    "units of other agents": {"agents": [1]},
    "a unit too many": {"agents": [1, 0, 0]},
    "less than nothing": {"agents": [1, -1]},
    "half a unit": {"agents": [1, 0.5]},
    "a switch": {"agents": [True, 0]},
    "no list": {"agents": None},
    "units of the whole as text": {"whole": "2"},
    "units of the whole below zero": {"whole": -1},
    "no key for tags": {"tag_key": None},
    "a short key for tags": {"tag_key": base64.b64encode(bytes(16)).decode()},
    "no source": {"source": None},
    "a week without end": {"week": "W" * 65},
}


@pytest.mark.parametrize("phrase", WRONG_LOTS)
def test_units_that_are_not_clear_are_refused(phrase: str) -> None:
    with pytest.raises(MalformedPacket, match="view: "):
        lent_from_json({**VIEW["caps"], **WRONG_LOTS[phrase]}, 2)


@pytest.mark.parametrize("data", [None, [], 5, "x"])
def test_what_is_no_object_is_no_allowance(data: object) -> None:
    with pytest.raises(MalformedPacket, match="must be an object"):
        lent_from_json(data, 2)


def test_where_no_cap_is_per_agent_nothing_is_lent_per_agent() -> None:
    lent = lent_from_json({**VIEW["caps"], "agents": []}, 2)
    assert lent is not None
    assert lent.agents == ()
