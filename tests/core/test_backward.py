"""The backward draw: smallest tickets of a fixed population; who drops out makes way for the next ticket only (R21)."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from mitschnitt.core.backward import (
    Candidate,
    backward_key,
    backward_ticket,
    candidate_id,
    picks,
    population_root,
)
from mitschnitt.errors import NotAllowed

RECORD, BEACON, SECRET = b"r" * 32, b"b" * 32, bytes(range(32))


def candidates(count: int, *strata: str) -> list[Candidate]:
    names = strata or ("training",)
    return [
        Candidate(hashlib.sha256(str(number).encode()).digest()[:16], names[number % len(names)])
        for number in range(count)
    ]


def test_ids_are_salted_by_period_and_secret() -> None:
    key = backward_key(SECRET, "2026-W47")
    assert key == hmac.new(SECRET, b"mitschnitt/v1/backward|2026-W47", "sha256").digest()
    assert candidate_id(key, "CALL") == hmac.new(key, b"CALL", "sha256").digest()[:16]
    assert candidate_id(backward_key(SECRET, "2026-W46"), "CALL") != candidate_id(key, "CALL")


def test_a_ticket_is_the_documented_hash() -> None:
    whole = b"mitschnitt/v1/backward" + bytes(10) + RECORD + BEACON + b"i" * 16
    assert backward_ticket(RECORD, BEACON, b"i" * 16) == hashlib.sha256(whole).digest()


def test_the_root_is_of_all_ids_and_strata_in_one_order() -> None:
    found = candidates(50, "a", "b")
    assert population_root(found) == population_root(reversed(found))
    by_hand = b"mitschnitt/v1/backward/population|" + b"".join(
        item.id + b"\x00\x01" + item.stratum.encode() for item in sorted(found, key=lambda item: item.id)
    )
    assert population_root(found) == hashlib.sha256(by_hand).digest()


@given(st.integers(0, 49))
def test_a_call_that_is_dropped_added_or_moved_changes_the_root(place: int) -> None:
    found = candidates(50, "a", "b")
    root = population_root(found)
    moved = [*found[:place], Candidate(found[place].id, "c"), *found[place + 1 :]]
    assert root not in {
        population_root(found[:place] + found[place + 1 :]),
        population_root([*found, Candidate(b"x" * 16, "a")]),
        population_root(moved),
    }


def test_of_nobody_nothing_is_drawn() -> None:
    with pytest.raises(NotAllowed) as info:
        population_root([])
    assert info.value.rule == "draw.backward.empty"


def test_each_stratum_has_its_own_smallest_tickets() -> None:
    found = picks(candidates(100, "a", "b", "c"), record=RECORD, beacon=BEACON, take=5, gone=())
    assert {name: len(chosen) for name, chosen in found.items()} == {"a": 5, "b": 5, "c": 5}
    for name, chosen in found.items():
        tickets = sorted(
            backward_ticket(RECORD, BEACON, item.id) for item in candidates(100, "a", "b", "c") if item.stratum == name
        )
        assert [backward_ticket(RECORD, BEACON, identifier) for identifier in chosen] == tickets[:5]


def test_where_fewer_are_left_fewer_are_drawn() -> None:
    assert len(picks(candidates(3), record=RECORD, beacon=BEACON, take=5, gone=())["training"]) == 3
    everybody = {item.id for item in candidates(3)}
    assert picks(candidates(3), record=RECORD, beacon=BEACON, take=5, gone=everybody) == {"training": ()}


def test_another_beacon_and_another_record_draw_others() -> None:
    def chosen(record: bytes, beacon: bytes) -> tuple[bytes, ...]:
        return picks(candidates(1_000), record=record, beacon=beacon, take=10, gone=())["training"]

    assert len({chosen(RECORD, BEACON), chosen(RECORD, b"x" * 32), chosen(b"x" * 32, BEACON)}) == 3


class Replacement(RuleBasedStateMachine):
    """Calls drop out one by one, in any order; the model is a list of tickets from which they are struck."""

    there = Bundle("there")

    def __init__(self) -> None:
        super().__init__()
        self.population = candidates(30, "a", "b")
        self.gone: set[bytes] = set()
        self.model: dict[str, list[bytes]] = {}
        self.before: dict[str, tuple[bytes, ...]] = {}

    @initialize(target=there)
    def begin(self) -> object:
        for item in self.population:
            self.model.setdefault(item.stratum, []).append(item.id)
        for tickets in self.model.values():
            tickets.sort(key=lambda identifier: backward_ticket(RECORD, BEACON, identifier))
        self.before = self.chosen()
        return multiple(*[item.id for item in self.population])

    def chosen(self) -> dict[str, tuple[bytes, ...]]:
        return dict(picks(self.population, record=RECORD, beacon=BEACON, take=4, gone=self.gone))

    @rule(identifier=consumes(there))
    def drops_out(self, identifier: bytes) -> None:
        self.gone.add(identifier)
        for tickets in self.model.values():
            if identifier in tickets:
                tickets.remove(identifier)
        after = self.chosen()
        for name, chosen in after.items():
            stayed = [item for item in self.before[name] if item != identifier]
            assert list(chosen[: len(stayed)]) == stayed, "nobody who was picked is exchanged"
            assert len(set(chosen) - set(stayed)) <= 1, "one moves up for one who dropped out"
        self.before = after

    @invariant()
    def the_picks_are_those_of_the_model(self) -> None:
        if self.model:
            assert self.chosen() == {name: tuple(tickets[:4]) for name, tickets in sorted(self.model.items())}


TestReplacement = Replacement.TestCase
TestReplacement.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)
