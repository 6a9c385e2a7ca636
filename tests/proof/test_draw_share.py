"""The cap on all calls in the order of numbers: what the keeper and recorders could know when they capped."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from fractions import Fraction

import numpy as np
import pytest

from mitschnitt.proof.draw_format import Allowance, Caps, Header
from mitschnitt.proof.draw_share import GRACE_NUMBERS, ShareOfAll, bound_of
from proof.drawn_lists import COUNCIL, opened

HEADER = opened(COUNCIL).header
DAY = HEADER.day


def header(calls: int, leases: list[tuple[str, int, int]], share: Fraction | None = Fraction(1, 10)) -> Header:
    """A day with so many calls in one stratum, and units given as (source, from_n, units)."""
    assert HEADER.bundle is not None
    allowances = tuple(Allowance(DAY, "share", source, 0, from_n, units, 0) for source, from_n, units in leases)
    bundle = replace(HEADER.bundle, allowances=allowances, caps=Caps(None, None, share))
    stratum = replace(HEADER.strata[0], seen=calls)
    return replace(HEADER, strata=(stratum,), bundle=bundle)


def walked(share: ShareOfAll, source: str, verdicts: list[int], block: int = 1000) -> list[str]:
    """Hands over verdicts of calls in strata, numbered from 1."""
    for at in range(0, len(verdicts), block):
        part = np.array(verdicts[at : at + block], np.uint8)
        share.take(source, np.arange(at + 1, at + 1 + len(part)), np.zeros(len(part), np.int64), part)
    return share.end()


def test_the_first_unit_is_always_there() -> None:
    assert [bound_of(Fraction(1, 10), calls) for calls in (0, 9, 19, 20)] == [1, 1, 1, 2]


@pytest.mark.parametrize("block", [1, 3, 1000])
def test_a_keeper_that_caps_when_its_share_is_spent_is_right(block: int) -> None:
    day = header(20, [("keeper", 1, 2)])
    assert walked(ShareOfAll(day), "keeper", [2, 5, *[1] * 17, 2], block) == []


@pytest.mark.parametrize("block", [1, 3, 1000])
def test_a_keeper_that_caps_while_a_unit_is_free_is_found(block: int) -> None:
    day = header(20, [("keeper", 1, 1)])
    found = walked(ShareOfAll(day), "keeper", [2, *[1] * 18, 5], block)
    assert found == ["1 calls were capped while a unit of the cap on all calls was free"]


def test_units_that_others_were_lent_are_not_free() -> None:
    day = header(20, [("keeper", 1, 1), ("recorder-0", 1, 1)])
    assert walked(ShareOfAll(day), "keeper", [2, *[1] * 18, 5]) == []


def test_a_call_that_an_agents_cap_closed_later_had_taken_a_unit() -> None:
    day = header(20, [("keeper", 1, 2)])
    assert walked(ShareOfAll(day), "keeper", [3, 5, *[1] * 17, 2]) == []


def test_a_recorder_draws_only_what_it_was_lent() -> None:
    day = header(40, [("recorder-0", 3, 1)])
    assert walked(ShareOfAll(day), "recorder-0", [1, 1, 2, 5]) == []
    too_early = walked(ShareOfAll(day), "recorder-0", [2, 1, 1])
    assert too_early == ["1 calls were drawn without a unit of the cap on all calls in their source"]


def test_a_recorder_hears_of_units_a_little_later() -> None:
    day = header(40, [("recorder-0", 1, 1)])
    share = ShareOfAll(day)
    assert walked(share, "recorder-0", [5]) == []
    assert share.doubtful == 1
    share = ShareOfAll(day)
    found = walked(share, "recorder-0", [*[1] * GRACE_NUMBERS, 5])
    assert found == ["1 calls were capped while a unit of the cap on all calls was free"]


def test_more_than_the_share_is_found_at_the_end() -> None:
    day = header(20, [("keeper", 1, 3)])
    assert walked(ShareOfAll(day), "keeper", [2, 2, 2]) == [
        "3 calls were drawn; 1/10 of the 20 calls in strata are 2",
        "3 units were given; 1/10 of the 20 calls in strata are 2",
    ]


def test_without_a_cap_nobody_is_capped_by_it() -> None:
    day = header(20, [], None)
    assert walked(ShareOfAll(day), "keeper", [2, 2, 1]) == []
    assert len(walked(ShareOfAll(day), "keeper", [5])) == 1


def test_units_of_another_day_do_not_count() -> None:
    day = header(20, [])
    assert day.bundle is not None
    tomorrow = Allowance(date(2026, 11, 24), "share", "recorder-0", 0, 1, 5, 0)
    day = replace(day, bundle=replace(day.bundle, allowances=(tomorrow,)))
    assert len(walked(ShareOfAll(day), "recorder-0", [2])) == 1
