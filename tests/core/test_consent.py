"""Who agreed: the parts that the gate's dialogues do not reach, and the facts as others post them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialogue import CALLER, JENS, POLICY, PROMPT_MS, PROMPT_SHA256, grant, t
from mitschnitt.core.consent import (
    MAX_TEXT_CHARS,
    Act,
    ActKind,
    Asked,
    act_from_json,
    act_to_json,
    agent_consent,
    asked_from_json,
    asked_to_json,
    grant_from_json,
    grant_to_json,
    paused,
    spoken_consent,
    window_of,
    withdrawn,
)
from mitschnitt.core.decision import Decision, Verdict
from mitschnitt.core.purpose import TRAINING, Purpose
from mitschnitt.errors import MalformedPacket

VECTORS = Path(__file__).parent.parent / "vectors" / "core"
ASKED = Asked("caller", "ask-training", PROMPT_SHA256, "de", t(0), t(4), PROMPT_MS, PROMPT_MS)


def vectors(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))["cases"]
    return found


# -- standing grants -------------------------------------------------------------------------------


def test_a_grant_for_another_purpose_is_none() -> None:
    other = replace(grant(), purpose=Purpose("dispute"))
    assert agent_consent("agent", JENS.id, [other], TRAINING, t(0)).rule == "consent.agent.none"


def test_a_grant_of_another_agent_is_none() -> None:
    assert agent_consent("agent", JENS.id, [grant(agent="nora.feld")], TRAINING, t(0)).rule == "consent.agent.none"


def test_a_grant_holds_from_its_first_moment_to_before_its_last() -> None:
    one = grant(granted=0, expires=10)
    rules = [agent_consent("agent", JENS.id, [one], TRAINING, t(at)).rule for at in (-0.001, 0, 9.999, 10)]
    assert rules == ["consent.agent.expired", "consent.given", "consent.given", "consent.agent.expired"]


def test_agreeing_anew_after_a_withdrawal_counts() -> None:
    grants = [grant(granted=-50, withdrawn=-20), grant(granted=-10)]
    assert agent_consent("agent", JENS.id, grants, TRAINING, t(0)).verdict is Verdict.OPEN


def test_a_withdrawal_counts_against_every_grant_that_is_not_newer() -> None:
    grants = [grant(granted=-50, withdrawn=-5), grant(granted=-10)]
    for order in (grants, grants[::-1]):
        assert agent_consent("agent", JENS.id, order, TRAINING, t(0)).rule == "consent.agent.withdrawn"


def test_of_two_grants_of_the_same_moment_the_withdrawn_one_counts() -> None:
    grants = [grant(granted=-10), grant(granted=-10, withdrawn=-10)]
    for order in (grants, grants[::-1]):
        assert agent_consent("agent", JENS.id, order, TRAINING, t(0)).rule == "consent.agent.withdrawn"


def test_of_two_grants_of_the_same_moment_the_shorter_one_counts() -> None:
    grants = [grant(granted=-10, expires=100), grant(granted=-10, expires=-1)]
    for order in (grants, grants[::-1]):
        assert agent_consent("agent", JENS.id, order, TRAINING, t(0)).rule == "consent.agent.expired"


def test_a_withdrawal_counts_at_once_even_if_its_clock_is_ahead() -> None:
    assert agent_consent("agent", JENS.id, [grant(withdrawn=3)], TRAINING, t(0)).verdict is Verdict.WITHDRAW


def test_a_grant_counts_for_the_notice_that_the_policy_names_and_for_no_other() -> None:
    given = grant()
    for notice in ("", given.notice):
        assert agent_consent("agent", JENS.id, [given], TRAINING, t(0), notice=notice).rule == "consent.given"
    for notice in ("notice-2026-2", given.notice + " ", given.notice.upper()):
        expected = Decision(Verdict.REFUSE, "consent.agent.notice", "agent")
        assert agent_consent("agent", JENS.id, [given], TRAINING, t(0), notice=notice) == expected


def test_an_older_grant_for_the_newer_notice_does_not_stand_in_for_the_newest() -> None:
    older, newest = replace(grant(granted=-50), notice="new"), replace(grant(granted=-10), notice="old")
    for order in ([older, newest], [newest, older]):
        assert agent_consent("agent", JENS.id, order, TRAINING, t(0), notice="new").rule == "consent.agent.notice"
    # Of two of one moment the one for another notice counts: the stricter of them.
    twins = [replace(grant(), notice="new"), replace(grant(), notice="old")]
    for order in (twins, twins[::-1]):
        assert agent_consent("agent", JENS.id, order, TRAINING, t(0), notice="new").rule == "consent.agent.notice"


def test_a_withdrawal_of_a_grant_for_another_notice_is_a_withdrawal() -> None:
    taken_back = grant(withdrawn=-5)
    assert agent_consent("agent", JENS.id, [taken_back], TRAINING, t(0), notice="new").verdict is Verdict.WITHDRAW


# -- spoken answers --------------------------------------------------------------------------------


def test_an_answer_counts_from_the_prompts_end_for_the_policys_window() -> None:
    assert window_of(ASKED, POLICY) == (t(4), t(16))


def test_the_same_digits_as_a_pause_are_no_answer() -> None:
    acts = [Act("caller", ActKind.PAUSE, "1", t(6))]
    assert spoken_consent("caller", [ASKED], acts, POLICY, t(7)).rule == "consent.caller.waiting"


def test_a_no_whose_time_has_not_come_counts_at_once() -> None:
    acts = [Act("caller", ActKind.DIGIT, "1", t(5)), Act("caller", ActKind.DIGIT, "2", t(9))]
    expected = Decision(Verdict.REFUSE, "consent.caller.refused", "caller")
    assert spoken_consent("caller", [ASKED], acts, POLICY, t(6)) == expected


def test_the_question_put_to_another_party_is_no_question() -> None:
    acts = [Act("third-1", ActKind.DIGIT, "1", t(6))]
    assert spoken_consent("third-1", [ASKED], acts, POLICY, t(7)).rule == "consent.third.waiting"


@pytest.mark.parametrize(
    "played, length, ended, complete",
    [
        (4_000, 4_000, 4.0, True),
        (4_100, 4_000, 4.1, True),
        (3_999, 4_000, 4.0, False),
        (0, 0, 4.0, False),
        (4_000, 0, 4.0, False),
        (4_000, 4_000, 3.0, True),  # an IVR that rounds to whole seconds
        (4_000, 4_000, 2.9, False),
    ],
)
def test_a_prompt_is_complete_when_it_was_played_whole_and_had_time_for_it(
    played: int, length: int, ended: float, complete: bool
) -> None:
    assert replace(ASKED, played_ms=played, length_ms=length, ended_at=t(ended)).complete is complete


# -- withdrawal and pause --------------------------------------------------------------------------


def test_without_acts_nobody_withdrew_or_paused() -> None:
    assert withdrawn([]) is None
    assert paused([], t(0)) is None


def test_the_first_withdrawal_is_the_one_that_counts() -> None:
    acts = [Act("agent", ActKind.WITHDRAW, "", t(9)), Act("caller", ActKind.WITHDRAW, "", t(8))]
    assert withdrawn(acts) == acts[1]


def test_a_resume_that_is_older_than_the_pause_lifts_nothing() -> None:
    pause, resume = Act("caller", ActKind.PAUSE, "", t(9)), Act("caller", ActKind.RESUME, "", t(8))
    assert paused([pause, resume], t(20)) == pause
    assert paused([resume, pause], t(20)) == pause


def test_a_resume_at_its_own_time_lifts_the_pause() -> None:
    acts = [Act("caller", ActKind.PAUSE, "", t(9)), Act("caller", ActKind.RESUME, "", t(12))]
    assert paused(acts, t(11)) == acts[0]
    assert paused(acts, t(12)) is None


# -- the facts as others post them -----------------------------------------------------------------


@pytest.mark.parametrize("case", vectors("asked"), ids=lambda case: case["name"])
def test_asked_vectors(case: dict[str, Any]) -> None:
    asked = asked_from_json(case["json"])
    assert asked.complete is case["complete"]
    assert asked_to_json(asked) == case["canonical"]
    assert asked_from_json(asked_to_json(asked)) == asked


@pytest.mark.parametrize("case", vectors("act"), ids=lambda case: case["name"])
def test_act_vectors(case: dict[str, Any]) -> None:
    act = act_from_json(case["json"])
    assert act.kind.value == case["canonical"]["kind"]
    assert not act.in_band
    assert act_to_json(act) == case["canonical"]
    assert act_from_json(act_to_json(act)) == act


@pytest.mark.parametrize("case", vectors("grant"), ids=lambda case: case["name"])
def test_grant_vectors(case: dict[str, Any]) -> None:
    granted = grant_from_json(case["json"])
    assert grant_to_json(granted) == case["canonical"]
    assert grant_from_json(grant_to_json(granted)) == granted
    found = agent_consent("agent", granted.agent, [granted], granted.purpose, granted.granted_at)
    assert found.rule == case["rule_at_its_beginning"]


ASKED_JSON, ACT_JSON, GRANT_JSON = (vectors(name)[0]["json"] for name in ("asked", "act", "grant"))
WRONG_ASKED: dict[str, tuple[dict[str, Any], str]] = {
    "a party that is a number": ({"party": 7}, "`party` must be a text"),
    "a text without end": ({"prompt": "x" * (MAX_TEXT_CHARS + 1)}, "at most 256 characters"),
    "a time without a zone": ({"from": "2026-11-23T09:30:00"}, "must name its zone"),
    "a time that is none": ({"from": "yesterday"}, "`from` must be an RFC 3339 time"),
    "a time before our time": ({"from": "0001-01-01T00:00:00Z"}, "`from` lies in the year 1"),
    "a time after which no window fits": ({"to": "9999-12-31T23:59:59Z"}, "`to` lies in the year 9999"),
    "an end before its beginning": ({"to": "2026-11-23T09:29:59Z"}, "`to` lies before `from`"),
    "a length as text": ({"length_ms": "4000"}, "`length_ms` must be a whole number"),
    "a length that is a switch": ({"length_ms": True}, "`length_ms` must be a whole number"),
    "a negative length": ({"played_ms": -1}, "`played_ms` must be a whole number"),
    "a length beyond 31 bits": ({"played_ms": 1 << 31}, "`played_ms` must be a whole number"),
}


@pytest.mark.parametrize("phrase", WRONG_ASKED)
def test_a_broken_asked_is_refused_and_told_why(phrase: str) -> None:
    change, sentence = WRONG_ASKED[phrase]
    with pytest.raises(MalformedPacket, match=sentence):
        asked_from_json({**ASKED_JSON, **change})


@pytest.mark.parametrize("key", ["party", "prompt", "sha256", "from", "to", "played_ms", "length_ms"])
def test_an_asked_with_a_field_missing_is_refused(key: str) -> None:
    with pytest.raises(MalformedPacket, match=f"`{key}`"):
        asked_from_json({name: value for name, value in ASKED_JSON.items() if name != key})


def test_an_act_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(MalformedPacket, match="must be one of digit, withdraw, pause, resume"):
        act_from_json({**ACT_JSON, "kind": "hum"})


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.just("2026-11-23T09:30Z")),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@given(st.sampled_from(["asked", "act", "grant"]), st.dictionaries(st.text(max_size=3), JSON, max_size=3), st.data())
def test_any_object_is_a_fact_or_a_malformed_packet(kind: str, extra: dict[str, Any], data: st.DataObject) -> None:
    whole: dict[str, Any] = {"asked": ASKED_JSON, "act": ACT_JSON, "grant": GRANT_JSON}[kind]
    key = data.draw(st.sampled_from(sorted(whole)))
    broken = {**extra, **whole, key: data.draw(JSON)}
    parse: Any = {"asked": asked_from_json, "act": act_from_json, "grant": grant_from_json}[kind]
    show: Any = {"asked": asked_to_json, "act": act_to_json, "grant": grant_to_json}[kind]
    try:
        fact = parse(broken)
    except MalformedPacket as error:
        told = str(error)
    else:
        told = ""
        assert parse(show(fact)) == fact
    assert not told or "`" in told


def test_an_act_heard_in_band_tells_its_party_and_time() -> None:
    heard = Act(CALLER.name, ActKind.DIGIT, "1", t(6), in_band=True)
    assert act_to_json(heard) == {"party": "caller", "kind": "digit", "value": "1", "at": t(6).isoformat()}
