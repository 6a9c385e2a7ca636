"""Lists beside their policy: a reader of its own finds other strata, rates, exclusions and caps."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest

from mitschnitt.core.policy_text import parse_policy
from mitschnitt.errors import ConfigError
from mitschnitt.keeper.draw_list_header import rules_of
from mitschnitt.proof.draw_format import Caps
from mitschnitt.proof.draw_policy import check_policy, read_policy
from mitschnitt.proof.draw_report import Cheat, From, Report
from proof.drawn_lists import COUNCIL, PUBLIC, opened, said
from second.draw_lists import POLICY
from world import POLICY_TEXT

RULES = read_policy(POLICY.encode(), "policy.toml")
HEADER = opened(PUBLIC).header


def checked(rules: object = RULES, header: object = HEADER) -> Report:
    report = Report()
    check_policy(header, {RULES.hash: rules}, report, From.PUBLIC)  # type: ignore[arg-type,dict-item] # by the callers below
    return report


def test_rates_are_read_exactly() -> None:
    assert [rate for _, rate in RULES.strata] == [Fraction(1, 5), Fraction(3, 100), Fraction(1)]
    assert RULES.caps == Caps(4, Fraction(1, 5), Fraction(1, 4))
    assert (RULES.beacon, RULES.timezone, RULES.signed_by) == ("commit", "Europe/Berlin", ("officer", "council"))


def test_the_policy_of_the_list_has_no_finding() -> None:
    assert checked().findings == []
    assert checked(header=opened(COUNCIL).header).findings == []


def test_other_strata_are_named() -> None:
    assert "3 and not 2" in said(checked(replace(RULES, strata=RULES.strata[:2])))
    other = (("hotline", Fraction(1, 6)), *RULES.strata[1:])
    assert "`hotline` at 1/5 for `hotline` at 1/6" in said(checked(replace(RULES, strata=other)))


def test_exclusions_without_a_count_and_counts_without_an_exclusion_are_named() -> None:
    more = checked(replace(RULES, exclusions=(*RULES.exclusions, "holidays")))
    assert "exclusion `holidays` of the policy has no count" in said(more)
    fewer = checked(replace(RULES, exclusions=RULES.exclusions[:1]))
    assert "`night` has a count and is no exclusion of the policy" in said(fewer)


def test_another_kind_of_beacon_is_a_second_draw() -> None:
    assert checked(replace(RULES, beacon="drand")).cheats() == {Cheat.REDRAWN}


def test_the_share_of_all_is_known_from_the_public_list_and_the_policy() -> None:
    tight = replace(RULES, caps=replace(RULES.caps, share=Fraction(1, 100)))
    assert checked(tight).cheats() == {Cheat.CAP}


def test_a_list_of_another_policy_is_said_only_where_policies_were_given() -> None:
    report = Report()
    check_policy(HEADER, {}, report, From.PUBLIC)
    assert report.findings == []
    check_policy(HEADER, {bytes(32): RULES}, report, From.PUBLIC)
    assert report.cheats() == {Cheat.POLICY}


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\xff",
        b"stratum = 3",
        POLICY.replace("rate = 0.20", 'rate = "often"').encode(),
        POLICY.replace("rate = 0.20", "rate = nan").encode(),
        POLICY.replace("rate = 0.20", "rate = true").encode(),
        POLICY.replace("Europe/Berlin", "Europe/Nowhere").encode(),
        POLICY.replace("Europe/Berlin", "../../etc/passwd").encode(),
        b"x" * 300_000,
    ],
)
def test_what_is_no_policy_is_a_wrong_file(text: bytes) -> None:
    with pytest.raises(ConfigError, match="no policy that draws"):
        read_policy(text, "policy.toml")


def test_the_own_reader_and_that_of_the_keeper_understand_the_same() -> None:
    text = POLICY_TEXT.decode().replace("rate = 1", "rate = 0.125").replace('beacon = "none"', 'beacon = "drand"')
    text += '[[stratum]]\nname = "late"\nwhen = "hour > 18"\nrate = 0.3\n'
    text += '[[exclusion]]\nname = "works council"\nwhen = "queue == \'council\'"\n'
    text += "[caps]\nagent_week = 3\nagent_share = 0.1\nshare = 0.05\n"
    own, kept = read_policy(text.encode(), "policy.toml"), rules_of(parse_policy(text.encode()))
    assert (own.strata, own.exclusions) == (kept.strata, kept.exclusions)
    assert own.caps == Caps(kept.agent_week, kept.agent_share, kept.share)
    assert own.hash.hex() == parse_policy(text.encode()).hash
