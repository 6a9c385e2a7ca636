"""Whose packets are kept: real sockets on loopback, where every 127.0.0.x is another host. The clock is played."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from media_rig import EVENTS, T0, Rig, Sender, read_party, stamp, stamps_in
from mitschnitt.core.gate import State
from mitschnitt.recorder.media import Line, Track
from mitschnitt.recorder.ports import REST_NS
from mitschnitt.recorder.receiver import ROUNDS, SOCKET_BUDGET
from mitschnitt.recorder.rtcp import Peer
from mitschnitt.recorder.sources import Lock, Sourcing
from mitschnitt.vault.artefact import PathCounts, path_of
from mitschnitt.wire.sdp import parse_sdp
from recorder_stage import Stage, branch_of, offer, over, play, ports_for, ports_of, state_of
from rtcp_client import says_who

CLARA, JENS, STRANGER = "127.0.0.1", "127.0.0.3", "127.0.0.2"
SIGNALLED_PORT = 4_000  # nobody sends from there


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path, sourcing=Sourcing.SIGNALLED)
    yield rig
    rig.close()


def peer(address: str = CLARA, port: int = SIGNALLED_PORT, *, mux: bool = False) -> Peer:
    return Peer(address, port, address, port if mux else port + 1, is_muxed=mux)


class From(Sender):
    """A sender on an address of its own."""

    def __init__(self, address: str, port: int, ssrc: int = 0x77) -> None:
        super().__init__(port, ssrc)
        self.sock.close()
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_DGRAM)
        self.sock.bind((address, 0))
        self.sock.connect((address if ":" in address else CLARA, port))


def kept_line(rig: Rig, track: Track, where: Peer | None) -> Line:
    line = rig.media.line(event_types=EVENTS)
    rig.media.aim(line, where)
    rig.media.keep(line, track)
    return line


def end(rig: Rig, track: Track) -> tuple[list[int], PathCounts]:
    """What was kept, by the stamps of its packets, and how it came."""
    media, timeline = read_party(rig.blobs, rig.finish(track))
    return stamps_in(media), path_of(timeline.header)


def foreign(path: PathCounts) -> tuple[int, int]:
    return path.injected, path.other_sources


def test_a_kept_line_takes_packets_from_the_signalled_address_only(rig: Rig) -> None:
    track = rig.track()
    line = kept_line(rig, track, peer())
    clara, stranger = From(CLARA, line.port), From(STRANGER, line.port, ssrc=0x66)
    for turn in range(4):
        stranger.stamped([900], first_seq=turn)
        clara.stamped(range(5 * turn, 5 * turn + 5))
        stranger.stamped([901, 902], first_seq=500)
        rig.tick()
    assert not rig.holds(stamp(901))
    assert rig.media.counts.injected == 12
    assert rig.media.counts.refused == {}
    kept, path = end(rig, track)
    assert kept == list(range(20))
    assert path == PathCounts(20, 20, injected=12, other_sources=1)


def test_its_port_is_learned_once_so_that_another_program_of_the_same_host_is_a_stranger(rig: Rig) -> None:
    track = rig.track()
    line = kept_line(rig, track, peer())
    clara, other = From(CLARA, line.port), From(CLARA, line.port)
    clara.stamped([0])
    other.stamped([900])
    rig.tick()
    other.stamped([901])
    clara.stamped([1])
    rig.tick(2)
    other.stamped([902])
    rig.tick()
    kept, path = end(rig, track)
    assert (kept, foreign(path)) == ([0, 1], (3, 1))


def test_once_locked_the_kernel_keeps_foreign_audio_out_of_this_process(rig: Rig) -> None:
    line = kept_line(rig, rig.track(), peer())
    clara, stranger = From(CLARA, line.port), From(STRANGER, line.port)
    seen: list[bytes] = []
    process = rig.media._process
    rig.media._process = lambda batch: (seen.append(batch.rows.tobytes()), process(batch))[1]  # type: ignore[method-assign, func-returns-value]
    stranger.stamped([900])
    clara.stamped([0])
    rig.tick()
    stranger.stamped([901])
    clara.stamped([1])
    rig.tick()
    assert any(stamp(0) in rows for rows in seen)
    assert not any(stamp(number) in rows for rows in seen for number in (900, 901))


def test_what_was_queued_before_the_lock_is_told_apart_by_name(rig: Rig) -> None:
    track = rig.track()
    line = kept_line(rig, track, peer())
    clara, other = From(CLARA, line.port), From(CLARA, line.port)
    for number in range(SOCKET_BUDGET + 10):  # more than one round: the rest lies in the socket when the lock comes
        clara.stamped([number])
        other.stamped([900])
    rig.tick()
    kept, path = end(rig, track)
    assert kept == list(range(SOCKET_BUDGET + 10))
    assert foreign(path) == (SOCKET_BUDGET + 10, 1)


def test_a_flood_that_outlasts_a_drain_is_asked_for_its_sender_until_the_socket_was_empty(rig: Rig) -> None:
    line = kept_line(rig, rig.track(), peer())
    clara = From(CLARA, line.port)
    count = ROUNDS * SOCKET_BUDGET
    clara.stamped(range(count))
    rig.tick()
    assert line.number in rig.media.lines.sources.named
    clara.stamped(range(count, 2 * count))
    rig.tick()
    assert line.number in rig.media.lines.sources.named
    rig.tick()
    assert line.number not in rig.media.lines.sources.named


def test_a_line_that_closes_in_the_middle_of_a_drain_ends_the_asking_for_no_other(rig: Rig) -> None:
    ending, track = rig.track(), rig.track(1)
    other = kept_line(rig, ending, peer())
    line = kept_line(rig, track, peer())
    From(CLARA, other.port).stamped([0])
    clara, stranger = From(CLARA, line.port), From(CLARA, line.port)
    clara.stamped([0])
    rig.tick()
    clara.stamped(range(1, ROUNDS * SOCKET_BUDGET))
    for _ in range(20):
        stranger.stamped([900])
    drain = rig.media._drain(rig.media.lines.sockets())
    next(drain)
    rig.media.release(other)
    for _ in drain:
        pass
    assert line.number in rig.media.lines.sources.named
    rig.tick()
    kept, path = end(rig, track)
    assert (kept, path.injected) == (list(range(ROUNDS * SOCKET_BUDGET)), 20)


def test_a_line_whose_client_gave_no_address_takes_nothing(rig: Rig) -> None:
    track = rig.track()
    line = kept_line(rig, track, None)
    From(CLARA, line.port).stamped([900])
    rig.tick()
    assert rig.media.counts.injected == 1
    assert not rig.media.has_media(track)
    assert foreign(end(rig, track)[1]) == (1, 1)


def test_a_key_of_a_stranger_does_not_act_and_does_not_spoil_the_clients(rig: Rig) -> None:
    line = rig.media.line(event_types=EVENTS)
    rig.media.aim(line, peer())
    clara, stranger = From(CLARA, line.port), From(STRANGER, line.port)
    stranger.key(1, 10, 800, end=True)
    rig.tick()
    clara.key(1, 1, 800, end=True)
    stranger.key(2, 9, 1600, end=True)
    rig.tick()
    rig.media.keep(line, rig.track())
    stranger.key(3, 10, 2400, end=True)
    clara.key(2, 2, 2400, end=True)
    rig.tick()
    assert [digit for _, digit, _ in rig.digits] == ["1", "2"]
    assert rig.media.counts.injected == 3
    assert rig.leaks == []


def test_a_strangers_audio_on_a_gated_line_is_no_leak_of_the_client(rig: Rig) -> None:
    line = rig.media.line()
    rig.media.aim(line, peer())
    From(STRANGER, line.port).stamped(range(3))
    From(CLARA, line.port).stamped(range(2))
    rig.tick()
    assert rig.leaks == [(line.number, 2)]
    assert rig.media.counts.injected == 3


def test_a_stranger_moves_neither_source_nor_mixes_nor_loss(rig: Rig) -> None:
    line = kept_line(rig, rig.track(), peer())
    clara, stranger = From(CLARA, line.port), From(STRANGER, line.port, ssrc=0x66)
    clara.stamped(range(3))
    rig.tick()
    mixed = struct.pack(">BBHIIII", 0x82, 8, 4, 640, 0x77, 1, 2) + b"mix"
    stranger.sends(mixed)
    stranger.stamped([30_000])
    rig.tick()
    source = rig.media.reception.source(line.number)
    assert source is not None
    assert source.ssrc == 0x77
    assert rig.media.reception.epochs(line.number) == 1
    assert rig.media.rtcp.counts.source_changes == 0
    assert rig.doubts == []
    assert rig.media.loss(line).lost == 0


def test_muxed_rtcp_of_a_stranger_is_not_read(rig: Rig) -> None:
    line = kept_line(rig, rig.track(), peer(mux=True))
    clara, stranger = From(CLARA, line.port), From(STRANGER, line.port)
    clara.stamped([0])
    clara.sends(says_who(0x77, b"clara"))
    rig.tick()
    stranger.sends(says_who(0x77, b"somebody else"))
    rig.tick()
    stranger.sends(says_who(0x77, b"somebody else"))
    rig.tick()
    assert rig.named == [line.number]
    assert rig.doubts == []
    assert (rig.media.rtcp.counts.received, rig.media.counts.injected) == (1, 2)


@pytest.mark.parametrize("mux", [False, True])
def test_another_address_needs_signalling_and_then_the_old_one_is_the_stranger(rig: Rig, mux: bool) -> None:  # noqa: FBT001 - a case
    track = rig.track()
    line = kept_line(rig, track, peer(mux=mux))
    clara, moved = From(CLARA, line.port), From(JENS, line.port)
    clara.stamped([0])
    rig.tick()
    moved.stamped([900])
    rig.tick()
    rig.media.aim(line, peer(JENS, mux=mux))
    moved.stamped([1])
    clara.stamped([901])
    rig.tick()
    kept, path = end(rig, track)
    assert (kept, foreign(path)) == ([0, 1], (2, 2))


def test_an_unchanged_offer_does_not_take_the_lock_off_and_a_new_port_does(rig: Rig) -> None:
    track = rig.track()
    line = kept_line(rig, track, peer())
    before, after = From(CLARA, line.port), From(CLARA, line.port)
    before.stamped([0])
    rig.tick()
    rig.media.aim(line, peer())
    after.stamped([900])
    rig.tick()
    rig.media.aim(line, peer(port=SIGNALLED_PORT + 2))
    after.stamped([1])
    before.stamped([901])
    rig.tick()
    kept, path = end(rig, track)
    assert (kept, foreign(path)) == ([0, 1], (2, 2))


def test_hold_without_an_address_takes_nothing_and_the_resumed_client_is_learned_anew(rig: Rig) -> None:
    track = rig.track()
    line = kept_line(rig, track, peer())
    clara = From(CLARA, line.port)
    clara.stamped([0])
    rig.tick()
    rig.media.aim(line, None)
    clara.stamped([900])
    rig.tick()
    rig.media.aim(line, peer())
    again = From(CLARA, line.port)  # from another port than before
    again.stamped([1])
    rig.tick()
    kept, path = end(rig, track)
    assert (kept, path.injected) == ([0, 1], 1)


def test_packets_that_wait_when_the_client_moves_are_asked_for_their_sender(rig: Rig) -> None:
    track = rig.track()
    line = kept_line(rig, track, peer())
    clara, jens, stranger = (From(address, line.port) for address in (CLARA, JENS, STRANGER))
    clara.stamped([0])
    rig.tick(2)
    clara.stamped([900])
    rig.media.aim(line, peer(JENS))
    stranger.stamped([901])
    jens.stamped([1])
    rig.tick()
    kept, path = end(rig, track)
    assert (kept, path.injected) == ([0, 1], 2)


def test_two_lines_of_one_call_behind_one_address_do_not_take_each_others_packets(rig: Rig) -> None:
    tracks = [rig.track(party) for party in (0, 1)]
    lines = [kept_line(rig, track, peer(port=SIGNALLED_PORT + 2 * party)) for party, track in enumerate(tracks)]
    senders = [From(CLARA, line.port) for line in lines]
    for party, sender in enumerate(senders):
        sender.stamped([party])
    rig.tick(2)
    senders[0].sock.connect((CLARA, lines[1].port))
    senders[0].stamped([900])
    senders[1].stamped([3])
    rig.tick()
    assert [end(rig, track)[0] for track in tracks] == [[0], [1, 3]]


def test_a_moved_line_takes_its_client_along(rig: Rig) -> None:
    track = rig.track()
    old = rig.media.line()
    rig.media.aim(old, peer())
    new = rig.media.line()
    rig.media.follow(old, new)
    rig.media.keep(new, track)
    From(STRANGER, new.port).stamped([900])
    From(CLARA, new.port).stamped([0])
    rig.tick()
    assert end(rig, track)[0] == [0]


def test_over_ipv6_the_lock_is_the_same(tmp_path: Path) -> None:
    rig = Rig(tmp_path, address="::1", sourcing=Sourcing.SIGNALLED)
    with contextlib.closing(rig):
        track = rig.track()
        line = kept_line(rig, track, peer("::1"))
        clara, other = From("::1", line.port), From("::1", line.port)
        for turn in range(3):
            clara.stamped([turn])
            other.stamped([900])
            rig.tick()
        elsewhere = rig.track(1)
        line = kept_line(rig, elsewhere, peer("::2"))
        From("::1", line.port).stamped([901])
        rig.tick()
        assert end(rig, track) == ([0, 1, 2], PathCounts(3, 3, injected=3, other_sources=1))
        assert foreign(end(rig, elsewhere)[1]) == (1, 1)


def test_first_locks_on_whoever_sends_first_after_the_line_was_opened(tmp_path: Path) -> None:
    rig = Rig(tmp_path, sourcing=Sourcing.FIRST)
    with contextlib.closing(rig):
        track = rig.track()
        line = rig.media.line()
        rig.media.aim(line, peer("127.0.0.9"))  # behind a NAT it signals what it does not send from
        stranger, clara = From(STRANGER, line.port), From(CLARA, line.port)
        stranger.stamped([900])
        rig.tick()
        rig.media.keep(line, track)
        clara.stamped([0])
        stranger.stamped([901])
        rig.tick(2)
        stranger.stamped([902])
        clara.stamped([1])
        rig.tick()
        kept, path = end(rig, track)
        assert (kept, foreign(path)) == ([0, 1], (2, 1))


def test_what_a_client_still_sends_of_its_former_call_to_a_port_used_again_is_not_kept(tmp_path: Path) -> None:
    now = [T0]
    pool = ports_for(1, pace=lambda: now[0])
    rig = Rig(tmp_path, sourcing=Sourcing.SIGNALLED, ports=pool)
    with contextlib.closing(rig):
        first, second = rig.track(), rig.track(1)
        line = kept_line(rig, first, peer())
        clara = From(CLARA, line.port, ssrc=0x51)
        clara.stamped([0, 1], first_seq=65_534)
        rig.tick()
        rig.media.release(line)
        line = kept_line(rig, second, peer())
        clara.stamped([900, 901, 2_500], first_seq=65_534)
        rig.tick()
        clara.stamped([2_502, 4_500], first_seq=65_534)  # goes on; 3,000 packets further on than the last would be new
        clara.key(4_501 + 65_534, 10, 800, end=True)
        clara.ssrc = 0x52
        clara.stamped([3], first_seq=65_534)  # a new stream from the same port
        clara.ssrc = 0x51
        rig.tick()
        now[0] += REST_NS
        clara.stamped([4_600], first_seq=65_534)
        rig.tick()
        assert rig.digits == []
        assert rig.media.lines.pool.unrested == 1
        assert rig.media.counts.refused == {"STALE": 6}
        assert end(rig, first)[0] == [0, 1]
        assert end(rig, second)[0] == [3, 4_600]


def test_a_system_that_takes_no_filter_makes_the_socket_deaf_rather_than_to_believe_anybody(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = kept_line(rig, rig.track(), peer())
    From(CLARA, line.port).stamped([0])
    monkeypatch.setattr("mitschnitt.recorder.filters.attach", _refuse)
    rig.tick()
    assert rig.media.lines.sources.lock[line.number] == Lock.LOCKED
    assert rig.media.lines.state(line).sock.getsockname()[1] == 0


def _refuse(_sock: socket.socket, _program: bytes) -> None:
    raise OSError(12, "no memory for a filter")


def test_in_a_call_an_offer_with_another_address_moves_the_lock_and_a_hold_without_one_takes_it_off(
    tmp_path: Path,
) -> None:
    async def scene(stage: Stage) -> None:
        session = stage.keeping()
        branch = branch_of(session)
        port = ports_of(session)[0]
        clara, moved = From(CLARA, port), From(JENS, port)
        for version, address, speaks, silent in (
            (2, CLARA, clara, moved),
            (3, JENS, moved, clara),
            (4, "0.0.0.0", None, moved),  # noqa: S104 - hold as before RFC 3264
            (5, CLARA, clara, moved),
        ):
            text = offer("1", "2", version=version).replace(b"c=IN IP4 127.0.0.1", b"c=IN IP4 " + address.encode())
            assert session.take_offer(branch, parse_sdp(text), at=stage.now)
            session.look()
            silent.stamped([900 + version])
            if speaks is not None:
                speaks.stamped([version])
            stage.tick()
        assert state_of(session) is State.KEEPING
        await over(stage, session, "arrived", "track", "track", "sealed", "sealed", "closed")
        assert stage.kept(0) == [stamp(version) for version in (2, 3, 5)]
        assert stage.media.counts.injected == 4

    play(tmp_path, scene)
