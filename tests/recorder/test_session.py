"""One call against the session: what it lets in, what it keeps, and that it is shut in every odd order.

Media and journal are real; the keeper and time are played (`recorder_stage`).
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from dialogue import grant
from mitschnitt.core.draw import Told
from mitschnitt.core.gate import State
from mitschnitt.wire.sdp import Form, parse_sdp
from mitschnitt.wire.siprec import MetadataBroken
from recorder_stage import (
    CALL,
    CLARA,
    DRAWN,
    JENS_AOR,
    TAREK,
    THREE,
    TWO,
    Stage,
    act,
    asked,
    branch_of,
    drawn_on,
    ended,
    is_closed,
    is_open,
    joined,
    metadata,
    offer,
    over,
    party,
    play,
    ports_of,
    signalled_to,
    state_of,
    view,
)

# -- the usual way -------------------------------------------------------------------------------------


def test_nothing_is_kept_before_the_act_and_all_after_it_until_the_end(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        session = stage.session()
        clara, jens = stage.voices["clara"], stage.voices["jens"]
        first = ports_of(session)
        assert is_closed(parse_sdp(session.body(branch_of(session))))
        stage.link.answer(joined(asked=[asked()]))
        assert state_of(session) is State.ASKING
        clara.says(first[0], 5)
        stage.seconds = 6.0
        session.post("act", act("1", 5.5))
        assert state_of(session) is State.KEEPING
        opened = signalled_to(session).offers[-1]
        fresh = [line.port for line in opened.lines]
        assert is_open(opened)
        assert not set(fresh) & set(first)
        clara.says(first[0], 5)  # still behind the filter of the port that the client leaves
        said = clara.says(fresh[0], 5), jens.says(fresh[1], 5)
        branch_of(session).moved()
        assert stage.open_lines() == 2
        stage.tick()
        newest = clara.says(fresh[0], 3)  # younger than any tick: kept at a normal end
        told = await over(stage, session, "arrived", "track", "track", "sealed", "sealed", "closed")
        assert told["rule"] == "consent.all"
        assert told["outcome"] == "kept"
        assert stage.kept(0) == said[0] + newest
        assert stage.kept(1) == said[1]
        assert stage.link.sent[-1] == ended("kept")

    play(tmp_path, scene)


def test_a_pause_takes_back_the_newest_and_resume_goes_on_on_fresh_ports(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        session = stage.keeping()
        ports = ports_of(session)
        kept = stage.voices["clara"].says(ports[0], 4)
        stage.tick(8)
        taken_back = stage.voices["clara"].says(ports[0], 4)
        stage.tick(2)
        session.post("act", act("", stage.seconds, kind="pause"))
        assert state_of(session) is State.PAUSED
        assert is_closed(signalled_to(session).offers[-1])
        assert not stage.holds(b"clara:000005")
        stage.voices["clara"].says(ports[0], 4)
        stage.tick(2)
        session.post("act", act("", stage.seconds, kind="resume"))
        assert state_of(session) is State.KEEPING
        assert not set(ports_of(session)) & set(ports)
        kept += stage.voices["clara"].says(ports_of(session)[0], 2)
        stage.tick()
        await over(stage, session, "arrived", "track", "track", "sealed", "sealed", "closed")
        assert stage.kept(0) == kept
        assert not set(kept) & set(taken_back)

    play(tmp_path, scene)


def test_a_withdrawal_forgets_keys_and_audio_and_closes_not_kept(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        session = stage.keeping()
        stage.voices["clara"].says(ports_of(session)[0], 4)
        stage.tick(2)
        tracks = list(session._recording.tracks.values())
        session.post("withdraw", act("", stage.seconds, kind="withdraw"))
        assert state_of(session) is State.WITHDRAWN
        assert [track.leaf_key for track in tracks] == [b"", b""]
        assert session._recording.key is None
        assert not stage.holds(b"clara:")
        assert is_closed(signalled_to(session).offers[-1])
        assert signalled_to(session).hung_up == 1
        session.post("withdraw", act("", stage.seconds + 1, kind="withdraw"))
        assert signalled_to(session).hung_up == 1
        told = await over(stage, session, "arrived", "track", "track", "shred", "closed")
        assert (told["outcome"], told["rule"]) == ("not_kept", "consent.withdrawn")
        assert list(stage.blobs.names()) == []

    play(tmp_path, scene)


def test_digits_are_heard_behind_the_filter_and_audio_is_not(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        session = stage.session()
        stage.link.answer(joined(answer_by="digit", asked=[asked()]))
        assert session.form() is Form.LISTEN
        first = ports_of(session)
        stage.seconds = 5.0
        stage.voices["clara"].says(first[0], 5)
        stage.voices["jens"].presses(first[1], "1")
        stage.tick()
        assert state_of(session) is State.ASKING  # the agent's key is no answer of the caller
        stage.voices["clara"].presses(first[0], "1")
        stage.tick()
        assert state_of(session) is State.KEEPING
        assert ports_of(session) != first
        assert not stage.holds(b"clara:")
        told = await over(stage, session, "arrived", "track", "track", "sealed", "sealed", "closed")
        assert told["acts"][0]["value"] == "1"

    play(tmp_path, scene)


@pytest.mark.parametrize("keys, rule", [("2", "consent.caller.refused"), ("", "consent.caller.silent")])
def test_a_no_and_silence_leave_the_closed_answer_and_nothing_else(tmp_path: Path, keys: str, rule: str) -> None:
    async def scene(stage: Stage) -> None:
        session = stage.session()
        stage.link.answer(joined(answer_by="digit", asked=[asked()]))
        stage.seconds = 5.0
        stage.voices["clara"].presses(ports_of(session)[0], keys)
        stage.tick()
        stage.seconds = 30.0
        session.look()
        assert state_of(session) is State.REFUSED
        assert session.form() is Form.CLOSED
        stage.voices["clara"].presses(ports_of(session)[0], "1")
        stage.tick()
        assert state_of(session) is State.REFUSED
        told = await over(stage, session, "arrived", "closed")
        assert (told["outcome"], told["rule"]) == ("not_kept", rule)

    play(tmp_path, scene)


# -- odd orders ----------------------------------------------------------------------------------------


def test_a_join_that_comes_after_the_end_takes_no_key_and_is_given_back(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        session = stage.session()
        session.ended()
        stage.link.answer(joined(asked=[asked()], acts=[act("1", 5)]))
        assert stage.link.given == []
        assert stage.link.sent == [{"type": "ended", "call": CALL}]
        await over(stage, session)

    play(tmp_path, scene)


def test_acts_that_came_before_the_invite_open_the_first_answer(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        session = stage.session(answered=False)
        before = ports_of(session)
        stage.seconds = 6.0
        stage.link.answer(joined(asked=[asked()], acts=[act("1", 5)]))
        assert state_of(session) is State.KEEPING
        assert ports_of(session) == before
        assert is_open(parse_sdp(session.body(branch_of(session))))
        assert signalled_to(session).offers == []
        await over(stage, session, "arrived", "track", "track", "sealed", "sealed", "closed")

    play(tmp_path, scene)


def test_a_broken_fact_among_those_posted_before_keeps_the_call_shut(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        session = stage.session()
        stage.seconds = 6.0
        broken = {**act("2", 5.5), "at": "yesterday"}
        stage.link.answer(joined(asked=[asked()], acts=[act("1", 5), broken]))
        assert state_of(session) is State.NOT_ASKED
        told = await over(stage, session, "arrived", "closed")
        assert told["rule"] == "facts.broken"

    play(tmp_path, scene)


@pytest.mark.parametrize("told", [{}, {"at": "now"}, {"at": None, "party": 7}, {"kind": "digit", "at": 3}])
def test_a_withdrawal_counts_however_badly_it_is_told(tmp_path: Path, told: dict[str, Any]) -> None:
    async def scene(stage: Stage) -> None:
        session = stage.keeping()
        session.post("withdraw", {"call": CALL, **told})
        assert state_of(session) is State.WITHDRAWN
        await over(stage, session, "arrived", "track", "track", "shred", "closed")

    play(tmp_path, scene)


@pytest.mark.parametrize(
    "answer, rule",
    [
        (None, "keeper.gone"),
        ({"call": None, "rule": "call.unmatched"}, "call.unmatched"),
        ({"call": None, "rule": "call.ambiguous"}, "call.ambiguous"),
    ],
)
def test_a_call_that_nobody_announced_is_not_asked(tmp_path: Path, answer: dict[str, Any] | None, rule: str) -> None:
    async def scene(stage: Stage) -> None:
        session = stage.session()
        stage.link.answer(answer)
        assert state_of(session) is State.NOT_ASKED
        told = await over(stage, session, "arrived", "closed")
        assert told["rule"] == rule

    play(tmp_path, scene)


@pytest.mark.parametrize("rule, state", [("call.unmatched", State.ASKING), ("call.ambiguous", State.NOT_ASKED)])
def test_an_asserted_prompt_is_for_calls_that_nobody_announced_not_for_contradictions(
    tmp_path: Path, rule: str, state: State
) -> None:
    async def scene(stage: Stage) -> None:
        stage.view = drawn_on(view(grant(), mode="asserted"))
        session = stage.session()
        stage.link.answer({"call": None, "rule": rule})
        if state is State.ASKING:
            assert state_of(session) is State.ARRIVED  # its draw is being written
            await stage.journalled("arrived", "draw")
        async with asyncio.timeout(60):
            while state_of(session) is State.ARRIVED:
                await asyncio.sleep(0.002)
        assert state_of(session) is state
        drawn = ("draw",) if state is State.ASKING else ()
        await over(stage, session, "arrived", *drawn, "closed")

    play(tmp_path, scene)


@pytest.mark.parametrize("mode", ["announced", "asserted"])
@pytest.mark.parametrize("drawn", [DRAWN, replace(DRAWN, drawn=False, rule="draw.not_drawn")])
def test_a_session_that_the_keeper_joined_to_an_announced_call_is_never_drawn_again(
    tmp_path: Path, drawn: Told, mode: str
) -> None:
    async def scene(stage: Stage) -> None:
        stage.view = drawn_on(view(grant(), mode=mode))
        session = stage.session()
        stage.link.answer({**joined(asked=[asked()]), "draw": drawn.to_json()})
        stage.seconds = 6.0
        session.post("act", act("2", 5.5))
        assert session.draw.told == drawn
        session.ended()
        await session.sealed()
        await stage.journalled("arrived", "closed")  # and no draw
        assert session.draw.told == drawn
        assert stage.link.sent == [ended("not_agreed" if drawn.drawn else None)]

    play(tmp_path, scene)


def test_without_a_leased_key_nothing_is_kept_or_journalled_and_the_keeper_hears_the_end(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        stage.link.keys_left = 0
        session = stage.session()
        stage.seconds = 6.0
        stage.link.answer(joined(asked=[asked()], acts=[act("1", 5)]))
        assert state_of(session) is State.NOT_ASKED
        await over(stage, session)
        assert stage.link.sent == [ended("failed")]

    play(tmp_path, scene)


def test_without_a_view_a_posted_party_cannot_be_known_and_the_call_stays_shut(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        known, stage.view = stage.view, None
        session = stage.session()
        stage.link.answer(joined(asked=[asked()], parties=[party("third-1", at=0)]))
        stage.view = known
        session.look()
        assert state_of(session) is State.NOT_ASKED
        await over(stage, session, "arrived", "closed")

    play(tmp_path, scene)


def test_a_view_that_ages_pauses_and_a_fresh_one_resumes(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        session = stage.keeping()
        stage.view_age = timedelta(seconds=61)
        session.look()
        assert state_of(session) is State.PAUSED
        stage.view_age = timedelta(seconds=1)
        session.look()
        assert state_of(session) is State.KEEPING
        await over(stage, session, "arrived", "track", "track", "sealed", "sealed", "closed")

    play(tmp_path, scene)


def test_an_agents_grant_that_runs_out_in_mid_call_pauses_without_a_new_fact(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        stage.view = view(grant(expires=6.05))
        session = stage.keeping()
        stage.seconds = 6.1
        async with asyncio.timeout(60):
            while state_of(session) is State.KEEPING:
                await asyncio.sleep(0.01)
        assert state_of(session) is State.PAUSED
        await over(stage, session, "arrived", "track", "track", "sealed", "sealed", "closed")

    play(tmp_path, scene)


def test_a_withdrawn_grant_of_the_agent_withdraws_the_call(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        session = stage.keeping()
        stage.view = view(grant(withdrawn=6))
        session.look()
        assert state_of(session) is State.WITHDRAWN
        await over(stage, session, "arrived", "track", "track", "shred", "closed")

    play(tmp_path, scene)


# -- who is on the line --------------------------------------------------------------------------------


def test_a_third_party_stops_the_recording_until_they_agreed_too(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        session = stage.keeping()
        assert session.take_offer(branch_of(session), parse_sdp(offer("1", "2", "3", version=2)), at=stage.now)
        session.take_metadata(branch_of(session), THREE)
        session.look(since=stage.now)
        assert state_of(session) is State.PAUSED
        assert is_closed(parse_sdp(session.body(branch_of(session))))
        session.post("asked", asked("third-1", start=7))
        stage.seconds = 13.0
        session.post("act", act("1", 12, party="third-1"))
        assert state_of(session) is State.KEEPING
        assert is_open(signalled_to(session).offers[-1])
        branch_of(session).moved()
        assert stage.open_lines() == 3
        said = stage.voices["tarek"].says(ports_of(session)[2], 3)
        stage.tick()
        await over(stage, session, "arrived", *["track"] * 3, *["sealed"] * 3, "closed")
        assert stage.kept(2) == said

    play(tmp_path, scene)


@pytest.mark.parametrize("withheld", ["sip:anonymous@anonymous.invalid", CLARA])
def test_a_third_party_who_has_the_callers_address_is_asked_too(tmp_path: Path, withheld: str) -> None:
    async def scene(stage: Stage) -> None:
        session = stage.session(told=metadata(("1", withheld), ("2", JENS_AOR)))
        stage.link.answer(joined(asked=[asked()]))
        stage.seconds = 6.0
        session.post("act", act("1", 5.5))
        assert state_of(session) is State.KEEPING
        told = metadata(("1", withheld), ("2", JENS_AOR), ("3", TAREK))
        other = {**told.participants, f"p-{TAREK}": type(told.participants[f"p-{TAREK}"])(f"p-{TAREK}", withheld)}
        assert session.take_offer(branch_of(session), parse_sdp(offer("1", "2", "3", version=2)), at=stage.now)
        session.take_metadata(branch_of(session), type(told)(False, other, told.streams, told.sessions, told.roles))
        session.look()
        assert state_of(session) is State.PAUSED
        await over(stage, session, "arrived", "track", "track", "sealed", "sealed", "closed")

    play(tmp_path, scene)


def test_a_posted_join_without_a_stream_stops_from_its_own_time_on(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        session = stage.keeping()
        before = stage.voices["clara"].says(ports_of(session)[0], 2)
        stage.tick(4)
        joined_at = stage.seconds
        stage.tick()
        with_third = stage.voices["clara"].says(ports_of(session)[0], 2)
        stage.tick(12)
        session.post("party", party("third-1", at=joined_at))
        assert state_of(session) is State.PAUSED
        session.post("party", party("third-1", "left", at=stage.seconds))
        assert state_of(session) is State.KEEPING
        await over(stage, session, "arrived", "track", "track", "sealed", "sealed", "closed")
        assert stage.kept(0) == before
        assert with_third[0] not in before

    play(tmp_path, scene)


def test_who_signalling_still_reports_has_not_left_because_somebody_posted_so(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        session = stage.keeping()
        session.take_metadata(branch_of(session), metadata(("1", CLARA), ("2", JENS_AOR), listeners=[TAREK]))
        session.look()
        assert state_of(session) is State.PAUSED
        session.post("party", party("third-1", "left", at=stage.seconds))
        assert state_of(session) is State.PAUSED
        await over(stage, session, "arrived", "track", "track", "sealed", "sealed", "closed")

    play(tmp_path, scene)


def test_more_posted_parties_than_there_are_leaves_shut_the_call(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        session = stage.keeping()
        for number in range(3, 14):
            session.post("party", party(f"third-{number}", at=stage.seconds))
            session.post("party", party(f"third-{number}", "left", at=stage.seconds))
        assert state_of(session) is State.PAUSED
        await over(stage, session, "arrived", "track", "track", "sealed", "sealed", "closed")

    play(tmp_path, scene)


@pytest.mark.parametrize(
    "update",
    [
        MetadataBroken("not well-formed"),
        metadata(("1", CLARA)),
        metadata(("1", CLARA), ("1", JENS_AOR)),
        metadata(("1", CLARA), ("2", CLARA)),
    ],
    ids=["broken", "a voice of nobody", "two of one label", "one party for two"],
)
def test_metadata_that_leaves_a_doubt_shuts_a_running_call(tmp_path: Path, update: Any) -> None:
    async def scene(stage: Stage) -> None:
        session = stage.keeping()
        session.take_metadata(branch_of(session), update)
        session.look()
        assert state_of(session) is State.PAUSED
        assert session.needs_snapshot(branch_of(session)) is isinstance(update, MetadataBroken)
        session.take_metadata(branch_of(session), TWO)
        session.look()
        assert state_of(session) is State.KEEPING
        await over(stage, session, "arrived", "track", "track", "sealed", "sealed", "closed")

    play(tmp_path, scene)


def test_a_partial_update_before_any_snapshot_binds_nobody(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        session = stage.session(told=metadata(("1", CLARA), ("2", JENS_AOR), partial=True))
        assert session.needs_snapshot(branch_of(session))
        stage.link.answer(joined(asked=[asked()], acts=[act("1", 5)]))
        assert state_of(session) is State.ARRIVED  # a snapshot may still come
        assert session.form() is Form.CLOSED
        told = await over(stage, session, "arrived", "closed")
        assert (told["outcome"], told["rule"]) == ("not_kept", "binding.missing")

    play(tmp_path, scene)


def test_another_agent_than_the_announced_one_is_a_contradiction(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        session = stage.session()
        stage.link.answer({**joined(asked=[asked()]), "agent": "nora.feld"})
        assert state_of(session) is State.NOT_ASKED
        told = await over(stage, session, "arrived", "closed")
        assert told["rule"] == "binding.contradiction"

    play(tmp_path, scene)


def test_nothing_personal_and_no_rule_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scene(stage: Stage) -> None:
        session = stage.keeping()
        session.failed("vault.no_space")
        await over(stage, session, "arrived", "track", "track", "sealed", "sealed", "closed")

    with caplog.at_level("DEBUG"):
        play(tmp_path, scene)
    text = " ".join(record.getMessage() for record in caplog.records)
    assert not any(word in text for word in ("consent", "vault.", "49305550", CALL, "kept"))


def test_a_leak_is_an_alarm_once_and_only_when_the_closed_form_was_answered(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        session = stage.session(answered=False)
        (line, _) = [leg.line for leg in branch_of(session).legs if leg.line is not None]
        assert not session.leak(line, 1_000)
        session.body(branch_of(session))
        branch_of(session).answered = True
        assert [session.leak(line, 60) for _ in range(3)] == [False, True, False]
        await over(stage, session)

    play(tmp_path, scene)


def test_a_test_calls_behaviour_is_counted_while_its_lines_stand(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        session = stage.keeping()
        assert session.agents == "known"
        behaviour = session.behaviour()
        assert (behaviour.open_lines, behaviour.silent_lines, behaviour.leaked) == (2, 2, 0)
        assert not behaviour.awaited_digits
        stage.voices["clara"].says(ports_of(session)[0], 3)
        stage.tick()
        assert session.behaviour().silent_lines == 1
        stage.tick(12)  # sealed by now, and no longer held
        assert session.behaviour().silent_lines == 1
        session.ended()
        assert session.behaviour().open_lines == 0

    play(tmp_path, scene)


def test_keys_that_came_while_they_were_awaited_are_counted_and_not_read(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        session = stage.session()
        assert not session.behaviour().awaited_digits
        stage.link.answer(joined(answer_by="digit", asked=[asked()]))
        behaviour = session.behaviour()
        assert (behaviour.awaited_digits, behaviour.has_events) == (True, False)
        stage.voices["clara"].presses(ports_of(session)[0], "7")
        stage.tick()
        assert session.behaviour().has_events

    play(tmp_path, scene)


def test_the_directorys_word_on_the_line_is_one_of_three(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        assert stage.session(told=None).agents == ""
        strangers = stage.session(told=metadata(("1", CLARA), ("2", TAREK)))
        assert strangers.agents == "none"
        assert stage.session().agents == "known"

    play(tmp_path, scene)


@pytest.mark.parametrize("lost, opens", [(True, False), (False, True)], ids=["it was lost", "it said goodbye"])
def test_whom_a_lost_recording_session_named_has_not_left(tmp_path: Path, *, lost: bool, opens: bool) -> None:
    async def scene(stage: Stage) -> None:
        session = stage.keeping()
        other = stage.session("1", told=metadata(("1", TAREK)))
        stage.link.answer(joined(again=True))
        assert other.heir is session
        assert state_of(session) is State.PAUSED
        assert not session.leave(session.branches[1], lost=lost)
        assert (state_of(session) is State.KEEPING) is opens
        assert (session.facts.excluded == "session.lost") is lost
        session.ended()

    play(tmp_path, scene)


def test_a_recording_session_that_is_lost_while_everybody_agrees_ends_nothing(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        session = stage.keeping()
        stage.session(told=TWO)
        stage.link.answer(joined(again=True))
        assert not session.leave(session.branches[1], lost=True)
        assert state_of(session) is State.KEEPING
        await over(stage, session, "arrived", "track", "track", "sealed", "sealed", "closed")

    play(tmp_path, scene)
