"""Which figures of a month are told, so that nobody can be told from them: not alone, and not by subtracting.

Counts in, cells out. Knows people by tags only, keeps nothing, and sets nobody in an order: there is no ranking.
Two promises hold of all cells of twelve months together, whoever knows who was in which:
no sum or difference of them is of fewer than five people, and none of one month is of people who all answered alike.
"""

from __future__ import annotations

import hmac
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from mitschnitt.core.periods import Period
from mitschnitt.core.policy import Cells, Group

LEAST_PEOPLE = 5  # whatever a policy says: the smallest group that authorities and councils take for one
LEAST_CALLS = 20  # below, an interval at 95 % is half the scale wide
LEAST_HOLDERS = 2  # of each answer: who knows the own answer must not know the only other one
MOST_PARTS = 2  # nobody has more than one part in so many of a figure's calls: it would be a figure of one with others
WINDOW_MONTHS = 12  # cells of this many months are looked at together; by then every standing grant was given anew
WHOLE = ""  # the cell of everybody, into which everything merges in the end
HALF = 15  # the last day of a month's first half
TAG_DOMAIN, TAG_BYTES = b"mitschnitt/v1/cells|", 16
NOWHERE = 0  # the place of who is in no cell

Places = Mapping[str, int]  # of each person: whom no cell tells apart has one number


@dataclass(frozen=True, slots=True)
class Counted:
    """Somebody who was there throughout a month: how many calls were drawn, and how many of them kept."""

    person: str  # tag; the same in all months
    team: str
    calls: int
    kept: int


@dataclass(frozen=True, slots=True)
class Cell:
    """A figure that is told: of which group, of whom, of how many drawn calls, and how many of them were kept."""

    group: str
    people: frozenset[str]
    calls: int
    kept: int


def person_tag(secret: bytes, agent: str) -> str:
    """What stands for an agent among those who were counted, in all months: 32 hex digits, keyed."""
    return hmac.digest(secret, TAG_DOMAIN + agent.encode(), "sha256")[:TAG_BYTES].hex()


def there_throughout(started: str, seen: Collection[date], month: Period) -> bool:
    """Whether somebody was there from the first to the last day of a month, as far as figures go.

    Started before it (ISO 8601 date; "" = nobody knows, so no), and seen in both of its halves. Not in each of its
    weeks: whoever is on leave for a week would go and come back, and every such change is what can be subtracted.
    """
    if not started or date.fromisoformat(started) >= month.first:
        return False
    late = {day.day > HALF for day in seen if month.first <= day <= month.last}
    return late == {False, True}


def publish(counted: Iterable[Counted], rules: Cells, earlier: Iterable[frozenset[str]]) -> tuple[Cell, ...]:
    """The cells of a month that may be told, the whole first, then groups above those within them. Maybe none.

    `earlier` says who was in each cell that was told in the WINDOW_MONTHS - 1 months before. A group that may not be
    told is part of the figure above it, beside as many of its neighbours as keep it from being told by subtraction.
    """
    known = {person.person: person for person in counted}
    told: Places = {}
    for members in earlier:
        told = _split(told, members)
    best: tuple[Cell, ...] = ()
    for chosen in _selections(known, told, rules):
        cells = _cells(chosen, told, rules)
        if len(cells) > len(best):
            best = cells
    return best


def path(team: str, groups: Iterable[Group]) -> tuple[str, ...]:
    """The groups in which a team is counted, nearest first, the whole last. Nobody's team is in the whole alone."""
    by_name = {group.name: group for group in groups}
    name = next((group.name for group in by_name.values() if team and team in group.teams), WHOLE)
    found: list[str] = []
    while name != WHOLE and name in by_name and name not in found:
        found.append(name)
        name = by_name[name].parent
    return (*found, WHOLE)


def _least_people(rules: Cells) -> int:
    return max(rules.people, LEAST_PEOPLE)


def _split(places: Places, members: frozenset[str]) -> Places:
    """The places after one more cell was told: whoever was together and is not both in it or both out is apart."""
    numbers: dict[tuple[int, bool], int] = {(NOWHERE, False): NOWHERE}
    return {
        person: numbers.setdefault((places.get(person, NOWHERE), person in members), len(numbers))
        for person in sorted({*places, *members})
    }


def _selections(known: Mapping[str, Counted], told: Places, rules: Cells) -> Iterator[dict[str, Counted]]:
    """Whom to count: those who may be, with all newcomers, with those of groups that have enough of them, with none.

    The first of them is taken unless another gives more cells. At the beginning nobody is a newcomer: who is in too
    small a team is told of in the whole, not left out so that the others can be told apart.
    """
    old = set(_may_stay(known, told, _least_people(rules)))
    new = [person for person in known.values() if not told.get(person.person, NOWHERE)]
    own = {person.person: path(person.team, rules.groups)[0] for person in new}
    sizes = Counter(own.values())
    enough = {name for name, group in own.items() if sizes[group] >= _least_people(rules)}
    for names in (old | set(own), old | enough, old) if told else (set(own),):
        yield {name: known[name] for name in sorted(names)}


def _may_stay(known: Mapping[str, Counted], told: Places, least: int) -> Iterator[str]:
    """Whom to count of those who were told of before.

    When somebody of a class (people whom no cell told apart so far) is missing, others go uncounted beside them, so
    that both parts are of `least` people. Who goes is decided by tag: neither answers nor names matter.
    """
    classes: dict[int, list[str]] = defaultdict(list)
    for person, place in told.items():
        if place != NOWHERE:
            classes[place].append(person)
    for members in classes.values():
        present = sorted(person for person in members if person in known)
        missing = len(members) - len(present)
        staying = present[max(0, least - missing) :] if missing else present
        if len(staying) >= least:
            yield from staying


def _cells(chosen: Mapping[str, Counted], told: Places, rules: Cells) -> tuple[Cell, ...]:
    """Group by group from the whole downwards: told if all that is told by then stays safe."""
    within: dict[str, set[str]] = defaultdict(set)
    for person in chosen.values():
        for group in path(person.team, rules.groups):
            within[group].add(person.person)
    atoms: Places = {}
    cells: list[Cell] = []
    for group in _downwards(rules.groups):
        members = frozenset(within[group])
        finer, apart = _split(atoms, members), _split(told, members)
        if members and _is_safe(finer, apart, chosen, rules):
            atoms, told = finer, apart
            people = [chosen[person] for person in members]
            calls, kept = sum(person.calls for person in people), sum(person.kept for person in people)
            cells.append(Cell(group, members, calls, kept))
    return tuple(cells)


def _downwards(groups: Sequence[Group]) -> list[str]:
    """The whole, then each group after the one above it; else as in the policy."""
    above = {group.name: group.parent for group in groups}

    def depth(name: str) -> int:
        steps = 0
        while above.get(name) and steps <= len(above):
            name, steps = above[name], steps + 1
        return steps

    return [WHOLE, *sorted(above, key=depth)]


def _is_safe(atoms: Places, apart: Places, chosen: Mapping[str, Counted], rules: Cells) -> bool:
    """Whether each part that this month's cells tell apart may be told, and no part of the window is too small."""
    least = _least_people(rules)
    sizes = Counter(place for place in apart.values() if place != NOWHERE)
    if any(size < least for size in sizes.values()):
        return False
    parts: dict[int, list[Counted]] = defaultdict(list)
    for person, place in atoms.items():
        if place != NOWHERE:
            parts[place].append(chosen[person])
    return all(
        may_be_told([(person.calls, person.kept) for person in part], people=least, calls=rules.calls)
        for part in parts.values()
    )


def may_be_told(part: Iterable[tuple[int, int]], *, people: int, calls: int) -> bool:
    """Whether one sum over these people, each with drawn calls and how many of them were kept, tells of nobody.

    Enough people with drawn calls, enough of these, and no answer that fewer than two, or all but so few, hold. And
    as one of them sees it, who takes off what is the own: nobody else has most of the rest, nor must have agreed.
    """
    with_calls = [person for person in part if person[0] > 0]
    agreed = sum(kept > 0 for _, kept in with_calls)
    if len(with_calls) < max(people, LEAST_PEOPLE) or not LEAST_HOLDERS <= agreed <= len(with_calls) - LEAST_HOLDERS:
        return False
    every, lost = sum(drawn for drawn, _ in with_calls), sum(drawn - kept for drawn, kept in with_calls)
    first, second, *_ = sorted((drawn for drawn, _ in with_calls), reverse=True)
    return every >= max(calls, LEAST_CALLS) and all(
        most * MOST_PARTS <= every - drawn and most <= lost - (drawn - kept)
        for drawn, kept in with_calls
        for most in (second if drawn == first else first,)
    )
