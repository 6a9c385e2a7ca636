"""M-lines and their RTP lines: ports are taken and given back once, and nothing that fails leaves one open."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path
from typing import Any

import pytest

from mitschnitt.core.gate import State
from mitschnitt.errors import MalformedPacket, VaultError
from mitschnitt.recorder.rtcp import Peer
from mitschnitt.recorder.session import Session
from mitschnitt.wire.sdp import parse_sdp
from recorder_stage import (
    CLARA,
    JENS_AOR,
    THREE,
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
    play,
    ports_for,
    ports_of,
    signalled_to,
    state_of,
)


def test_labels_that_change_their_speakers_while_keeping_mix_no_voices(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        session = stage.keeping()
        first = ports_of(session)
        stage.voices["clara"].says(first[0], 2)
        stage.tick()
        session.take_metadata(branch_of(session), metadata(("2", CLARA), ("1", JENS_AOR)))
        session.look()
        assert state_of(session) is State.KEEPING
        fresh = ports_of(session)
        assert not set(fresh) & set(first)
        stage.voices["clara"].says(first[0], 2)  # the client has not moved yet: behind the filter
        clara, jens = stage.voices["clara"].says(fresh[1], 2), stage.voices["jens"].says(fresh[0], 2)
        stage.tick()
        await over(stage, session, "arrived", *["track"] * 4, "sealed", "sealed", "closed")
        tracks = [entry.data["binding"] for entry in stage.entries() if entry.type == "track"]
        assert [[one["label"] for one in track] for track in tracks] == [
            ["1"],
            ["2"],
            ["2", "1"],
            ["1", "2"],
        ]  # what each voice rested on, before and after
        assert stage.kept(0) == clara
        assert stage.kept(1) == jens

    play(tmp_path, scene)


def test_a_line_that_is_disabled_while_keeping_loses_its_port_and_comes_back_on_another(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        session = stage.keeping()
        assert session.take_offer(branch_of(session), parse_sdp(offer("1", "2", version=2, off="2")), at=stage.now)
        session.look()
        assert state_of(session) is State.KEEPING  # both agreed; there is one voice to hear
        assert [line.port > 0 for line in parse_sdp(session.body(branch_of(session))).lines] == [True, False]
        assert stage.open_lines() == 1
        assert session.take_offer(branch_of(session), parse_sdp(offer("1", "2", version=3)), at=stage.now)
        session.look()
        assert is_open(parse_sdp(session.body(branch_of(session))))
        branch_of(session).moved()
        said = stage.voices["jens"].says(ports_of(session)[1], 2)
        stage.tick()
        await over(stage, session, "arrived", "track", "track", "sealed", "sealed", "closed")
        assert stage.kept(1) == said

    play(tmp_path, scene)


def test_new_codecs_while_keeping_are_read_as_what_they_are(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        session = stage.keeping()
        assert session.take_offer(
            branch_of(session), parse_sdp(offer("1", "2", version=2, types="0 8 101")), at=stage.now
        )
        session.look()
        assert state_of(session) is State.KEEPING
        assert {track.codecs[0] for track in session._recording.tracks.values()} == {("PCMU", 8000)}
        assert branch_of(session).legs.shut_ones() == []
        await over(stage, session, "arrived", *["track"] * 4, "sealed", "sealed", "closed")
        told = [entry.data["codecs"] for entry in stage.entries() if entry.type == "track"]
        assert told == [{"8": ["PCMA", 8000]}] * 2 + [{"0": ["PCMU", 8000], "8": ["PCMA", 8000]}] * 2

    play(tmp_path, scene)


def test_what_decoding_depends_on_is_journalled_with_its_codec_and_nothing_else(tmp_path: Path) -> None:
    more = (
        b"a=rtpmap:96 opus/48000/2\r\na=fmtp:96 usedtx=1\r\na=rtpmap:97 AMR-WB/16000\r\na=fmtp:97 octet-align=1\r\n"
        b"a=rtpmap:99 X-OWN/8000\r\na=sendonly\r\n"
    )

    async def scene(stage: Stage) -> None:
        session = stage.keeping()
        changed = offer("1", "2", version=2, types="8 9 10 96 97 99 101").replace(b"a=sendonly\r\n", more)
        assert session.take_offer(branch_of(session), parse_sdp(changed), at=stage.now)
        session.look()
        assert state_of(session) is State.KEEPING
        assert session._recording.tracks[0].codecs == {
            8: ("PCMA", 8000),
            9: ("G722", 8000),
            10: ("L16", 44100, 2, ""),
            96: ("opus", 48000),
            97: ("AMR-WB", 16000, 1, "octet-align=1"),
            99: ("X-OWN", 8000),
        }
        await over(stage, session, "arrived", *["track"] * 4, "sealed", "sealed", "closed")

    play(tmp_path, scene)


def test_an_offer_with_fewer_lines_changes_nothing(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        session = stage.keeping()
        ports = ports_of(session)
        with pytest.raises(MalformedPacket, match="2 before, 1 now"):
            session.take_offer(branch_of(session), parse_sdp(offer("1", version=2)), at=stage.now)
        assert ports_of(session) == ports
        assert len(parse_sdp(session.body(branch_of(session))).lines) == 2
        await over(stage, session, "arrived", "track", "track", "sealed", "sealed", "closed")

    play(tmp_path, scene)


def test_a_line_that_the_client_leaves_stays_until_it_was_told_where_to_go(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        session = stage.session()
        stage.link.answer(joined(asked=[asked()]))
        stage.seconds = 6.0
        signalled_to(session).offer = lambda make_body: None  # type: ignore[method-assign] # the dialog is not free
        session.post("act", act("1", 5.5))
        branch_of(session).moved()  # the ACK to our first answer, which told the old ports
        assert stage.open_lines() == 4
        session._offer_body(branch_of(session))
        branch_of(session).moved()
        assert stage.open_lines() == 2
        await over(stage, session, "arrived", "track", "track", "sealed", "sealed", "closed")

    play(tmp_path, scene)


def test_without_ports_an_invite_is_not_taken(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        session = Session(stage.services, [])
        session.add(signalled_to(stage.session("1")))
        assert not session.take_offer(branch_of(session), parse_sdp(offer("1", "2")), at=stage.now)
        session.ended()
        assert stage.open_lines() == 1
        assert stage.ports.free == 1

    play(tmp_path, scene, ports=ports_for(2))


def test_without_fresh_ports_to_open_the_call_stays_shut(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        session = stage.session()
        stage.link.answer(joined(asked=[asked()]))
        stage.seconds = 6.0
        session.post("act", act("1", 5.5))
        assert state_of(session) is State.NOT_ASKED
        assert is_closed(signalled_to(session).offers[-1])
        assert session._recording.tracks == {}
        assert stage.ports.free == 1
        told = await over(stage, session, "arrived", "closed")
        assert told["rule"] == "ports.none"
        assert stage.ports.free == 3

    play(tmp_path, scene, ports=ports_for(3))


def test_without_a_port_for_a_new_line_the_running_call_is_sealed_as_far_as_it_came(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        session = stage.keeping()
        said = stage.voices["clara"].says(ports_of(session)[0], 2)
        stage.tick(10)
        assert not session.take_offer(
            branch_of(session), parse_sdp(offer("1", "2", "3", "4", "5", version=2)), at=stage.now
        )
        session.take_metadata(branch_of(session), THREE)
        session.look()
        assert state_of(session) is State.FAILED
        answer = parse_sdp(session.body(branch_of(session)))
        assert [line.port > 0 for line in answer.lines] == [True, True, True, True, False]
        assert {line.direction for line in answer.lines} == {"inactive"}
        await over(stage, session, "arrived", "track", "track", "sealed", "sealed", "closed")
        assert stage.kept(0) == said
        assert stage.ports.free == 4

    play(tmp_path, scene, ports=ports_for(4))


@pytest.mark.parametrize("method", ["keep", "listen", "track"])
def test_whatever_fails_while_opening_nothing_stays_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    async def scene(stage: Stage) -> None:
        session = stage.session()
        stage.link.answer(joined(asked=[asked()]))
        stage.seconds = 6.0
        real, calls = getattr(stage.media, method), []

        def failing(*positional: Any, **named: Any) -> Any:
            calls.append(positional)
            if len(calls) == 2:
                raise VaultError("not now")
            return real(*positional, **named)

        monkeypatch.setattr(stage.media, method, failing)
        session.post("act", act("1", 5.5))
        assert state_of(session) is State.NOT_ASKED
        assert len(branch_of(session).legs.shut_ones()) == 2
        assert is_closed(signalled_to(session).offers[-1])
        told = await over(stage, session, "arrived", "track", "track", "closed")
        assert (told["outcome"], told["rule"]) == ("not_kept", "recorder.failed")

    play(tmp_path, scene)


def test_a_line_that_cannot_be_shut_in_order_loses_its_socket_and_the_others_are_shut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(stage: Stage) -> None:
        session = stage.keeping()
        first, second = ports_of(session)
        stage.tick()
        real = stage.media.shut

        def failing(line: Any, **named: Any) -> int:
            if line.port == first:
                raise OSError(errno.ENOMEM, "no filter")
            return real(line, **named)

        monkeypatch.setattr(stage.media, "shut", failing)
        session.post("act", act("", 6.2, kind="pause"))
        assert state_of(session) is State.PAUSED
        assert ports_of(session) == [0, second]
        stage.voices["jens"].says(second, 2)
        stage.tick()
        assert not stage.holds(b"jens:")
        await over(stage, session, "arrived", "track", "track", "sealed", "sealed", "closed")

    play(tmp_path, scene)


def test_the_owners_of_lines_are_forgotten_soon_after_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        session = stage.keeping()
        session.ended()
        assert len(stage.services.owners) == 2  # keys pressed at the last moment are still on their way
        await session.sealed()
        async with asyncio.timeout(60):
            while stage.services.owners:
                await asyncio.sleep(0.01)
        assert session._recording.tracks == {}

    monkeypatch.setattr("mitschnitt.recorder.branches.LATE_SECONDS", 0.02)
    play(tmp_path, scene)


@pytest.mark.parametrize(
    ("client", "peer"),
    [
        ("c=IN IP4 127.0.0.1", Peer("127.0.0.1", 40_000, "127.0.0.1", 40_001)),
        ("c=IN IP4 127.0.0.1\r\na=rtcp:50001", Peer("127.0.0.1", 40_000, "127.0.0.1", 50_001)),
        ("c=IN IP4 127.0.0.1\r\na=rtcp:50001 IN IP4 127.0.0.9", Peer("127.0.0.1", 40_000, "127.0.0.9", 50_001)),
        ("c=IN IP4 127.0.0.1\r\na=rtcp:50001 IN IP4 sbc.example.org", None),
        ("c=IN IP4 127.0.0.1\r\na=rtcp-mux", Peer("127.0.0.1", 40_000, "127.0.0.1", 40_000, is_muxed=True)),
        (
            "c=IN IP4 127.0.0.1\r\na=rtcp:50001\r\na=rtcp-mux",
            Peer("127.0.0.1", 40_000, "127.0.0.1", 40_000, is_muxed=True),
        ),
        ("c=IN IP4 0.0.0.0", None),
        ("c=IN IP6 ::1", None),
    ],
)
def test_where_a_client_wants_its_reports_is_what_it_signalled(client: str, peer: Peer | None, tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        session = stage.keeping()
        text = offer("1", "2", version=2).replace(
            b"RTP/AVP 8 101\r\n", b"RTP/AVP 8 101\r\n" + client.encode() + b"\r\n"
        )
        assert session.take_offer(branch_of(session), parse_sdp(text), at=stage.now)
        assert [leg.peer is not None for leg in branch_of(session).legs] == [peer is not None] * 2
        assert next(iter(branch_of(session).legs)).peer == peer
        told = parse_sdp(session.body(branch_of(session)))
        assert [line.rtcp_mux for line in told.lines] == [peer is not None and peer.is_muxed] * 2
        session.ended()
        await session.sealed()
        assert (stage.open_lines(), stage.media.rtcp.sockets) == (0, 0)

    play(tmp_path, scene)


def test_a_port_above_which_there_is_none_gets_no_reports(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        session = stage.keeping()
        text = offer("1", "2", version=2).replace(b"m=audio 40000", b"m=audio 65535")
        assert session.take_offer(branch_of(session), parse_sdp(text), at=stage.now)
        assert [leg.peer is not None for leg in branch_of(session).legs] == [False, True]

    play(tmp_path, scene)
