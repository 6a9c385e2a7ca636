"""The eight cheats of the scene, on the honest lists of the second implementation: each is found by its name."""

from __future__ import annotations

import copy
from datetime import date
from pathlib import Path

import pytest

from mitschnitt.commands.week_cheats import CHEATS, Cheating, Lists, caught, load_lists

HONEST = Path(__file__).parent.parent / "vectors" / "draw_lists" / "honest"
DAYS = [date(2026, 11, 23), date(2026, 11, 24)]


@pytest.fixture(scope="module")
def lists() -> Lists:
    return load_lists(HONEST, DAYS, (HONEST / "policy.toml").read_bytes())


def test_what_is_read_is_written_again_to_the_byte(lists: Lists) -> None:
    for (day, name), found in lists.lists.items():
        assert found.to_bytes() == (HONEST / day / name).read_bytes()


def test_the_honest_lists_hold_nothing_wrong(lists: Lists) -> None:
    assert lists.verified() == []


@pytest.mark.parametrize("cheating", CHEATS, ids=lambda cheating: cheating.cheat.value)
def test_each_cheat_is_found_by_its_name_and_the_lists_stay_as_they_were(lists: Lists, cheating: Cheating) -> None:
    before = copy.deepcopy(lists)
    finding, count = caught(lists, cheating)
    assert finding is not None
    assert finding.cheat is cheating.cheat
    assert count >= 1
    assert lists.verified() == before.verified() == []


def test_there_are_eight_of_eight_kinds() -> None:
    assert len({cheating.cheat for cheating in CHEATS}) == len(CHEATS) == 8
