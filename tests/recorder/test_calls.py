"""SIP dialogues with a real client agent: what the recorder tells on the wire, and that every end is an end.

Media, journal and both SIP sides are real (`recorder_wire`); keeper and time are played.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from mitschnitt.core.gate import State
from mitschnitt.recorder.calls import ANSWER_AFTER_SECONDS, MAX_REF_CHARS, MAX_REFS, SILENT_SECONDS
from mitschnitt.wire.sip.config import SRC_FEATURE, AgentConfig
from mitschnitt.wire.sip.recording import SDP_TYPE
from mitschnitt.wire.siprec import Metadata, Session
from recorder_stage import (
    CALL,
    CLARA,
    JENS_AOR,
    THREE,
    TWO,
    act,
    asked,
    branch_of,
    is_closed,
    is_open,
    joined,
    metadata,
    offer,
    ports_for,
    ports_of,
    state_of,
)
from recorder_wire import KEPT, UNTIMED, Wire, body, keeping, snapshot_asked, wired
from sip_pair import CLIENT_PORT, Pair

# -- the gate on the wire ------------------------------------------------------------------------------


def test_row_12_a_call_on_the_wire_from_the_closed_answer_to_the_withdrawal(tmp_path: Path) -> None:
    async def scene(wire: Wire) -> None:
        stage = wire.stage
        stage.link.answers = lambda: joined(asked=[asked()])
        wire.invite()
        await wire.answered()
        first = wire.told[-1]
        text = wire.pair.last_response(200).body.decode()
        assert text.count("c=IN IP4 0.0.0.0\r\n") == text.count("a=inactive\r\n") == 2
        assert [(line.label, line.formats) for line in first.lines] == [("1", ("8", "101")), ("2", ("8", "101"))]
        assert is_closed(first)
        stage.seconds = 6.0
        wire.calls.fact_posted("act", {"call": CALL, **act("1", 5.5)})
        wire.flush()
        opened = wire.told[-1]
        assert is_open(opened)
        assert not {line.port for line in opened.lines} & {line.port for line in first.lines}
        assert opened.origin.version == first.origin.version + 1
        assert stage.open_lines() == 2
        stage.voices["clara"].says(opened.lines[0].port, 3)
        stage.tick()
        assert stage.holds(b"clara:000003")
        wire.calls.fact_posted("act", {"call": CALL, **act("", 6.2, kind="pause")})
        wire.flush()
        assert is_closed(wire.told[-1])
        assert not stage.holds(b"clara:")
        wire.calls.fact_posted("act", {"call": CALL, **act("", 6.25, kind="resume")})
        wire.flush()
        assert is_open(wire.told[-1])
        stage.voices["jens"].says(ports_of(wire.session)[1], 3)
        stage.tick()
        tracks = list(wire.session._recording.tracks.values())
        wire.calls.fact_posted("withdraw", {"call": CALL, **act("", 6.5, kind="withdraw")})
        assert [track.leaf_key for track in tracks] == [b"", b""]
        assert not stage.holds(b"jens:")
        wire.flush()
        assert is_closed(wire.told[-1])
        assert len(wire.ended) == 1  # the recorder's BYE, after the closed form was answered
        assert wire.pair.log.index("> 200 BYE") == len(wire.pair.log) - 1
        await wire.until(lambda: wire.clean)
        await stage.journalled("arrived", "track", "track", "shred", "closed")
        assert wire.unbound == []

    wired(tmp_path, scene)


def test_an_answer_by_digit_is_heard_behind_the_filter_and_moves_to_fresh_ports(tmp_path: Path) -> None:
    async def scene(wire: Wire) -> None:
        stage = wire.stage
        stage.link.answers = lambda: joined(answer_by="digit", asked=[asked()])
        dialog = wire.invite()
        await wire.answered()
        listening = wire.told[-1]
        assert is_open(listening)  # in form: the client must send, for the digits; the filter cuts the rest
        stage.seconds = 5.0
        stage.voices["clara"].says(listening.lines[0].port, 3)
        stage.voices["clara"].presses(listening.lines[0].port, "1")
        stage.tick()
        wire.flush()
        assert state_of(wire.session) is State.KEEPING
        fresh = wire.told[-1]
        assert not {line.port for line in fresh.lines} & {line.port for line in listening.lines}
        assert not stage.holds(b"clara:")
        said = stage.voices["clara"].says(fresh.lines[0].port, 2)
        stage.tick()
        wire.bye(dialog)
        await wire.until(lambda: wire.clean)
        await stage.journalled(*KEPT)
        assert stage.kept(0) == said

    wired(tmp_path, scene)


def test_a_third_party_by_reinvite_is_answered_closed_at_once(tmp_path: Path) -> None:
    async def scene(wire: Wire) -> None:
        dialog = await keeping(wire)
        wire.stage.voices["clara"].says(ports_of(wire.session)[0], 3)
        wire.stage.tick()
        answer = wire.reinvite(dialog, body(offer("1", "2", "3", version=2), THREE))
        assert answer is not None
        assert is_closed(answer)
        assert [line.label for line in answer.lines] == ["1", "2", "3"]
        assert state_of(wire.session) is State.PAUSED
        assert not wire.stage.holds(b"clara:")
        wire.bye(dialog)
        await wire.until(lambda: wire.clean)
        await wire.stage.journalled(*KEPT)

    wired(tmp_path, scene)


def test_row_15_an_added_line_of_somebody_who_agreed_is_opened_in_the_same_answer(tmp_path: Path) -> None:
    async def scene(wire: Wire) -> None:
        dialog = await keeping(wire)
        more = metadata(("1", CLARA), ("2", JENS_AOR), ("3", CLARA))
        both = {**more.roles, f"p-{CLARA}": type(more.roles[f"p-{CLARA}"])(frozenset({"s-1", "s-3"}))}
        update = Metadata(False, more.participants, more.streams, more.sessions, both)
        offers = len(wire.requests("INVITE"))
        answer = wire.reinvite(dialog, body(offer("1", "2", "3", version=2), update))
        assert answer is not None
        assert is_open(answer)
        assert [line.port for line in answer.lines] == ports_of(wire.session)
        assert len(wire.requests("INVITE")) == offers + 1  # the client's own, and none of ours
        assert wire.stage.open_lines() == 3

    wired(tmp_path, scene)


# -- odd orders ----------------------------------------------------------------------------------------


def test_a_cancel_before_the_answer_is_an_end_and_the_keepers_answer_comes_to_nothing(tmp_path: Path) -> None:
    async def scene(wire: Wire) -> None:
        dialog = wire.invite()
        wire.pair.client.cancel(dialog, now=wire.now)
        wire.flush()
        assert wire.clean or not wire.calls._dialogs
        wire.stage.link.answer(joined(asked=[asked()], acts=[act("1", 5)]))
        await wire.until(lambda: wire.clean)
        assert wire.stage.link.given == []
        assert [line for line in wire.pair.log if "200 INVITE" in line] == []

    wired(tmp_path, scene)


def test_a_bye_before_the_keepers_answer_leaves_nothing(tmp_path: Path) -> None:
    async def scene(wire: Wire) -> None:
        dialog = wire.invite()
        await wire.answered()
        wire.bye(dialog)
        wire.stage.link.answer(joined())
        await wire.until(lambda: wire.clean)
        assert wire.stage.entries() == []
        assert wire.stage.link.sent == [{"type": "ended", "call": CALL}]

    wired(tmp_path, scene)


def test_an_act_before_the_ack_waits_for_it_and_then_opens_on_fresh_ports(tmp_path: Path) -> None:
    async def scene(wire: Wire) -> None:
        wire.stage.link.answers = lambda: joined(asked=[asked()])
        wire.pair.lose = lambda line: line == "> ACK"
        wire.invite()
        await wire.answered()
        first = ports_of(wire.session)
        wire.stage.seconds = 6.0
        wire.calls.fact_posted("act", {"call": CALL, **act("1", 5.5)})
        wire.flush()
        assert len(wire.requests("INVITE")) == 1
        wire.pair.lose = lambda _: False
        wire.wait(1.0)  # our 200 is sent again, and acknowledged
        assert len(wire.requests("INVITE")) == 2
        assert is_open(wire.told[-1])
        assert not {line.port for line in wire.told[-1].lines} & set(first)
        assert wire.unbound == []
        assert wire.stage.open_lines() == 2

    wired(tmp_path, scene)


def test_a_second_offer_before_the_ack_is_answered_in_the_form_of_the_moment(tmp_path: Path) -> None:
    async def scene(wire: Wire) -> None:
        dialog = await keeping(wire)
        wire.pair.lose = lambda line: line == "> ACK"
        first = wire.reinvite(dialog, body(offer("1", "2", version=2)))
        wire.calls.fact_posted("act", {"call": CALL, **act("", 6.2, kind="pause")})
        second = wire.reinvite(dialog, body(offer("1", "2", version=3)))
        assert first is not None
        assert second is not None
        assert (is_open(first), is_closed(second)) == (True, True)
        wire.pair.lose = lambda _: False
        wire.wait(2.0)
        assert is_closed(wire.told[-1])
        assert wire.stage.open_lines() == 2

    wired(tmp_path, scene)


@pytest.mark.parametrize(
    "broken",
    [
        (SDP_TYPE, b"v=0\r\nnot a description"),
        ("multipart/mixed;boundary=x", b"--y\r\n"),
        body(offer("1", version=2)),
    ],
    ids=["no sdp", "no parts", "fewer lines"],
)
def test_a_reinvite_that_cannot_be_read_shuts_first_and_tells_the_closed_form(
    tmp_path: Path, broken: tuple[str, bytes]
) -> None:
    async def scene(wire: Wire) -> None:
        dialog = await keeping(wire)
        wire.stage.tick()
        wire.reinvite(dialog, broken)
        assert wire.pair.last_response(400).status == 400
        assert state_of(wire.session) is State.PAUSED
        assert is_closed(wire.told[-1])
        assert [leg.kept for leg in branch_of(wire.session).legs] == [False, False]
        assert any(snapshot_asked(request) for request in wire.updates) or wire.session.needs_snapshot(
            branch_of(wire.session)
        )
        wire.reinvite(dialog, body(offer("1", "2", version=3)))
        assert state_of(wire.session) is State.KEEPING

    wired(tmp_path, scene)


def test_glare_waits_and_then_tells_the_form_of_that_moment(tmp_path: Path) -> None:
    async def scene(wire: Wire) -> None:
        await keeping(wire)
        wire.answers = [491]
        wire.calls.fact_posted("act", {"call": CALL, **act("", 6.2, kind="pause")})
        wire.flush()
        told = len(wire.told)
        assert [leg.kept for leg in branch_of(wire.session).legs] == [False, False]  # local first
        wire.calls.fact_posted("withdraw", {"call": CALL, **act("", 6.3, kind="withdraw")})
        wire.wait(5.0)
        assert is_closed(wire.told[-1])
        assert len(wire.told) == told + 1
        assert len(wire.ended) == 1

    wired(tmp_path, scene)


def test_a_client_that_refuses_our_bye_is_ignored_and_its_ports_are_closed(tmp_path: Path) -> None:
    async def scene(wire: Wire) -> None:
        allowed = ("INVITE", "ACK", "CANCEL", "OPTIONS", "UPDATE")  # as OpenSIPS: 405 to BYE
        wire.pair = Pair(client=AgentConfig(port=CLIENT_PORT, feature=SRC_FEATURE, allow=allowed))
        dialog = await keeping(wire)
        wire.calls.fact_posted("withdraw", {"call": CALL, **act("", 6.3, kind="withdraw")})
        wire.flush()
        assert wire.pair.log[-1] == "> 405 BYE"
        await wire.until(lambda: wire.clean)
        assert wire.reinvite(dialog, body(offer("1", "2", version=2))) is None
        assert wire.pair.last_response(481).status == 481

    wired(tmp_path, scene)


def test_a_client_that_never_acknowledges_is_given_up(tmp_path: Path) -> None:
    async def scene(wire: Wire) -> None:
        wire.stage.link.answers = lambda: joined(asked=[asked()])
        wire.pair.lose = lambda line: line == "> ACK"
        wire.invite()
        await wire.answered()
        wire.wait(40.0)
        await wire.until(lambda: wire.clean)
        entries = await wire.stage.journalled("arrived", "closed")
        assert entries[-1].data["kept"] is False

    wired(tmp_path, scene)


def test_a_client_that_answers_nothing_any_more_is_over_and_sealed(tmp_path: Path) -> None:
    async def scene(wire: Wire) -> None:
        wire.pair = Pair(client=UNTIMED)
        await keeping(wire)
        wire.calls.ask_silent()
        assert wire.requests("UPDATE") == []
        wire.wait(SILENT_SECONDS + 1)
        wire.calls.ask_silent()
        wire.flush()
        assert len(wire.updates) == 1
        assert list(wire.calls) != []
        wire.wait(SILENT_SECONDS + 1)
        wire.pair.lose = lambda line: line.startswith("< ")
        wire.calls.ask_silent()
        wire.wait(40.0)
        await wire.until(lambda: wire.clean)
        await wire.stage.journalled(*KEPT)

    wired(tmp_path, scene)


def test_a_client_that_answers_no_offer_any_more_is_over(tmp_path: Path) -> None:
    async def scene(wire: Wire) -> None:
        await keeping(wire)
        wire.pair.lose = lambda line: line.startswith("< ")
        wire.calls.fact_posted("act", {"call": CALL, **act("", 6.2, kind="pause")})
        wire.wait(80.0)
        await wire.until(lambda: wire.clean)
        assert await wire.stage.journalled(*KEPT)

    wired(tmp_path, scene)


# -- metadata ------------------------------------------------------------------------------------------


def test_row_23_metadata_that_cannot_be_read_pauses_and_the_snapshot_that_is_asked_for_resumes(tmp_path: Path) -> None:
    async def scene(wire: Wire) -> None:
        dialog = await keeping(wire)
        wire.update(dialog, ("application/rs-metadata+xml", b"<recording"))
        assert state_of(wire.session) is State.PAUSED
        assert [snapshot_asked(request) for request in wire.updates] == [True]
        wire.reinvite(dialog, body(offer("1", "2", version=2)))
        assert state_of(wire.session) is State.KEEPING
        assert len(wire.updates) == 1

    wired(tmp_path, scene)


def test_a_client_that_cannot_tell_the_whole_is_not_asked_for_ever(tmp_path: Path) -> None:
    async def scene(wire: Wire) -> None:
        dialog = await keeping(wire)
        for _ in range(6):
            wire.update(dialog, ("application/rs-metadata+xml", b"<recording"))
        assert len(wire.updates) == 3

    wired(tmp_path, scene)


def test_row_22_a_partial_update_before_any_snapshot_asks_for_one(tmp_path: Path) -> None:
    async def scene(wire: Wire) -> None:
        half = metadata(("1", CLARA), ("2", JENS_AOR), partial=True)
        wire.invite(body(offer("1", "2"), half))
        await wire.answered()
        wire.flush()
        assert [snapshot_asked(request) for request in wire.updates] == [True]
        assert is_closed(wire.told[-1])

    wired(tmp_path, scene)


# -- what comes in -------------------------------------------------------------------------------------


def test_a_telephone_call_gets_the_closed_answer_until_its_end_and_is_told_to_nobody(tmp_path: Path) -> None:
    async def scene(wire: Wire) -> None:
        sdp = b"".join(line for line in offer("1").splitlines(keepends=True) if b"label" not in line)
        wire.pair = Pair(
            client=AgentConfig(port=CLIENT_PORT, feature="")
        )  # no recording client's feature in its Contact
        dialog = wire.invite(body(sdp, None), plain=True)
        await wire.answered()
        assert is_closed(wire.told[-1])
        assert wire.stage.link.joins == []
        wire.bye(dialog)
        await wire.until(lambda: wire.clean)
        assert wire.stage.entries() == []

    wired(tmp_path, scene)


@pytest.mark.parametrize("content, status", [((SDP_TYPE, b"v=0\r\n"), 400), (("", b""), 488)])
def test_an_invite_without_an_offer_that_can_be_read_is_refused(
    tmp_path: Path, content: tuple[str, bytes], status: int
) -> None:
    async def scene(wire: Wire) -> None:
        wire.invite(content)
        assert wire.pair.last_response(status).status == status
        assert wire.clean

    wired(tmp_path, scene)


def test_too_many_calls_and_too_few_ports_send_the_client_elsewhere(tmp_path: Path) -> None:
    async def scene(wire: Wire) -> None:
        wire.invite(body(offer("1", "2", "3"), THREE))
        assert wire.pair.last_response(503).headers.get("Retry-After") == "10"
        assert wire.stage.ports.free == 2
        wire.invite()
        await wire.answered()
        wire.invite()
        assert wire.calls.counts["no_port"] == 1
        assert len(list(wire.calls)) == 1
        assert len([line for line in wire.pair.log if line == "< 503 INVITE"]) == 2

    wired(tmp_path, scene, max_calls=1, ports=ports_for(2))


def test_references_that_are_no_text_or_too_many_are_cut_to_what_can_be_looked_up(tmp_path: Path) -> None:
    async def scene(wire: Wire) -> None:
        names = tuple(f"{number:032x};remote={number:032x}" for number in range(100))
        told = Metadata(False, TWO.participants, TWO.streams, {"cs": Session("cs", names)}, TWO.roles)
        wire.invite(body(offer("1", "2"), told), ("X-Call", "\udcff" + "x" * 1_000))
        ((refs, _),) = wire.stage.link.joins
        assert len(refs) == MAX_REFS
        assert [ref["kind"] for ref in refs[:3]] == ["sip_call_id", "header", "sip_session_id"]
        assert refs[1]["value"] == "?" + "x" * (MAX_REF_CHARS - 1)

    wired(tmp_path, scene)


def test_the_answer_waits_longer_than_real_clients_need_to_listen() -> None:
    assert ANSWER_AFTER_SECONDS >= 0.010


# -- what fails ----------------------------------------------------------------------------------------


def test_an_event_that_fails_shuts_its_call_and_is_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(wire: Wire) -> None:
        dialog = await keeping(wire)

        def failing(_: Any) -> None:
            raise RuntimeError("not foreseen")

        monkeypatch.setattr(wire.session, "take_metadata", failing)
        wire.reinvite(dialog, body(offer("1", "2", version=2)))
        assert wire.pair.last_response(500).status == 500
        assert state_of(wire.session) is State.FAILED
        assert is_closed(wire.told[-1])
        wire.bye(dialog)
        await wire.until(lambda: wire.clean)

    wired(tmp_path, scene)


@pytest.mark.parametrize("method", ["take_offer", "take_metadata", "body"])
def test_an_invite_that_fails_leaves_no_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    async def scene(wire: Wire) -> None:
        def failing(*_: Any, **__: Any) -> None:
            raise RuntimeError("not foreseen")

        monkeypatch.setattr(f"mitschnitt.recorder.session.Session.{method}", failing)
        wire.invite()
        await wire.until(lambda: wire.clean)
        wire.flush()
        assert wire.pair.last_response(500).status == 500
        assert wire.calls.counts["event_failed"] == 1

    wired(tmp_path, scene)


def test_a_full_disk_fails_the_calls_whose_tracks_it_lost(tmp_path: Path) -> None:
    async def scene(wire: Wire) -> None:
        await keeping(wire)
        track = next(iter(wire.session._recording.tracks.values()))
        wire.calls.on_failed(track, None)  # type: ignore[arg-type] # what it was does not matter
        assert state_of(wire.session) is State.FAILED
        assert wire.session.facts.failed == "vault.no_space"

    wired(tmp_path, scene)


def test_broken_and_strange_facts_are_counted_and_change_nothing(tmp_path: Path) -> None:
    async def scene(wire: Wire) -> None:
        await keeping(wire)
        wire.calls.fact_posted("act", {"call": CALL, **act("", 6.2, kind="pause"), "at": "soon"})
        wire.calls.fact_posted("asked", {"call": CALL})
        wire.calls.fact_posted("act", {"call": "0" * 26, **act("", 6.2, kind="pause")})
        wire.calls.fact_posted("act", {**act("", 6.2, kind="pause")})
        assert wire.calls.counts["bad_facts"] == 2
        assert state_of(wire.session) is State.KEEPING

    wired(tmp_path, scene)


def test_a_withdrawal_reaches_a_call_whose_files_are_being_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(wire: Wire) -> None:
        monkeypatch.setattr("mitschnitt.recorder.sealing.LAST_KEYS_SECONDS", 0.2)
        wire.bye(await keeping(wire))
        wire.calls.fact_posted("withdraw", {"call": CALL, **act("", 7, kind="withdraw")})
        await wire.until(lambda: wire.clean)
        assert await wire.stage.journalled("arrived", "track", "track", "shred", "closed")

    wired(tmp_path, scene)


def test_stopping_seals_what_runs_says_bye_and_takes_no_more(tmp_path: Path) -> None:
    async def scene(wire: Wire) -> None:
        await keeping(wire)
        said = wire.stage.voices["clara"].says(ports_of(wire.session)[0], 2)
        stopping = asyncio.create_task(wire.calls.stop())
        await asyncio.sleep(0)
        wire.invite()
        assert wire.pair.last_response(503).status == 503
        await stopping
        assert len(wire.ended) == 1
        await wire.stage.journalled(*KEPT)
        assert wire.stage.kept(0) == said
        assert wire.clean

    wired(tmp_path, scene)


def test_the_keeper_is_told_the_calls_that_run(tmp_path: Path) -> None:
    async def scene(wire: Wire) -> None:
        dialog = await keeping(wire)
        assert wire.calls.live_calls() == [CALL]
        wire.bye(dialog)
        assert wire.calls.live_calls() == []

    wired(tmp_path, scene)


@pytest.mark.parametrize(
    "told",
    [
        {"type": "joined", "call": None, "rule": "call.unmatched"},
        joined(asked=[asked()], acts=[act("2", 5.5)]),
        joined(asked=[asked()]),
    ],
    ids=["announced by nobody", "refused", "asked"],
)
def test_whatever_the_keeper_says_late_a_call_that_stays_closed_is_told_nothing(
    told: dict[str, Any], tmp_path: Path
) -> None:
    async def scene(wire: Wire) -> None:
        dialog = wire.invite()
        await wire.answered()
        wire.stage.seconds = 6.0
        wire.stage.link.answer(told)
        wire.flush()
        assert is_closed(wire.told[-1])
        assert wire.requests("INVITE")[1:] == []
        wire.bye(dialog)
        await wire.until(lambda: wire.clean)

    wired(tmp_path, scene)
