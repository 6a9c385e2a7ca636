"""Keys of one call: one sequence per source, one act per key, and no more acts than a call can mean."""

from __future__ import annotations

from datetime import timedelta

from dialogue import POLICY, START
from mitschnitt.core.consent import Act, ActKind
from mitschnitt.recorder.keys import ECHO, MAX_HEARD_ACTS, Keys

SWITCH = frozenset({ActKind.WITHDRAW, ActKind.PAUSE, ActKind.RESUME})


def pressed(
    keys: Keys, text: str, *, source: int = 0, at: float = 0.0, hears: frozenset[ActKind] = SWITCH
) -> list[Act]:
    """The acts that these keys of the caller are."""
    when = START + timedelta(seconds=at)
    found = [keys.press(key, when, party="caller", source=source, hears=hears, policy=POLICY) for key in text]
    return [act for act in found if act is not None]


def test_the_same_keys_from_another_source_are_an_echo() -> None:
    keys = Keys()
    assert [act.kind for act in pressed(keys, "*0")] == [ActKind.RESUME]
    assert pressed(keys, "*0", source=1, at=ECHO.total_seconds()) == []
    assert len(pressed(keys, "*0", source=1, at=ECHO.total_seconds() + 0.1)) == 1


def test_who_presses_twice_means_it_whatever_the_other_source_hands_on() -> None:
    keys = Keys()
    found = [pressed(keys, "*0", source=source, at=at) for at, source in ((0, 0), (0.1, 1), (0.8, 0), (0.9, 1))]
    assert [len(acts) for acts in found] == [1, 0, 1, 0]


def test_sources_that_hand_on_in_turns_spell_one_sequence_each() -> None:
    keys = Keys()
    found = [pressed(keys, key, source=source, at=at) for key, at in (("*", 0), ("0", 0.3)) for source in (0, 1)]
    assert [len(acts) for acts in found] == [0, 0, 1, 0]


def test_another_answer_from_another_source_is_no_echo_and_neither_is_a_withdrawal() -> None:
    keys, answers = Keys(), frozenset({ActKind.DIGIT})
    assert [act.value for act in pressed(keys, "1", hears=answers)] == ["1"]
    assert [act.value for act in pressed(keys, "2", source=1, hears=answers)] == ["2"]
    assert pressed(keys, "2", hears=answers) == []
    assert [len(pressed(keys, "*9", source=source)) for source in (0, 1)] == [1, 1]


def test_a_call_has_so_many_acts_and_then_only_withdrawals() -> None:
    keys = Keys()
    for number in range(MAX_HEARD_ACTS):
        assert not keys.is_full
        assert pressed(keys, "*0", at=number)
    assert keys.is_full
    assert pressed(keys, "*0", at=MAX_HEARD_ACTS) == []
    assert [act.kind for act in pressed(keys, "*9", at=MAX_HEARD_ACTS)] == [ActKind.WITHDRAW]
