"""RTCP of kept lines over real sockets; the clock is played. Rows 34, 35 and 37 of the SIPREC checklist."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from loopback import all_delivered, send_all
from media_rig import T0, Rig
from mitschnitt.core.gate import State
from mitschnitt.recorder.media import Line
from mitschnitt.recorder.rtcp import MAX_NAMES, RECEIVE_BUFFER_BYTES, SOCKET_BUDGET, Peer
from mitschnitt.recorder.session import Session
from mitschnitt.wire.sdp import parse_sdp
from recorder_stage import (
    TWO_ANEW,
    Stage,
    branch_of,
    is_closed,
    offer,
    over,
    play,
    ports_of,
    signalled_to,
    state_of,
)
from rtcp_client import LOOPBACK, Client, goodbye, named, read_report, says_who, sender_report

SECOND = 4  # ticks


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path)
    yield rig
    rig.close()


def opened(rig: Rig, peer: Peer | None, party: int = 0) -> Line:
    """A kept line whose client signalled this."""
    line = rig.media.line()
    rig.media.aim(line, peer)
    rig.media.keep(line, rig.track(party))
    return line


def meets(stage: Stage, session: Session, *clients: Client) -> None:
    """The clients of a call offer anew, and say where they really are."""
    text = offer(*(str(number) for number in range(1, len(clients) + 1)), version=2)
    for number, client in enumerate(clients):
        text = text.replace(b"m=audio %d " % (40_000 + 2 * number), b"m=audio %d " % client.port)
    assert session.take_offer(branch_of(session), parse_sdp(text), at=stage.now)
    session.look()


# -- row 34: reports ---------------------------------------------------------------------------------


def test_row_34_a_client_is_told_within_five_seconds_what_arrived_from_the_port_beside_its_line(
    tmp_path: Path,
) -> None:
    async def scene(stage: Stage) -> None:
        session, clara, jens = stage.keeping(), Client(0x51), Client(0x51)
        meets(stage, session, clara, jens)
        ports = ports_of(session)
        clara.says(ports[0], 6)
        clara.loses(2)
        clara.says(ports[0], 8)
        jens.says(ports[1], 3)
        stage.tick(5 * SECOND)
        (told, *_), (other, *_) = clara.reports(), jens.reports()
        assert told.source == (LOOPBACK, ports[0] + 1)
        assert (told.ssrc, told.lost, told.fraction, told.highest) == (0x51, 2, 2 * 256 // 16, 16)
        assert other.source == (LOOPBACK, ports[1] + 1)
        assert (other.ssrc, other.lost, other.highest) == (0x51, 0, 3)
        assert clara.heard_on_rtp() + jens.heard_on_rtp() == []
        await over(stage, session, "arrived", "track", "track", "sealed", "sealed", "closed")

    play(tmp_path, scene)


def test_row_34_what_the_client_reports_is_read_and_its_time_comes_back(rig: Rig) -> None:
    client = Client()
    line = opened(rig, client.peer)
    for _ in range(30):
        client.says(line.port, 12)
        client.tells(line.port, sender_report(client.ssrc, ntp=0x1122334455667788) + named(client.ssrc, b"c"))
        rig.tick(SECOND)
    reports = client.reports()
    assert 3 <= len(reports) <= 12  # 2.5 to 8.5 s apart, after a first one within 4.75 s
    assert {one.last_sr for one in reports} == {0x33445566}
    assert all(one.delay <= 65_536 for one in reports)
    assert [one.highest for one in reports] == sorted(one.highest for one in reports)
    assert rig.media.rtcp.counts.received == 30


def test_row_34_reports_go_on_while_nothing_comes_and_then_say_nothing_of_a_source(rig: Rig) -> None:
    client = Client()
    line = opened(rig, client.peer)
    client.says(line.port, 5)
    rig.tick(60 * SECOND)
    first, *others = client.reports()
    assert first.blocks == 1
    assert len(others) >= 6
    assert {one.blocks for one in others} == {0}


def test_row_34_rtcp_may_share_the_ports_of_rtp(rig: Rig) -> None:
    client = Client()
    line = opened(rig, client.muxed)
    assert rig.media.rtcp.sockets == 0
    client.says(line.port, 3)
    send_all(client.rtp, [says_who(client.ssrc, b"anna")], (LOOPBACK, line.port))
    send_all(client.rtp, [b"\xbf\xc9\xff\xff" + bytes(8)], (LOOPBACK, line.port))
    rig.tick(6 * SECOND)
    assert rig.named == [line.number]
    assert (rig.media.rtcp.counts.received, rig.media.rtcp.counts.refused) == (1, 1)
    assert rig.media.counts.refused == {}
    reports = [data for data in client.heard_on_rtp() if data[1] == 201]
    assert reports
    assert client.heard() == []
    assert (rig.media.counts.kept, rig.media.counts.leaked) == (3, 0)


def test_row_34_reports_go_over_ipv6_too(tmp_path: Path) -> None:
    rig = Rig(tmp_path, address="::1")
    with (
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as voice,
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as control,
    ):
        control.bind(("::1", 0))
        control.setblocking(False)
        line = opened(rig, Peer("::1", 9, "::1", control.getsockname()[1]))
        said = bytes((0x80, 8, 0, 1)) + bytes(4) + (0x51).to_bytes(4, "big") + b"voice"
        send_all(voice, [said], ("::1", line.port))
        send_all(control, [says_who(0x51, b"anna")], ("::1", line.port + 1))
        rig.tick(5 * SECOND)
        all_delivered()
        data, source = control.recvfrom(2_000)
        assert source[:2] == ("::1", line.port + 1)
        assert read_report(data, source[:2]).ssrc == 0x51
        assert (rig.named, rig.media.rtcp.counts.strange) == ([line.number], 0)
    rig.close()


def test_an_rtcp_socket_that_cannot_be_watched_is_closed(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def register(self, descriptor: int, events: int) -> None:
            raise OSError(errno.ENOSPC, "too many watches")

    poll = rig.media.rtcp._poll
    monkeypatch.setattr(rig.media.rtcp, "_poll", Full())
    line = opened(rig, Client().peer)
    monkeypatch.setattr(rig.media.rtcp, "_poll", poll)
    assert (rig.media.rtcp.counts.unbound, rig.media.rtcp.sockets) == (1, 0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind((LOOPBACK, line.port + 1))
        assert other.getsockname()[1] == line.port + 1


def test_reports_carry_a_random_name_and_no_host(rig: Rig, tmp_path: Path) -> None:
    one, other = Client(), Client()
    lines = [opened(rig, one.peer), opened(rig, other.peer, party=1)]
    one.says(lines[0].port)
    other.says(lines[1].port)
    rig.tick(5 * SECOND)
    first, second = one.reports()[0], other.reports()[0]
    assert first.cname == second.cname
    assert len(first.cname) == 16
    assert socket.gethostname().encode() not in first.cname
    assert first.reporter != second.reporter
    (tmp_path / "other").mkdir()
    stranger = Rig(tmp_path / "other")
    assert stranger.media.rtcp._cname != first.cname
    stranger.close()


def test_our_own_source_moves_when_the_client_has_the_same(rig: Rig) -> None:
    client = Client()
    line = opened(rig, client.peer)
    client.ssrc = rig.media.rtcp._controls[line.number].ssrc
    client.says(line.port)
    rig.tick(5 * SECOND)
    (report, *_) = client.reports()
    assert report.ssrc == client.ssrc != report.reporter


# -- what is not sent, not read, not bound -----------------------------------------------------------


def test_nothing_is_sent_before_the_clients_first_packet(rig: Rig) -> None:
    client = Client()
    line = opened(rig, client.peer)
    rig.tick(30 * SECOND)
    assert client.heard() == []
    client.tells(line.port, says_who(client.ssrc, b"anna"))
    rig.tick(2 * SECOND)
    assert [one.blocks for one in client.reports()] == [0]


def test_that_a_client_sends_no_rtcp_is_known_after_a_while_and_not_before(rig: Rig) -> None:
    client = Client()
    line = opened(rig, client.peer)
    found = []
    for _ in range(12):
        client.says(line.port, 1)
        rig.tick(SECOND)
        found.append(rig.media.rtcp.has_heard(line))
    assert found == [None] * 9 + [False] * 3
    client.tells(line.port, sender_report(client.ssrc) + named(client.ssrc, b"c"))
    rig.tick(2 * SECOND)
    assert rig.media.rtcp.has_heard(line) is True
    assert rig.media.rtcp.has_heard(rig.media.line()) is None


def test_a_gated_line_has_no_rtcp_and_a_shut_one_loses_it(rig: Rig) -> None:
    client, line = Client(), rig.media.line()
    rig.media.aim(line, client.peer)
    assert rig.media.rtcp.sockets == 0
    rig.media.keep(line, rig.track())
    assert rig.media.rtcp.sockets == 1
    client.says(line.port)
    rig.tick(6 * SECOND)
    client.heard()
    rig.media.shut(line)
    assert rig.media.rtcp.sockets == 0
    client.tells(line.port, says_who(client.ssrc, b"anna"))
    rig.tick(30 * SECOND)
    assert client.heard() == []
    assert client.heard_on_rtp() == []
    assert (rig.media.rtcp.counts.received, rig.named) == (0, [])


def test_whoever_sends_from_elsewhere_is_counted_and_not_read(rig: Rig) -> None:
    client, stranger = Client(), Client()
    line = opened(rig, client.peer)
    client.says(line.port)
    stranger.tells(line.port, says_who(client.ssrc, b"mallory"))
    send_all(client.rtp, [says_who(client.ssrc, b"mallory")], (LOOPBACK, line.port + 1))
    rig.tick(5 * SECOND)
    assert rig.media.rtcp.counts.strange == 2
    assert (rig.media.rtcp.counts.received, rig.named) == (0, [])
    assert stranger.heard() == []
    assert client.reports()


def test_audio_that_comes_to_the_rtcp_port_is_cut_in_the_kernel_and_refused(rig: Rig) -> None:
    client = Client()
    line = opened(rig, client.peer)
    control = rig.media.rtcp._controls[line.number].sock
    assert control is not None
    client.tells(line.port, b"\x80\x08" + b"AUDIO" * 30)
    control.settimeout(30)
    assert control.recv(2_000) == b"\x80"
    control.setblocking(False)
    client.tells(line.port, b"\x80\x08" + b"AUDIO" * 30)
    rig.tick(SECOND)
    assert rig.media.rtcp.counts.refused == 1


def test_a_flood_is_read_in_small_portions_and_kept_in_a_small_buffer(rig: Rig) -> None:
    client = Client()
    line = opened(rig, client.peer)
    for _ in range(500):
        client.tells(line.port, says_who(client.ssrc, b"anna") * 20)
    rig.tick(SECOND)
    assert rig.media.rtcp.counts.received <= SOCKET_BUDGET
    rig.tick(20 * SECOND)
    assert rig.media.rtcp.counts.received * len(says_who(1, b"anna") * 20) <= 2 * RECEIVE_BUFFER_BYTES


def test_a_line_whose_odd_port_is_taken_works_without_rtcp(rig: Rig) -> None:
    client, line = Client(), rig.media.line()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind((LOOPBACK, line.port + 1))
        rig.media.aim(line, client.peer)
        rig.media.keep(line, rig.track())
        client.says(line.port, 3)
        rig.tick(6 * SECOND)
    assert (rig.media.rtcp.counts.unbound, rig.media.rtcp.sockets) == (1, 0)
    assert rig.media.counts.kept == 3
    assert client.heard() == []
    rig.media.shut(line)


def test_rtcp_takes_no_more_sockets_than_it_may(tmp_path: Path) -> None:
    rig = Rig(tmp_path, max_rtcp_sockets=1)
    first, second = Client(), Client()
    lines = [opened(rig, first.peer), opened(rig, second.peer, party=1)]
    assert (rig.media.rtcp.sockets, rig.media.rtcp.counts.unbound) == (1, 1)
    first.says(lines[0].port)
    second.says(lines[1].port)
    rig.tick(5 * SECOND)
    assert rig.media.counts.kept == 2
    rig.close()


def test_a_line_without_an_address_of_its_client_has_no_rtcp_until_it_gets_one(rig: Rig) -> None:
    client = Client()
    line = opened(rig, None)
    assert rig.media.rtcp.sockets == 0
    rig.media.aim(line, client.peer)
    assert rig.media.rtcp.sockets == 1
    client.says(line.port)
    rig.tick(5 * SECOND)
    assert client.reports()
    rig.media.aim(line, None)
    rig.tick(30 * SECOND)
    assert (client.heard(), rig.media.rtcp.sockets) == ([], 0)


def test_a_client_that_moves_is_told_at_its_new_address_only(rig: Rig) -> None:
    before, after = Client(), Client()
    line = opened(rig, before.peer)
    before.says(line.port)
    rig.tick(5 * SECOND)
    assert before.reports()
    rig.media.aim(line, after.peer)
    after.says(line.port)
    rig.tick(5 * SECOND)
    assert (before.heard(), len(after.reports()) > 0) == ([], True)


def test_the_end_of_a_source_is_not_the_end_of_the_line(rig: Rig) -> None:
    client = Client()
    line = opened(rig, client.peer)
    client.says(line.port)
    client.tells(line.port, goodbye(client.ssrc))
    rig.tick(SECOND)
    client.says(line.port)
    rig.tick(5 * SECOND)
    assert (rig.media.rtcp.counts.goodbyes, rig.media.counts.kept) == (1, 2)
    assert (client.reports()[0].highest, rig.doubts) == (2, [])


def test_an_address_that_cannot_be_reached_is_counted(rig: Rig) -> None:
    client = Client()
    line = opened(rig, Peer(LOOPBACK, client.port, "2001:db8::1", 9))
    client.says(line.port)
    rig.tick(5 * SECOND)
    assert rig.media.rtcp.counts.unsent >= 1
    assert rig.media.counts.kept == 1


def test_a_released_line_leaves_nothing_behind(rig: Rig) -> None:
    client = Client()
    for _ in range(3):
        line = opened(rig, client.peer)
        client.says(line.port)
        client.tells(line.port, says_who(client.ssrc, b"anna"))
        rig.tick(2 * SECOND)
        rig.media.release(line)
    known = rig.media.rtcp
    assert (known.sockets, known._peers, known._names, known._controls, known._alive_ns) == (0, {}, {}, {}, {})


# -- row 35: sources and their names -----------------------------------------------------------------


def test_row_35_a_source_that_restarts_under_its_name_goes_on(rig: Rig) -> None:
    client = Client(0x51)
    line = opened(rig, client.peer)
    for ssrc in (0x51, 0x52, 0x53):
        client.ssrc = ssrc
        client.says(line.port, 3)
        client.tells(line.port, says_who(ssrc, b"anna@host"))
        rig.tick(2 * SECOND)
    assert (rig.doubts, rig.named) == ([], [line.number])
    assert rig.media.reception.epochs(line.number) == 3
    assert rig.media.rtcp.counts.source_changes == 2


def test_row_35_another_name_behind_a_new_source_is_a_doubt_since_its_first_packet(rig: Rig) -> None:
    client = Client(0x51)
    line = opened(rig, client.peer)
    client.says(line.port, 3)
    client.tells(line.port, says_who(0x51, b"anna"))
    rig.tick(2 * SECOND)
    client.ssrc = 0x99
    client.says(line.port, 3)
    rig.tick()
    began = rig.now_ns
    client.says(line.port, 3)
    rig.tick(SECOND)
    assert rig.doubts == []  # nobody has said who that is
    client.tells(line.port, says_who(0x99, b"bert"))
    rig.tick(2 * SECOND)
    client.tells(line.port, says_who(0x99, b"bert"))
    rig.tick(2 * SECOND)
    assert rig.doubts == [(line.number, "binding.cname", began)]


def test_row_35_a_name_that_was_told_before_its_source_speaks_is_known_at_once(rig: Rig) -> None:
    client = Client(0x51)
    line = opened(rig, client.peer)
    client.says(line.port)
    client.tells(line.port, says_who(0x51, b"anna") + named(0x99, b"bert"))
    rig.tick(2 * SECOND)
    client.ssrc = 0x99
    client.says(line.port)
    rig.tick()
    assert [rule for _, rule, _ in rig.doubts] == ["binding.cname"]


def test_row_35_the_call_shuts_until_signalling_says_whose_voice_it_is(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        session, clara, jens = stage.keeping(), Client(0x51), Client(0x52)
        meets(stage, session, clara, jens)
        ports = ports_of(session)
        for client, port, name in ((clara, ports[0], b"clara"), (jens, ports[1], b"client")):
            client.says(port, 3, mark=b"AGREED")
            client.tells(port, says_who(client.ssrc, name))
        stage.tick(8 * SECOND)
        assert [leg.cname for leg in branch_of(session).legs] == [True, True]
        clara.ssrc = 0x99
        clara.says(ports[0], 3, mark=b"STRANGER")
        stage.tick(8 * SECOND)
        assert state_of(session) is State.KEEPING
        clara.tells(ports[0], says_who(0x99, b"somebody else"))
        stage.tick(2 * SECOND)
        assert (state_of(session), session.decision.rule) == (State.PAUSED, "binding.cname")
        assert is_closed(signalled_to(session).offers[-1])
        assert not stage.holds(b"STRANGER")
        session.take_metadata(branch_of(session), TWO_ANEW)
        session.look()
        assert state_of(session) is State.KEEPING
        fresh = ports_of(session)
        clara.tells(fresh[0], says_who(0x99, b"somebody else"))
        clara.says(fresh[0], 3, mark=b"BOUND ANEW")
        stage.tick(3 * SECOND)
        assert state_of(session) is State.KEEPING
        session.ended()
        await session.sealed()
        kept = stage.kept(0)
        assert len(kept) == 6
        assert not any(b"STRANGER" in payload for payload in kept)

    play(tmp_path, scene)


def test_two_lines_of_one_name_are_the_clients_own(rig: Rig) -> None:
    clients = Client(0x51), Client(0x51)
    lines = [opened(rig, client.peer, party) for party, client in enumerate(clients)]
    for client, line in zip(clients, lines, strict=True):
        client.says(line.port, 2)
        client.tells(line.port, says_who(0x51, b"the client"))
    rig.tick(2 * SECOND)
    assert (rig.doubts, sorted(rig.named)) == ([], [line.number for line in lines])


def test_without_any_name_nothing_is_concluded(rig: Rig) -> None:
    client = Client(0x51)
    line = opened(rig, client.peer)
    for ssrc in (0x51, 0x52):
        client.ssrc = ssrc
        client.says(line.port)
        client.tells(line.port, sender_report(ssrc))
        rig.tick(2 * SECOND)
    assert (rig.doubts, rig.named, rig.media.counts.kept) == ([], [], 2)


def test_the_name_goes_along_to_the_line_that_takes_over(rig: Rig) -> None:
    client = Client(0x51)
    line = opened(rig, client.peer)
    client.says(line.port)
    client.tells(line.port, says_who(0x51, b"anna"))
    rig.tick(2 * SECOND)
    fresh = rig.media.line()
    rig.media.follow(line, fresh)
    rig.media.shut(line)
    rig.media.release(line)
    rig.media.keep(fresh, rig.track())
    client.ssrc = 0x99
    client.says(fresh.port)
    client.tells(fresh.port, says_who(0x99, b"bert"))
    rig.tick(2 * SECOND)
    assert [(number, rule) for number, rule, _ in rig.doubts] == [(fresh.number, "binding.cname")]


def test_signalling_frees_a_line_from_the_name_that_it_had(rig: Rig) -> None:
    client = Client(0x51)
    line = opened(rig, client.peer)
    for ssrc, name in ((0x51, b"anna"), (0x99, b"bert")):
        rig.media.trust(line)
        client.ssrc = ssrc
        client.says(line.port)
        client.tells(line.port, says_who(ssrc, name))
        rig.tick(2 * SECOND)
    assert (rig.doubts, rig.named) == ([], [line.number, line.number])


def test_names_are_remembered_for_a_few_sources_only_and_never_as_text(rig: Rig) -> None:
    client = Client(0x51)
    line = opened(rig, client.peer)
    client.says(line.port)
    for ssrc in range(100):
        client.tells(line.port, says_who(ssrc, b"name-%d" % ssrc))
        rig.tick(SECOND)
    heard = rig.media.rtcp._names[line.number].heard
    assert len(heard) == MAX_NAMES
    assert all(len(name) == 16 and b"name" not in name for name in heard.values())


# -- row 37: keep-alive ------------------------------------------------------------------------------


@pytest.mark.thorough
def test_row_37_a_nat_of_sixty_seconds_stays_open_through_a_long_silence(tmp_path: Path) -> None:
    rig = Rig(tmp_path, keepalive_ns=20_000_000_000)
    client = Client()
    line = opened(rig, client.peer)
    newest = {"rtp": rig.now_ns, "rtcp": rig.now_ns}
    longest = dict.fromkeys(newest, 0)
    for _ in range(600):
        rig.tick(SECOND)
        for name, came in (("rtp", client.heard_on_rtp()), ("rtcp", client.heard())):
            longest[name] = max(longest[name], rig.now_ns - newest[name])
            if came:
                newest[name] = rig.now_ns
                assert name != "rtp" or came == [b""]  # never RTP
    assert max(longest.values()) < 60_000_000_000
    assert longest["rtp"] >= 15_000_000_000
    client.says(line.port)
    rig.tick()
    assert rig.media.counts.kept == 1
    rig.close()


def test_row_37_a_gated_line_is_kept_alive_too_if_that_was_asked_for(tmp_path: Path) -> None:
    rig = Rig(tmp_path, keepalive_ns=15_000_000_000)
    client, line = Client(), rig.media.line()
    rig.media.aim(line, client.peer)
    rig.tick(100 * SECOND)
    assert 6 <= len(client.heard_on_rtp()) <= 8
    assert client.heard() == []
    rig.media.aim(line, None)
    rig.tick(100 * SECOND)
    assert client.heard_on_rtp() == []
    rig.close()


def test_row_37_a_line_that_hears_its_client_sends_no_keepalive(tmp_path: Path) -> None:
    rig = Rig(tmp_path, keepalive_ns=15_000_000_000)
    client = Client()
    line = opened(rig, client.peer)
    rig.tick(SECOND)
    client.heard_on_rtp()
    for _ in range(40):
        client.says(line.port)
        rig.tick(SECOND)
    assert client.heard_on_rtp() == []
    rig.close()


def test_without_being_asked_for_nothing_is_kept_alive(rig: Rig) -> None:
    client, line = Client(), rig.media.line()
    rig.media.aim(line, client.peer)
    rig.tick(200 * SECOND)
    assert client.heard_on_rtp() == []
    assert rig.media.rtcp.counts.keepalives == 0
    assert rig.now_ns > T0
