"""Times of pairs: alike where they are alike, found where one kind takes longer; of times that are made up."""

from __future__ import annotations

import numpy as np

from mitschnitt.gateways.bench.silence import compare, rounds

KINDS = ("not drawn", "refused", "withdrawn")


def made_up(**slower: float) -> dict[str, np.ndarray]:
    dice = np.random.default_rng(1)
    common = dice.lognormal(0, 0.3, 400)  # what a busy machine does to a whole round
    return {kind: common * dice.lognormal(0, 0.05, 400) * slower.get(kind, 1.0) for kind in KINDS}


def test_kinds_that_take_equally_long_are_not_told_apart() -> None:
    for found in compare(made_up()):
        assert found.low < 1 < found.high
        assert found.chance > 0.05


def test_a_kind_that_takes_two_percent_longer_is_found() -> None:
    refused, withdrawn = compare(made_up(withdrawn=1.02))
    assert refused.low < 1 < refused.high
    assert withdrawn.kind == "withdrawn"
    assert 1 < withdrawn.low < 1.02 < withdrawn.high < 1.04
    assert withdrawn.chance < 0.01


def test_every_round_asks_each_kind_once_in_an_order_of_its_own() -> None:
    asked: list[str] = []

    def ask(kind: str) -> float:
        asked.append(kind)
        return float(len(asked))

    found = rounds(ask, KINDS, 50, dice=np.random.default_rng(1))
    orders = {tuple(asked[start : start + 3]) for start in range(0, 150, 3)}
    assert {frozenset(order) for order in orders} == {frozenset(KINDS)}
    assert len(orders) == 6
    assert sorted(np.concatenate(list(found.values()))) == list(range(1, 151))


def test_a_line_says_ratio_interval_and_chance() -> None:
    (_, withdrawn) = compare(made_up(withdrawn=1.02))
    assert withdrawn.line.startswith("withdrawn")
    assert [part for part in withdrawn.line.split() if part == "to"] == ["to"]
