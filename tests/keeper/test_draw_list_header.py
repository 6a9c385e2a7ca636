"""Headers of lists: what is told of small strata, and what can be no header."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitschnitt.errors import VaultError
from mitschnitt.keeper import draw_list_header
from mitschnitt.keeper.draw_list_header import Header, ListRules, class_of, told_apart
from mitschnitt.store.list_queries import Amount, Held, ListDay, Lot

RULES = ListRules((("a", Fraction(1, 2)), ("b", Fraction(0)), ("c", Fraction(1))), ("x",), 3, None, Fraction(1, 3), 20)
DAY = ListDay("2026-11-23", "00" * 32, "11" * 32)
BEACON = {"kind": "none", "value": "00" * 32}


def header(*found: Amount) -> dict[str, Any]:
    return told(found, many_agents(found))


def told(found: Iterable[Amount], whose: Iterable[Held]) -> dict[str, Any]:
    top: dict[str, Any] = json.loads(Header(DAY, BEACON, RULES, found, whose=whose).public("22" * 32))
    return top


def many_agents(found: Iterable[Amount]) -> list[Held]:
    """Each draw of an agent of its own: nobody is told by any sum, if only it has enough draws of both answers."""
    rows = [(amount.stratum, place) for amount in found if amount.verdict == "drawn" for place in range(amount.count)]
    return [Held(stratum or 0, bytes([at]), 1, at % 2) for at, (stratum, _) in enumerate(rows)]


def drawn(stratum: int, count: int, outcome: str = "kept") -> Amount:
    return Amount(stratum, None, "drawn", outcome, count)


def test_a_stratum_with_enough_draws_tells_its_outcomes() -> None:
    rows = header(drawn(0, 19), drawn(0, 1, "failed"), drawn(2, 20, "not_agreed"))["strata"]
    assert [(row["kept"], row["failed"], row["not_agreed"]) for row in rows] == [
        (19, 1, 0),
        (None, None, None),
        (0, 0, 20),
    ]


def test_small_strata_are_told_in_one_sum_where_that_is_large_enough() -> None:
    top = header(drawn(0, 19), drawn(1, 1, "failed"), drawn(2, 20))
    assert top["outcomes"] == {"strata": [0, 1], "drawn": 20, "kept": 19, "failed": 1, "not_agreed": 0}
    assert [row["kept"] for row in top["strata"]] == [None, None, 20]


def test_where_the_sum_is_too_small_only_the_whole_is_told_so_that_nothing_can_be_subtracted() -> None:
    top = header(drawn(0, 100), drawn(1, 1, "not_agreed"))
    assert [row["kept"] for row in top["strata"]] == [None, None, None]
    assert top["outcomes"]["strata"] == [0, 1, 2]


def test_of_a_day_with_too_few_draws_no_outcome_is_told() -> None:
    top = header(drawn(0, 10), drawn(2, 9, "failed"))
    assert top["outcomes"] is None
    assert [row["failed"] for row in top["strata"]] == [None, None, None]


class Answers(NamedTuple):
    """Of one agent in one stratum: drawn, and kept of them."""

    drawn: int
    kept: int


ANSWERS = st.integers(1, 30).flatmap(lambda drawn: st.builds(Answers, st.just(drawn), st.integers(0, drawn)))
SHIFTS = st.dictionaries(st.integers(0, 12), ANSWERS, max_size=10)  # of one stratum, by agent


@pytest.mark.thorough
@given(st.lists(SHIFTS, max_size=6), st.integers(1, 40))
def test_no_sum_that_can_be_reckoned_from_what_is_told_is_of_too_few_draws_or_people(
    shifts: list[dict[int, Answers]], calls: int
) -> None:
    whose = [
        Held(place, bytes([agent]), *answers) for place, shift in enumerate(shifts) for agent, answers in shift.items()
    ]
    drawn = [sum(answers.drawn for answers in shift.values()) for shift in shifts]
    alone, merged = told_apart(drawn, whose, replace(RULES, cell_calls=calls))
    sums = [{place} for place in alone] + ([set(merged)] if merged else [])
    for places in sums:
        own: dict[int, Counter[str]] = defaultdict(Counter)
        for place in places:
            for agent, answers in shifts[place].items():
                own[agent].update(answers._asdict())
        weights, kept = [one["drawn"] for one in own.values()], [one["kept"] for one in own.values()]
        assert sum(weights) >= calls
        assert len(own) >= 5
        assert 2 <= sum(map(bool, kept)) <= len(own) - 2
        # Whoever has most calls may have had none kept, and is not most of the figure.
        assert sum(kept) <= sum(weights) - max(weights)
        assert max(weights) <= sum(weights) - max(weights)
    # Nothing that has draws is left over beside what is told: the rest of the whole is the whole, or nothing.
    covered = [place for places in sums for place in places]
    assert len(covered) == len(set(covered))
    assert not sums or sum(drawn[place] for place in covered) == sum(drawn)


def test_the_only_agent_of_a_shift_is_not_told_by_the_shifts_stratum() -> None:
    alone = [Held(0, b"anna", 25, 0), *(Held(2, bytes([at]), 1, at % 2) for at in range(40))]
    top = told([drawn(0, 25, "not_agreed"), drawn(2, 20), drawn(2, 20, "not_agreed")], alone)
    assert [row["not_agreed"] for row in top["strata"]] == [None, None, None]
    assert top["outcomes"] is not None
    assert top["outcomes"]["drawn"] == 65


def test_draws_whose_agent_was_never_known_hide_nobody() -> None:
    few = [Held(0, bytes([at]), 3, at % 2) for at in range(4)]
    assert told([drawn(0, 500), drawn(0, 12, "not_agreed")], few)["outcomes"] is None


def test_an_agent_with_most_of_the_draws_is_not_told_with_a_few_others() -> None:
    found = [drawn(0, 70), drawn(0, 40, "not_agreed")]
    others = [Held(0, bytes([at]), 5, at % 2) for at in range(10)]
    assert told(found, [*others, Held(0, b"anna", 46, 0)])["strata"][0]["kept"] is None
    assert told(found, [*others, Held(0, b"anna", 45, 0)])["strata"][0]["kept"] == 70


def test_each_exclusion_has_a_line_also_when_nothing_fell_under_it() -> None:
    top = header(Amount(None, 0, "excluded", None, 3), Amount(None, 65535, "excluded", None, 2))
    assert [(row["name"], row["count"]) for row in top["exclusions"]] == [
        ("x", 3),
        ("unmatched", 0),
        ("failed", 0),
        ("none", 2),
    ]
    assert top["seen"] == 5


def test_capped_calls_are_counted_whatever_the_cap() -> None:
    found = [Amount(0, None, f"capped.{cap}", None, 1) for cap in ("agent_week", "agent_share", "share")]
    assert header(*found)["strata"][0]["capped"] == 3


@pytest.mark.parametrize(
    "amount", [drawn(3, 1), Amount(None, 1, "excluded", None, 1), Amount(None, None, "drawn", None, 1)]
)
def test_a_draw_that_the_policy_cannot_have_made_is_refused(amount: Amount) -> None:
    with pytest.raises(VaultError):
        header(amount)


def test_classes_say_stratum_or_exclusion_in_sixteen_bits() -> None:
    assert [class_of(0, None), class_of(7, None), class_of(None, 0), class_of(None, 65534)] == [0, 7, 0x8000, 0xFFFE]


def test_a_header_that_no_reader_takes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draw_list_header, "MAX_HEADER_BYTES", 1000)
    lots = [Lot("2026-11-23", "share", "keeper", None, 1, 1, 1)] * 100
    with pytest.raises(VaultError, match="at most 1000 are read"):
        Header(DAY, BEACON, RULES, (), whose=()).council("22" * 32, bytes(32), ["keeper"], lots)
