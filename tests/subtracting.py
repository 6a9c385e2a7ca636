"""Somebody who knows who was in which figure, and subtracts: by linear algebra, without any of our own reckoning.

A cell is a row with a one for each person in it. Whatever can be reckoned from cells by adding, subtracting and
weighing is a row of their span; whom such a row is about are the columns in which it is not nought.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from fractions import Fraction


def rank(rows: Iterable[Sequence[int]]) -> int:
    """Of a matrix, exactly (fractions, no rounding)."""
    left = [[Fraction(value) for value in row] for row in rows]
    found = 0
    for column in range(len(left[0]) if left else 0):
        pivot = next((place for place in range(found, len(left)) if left[place][column]), None)
        if pivot is None:
            continue
        left[found], left[pivot] = left[pivot], left[found]
        for place in range(found + 1, len(left)):
            factor = left[place][column] / left[found][column]
            if factor:
                left[place] = [mine - factor * top for mine, top in zip(left[place], left[found], strict=True)]
        found += 1
    return found


def isolated(cells: Sequence[frozenset[str]], fewest: int = 5) -> list[tuple[str, ...]]:
    """Every group of fewer than `fewest` people about whom alone something can be reckoned from these cells.

    People with equal columns can only come together, so they are looked at as one column that weighs as many.
    """
    people = sorted(set().union(*cells)) if cells else []
    columns: dict[tuple[bool, ...], list[str]] = {}
    for person in people:
        columns.setdefault(tuple(person in cell for cell in cells), []).append(person)
    kinds = list(columns.items())
    rows = [[int(signature[place]) for signature, _ in kinds] for place in range(len(cells))]
    whole = rank(rows)
    found = []
    small = [place for place, (_, members) in enumerate(kinds) if len(members) < fewest]
    for size in range(1, fewest):
        for chosen in itertools.combinations(small, size):
            members = [person for place in chosen for person in kinds[place][1]]
            others = [[row[place] for place in range(len(kinds)) if place not in chosen] for row in rows]
            # Less rank without these columns: some combination of the cells vanishes on everybody else.
            if len(members) < fewest and rank(others) < whole:
                found.append(tuple(members))
    return found


def combinations(cells: Sequence[frozenset[str]]) -> list[frozenset[str]]:
    """Every set of people that some of these cells, added and subtracted once each, single out."""
    found = []
    for signs in itertools.product((-1, 0, 1), repeat=len(cells)):
        sums: dict[str, int] = {}
        for sign, cell in zip(signs, cells, strict=True):
            for person in cell:
                sums[person] = sums.get(person, 0) + sign
        if sums and set(sums.values()) <= {0, 1} and 1 in sums.values():
            found.append(frozenset(person for person, value in sums.items() if value))
    return found
