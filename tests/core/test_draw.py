"""The draw: known answers of a second implementation, exact rates, caps, days without a beacon, outcomes by rule."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitschnitt.core.criteria import Placed
from mitschnitt.core.draw import (
    CAPPED,
    DOMAIN,
    NOT_AGREED,
    RULES,
    Cap,
    Day,
    Drawn,
    Outcome,
    agent_tag,
    day_key,
    decide,
    draw_id,
    outcome_of,
    tag_key,
    threshold,
    ticket,
    undrawable,
    wins,
)
from mitschnitt.errors import ConfigError, MalformedPacket
from source import ROOT

KNOWN = json.loads((Path(__file__).parent.parent / "vectors/draw/draws.json").read_text())
SECRET, POLICY, BEACON = (bytes.fromhex(KNOWN[name]) for name in ("secret", "policy_hash", "beacon"))
DAY = Day(KNOWN["day"], KNOWN["policy_hash"], bytes.fromhex(KNOWN["day_key"]), BEACON)
IN_FIRST = Placed(0, None)
ALWAYS, NEVER = Fraction(1), Fraction(0)
RULE = re.compile(r"^\| (`[^|]*`) \|", re.MULTILINE)
GATE_RULES = sorted(
    {
        name
        for cell in RULE.findall((ROOT / "docs/rules.md").read_text(encoding="utf-8").split("\n## ")[1])
        for name in re.findall(r"`([a-z_.]+)`", cell)
    }
)


def test_keys_and_tags_are_those_of_the_second_implementation() -> None:
    assert day_key(SECRET, KNOWN["day"]).hex() == KNOWN["day_key"]
    assert hashlib.sha256(DAY.day_key).hexdigest() == KNOWN["key_sha256"]
    assert tag_key(SECRET, KNOWN["week"]).hex() == KNOWN["tag_key"]
    tags = bytes.fromhex(KNOWN["tag_key"])
    assert {agent: agent_tag(tags, agent).hex() for agent in KNOWN["tags"]} == KNOWN["tags"]


@pytest.mark.parametrize("case", KNOWN["tickets"], ids=lambda case: f"{case['source']}-{case['n']}")
def test_ids_and_tickets_are_those_of_the_second_implementation(case: dict[str, str]) -> None:
    identifier = draw_id(DAY.day_key, case["source"], int(case["n"]))
    assert identifier.hex() == case["draw_id"]
    assert ticket(POLICY, BEACON, identifier) == int(case["ticket"], 16)


@pytest.mark.parametrize("case", KNOWN["thresholds"], ids=lambda case: case["rate"])
def test_thresholds_are_those_of_the_second_implementation(case: dict[str, str]) -> None:
    assert threshold(Fraction(case["rate"])) == int(case["threshold"], 16)


def test_the_domain_fills_one_hash_with_zeros() -> None:
    assert (len(DOMAIN), DOMAIN[:18], set(DOMAIN[18:])) == (32, b"mitschnitt/v1/draw", {0})


@given(st.integers(1, 2**40))
def test_at_rate_one_every_call_is_drawn_and_at_rate_zero_none(n: int) -> None:
    assert decide(DAY, "keeper", n, IN_FIRST, rates=[ALWAYS], spent=None).verdict is Drawn.DRAWN
    assert decide(DAY, "keeper", n, IN_FIRST, rates=[NEVER], spent=None).verdict is Drawn.NOT_DRAWN


def test_even_the_highest_and_the_lowest_ticket_keep_to_rates_one_and_zero() -> None:
    assert threshold(ALWAYS) == 2**256
    assert threshold(NEVER) == 0


@given(st.fractions(0, 1), st.fractions(0, 1))
def test_a_higher_rate_never_draws_fewer(one: Fraction, other: Fraction) -> None:
    lower, higher = sorted((one, other))
    assert threshold(lower) <= threshold(higher)
    assert threshold(lower) <= lower * 2**256 < threshold(lower) + 1


@pytest.mark.parametrize("rate", [Fraction(-1, 2), Fraction(11, 10)])
def test_a_rate_that_is_none_is_refused(rate: Fraction) -> None:
    with pytest.raises(ConfigError, match="a rate lies between 0 and 1, found"):
        threshold(rate)


@pytest.mark.parametrize("length", [0, 31, 33])
def test_keys_hashes_and_beacons_have_32_bytes(length: int) -> None:
    short, whole, identifier = bytes(length), bytes(32), bytes(16)
    for reckon in (
        lambda: day_key(short, "2026-11-26"),
        lambda: tag_key(short, "2026-W48"),
        lambda: agent_tag(short, "carmen"),
        lambda: draw_id(short, "keeper", 1),
        lambda: ticket(short, whole, identifier),
        lambda: ticket(whole, short, identifier),
    ):
        with pytest.raises(MalformedPacket, match=f"has 32 bytes, got {length}"):
            reckon()


def test_numbers_begin_at_one_and_ids_have_16_bytes() -> None:
    with pytest.raises(MalformedPacket, match="numbered from 1, found 0"):
        draw_id(DAY.day_key, "keeper", 0)
    with pytest.raises(MalformedPacket, match="16 bytes, got 15"):
        ticket(POLICY, BEACON, bytes(15))


@given(st.integers(1, 10_000), st.integers(1, 10_000), st.sampled_from(["keeper", "recorder-1", "recorder-11"]))
def test_no_two_draws_of_a_day_have_one_id(n: int, other: int, source: str) -> None:
    assert (draw_id(DAY.day_key, source, n) == draw_id(DAY.day_key, "keeper", other)) == (
        (source, n) == ("keeper", other)
    )


@pytest.mark.parametrize("cap", Cap)
def test_a_cap_takes_only_whom_the_ticket_drew(cap: Cap) -> None:
    half = [Fraction(1, 2)]
    free = [decide(DAY, "keeper", n, IN_FIRST, rates=half, spent=None).verdict for n in range(1, 200)]
    spent = [decide(DAY, "keeper", n, IN_FIRST, rates=half, spent=cap).verdict for n in range(1, 200)]
    assert {(Drawn.DRAWN, CAPPED[cap]), (Drawn.NOT_DRAWN, Drawn.NOT_DRAWN)} == set(zip(free, spent, strict=True))


NOWHERE = [(None, 0), (None, 65535), (0, 0), (None, None), (1, None), (-1, None)]


@pytest.mark.parametrize("placed", [Placed(*place) for place in NOWHERE])
def test_what_is_excluded_or_in_no_stratum_of_the_policy_is_never_drawn(placed: Placed) -> None:
    draw = decide(DAY, "keeper", 1, placed, rates=[ALWAYS], spent=None)
    assert (draw.verdict, draw.rule, draw.is_drawn) == (Drawn.EXCLUDED, "draw.excluded", False)


def test_each_stratum_has_its_own_rate() -> None:
    draws = [decide(DAY, "keeper", 1, Placed(k, None), rates=[NEVER, ALWAYS], spent=None) for k in (0, 1)]
    assert [draw.is_drawn for draw in draws] == [False, True]


def test_a_day_without_its_beacon_draws_nobody() -> None:
    blind = replace(DAY, beacon=None)
    assert not wins(blind, bytes(16), ALWAYS)
    assert not decide(blind, "keeper", 1, IN_FIRST, rates=[ALWAYS], spent=None).is_drawn
    assert undrawable(blind, local_day=DAY.day, policy_hash=DAY.policy_hash) == "draw.beacon.missing"


@pytest.mark.parametrize(
    "day, local_day, policy_hash",
    [
        (None, DAY.day, DAY.policy_hash),
        (DAY, "2026-11-27", DAY.policy_hash),
        (DAY, "2026-12-26", DAY.policy_hash),
        (DAY, DAY.day, "0" * 64),
    ],
)
def test_no_day_or_another_ones_draws_nobody(day: Day | None, local_day: str, policy_hash: str) -> None:
    assert undrawable(day, local_day=local_day, policy_hash=policy_hash) == "draw.day.missing"


def test_a_day_with_key_beacon_and_policy_can_be_drawn_on() -> None:
    assert undrawable(DAY, local_day=DAY.day, policy_hash=DAY.policy_hash) == ""


def test_another_policy_beacon_or_day_draws_others() -> None:
    def drawn(day: Day) -> list[bool]:
        return [decide(day, "keeper", n, IN_FIRST, rates=[Fraction(1, 2)], spent=None).is_drawn for n in range(1, 129)]

    days = [DAY, replace(DAY, policy_hash="1" * 64), replace(DAY, beacon=bytes(32)), replace(DAY, day_key=bytes(32))]
    assert len({tuple(drawn(day)) for day in days}) == len(days)
    assert drawn(DAY) == drawn(DAY)


def test_every_verdict_and_every_cap_has_a_rule() -> None:
    assert set(RULES) == set(Drawn)
    assert {RULES[CAPPED[cap]] for cap in Cap} == {f"draw.cap.{cap}" for cap in Cap}
    assert set(RULES.values()) <= set(GATE_RULES)


@pytest.mark.parametrize("rule", GATE_RULES)
def test_every_rule_by_which_a_drawn_call_can_end_has_an_outcome(rule: str) -> None:
    by_a_person = rule.startswith(("consent.", "act.")) and rule.rsplit(".", 1)[-1] in (
        "pause",
        "expired",
        "none",
        "notice",
        "withdrawn",
        "refused",
        "silent",
    )
    assert outcome_of(rule, kept=False) is (Outcome.NOT_AGREED if by_a_person else Outcome.FAILED)
    assert outcome_of(rule, kept=True) is Outcome.KEPT


def test_caller_and_agent_are_one_figure_and_every_rule_of_it_exists() -> None:
    assert set(GATE_RULES) >= NOT_AGREED
    assert {outcome_of(rule, kept=False) for rule in ("consent.agent.none", "consent.caller.refused")} == {
        Outcome.NOT_AGREED
    }


def test_a_rule_that_nobody_knows_counts_as_a_failure() -> None:
    assert outcome_of("something.new", kept=False) is Outcome.FAILED


def test_twenty_thousand_draws_come_near_their_rate() -> None:
    count = Counter(
        decide(DAY, "keeper", n, IN_FIRST, rates=[Fraction(1, 5)], spent=None).verdict for n in range(1, 20_001)
    )
    assert abs(count[Drawn.DRAWN] - 4_000) < 4 * 57  # four standard deviations of the binomial
    ids = {draw_id(DAY.day_key, "keeper", n) for n in range(1, 20_001)}
    assert len(ids) == 20_000
