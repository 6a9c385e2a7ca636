"""One recording session of a call: its own answers, its own view of the line, its own alarm."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from loopback import rtp_ports
from mitschnitt.core.gate import State
from mitschnitt.errors import PeerError
from mitschnitt.recorder.branch import LEAK_ALARM_PACKETS, Branch
from mitschnitt.recorder.keys import MAX_HEARD_ACTS
from mitschnitt.recorder.media import Line
from mitschnitt.recorder.ports import PortPool
from mitschnitt.recorder.session import MAX_BRANCHES, Session
from mitschnitt.vault.derive import FACTS_LEAF, Kind, artefact_key
from mitschnitt.vault.journal import Entry
from mitschnitt.vault.keytree import leaf_key
from mitschnitt.wire.sdp import Form, parse_sdp
from mitschnitt.wire.siprec import Metadata, MetadataBroken
from recorder_stage import (
    CALL,
    CLARA,
    JENS_AOR,
    TAREK,
    TWO,
    TWO_ANEW,
    PlayedSignalling,
    Stage,
    act,
    asked,
    branch_of,
    is_closed,
    is_open,
    joined,
    metadata,
    offer,
    over,
    party,
    play,
    ports_of,
    state_of,
)
from recorder_wire import Wire, wired

KEPT = ("arrived", "track", "track", "sealed", "sealed", "closed")


def branch_on(stage: Stage) -> Branch:
    """A branch of its own, without a call."""
    owner = object()
    return Branch(stage.media, stage.services.owners, owner, PlayedSignalling(), address="127.0.0.1")


def test_the_version_of_our_description_rises_exactly_when_something_changes(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        branch = branch_on(stage)
        assert branch.take_offer(parse_sdp(offer("1", "2")), at=stage.now)
        told = [parse_sdp(branch.body(form)) for form in (Form.CLOSED, Form.CLOSED, Form.LISTEN)]
        told.append(parse_sdp(branch.offer_body(Form.CLOSED)))
        assert [description.origin.version for description in told] == [1, 1, 2, 3]
        assert [is_closed(told[0]), is_open(told[2]), is_closed(told[3])] == [True, True, True]
        branch.legs.release_all()

    play(tmp_path, scene)


def test_what_is_agreed_already_is_not_offered_again_unless_to_refresh(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        branch = branch_on(stage)
        assert branch.take_offer(parse_sdp(offer("1", "2")), at=stage.now)
        branch.body(Form.CLOSED)
        assert branch.offer_body(Form.CLOSED), "our answer is not known to have left"
        branch.agreed()
        assert branch.offer_body(Form.CLOSED) == b""
        assert is_closed(parse_sdp(branch.offer_body(Form.CLOSED, again=True)))
        assert is_open(parse_sdp(branch.offer_body(Form.LISTEN)))
        # The client refused that: what was agreed before still holds (RFC 3261, 14.1), and need not be said.
        assert branch.offer_body(Form.CLOSED) == b""
        branch.offer_body(Form.LISTEN)
        branch.agreed()
        assert is_closed(parse_sdp(branch.offer_body(Form.CLOSED)))
        branch.legs.release_all()

    play(tmp_path, scene)


def test_without_an_offer_there_is_no_answer_and_without_an_answer_no_offer(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        branch = branch_on(stage)
        with pytest.raises(PeerError):
            branch.body(Form.CLOSED)
        with pytest.raises(PeerError):
            branch.offer_body(Form.CLOSED)

    play(tmp_path, scene)


def test_what_cannot_be_read_or_is_partial_before_all_of_it_is_lost_until_a_snapshot(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        for update in (MetadataBroken("x"), metadata(("1", CLARA), ("2", JENS_AOR), partial=True)):
            branch = branch_on(stage)
            branch.take_offer(parse_sdp(offer("1", "2")), at=stage.now)
            assert not branch.is_lost
            branch.take_metadata(update)
            assert (branch.is_lost, branch.bind()) == (True, "binding.missing")
            branch.take_metadata(TWO)
            assert (branch.is_lost, branch.bind()) == (False, "")
            branch.legs.release_all()

    play(tmp_path, scene)


def test_a_leak_is_an_alarm_once(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        branch = branch_on(stage)
        assert [branch.leak(LEAK_ALARM_PACKETS - 1), branch.leak(1), branch.leak(1)] == [False, True, False]

    play(tmp_path, scene)


def test_a_stream_that_contradicts_its_binding_shuts_the_call_until_signalling_renews_it(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        session = stage.keeping()
        branch = branch_of(session)
        line = next(leg.line for leg in branch.legs if leg.line is not None)
        session.doubt(line, "binding.mixed")
        assert state_of(session) is State.PAUSED
        assert session.facts.unbound == "binding.mixed"
        assert session.take_offer(branch, parse_sdp(offer("1", "2", version=2)), at=stage.now)
        session.look()
        assert state_of(session) is State.PAUSED  # an offer says nothing of who speaks
        session.take_metadata(branch, TWO)
        session.look()
        assert state_of(session) is State.PAUSED  # nor does a view that says what was said before
        session.take_metadata(branch, TWO_ANEW)
        session.look()
        assert state_of(session) is State.KEEPING
        await over(stage, session, "arrived", "track", "track", "sealed", "sealed", "closed")

    play(tmp_path, scene)


def test_a_doubt_before_the_act_keeps_the_call_shut(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        session = stage.session()
        line = next(leg.line for leg in branch_of(session).legs if leg.line is not None)
        session.doubt(line, "binding.mixed")
        stage.link.answer(joined(asked=[asked()], acts=[act("1", 5)]))
        assert state_of(session) is State.NOT_ASKED
        told = await over(stage, session, "arrived", "closed")
        assert told["rule"] == "binding.mixed"

    play(tmp_path, scene)


# -- two recording sessions of one call ----------------------------------------------------------------


def second(stage: Stage, *labels: str, told: Metadata | None, answered: bool = True) -> Session:
    """A further recording session that found the announced call; the session that its INVITE made."""
    session = stage.session(*labels, told=told, answered=answered)
    stage.link.answer(joined(again=True))
    return session


def leg_of(*voices: tuple[str, str], listeners: Sequence[str] = ()) -> Metadata:
    """What a client that sends one leg per dialog tells: label 1 is the voice of this leg."""
    return metadata(*voices, listeners=listeners)


def test_row_16_two_dialogs_with_label_1_are_two_voices_of_one_call(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        first = stage.session("1", told=leg_of(("1", CLARA)))
        stage.link.answer(joined(asked=[asked()], acts=[act("1", 5)]))
        stage.seconds = 6.0
        first.look()
        assert state_of(first) is State.ARRIVED  # one party alone: more may be told
        other = second(stage, "1", told=leg_of(("1", JENS_AOR)))
        assert other.heir is first
        assert state_of(first) is State.KEEPING
        one, two = first.branches
        assert [leg.party for branch in (one, two) for leg in branch.legs] == ["caller", "agent"]
        said = [
            stage.voices[who].says(leg.line.port, 3)
            for who, branch in (("clara", one), ("jens", two))
            for leg in branch.legs
            if leg.line is not None
        ]
        stage.tick()
        for branch in (one, two):
            signalling = branch.signalling
            assert isinstance(signalling, PlayedSignalling)
            assert is_open(signalling.offers[-1])
        await over(stage, first, "arrived", "track", "track", "sealed", "sealed", "closed")
        assert [stage.kept(0), stage.kept(1)] == said

    play(tmp_path, scene)


def test_row_24_one_uuid_from_two_sources_may_be_two_people(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        session = stage.keeping()
        told = metadata(("1", TAREK))
        (theirs,), (ours, _) = told.participants, TWO.participants
        renamed = {ours: replace(told.participants[theirs], id=ours)}
        second(stage, "1", told=replace(told, participants=renamed, roles={ours: told.roles[theirs]}))
        assert [party.name for party in session.facts.parties if party.present] == ["caller", "agent", "third-1"]
        assert state_of(session) is State.PAUSED
        await over(stage, session, "arrived", "track", "track", "sealed", "sealed", "closed")

    play(tmp_path, scene)


@pytest.mark.parametrize(
    "address, is_the_caller",
    [
        (CLARA, True),
        ("tel:+49305550100", True),
        ("sip:+49305550100@pbx.example.net;user=phone", True),
        ("sip:30555010@pbx.example.net", False),
        ("sip:anonymous@anonymous.invalid", False),
        ("", False),
    ],
)
def test_two_sources_mean_one_caller_only_where_the_address_says_so_for_certain(
    tmp_path: Path, address: str, *, is_the_caller: bool
) -> None:
    async def scene(stage: Stage) -> None:
        session = stage.keeping()
        second(stage, "1", told=metadata(("1", address)))
        assert (len(session.facts.parties) == 2) is is_the_caller
        assert state_of(session) is (State.KEEPING if is_the_caller else State.PAUSED)
        await over(stage, session, "arrived", "track", "track", "sealed", "sealed", "closed")

    play(tmp_path, scene)


def test_the_same_voice_from_two_sources_is_kept_once_and_the_second_stays_closed(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        session = stage.keeping()
        second(stage, told=TWO, answered=False)
        one, two = session.branches
        assert is_closed(parse_sdp(session.body(two)))
        assert is_open(parse_sdp(session.body(one)))
        two.answered = True
        ports = [leg.line for leg in two.legs if leg.line is not None]
        assert session.leak(ports[0], LEAK_ALARM_PACKETS)
        stage.voices["clara"].says(ports[0].port, 4)
        stage.tick()
        assert not stage.holds(b"clara:")
        assert not session.leave(one)
        assert [leg.kept for leg in two.legs] == [True, True]
        await over(stage, session, "arrived", *["track"] * 4, "sealed", "sealed", "closed")

    play(tmp_path, scene)


def test_whoever_a_second_session_brings_is_asked_before_anything_goes_on_in_either(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        session = stage.keeping()
        second(stage, "1", told=metadata(("1", TAREK)))
        one, two = session.branches
        assert [leg.kept for branch in (one, two) for leg in branch.legs] == [False] * 3
        assert isinstance(one.signalling, PlayedSignalling)
        assert is_closed(one.signalling.offers[-1])
        session.post("asked", asked("third-1", start=7))
        stage.seconds = 13.0
        session.post("act", act("1", 12, party="third-1"))
        assert [leg.kept for branch in (one, two) for leg in branch.legs] == [True] * 3
        said = [leg.line for leg in two.legs if leg.line is not None]
        kept = stage.voices["tarek"].says(said[0].port, 2)
        stage.tick()
        assert not session.leave(two)
        assert state_of(session) is State.KEEPING  # he left with the only session that had him on the line
        await over(stage, session, "arrived", *["track"] * 3, *["sealed"] * 3, "closed")
        assert stage.kept(2) == kept

    play(tmp_path, scene)


def test_when_a_party_leaves_with_its_session_the_call_is_judged_again(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        session = stage.session("1", told=metadata(("1", CLARA)))
        stage.link.answer(joined(asked=[asked()], acts=[act("1", 5)]))
        stage.seconds = 6.0
        second(stage, "1", told=metadata(("1", JENS_AOR)))
        assert state_of(session) is State.KEEPING
        assert not session.leave(session.branches[1])
        assert state_of(session) is State.PAUSED
        assert session.decision.rule == "parties.alone"
        await over(stage, session, "arrived", "track", "track", "sealed", "sealed", "closed")

    play(tmp_path, scene)


def test_a_second_session_that_cannot_be_read_shuts_both(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        session = stage.keeping()
        second(stage, told=None)
        assert state_of(session) is State.PAUSED
        assert session.facts.unbound == "binding.missing"
        await over(stage, session, "arrived", "track", "track", "sealed", "sealed", "closed")

    play(tmp_path, scene)


def test_a_key_pressed_just_before_its_session_ended_still_withdraws(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        session = stage.keeping(answer_by="digit")
        second(stage, told=TWO)
        one, _ = session.branches
        line = next(leg.line for leg in one.legs if leg.line is not None)
        session.leave(one)
        for key in "*9":
            session.digit(line, key, stage.now_ns())
        assert state_of(session) is State.WITHDRAWN
        await over(stage, session, "arrived", *["track"] * 4, "shred", "closed")

    play(tmp_path, scene)


@pytest.mark.parametrize("crowded", [0, 1])
def test_a_session_that_comes_too_late_or_one_too_many_stays_closed_by_name(tmp_path: Path, crowded: int) -> None:
    async def scene(stage: Stage) -> None:
        session = stage.keeping()
        if crowded:
            for _ in range(MAX_BRANCHES - 1):
                second(stage, "1", told=metadata(("1", CLARA)))
        else:
            await over(stage, session, "arrived", "track", "track", "sealed", "sealed", "closed")
        late = second(stage, told=TWO)
        assert late.heir is late
        assert late.call != CALL
        assert late.facts.excluded == ("call.crowded" if crowded else "call.over")
        assert late.form() is Form.CLOSED
        late.ended()
        if crowded:
            session.ended()
            await session.sealed()

    play(tmp_path, scene, ports=PortPool(*rtp_ports()))


def test_of_the_references_only_what_found_the_call_is_journalled(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        named = [{"kind": "sip_call_id", "value": "a@b"}, {"kind": "header", "value": "z"}]
        session = Session(stage.services, named)
        branch = session.add(PlayedSignalling())
        session.take_offer(branch, parse_sdp(offer("1", "2")), at=stage.now)
        session.join()
        stage.link.answer({**joined(), "matched": [named[1], {"kind": "header", "value": "of nobody"}]})
        (entry,) = await stage.journalled("arrived")
        assert opened_fields(stage, entry) == {"refs": [named[1]]}
        await over(stage, session, "arrived", "closed")

    play(tmp_path, scene)


def test_two_sessions_of_one_call_are_one_call_and_both_are_told_its_form(tmp_path: Path) -> None:
    async def scene(wire: Wire) -> None:
        first = await wire_keeping(wire)
        second = wire.invite()
        await wire.answered()
        assert [state_of(session) for session in wire.calls] == [State.KEEPING]
        assert is_closed(wire.told[-1])  # the same two voices once more: they are carried already
        offers = len(wire.requests("INVITE"))
        wire.calls.fact_posted("party", {"call": CALL, **party("third-1", at=6.1)})
        wire.flush()
        assert state_of(wire.session) is State.PAUSED
        assert len(wire.requests("INVITE")) == offers + 1  # the second is closed already
        assert is_closed(wire.told[-1])
        wire.bye(first)
        assert wire.calls.live_calls() == [CALL]
        wire.bye(second)
        await wire.until(lambda: wire.clean)
        assert wire.calls.services.running == {}
        await wire.stage.journalled(*KEPT)

    wired(tmp_path, scene)


def test_a_session_that_takes_over_from_another_goes_on_into_the_same_tracks(tmp_path: Path) -> None:
    async def scene(wire: Wire) -> None:
        stage, first = wire.stage, await wire_keeping(wire)
        said = stage.voices["clara"].says(ports_of(wire.session)[0], 3)
        stage.tick()
        second = wire.invite()
        await wire.answered()
        closed = wire.told[-1]
        stage.voices["jens"].says(closed.lines[0].port, 3)  # a second stream for the caller's track
        stage.tick()
        wire.bye(first)
        opened = wire.told[-1]
        assert is_open(opened)
        assert not {line.port for line in opened.lines} & {line.port for line in closed.lines}
        said += stage.voices["clara"].says(opened.lines[0].port, 2)
        stage.tick()
        wire.bye(second)
        await wire.until(lambda: wire.clean)
        await stage.journalled("arrived", *["track"] * 4, "sealed", "sealed", "closed")
        assert stage.kept(0) == said

    wired(tmp_path, scene)


def test_stopping_ends_all_sessions_of_a_call_at_once(tmp_path: Path) -> None:
    async def scene(wire: Wire) -> None:
        await wire_keeping(wire)
        wire.invite()
        await wire.answered()
        offers = len(wire.requests("INVITE"))
        await wire.calls.stop()
        assert len(wire.ended) == 2
        assert len(wire.requests("INVITE")) == offers
        await wire.stage.journalled(*KEPT)
        assert wire.clean

    wired(tmp_path, scene)


async def wire_keeping(wire: Wire) -> str:
    """A call on the wire in which everybody agreed; the client's dialog."""
    wire.stage.link.answers = lambda: joined(asked=[asked()])
    dialog = wire.invite()
    await wire.answered()
    wire.stage.seconds = 6.0
    wire.calls.fact_posted("act", {"call": CALL, **act("1", 5.5)})
    wire.flush()
    return dialog


@pytest.mark.parametrize(
    "label, told",
    [
        ("1", "1"),
        ("a_leg", "a_leg"),
        ("16777227", "16777227"),
        ("+4930555", "#0"),
        ("03055501234", "#0"),
        ("clara@x", "#0"),
    ],
)
def test_what_a_binding_rests_on_is_journalled_without_a_name_or_number(tmp_path: Path, label: str, told: str) -> None:
    async def scene(stage: Stage) -> None:
        voices = metadata((label, CLARA), ("2", JENS_AOR))
        session = stage.session(label, "2", told=voices)
        stage.link.answer(joined(asked=[asked()], acts=[act("1", 5)]))
        stage.seconds = 6.0
        session.look()
        line = next(leg.line for leg in branch_of(session).legs if leg.line is not None)
        session.confirm(line)
        session.confirm(line)
        entries = await stage.journalled("arrived", *["track"] * 3)
        first = {"label": told, "session": 0, "association": "participantstreamassoc", "cname": None}
        assert entries[1].data["binding"] == [first]
        assert entries[3].data["binding"] == [first, {**first, "cname": True}]
        await over(stage, session, "arrived", *["track"] * 3, "sealed", "sealed", "closed")

    play(tmp_path, scene)


def opened_fields(stage: Stage, entry: Entry) -> Any:
    """The sealed fields of an `arrived` entry."""
    key = artefact_key(leaf_key(stage.link.given[0].node, FACTS_LEAF), Kind.FACTS, 0)
    nonce = (1).to_bytes(4, "big") + entry.seq.to_bytes(8, "big")
    return json.loads(AESGCM(key).decrypt(nonce, base64.b64decode(entry.data["sealed"]), b"arrived"))


def lines_of(branch: Branch) -> list[Line]:
    """Where a branch listens, by m-line."""
    return [leg.line for leg in branch.legs if leg.line is not None]


def two_sources_by_digit(stage: Stage) -> Session:
    """A call that two clients send, in which the caller agreed by a key that both handed on; 6.25 s after the start."""
    first = stage.session()
    stage.link.answer(joined(answer_by="digit", asked=[asked()]))
    second(stage, told=TWO)
    stage.seconds = 6.0
    both_press(stage, first, "1")
    assert state_of(first) is State.KEEPING
    return first


def both_press(stage: Stage, session: Session, keys: str) -> None:
    """The caller presses once; both clients hand it on."""
    for branch in session.branches:
        stage.voices["clara"].presses(lines_of(branch)[0].port, keys)
    stage.tick()


def test_a_pause_that_two_sources_hand_on_is_one_pause_and_not_its_end(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        session = two_sources_by_digit(stage)
        both_press(stage, session, "*0")
        assert state_of(session) is State.PAUSED
        stage.tick(12)
        both_press(stage, session, "*0")
        assert state_of(session) is State.KEEPING
        await over(stage, session, "arrived", "track", "track", "sealed", "sealed", "closed")

    play(tmp_path, scene)


def test_a_withdrawal_whose_keys_two_sources_hand_on_in_turns_is_a_withdrawal(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        session = two_sources_by_digit(stage)
        for key in "*9":
            both_press(stage, session, key)
        assert state_of(session) is State.WITHDRAWN
        await over(stage, session, "arrived", "track", "track", "shred", "closed")

    play(tmp_path, scene)


def test_whoever_leans_on_a_key_is_heard_no_more_and_can_still_withdraw(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        session = two_sources_by_digit(stage)
        for _ in range(MAX_HEARD_ACTS):
            stage.voices["clara"].presses(lines_of(session.branches[0])[0].port, "*0")
            stage.tick()
        assert state_of(session) is State.PAUSED
        assert session.facts.excluded == "facts.broken"
        assert len(session.facts.acts) == MAX_HEARD_ACTS
        both_press(stage, session, "*0*0*9")
        assert len(session.facts.acts) == MAX_HEARD_ACTS + 1
        assert state_of(session) is State.WITHDRAWN
        session.ended()

    play(tmp_path, scene)


@pytest.mark.parametrize(
    "update, is_over",
    [
        (Metadata(partial=True), False),
        (metadata(("2", JENS_AOR), partial=True), False),
        (metadata(("1", CLARA), partial=True), True),
        (TWO, False),
        (TWO_ANEW, True),
        (replace(TWO, streams={**TWO.streams, "s-2": TWO_ANEW.streams["t-2"]}), False),
    ],
)
def test_a_doubt_is_over_only_when_it_is_told_anew_whose_that_very_stream_is(
    tmp_path: Path, update: Metadata, *, is_over: bool
) -> None:
    async def scene(stage: Stage) -> None:
        session = stage.keeping()
        branch = branch_of(session)
        session.doubt(lines_of(branch)[0], "binding.mixed")
        assert state_of(session) is State.PAUSED
        session.take_metadata(branch, update)
        session.look()
        assert state_of(session) is (State.KEEPING if is_over else State.PAUSED)
        await over(stage, session, "arrived", "track", "track", "sealed", "sealed", "closed")

    play(tmp_path, scene)


def test_what_failed_in_a_session_before_it_was_known_whose_it_is_fails_the_call(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        session = stage.keeping()
        other = stage.session(told=TWO)
        other.failed("recorder.failed")
        stage.link.answer(joined(again=True))
        assert other.heir is session
        assert state_of(session) is State.FAILED
        await over(stage, session, "arrived", "track", "track", "sealed", "sealed", "closed")

    play(tmp_path, scene)


def test_updates_that_add_for_ever_break_the_view_and_nothing_of_it_stays(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        session = stage.keeping()
        branch = branch_of(session)
        for number in range(200):
            left = {(f"p-{number}-{'x' * 1000}", "cs"): True}
            session.take_metadata(branch, Metadata(partial=True, left=left))
            session.look()
        assert branch.is_lost
        assert state_of(session) is State.PAUSED
        session.take_metadata(branch, TWO)
        session.look()
        assert state_of(session) is State.KEEPING
        await over(stage, session, "arrived", "track", "track", "sealed", "sealed", "closed")

    play(tmp_path, scene)
