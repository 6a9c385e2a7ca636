"""Cells: who is told of together, and that nobody can be told from all of them, whoever subtracts."""

from __future__ import annotations

import hashlib
import hmac
import random  # noqa: TID251 - a simulator takes a seeded Random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mitschnitt.core.cells import (
    WHOLE,
    WINDOW_MONTHS,
    Cell,
    Counted,
    may_be_told,
    path,
    person_tag,
    publish,
    there_throughout,
)
from mitschnitt.core.periods import parse_period
from mitschnitt.core.policy import Cells, Group
from subtracting import combinations, isolated, rank

TEAMS = {"north": 9, "south": 7, "night": 4}
RULES = Cells(5, 20, tuple(Group(team, (team,)) for team in TEAMS))


def people(team: str, count: int, *, calls: int = 6, refusing: int = 2) -> list[Counted]:
    """A team in which so many have no kept call."""
    return [Counted(f"{team}-{number}", team, calls, 0 if number < refusing else calls // 2) for number in range(count)]


def everybody() -> list[Counted]:
    return [person for team, count in TEAMS.items() for person in people(team, count)]


def groups(cells: Sequence[Cell]) -> list[str]:
    return [cell.group for cell in cells]


# -- one month -------------------------------------------------------------------------------------


def test_of_nobody_nothing_is_told() -> None:
    assert publish([], RULES, []) == ()


def test_a_team_that_is_too_small_is_told_with_a_neighbour_that_keeps_it_from_being_subtracted() -> None:
    cells = publish(everybody(), RULES, [])
    assert groups(cells) == [WHOLE, "north"]
    whole, north = cells
    assert (len(whole.people), whole.calls, whole.kept) == (20, 120, 42)
    assert (len(north.people), north.calls, north.kept) == (9, 54, 21)


def test_teams_that_are_large_enough_are_told_each() -> None:
    counted = [*people("north", 9), *people("south", 7)]
    assert groups(publish(counted, RULES, [])) == [WHOLE, "north", "south"]


def test_what_fails_merges_into_the_group_above_before_the_whole() -> None:
    rules = Cells(
        5, 20, (Group("day", (), ""), Group("a", ("a",), "day"), Group("b", ("b",), "day"), Group("c", ("c",)))
    )
    counted = [*people("a", 6), *people("b", 3), *people("c", 6)]
    assert groups(publish(counted, rules, [])) == [WHOLE, "day", "c"]


@pytest.mark.parametrize(
    "counted",
    [
        people("north", 4, calls=50),
        people("north", 5, calls=3),
        people("north", 6, refusing=0),
        people("north", 6, refusing=1),
        people("north", 6, refusing=5),
        people("north", 6, refusing=6),
        [*people("north", 4), Counted("absent", "north", 0, 0)],
    ],
    ids=[
        "four people",
        "15 calls",
        "all agreed",
        "all but one",
        "one agreed",
        "nobody agreed",
        "a fifth without a call",
    ],
)
def test_what_would_tell_of_somebody_is_not_told(counted: list[Counted]) -> None:
    assert publish(counted, RULES, []) == ()


def test_no_policy_makes_cells_smaller_than_five_people_and_twenty_calls() -> None:
    assert publish(people("north", 4, calls=50), Cells(1, 1, RULES.groups), []) == ()
    assert publish(people("north", 6, calls=3), Cells(1, 1, RULES.groups), []) == ()


@pytest.mark.parametrize("kept", [0, 40])
def test_who_has_most_of_the_calls_is_not_told_with_four_others(kept: int) -> None:
    others = [(6, 4), (6, 4), (6, 0), (6, 0)]
    assert not may_be_told([(19, kept and 12), *others], people=5, calls=20)
    assert may_be_told([(18, kept and 5), *others], people=5, calls=20)


def test_nobody_must_have_agreed_for_so_many_to_be_kept() -> None:
    others = [(10, 9), (10, 9), (5, 0), (5, 0)]
    assert not may_be_told([(10, 9), *others, (5, 5)], people=5, calls=20)
    assert may_be_told([(10, 3), *others, (5, 5)], people=5, calls=20)


ONE = st.integers(0, 12).flatmap(lambda calls: st.tuples(st.just(calls), st.integers(0, calls)))


@given(st.lists(ONE, min_size=5, max_size=9))
def test_whoever_knows_the_own_calls_knows_no_others_answer(part: list[tuple[int, int]]) -> None:
    if not may_be_told(part, people=5, calls=20):
        return
    for knower, (_, own_kept) in enumerate(part):
        rest = [calls for other, (calls, _) in enumerate(part) if other != knower]
        kept = sum(kept for _, kept in part) - own_kept
        for calls in rest:
            assert 0 < kept <= sum(rest) - calls  # some of it could be of this one, and all of it of others
            assert calls <= sum(rest) - calls


def test_a_policy_may_make_cells_larger() -> None:
    assert publish(people("north", 9), Cells(10, 20), []) == ()
    assert publish(people("north", 9), Cells(5, 55), []) == ()
    assert groups(publish(people("north", 9), Cells(9, 54), [])) == [WHOLE]


def test_the_order_in_which_people_come_changes_nothing() -> None:
    counted = everybody()
    assert publish(counted[::-1], RULES, []) == publish(counted, RULES, [])


@pytest.mark.parametrize(
    "team, found",
    [
        ("a", ("a", "day", WHOLE)),
        ("day", ("day", WHOLE)),
        ("nobody's", (WHOLE,)),
        ("", (WHOLE,)),
        ("x", ("x", "y", WHOLE)),
    ],
)
def test_the_way_up_ends_at_the_whole_even_where_a_policy_runs_in_a_circle(team: str, found: tuple[str, ...]) -> None:
    tree = (Group("a", ("a",), "day"), Group("day", ("day",)), Group("x", ("x",), "y"), Group("y", (), "x"))
    assert path(team, tree) == found
    assert publish(everybody(), Cells(5, 20, tree), [])


# -- who is counted --------------------------------------------------------------------------------

NOVEMBER = parse_period("2026-11")


@pytest.mark.parametrize(
    "started, days, there",
    [
        ("2026-10-31", (2, 30), True),
        ("2026-10-31", (15, 16), True),
        ("2026-11-01", (2, 30), False),
        ("2027-01-01", (2, 30), False),
        ("", (2, 30), False),
        ("2026-10-31", (2, 15), False),
        ("2026-10-31", (16, 30), False),
        ("2026-10-31", (), False),
    ],
)
def test_there_throughout_is_who_began_before_and_was_seen_in_both_halves(
    started: str, days: tuple[int, ...], there: bool
) -> None:
    seen = {date(2026, 11, day) for day in days}
    assert there_throughout(started, seen, NOVEMBER) is there
    # Days of other months are no sign of life in this one.
    assert there_throughout(started, {date(2026, 10, 3), date(2026, 12, 30)}, NOVEMBER) is False


def test_a_tag_is_the_same_in_all_months_and_nobodys_without_the_secret() -> None:
    secret = bytes(32)
    assert person_tag(secret, "anna") == person_tag(secret, "anna")
    assert len({person_tag(secret, "anna"), person_tag(secret, "ben"), person_tag(b"x" * 32, "anna")}) == 3
    known = hmac.new(secret, b"mitschnitt/v1/cells|anna", hashlib.sha256).hexdigest()
    assert person_tag(secret, "anna") == known[:32]


# -- several months --------------------------------------------------------------------------------


def test_whoever_leaves_takes_others_with_them_so_that_nobody_is_the_difference() -> None:
    january = publish(everybody(), Cells(), [])
    february = publish(everybody()[1:], Cells(), [cell.people for cell in january])
    assert [len(cell.people) for cell in (*january, *february)] == [20, 15]
    assert isolated([cell.people for cell in (*january, *february)]) == []


def test_newcomers_wait_until_there_are_five() -> None:
    january = [cell.people for cell in publish(everybody(), Cells(), [])]
    hired = [Counted(f"new-{number}", "north", 6, 3) for number in range(5)]
    [four] = publish([*everybody(), *hired[:4]], Cells(), january)
    [five] = publish([*everybody(), *hired], Cells(), january)
    assert (len(four.people), len(five.people)) == (20, 25)


def test_four_others_who_went_uncounted_do_not_come_back_alone() -> None:
    january = publish(everybody(), Cells(), [])
    february = publish(everybody()[1:], Cells(), [january[0].people])
    [march] = publish(everybody()[1:], Cells(), [january[0].people, february[0].people])
    assert march.people == february[0].people


def test_who_changes_the_team_is_not_found_by_it() -> None:
    counted = [*people("north", 9), *people("south", 9)]
    january = [cell.people for cell in publish(counted, RULES, [])]
    moved = [Counted(counted[0].person, "south", 6, 3), *counted[1:]]
    later = publish(moved, RULES, january)
    assert isolated([*january, *(cell.people for cell in later)]) == []


# -- the attack ------------------------------------------------------------------------------------


@dataclass
class Year:
    """Twelve months of a centre: who worked where, who was told of in which cell, and what each person did."""

    cells: list[list[Cell]] = field(default_factory=list)
    counted: list[list[Counted]] = field(default_factory=list)

    def members(self) -> list[frozenset[str]]:
        return [cell.people for month in self.cells for cell in month]


Publisher = Callable[[Iterable[Counted], Cells, Iterable[frozenset[str]]], tuple[Cell, ...]]


def naive(counted: Iterable[Counted], rules: Cells, _earlier: Iterable[frozenset[str]]) -> tuple[Cell, ...]:
    """What one would do at first: every group that has five people and twenty calls."""
    cells, counted = [], tuple(counted)
    for name in [WHOLE, *(group.name for group in rules.groups)]:
        own = [person for person in counted if name in path(person.team, rules.groups)]
        if len(own) >= rules.people and sum(person.calls for person in own) >= rules.calls:
            told = frozenset(person.person for person in own)
            cells.append(Cell(name, told, sum(person.calls for person in own), sum(person.kept for person in own)))
    return tuple(cells)


def simulate(
    seed: int, teams: dict[str, int], rules: Cells, *, publisher: Publisher = publish, turnover: float = 0.02
) -> Year:
    """A year: people are hired, leave, move, agree, refuse and change their minds; figures are told month by month."""
    dice = random.Random(seed)
    staff = {f"{team}-{number}": team for team, count in teams.items() for number in range(count)}
    agrees = {person: dice.random() < 0.7 for person in staff}
    year, told = Year(), list[list[frozenset[str]]]()
    for month in range(12):
        for person in list(staff):
            if dice.random() < turnover:
                del staff[person]
            elif dice.random() < 0.01:
                staff[person] = dice.choice(sorted(teams))
            elif dice.random() < 0.03:
                agrees[person] = not agrees[person]
        for number in range(dice.choice((0, 0, 1, 2))):
            hired = f"hired-{month}-{number}"
            staff[hired], agrees[hired] = dice.choice(sorted(teams)), dice.random() < 0.7
        counted = []
        for person, team in staff.items():
            drawn = dice.randint(0, 12)
            kept = sum(dice.random() < 0.6 for _ in range(drawn)) if agrees[person] else 0
            counted.append(Counted(person, team, drawn, kept))
        earlier = [members for cells in told[-(WINDOW_MONTHS - 1) :] for members in cells]
        cells = list(publisher(counted, rules, earlier))
        told.append([cell.people for cell in cells])
        year.cells.append(cells)
        year.counted.append(counted)
    return year


CENTRES = {
    "teams of 9, 7 and 4": (TEAMS, RULES),
    "two sites with teams": (
        {"n1": 12, "n2": 9, "n3": 3, "s1": 14, "s2": 6},
        Cells(
            5,
            20,
            (
                Group("north", ()),
                Group("south", ("s3",)),
                *(
                    Group(team, (team,), "north" if team[0] == "n" else "south")
                    for team in ("n1", "n2", "n3", "s1", "s2")
                ),
            ),
        ),
    ),
    "no groups at all": ({"a": 15, "b": 20}, Cells()),
}


@pytest.mark.parametrize("centre", CENTRES)
@pytest.mark.parametrize("seed", range(6))
def test_from_all_cells_of_a_year_nobody_and_no_group_below_five_can_be_reckoned(centre: str, seed: int) -> None:
    teams, rules = CENTRES[centre]
    year = simulate(seed, teams, rules)
    assert year.members(), "a year without any figure shows nothing"
    assert isolated(year.members()) == []


@pytest.mark.parametrize("centre", CENTRES)
@pytest.mark.parametrize("seed", range(6))
def test_no_combination_of_one_months_cells_is_of_people_who_all_did_the_same(centre: str, seed: int) -> None:
    teams, rules = CENTRES[centre]
    year = simulate(seed, teams, rules, turnover=0.0)
    looked_at = 0
    for cells, counted in zip(year.cells, year.counted, strict=True):
        known = {person.person: person for person in counted}
        for found in combinations([cell.people for cell in cells]):
            active = [known[person] for person in found if known[person].calls]
            agreed = sum(person.kept > 0 for person in active)
            assert len(active) >= 5
            assert 2 <= agreed <= len(active) - 2
            assert sum(person.calls for person in active) >= 20
            looked_at += 1
    assert looked_at


@pytest.mark.parametrize("seed", range(6))
def test_the_attack_finds_what_a_naive_publisher_gives_away(seed: int) -> None:
    year = simulate(seed, TEAMS, RULES, publisher=naive)
    within_a_month = isolated([cell.people for cell in year.cells[0]])
    assert within_a_month, "a team of four is the whole without the two others"
    assert isolated(year.members(), fewest=2), "whoever left is the difference of two months"


def test_figures_go_on_through_the_year_where_few_come_and_go() -> None:
    months = [sum(bool(cells) for cells in simulate(seed, *CENTRES["no groups at all"]).cells) for seed in range(6)]
    print(f"\nmonths with a figure, of twelve, in six centres of 35 people: {months}")
    assert min(months) >= 3


@pytest.mark.thorough
@settings(max_examples=60)
@given(st.data())
def test_whoever_was_told_before_and_whoever_is_there_now_nobody_is_singled_out(data: st.DataObject) -> None:
    names = [f"p{number}" for number in range(24)]
    team = st.sampled_from(["north", "south", "night", ""])
    earlier: list[frozenset[str]] = []
    for _ in range(3):
        present = data.draw(st.lists(st.sampled_from(names), unique=True, min_size=10))
        counted = [
            Counted(name, data.draw(team), calls, data.draw(st.sampled_from([0, calls])))
            for name in present
            for calls in [data.draw(st.integers(0, 9))]
        ]
        earlier += [cell.people for cell in publish(counted, RULES, earlier)]
        assert isolated(earlier) == []


# -- the attacker's own tools ----------------------------------------------------------------------


def test_the_rank_is_that_of_the_textbook() -> None:
    assert [rank([]), rank([[0, 0]]), rank([[1, 2], [2, 4]]), rank([[1, 1, 0], [0, 1, 1], [1, 0, 1]])] == [0, 0, 1, 3]


def test_the_attacker_subtracts() -> None:
    whole, part = frozenset("abcdefgh"), frozenset("abcdefg")
    assert isolated([whole, part]) == [("h",)]
    assert isolated([whole]) == isolated([]) == []
    assert frozenset("h") in combinations([whole, part])
