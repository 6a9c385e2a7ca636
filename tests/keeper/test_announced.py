"""Announced calls: joined by one reference, or not at all."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from mitschnitt.core.consent import Act, ActKind, Asked
from mitschnitt.errors import NotAllowed, TooLarge
from mitschnitt.keeper.announced import (
    MAX_ACTS,
    MAX_PARTY_POSTS,
    MAX_QUESTIONS,
    Announced,
    AnnouncedCall,
    Joined,
    PartyPost,
    Ref,
    refs_from_json,
)

START = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
ONE, TWO = "0" * 25 + "1", "0" * 25 + "2"
LOCAL, REMOTE = "ab30317f1a784dc48ff824d0d3715d86", "47755a9de7794ba387653f2099600ef2"


def t(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def announce(calls: Announced, call_id: str, *refs: Ref, at: float = 0) -> AnnouncedCall:
    return calls.announce(call_id, refs, queue="sales", direction="in", agent="anna", now=t(at))


def joined(calls: Announced, *refs: Ref, at: float = 1) -> str:
    found = calls.join(refs, 1, t(at))
    return found if isinstance(found, str) else found.call.call_id


def asked(at: float = 1) -> Asked:
    return Asked("caller", "ask", "a" * 64, "de", t(at), t(at + 3), 3_000, 3_000)


def yes(at: float, kind: ActKind = ActKind.DIGIT) -> Act:
    return Act("caller", kind, "1", t(at))


def test_an_invite_joins_by_each_kind_of_reference() -> None:
    for kind in ("sip_session_id", "sip_call_id", "header"):
        calls = Announced(limit=9)
        announce(calls, ONE, Ref(kind, "x@y"))
        assert joined(calls, Ref(kind, "x@y")) == ONE


def test_a_reference_of_another_kind_is_no_match() -> None:
    calls = Announced(limit=9)
    announce(calls, ONE, Ref("sip_call_id", "x@y"))
    assert joined(calls, Ref("header", "x@y")) == "call.unmatched"
    assert joined(calls) == "call.unmatched"


def test_the_calls_own_id_in_the_header_joins() -> None:
    calls = Announced(limit=9)
    announce(calls, ONE, Ref("sip_call_id", "x@y"))
    assert joined(calls, Ref("header", ONE)) == ONE


def test_a_session_id_joins_from_either_end() -> None:
    calls = Announced(limit=9)
    announce(calls, ONE, Ref("sip_session_id", f"{LOCAL};remote={REMOTE}"))
    assert joined(calls, Ref("sip_session_id", f"{REMOTE.upper()};remote={LOCAL}")) == ONE


def test_the_nil_half_of_a_session_id_joins_nothing() -> None:
    calls = Announced(limit=9)
    announce(calls, ONE, Ref("sip_session_id", f"{LOCAL};remote={'0' * 32}"))
    assert joined(calls, Ref("sip_session_id", f"{REMOTE};remote={'0' * 32}")) == "call.unmatched"


def test_two_matches_are_none() -> None:
    calls = Announced(limit=9)
    announce(calls, ONE, Ref("sip_call_id", "x@y"))
    announce(calls, TWO, Ref("sip_call_id", "x@y"))
    assert joined(calls, Ref("sip_call_id", "x@y")) == "call.ambiguous"


def test_references_that_contradict_each_other_are_none() -> None:
    calls = Announced(limit=9)
    announce(calls, ONE, Ref("sip_session_id", LOCAL))
    announce(calls, TWO, Ref("sip_call_id", "x@y"))
    assert joined(calls, Ref("sip_session_id", LOCAL), Ref("sip_call_id", "x@y")) == "call.ambiguous"


def test_a_second_invite_of_the_same_name_is_the_same_call_while_it_runs_on_the_same_recorder() -> None:
    calls = Announced(limit=9)
    announce(calls, ONE, Ref("sip_call_id", "x@y"))
    first, second = (calls.join([Ref("sip_call_id", "x@y"), Ref("header", "z")], 1, t(at)) for at in (1, 2_000))
    assert isinstance(first, Joined)
    assert isinstance(second, Joined)
    assert (first.call.call_id, first.again, first.matched) == (ONE, False, (Ref("sip_call_id", "x@y"),))
    assert (second.call.call_id, second.again) == (ONE, True)
    assert calls.join([Ref("sip_call_id", "x@y")], 2, t(3)) == "call.elsewhere"
    calls.end(ONE)
    assert joined(calls, Ref("sip_call_id", "x@y")) == "call.unmatched"


def test_a_call_that_waits_goes_before_one_that_runs_under_the_same_name() -> None:
    calls = Announced(limit=9)
    announce(calls, ONE, Ref("header", "leg"))
    joined(calls, Ref("header", "leg"))
    announce(calls, TWO, Ref("header", "leg"))
    assert joined(calls, Ref("header", "leg")) == TWO
    assert joined(calls, Ref("header", "leg")) == "call.ambiguous"


def test_a_call_waits_two_minutes_for_its_invite_counted_from_the_first_act() -> None:
    calls = Announced(limit=9)
    announce(calls, ONE, Ref("header", "a"))
    announce(calls, TWO, Ref("header", "b"))
    calls.add_act(TWO, yes(100), t(100))
    calls.add_act(TWO, yes(101, ActKind.PAUSE), t(150))
    assert joined(calls, Ref("header", "a"), at=121) == "call.unmatched"
    assert joined(calls, Ref("header", "b"), at=220) == TWO
    with pytest.raises(NotAllowed, match="call.unknown"):
        calls.get(ONE, t(122))


def test_an_act_older_than_two_minutes_opens_nothing() -> None:
    calls = Announced(limit=9)
    announce(calls, ONE, Ref("header", "a"))
    calls.add_act(ONE, yes(10), t(10))
    calls.add_asked(ONE, asked(100), t(100))
    assert joined(calls, Ref("header", "a"), at=131) == "call.unmatched"
    assert len(calls) == 0


def test_a_joined_call_lives_until_it_ends() -> None:
    calls = Announced(limit=9)
    announce(calls, ONE, Ref("header", "a"))
    joined(calls, Ref("header", "a"))
    calls.add_act(ONE, yes(4_000), t(4_000))
    calls.end(ONE)
    calls.end(ONE)
    with pytest.raises(NotAllowed, match="call.unknown"):
        calls.add_act(ONE, yes(4_001), t(4_001))


def test_what_was_posted_is_told_once_each_and_in_order() -> None:
    calls = Announced(limit=9)
    call = announce(calls, ONE, Ref("header", "a"))
    post = PartyPost("third-1", "joined", "third", "", t(2))
    for _ in range(2):
        calls.add_party(ONE, post, t(2))
        calls.add_asked(ONE, asked(), t(4))
        calls.add_act(ONE, yes(5), t(5))
        calls.add_act(ONE, yes(6, ActKind.WITHDRAW), t(6))
    told = call.facts()
    assert [message["type"] for message in told] == ["party", "asked", "act", "withdraw"]
    assert {message["call"] for message in told} == {ONE}
    assert told[0]["kind"] == "joined"
    assert told[3]["party"] == "caller"


def test_counts_above_the_limits_are_refused_but_a_withdrawal_is_not() -> None:
    calls = Announced(limit=1)
    call = announce(calls, ONE, Ref("header", "a"))
    with pytest.raises(TooLarge, match="at most 1 are"):
        announce(calls, TWO, Ref("header", "b"))
    for number in range(MAX_ACTS):
        calls.add_act(ONE, yes(number), t(1))
    for number in range(MAX_QUESTIONS):
        calls.add_asked(ONE, asked(number), t(1))
    for number in range(MAX_PARTY_POSTS):
        calls.add_party(ONE, PartyPost("third-1", "joined", "third", "", t(number)), t(1))
    with pytest.raises(TooLarge, match="acts"):
        calls.add_act(ONE, yes(100), t(1))
    with pytest.raises(TooLarge, match="questions"):
        calls.add_asked(ONE, asked(100), t(1))
    with pytest.raises(TooLarge, match="joins"):
        calls.add_party(ONE, PartyPost("third-1", "left", "third", "", t(100)), t(1))
    calls.add_act(ONE, yes(100, ActKind.WITHDRAW), t(1))
    assert call.acts[-1].kind is ActKind.WITHDRAW


def test_a_call_needs_a_reference_and_not_too_many() -> None:
    calls = Announced(limit=9)
    for refs in ([], [Ref("header", str(n)) for n in range(9)]):
        with pytest.raises(TooLarge, match="1 to 8 references"):
            announce(calls, ONE, *refs)


def test_after_a_restart_running_calls_are_adopted() -> None:
    calls = Announced(limit=9)
    calls.adopt(ONE, 1, t(0))
    calls.adopt(TWO, 1, t(0))
    calls.add_act(ONE, yes(500), t(500))
    calls.end_all_but(1, [ONE])
    assert len(calls) == 1
    assert calls.get(ONE, t(501)).recorder == 1


def test_references_in_a_frame_are_read_leniently_because_they_open_nothing_alone() -> None:
    good = {"kind": "header", "value": "a"}
    assert refs_from_json([good, {"kind": "phone", "value": "1"}, {"kind": "header"}, 7]) == [Ref("header", "a")]
    assert refs_from_json(None) == []
