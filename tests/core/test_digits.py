"""Which act a pressed key is: played as a caller would press them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from mitschnitt.core.consent import ActKind
from mitschnitt.core.digits import NOTHING_PRESSED, SEQUENCE_TIMEOUT, press
from mitschnitt.core.policy_text import parse_policy
from world import POLICY_TEXT

POLICY = parse_policy(POLICY_TEXT)
START = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
ASKING = frozenset({ActKind.DIGIT})
KEEPING = frozenset({ActKind.WITHDRAW, ActKind.PAUSE})
PAUSED = frozenset({ActKind.WITHDRAW, ActKind.PAUSE, ActKind.RESUME})


def _press(keys: str, hears: frozenset[ActKind], *, apart: timedelta = timedelta(seconds=1)) -> list[ActKind]:
    pressed, acts = NOTHING_PRESSED, []
    for number, key in enumerate(keys):
        pressed, act = press(pressed, key, START + number * apart, party="caller", hears=hears, policy=POLICY)
        if act is not None:
            acts.append(act.kind)
    return acts


@pytest.mark.parametrize(
    "keys, hears, acts",
    [
        ("1", ASKING, [ActKind.DIGIT]),
        ("2", ASKING, [ActKind.DIGIT]),
        ("3", ASKING, []),
        ("*9", ASKING, []),
        ("*9", KEEPING, [ActKind.WITHDRAW]),
        ("1*9", KEEPING, [ActKind.WITHDRAW]),
        ("**9", KEEPING, [ActKind.WITHDRAW]),
        ("*19", KEEPING, []),
        ("9", KEEPING, []),
        ("*0", KEEPING, [ActKind.PAUSE]),
        ("*0", PAUSED, [ActKind.RESUME]),
        ("12", frozenset(), []),
    ],
)
def test_keys_mean_only_what_can_be_meant_now(keys: str, hears: frozenset[ActKind], acts: list[ActKind]) -> None:
    assert _press(keys, hears) == acts


def test_a_sequence_pressed_too_slowly_means_nothing() -> None:
    assert _press("*9", KEEPING, apart=SEQUENCE_TIMEOUT + timedelta(milliseconds=1)) == []


def test_an_answer_carries_the_digit_and_when_it_was_pressed() -> None:
    _, act = press(NOTHING_PRESSED, "1", START, party="caller", hears=ASKING, policy=POLICY)
    assert act is not None
    assert (act.value, act.at, act.in_band) == ("1", START, True)
