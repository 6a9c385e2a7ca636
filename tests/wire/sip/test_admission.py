"""Limits of new sessions: by rate, in total, per source, half open; copies; and that running calls never notice."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mitschnitt.wire.sip.admission import MAX_REFUSED, Admission
from mitschnitt.wire.sip.agent import UserAgent
from mitschnitt.wire.sip.config import AgentConfig
from mitschnitt.wire.sip.dialog import Dialog
from mitschnitt.wire.sip.events import (
    AckReceived,
    ByeReceived,
    InviteReceived,
    MessageRefused,
    ReinviteReceived,
    ResponseReceived,
    UpdateReceived,
)
from mitschnitt.wire.sip.headers import Address
from mitschnitt.wire.sip.hop import Hop
from mitschnitt.wire.sip.message import Headers, Request, Response, parse_message
from mitschnitt.wire.sip.rates import MAX_SOURCES
from sip_pair import SDP, SERVER_URI, Pair, established, raw_request, tokens

ROOMY = AgentConfig(
    max_dialogs=100_000,
    max_dialogs_per_source=100_000,
    max_half_open=100_000,
    max_half_open_per_source=100_000,
    calls_per_second=100_000,
    calls_per_second_per_source=100_000,
)
TIGHT = {
    "limit.dialogs": replace(ROOMY, max_dialogs=1),
    "limit.dialogs_per_source": replace(ROOMY, max_dialogs_per_source=1),
    "limit.half_open": replace(ROOMY, max_half_open=1),
    "limit.half_open_per_source": replace(ROOMY, max_half_open_per_source=1),
    "limit.rate": replace(ROOMY, calls_per_second=1),
    "limit.rate_per_source": replace(ROOMY, calls_per_second_per_source=1),
}


def invite(number: int) -> bytes:
    """The first INVITE of the call of that number."""
    return raw_request(
        "INVITE",
        ("Via", f"SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bK{number}"),
        ("From", f"<sip:a@127.0.0.1>;tag=f{number}"),
        ("Call-ID", f"call{number}@127.0.0.1"),
    )


def peer(host: str = "127.0.0.1") -> Hop:
    return Hop("UDP", host, 5070)


def statuses(agent: UserAgent) -> list[int]:
    """Of what is to be sent."""
    found = [parse_message(data) for _, data in agent.outbox()]
    return [message.status for message in found if isinstance(message, Response)]


def causes(agent: UserAgent) -> list[str]:
    return [event.why for event in agent.events() if isinstance(event, MessageRefused)]


def half_open(pair: Pair) -> tuple[str, str]:
    """A running call, and one more whose ACK never comes: our dialog and theirs of the running one."""
    running = established(pair)
    pair.invite()
    pair.run()
    pair.server_events()
    return running


@pytest.mark.parametrize("cause", [why for why in TIGHT if "half_open" not in why])
def test_above_a_limit_a_new_session_gets_503_at_once_without_state(cause: str) -> None:
    pair = Pair(server=replace(TIGHT[cause], port=5060))
    established(pair)
    before = pair.server.load
    pair.invite()
    pair.run()
    assert pair.log[-2:] == ["< 503 INVITE", "> ACK"]
    assert 10 <= int(pair.last_response(503).headers.get("Retry-After") or "") <= 15
    assert causes(pair.server) == [cause]
    assert pair.server.load == before


def test_who_drains_answers_new_sessions_and_pings_with_503_and_goes_on_with_those_that_run() -> None:
    pair = Pair()
    mine, _ = established(pair)
    pair.server.drain()
    pair.invite()
    pair.run()
    assert pair.log[-2:] == ["< 503 INVITE", "> ACK"]
    assert 10 <= int(pair.last_response(503).headers.get("Retry-After") or "") <= 15
    pair.client.options(SERVER_URI, pair.server_hop, now=pair.now, sender="sip:probe@127.0.0.1")
    pair.run()
    assert pair.log[-1] == "< 503 OPTIONS"
    assert 10 <= int(pair.last_response(503).headers.get("Retry-After") or "") <= 15
    assert causes(pair.server) == ["draining", "draining"]
    pair.client.reinvite(mine, now=pair.now, body=SDP, content_type="application/sdp")
    pair.run()
    assert pair.log[-1] == "< 100 INVITE"
    pair.client.bye(mine, now=pair.now)
    pair.run()
    assert "< 200 BYE" in pair.log


@pytest.mark.parametrize("cause", TIGHT)
def test_a_running_call_is_served_whatever_limit_is_reached(cause: str) -> None:
    pair = Pair(server=replace(TIGHT[cause], port=5060))
    mine, _ = established(pair) if "half_open" not in cause else half_open(pair)
    pair.invite()
    pair.run()
    assert pair.log[-2:] == ["< 503 INVITE", "> ACK"]
    assert causes(pair.server) == [cause]
    pair.server.admit_while(lambda: False)
    pair.log.clear()
    for _ in range(3):
        pair.client.update(mine, now=pair.now, body=b"<r/>", content_type="application/rs-metadata+xml")
        pair.run()
        (event,) = pair.server_events(UpdateReceived)
        assert isinstance(event, UpdateReceived)
        pair.server.respond(event.transaction, 200, now=pair.now)
        pair.run()
    pair.client.reinvite(mine, now=pair.now, body=SDP, content_type="application/sdp")
    assert pair.run().log[-1] == "< 100 INVITE"
    pair.client.bye(mine, now=pair.now)
    pair.run()
    assert ByeReceived in [type(event) for event in pair.server_events()]
    assert "503" not in " ".join(pair.log)


def test_while_the_owner_of_the_sessions_has_no_room_none_begins() -> None:
    agent = UserAgent(ROOMY, tokens("s"))
    agent.admit_while(lambda: False)
    agent.receive(invite(1), peer(), 1.0)
    assert (statuses(agent), causes(agent), agent.load) == ([503], ["limit.calls"], (0, 0))


def test_of_375_calls_250_are_taken_and_125_refused_though_the_wire_loses_every_third_message() -> None:
    server = UserAgent(replace(ROOMY, max_dialogs=250), tokens("s"))
    final: dict[int, set[int]] = {}
    lost = 0
    for attempt in range(8):  # a UDP client sends again until it has read an answer
        for number in range(375):
            if 503 in final.get(number, set()) or 100 in final.get(number, set()):
                continue
            server.receive(invite(number), peer(), 100.0 + attempt)
            for status in statuses(server):
                lost += 1
                if lost % 3:
                    final.setdefault(number, set()).add(status)
    taken = [event for event in server.events() if isinstance(event, InviteReceived)]
    assert len(taken) == 250
    assert sorted(map(tuple, final.values())) == [(100,)] * 250 + [(503,)] * 125
    assert server.load == (250, 250)


def test_row_40_a_copy_of_a_refused_invite_is_refused_even_when_there_is_room_again() -> None:
    server = UserAgent(replace(ROOMY, calls_per_second=1), tokens("s"))
    server.receive(invite(1), peer(), 0.0)
    server.receive(invite(2), peer(), 0.0)
    first = server.outbox()[-1][1]
    server.receive(invite(2), peer(), 5.0)
    ((_, copy),) = server.outbox()
    assert copy == first  # To tag and Retry-After too (RFC 3261, 8.2.7)
    server.receive(invite(3), peer(), 5.0)
    assert statuses(server) == [100]  # the copy took no token
    server.receive(invite(2), peer(), 40.0)
    assert statuses(server) == [100]  # no client sends for longer than 32 s: this is another's


def test_a_copy_of_what_was_refused_for_transactions_is_refused_too() -> None:
    server = UserAgent(replace(ROOMY, max_transactions=1), tokens("s"))
    server.receive(invite(1), peer(), 0.0)
    server.receive(invite(2), peer(), 0.0)
    (event,) = [told for told in server.events() if isinstance(told, InviteReceived)]
    server.respond(event.transaction, 500, now=0.0)
    server.tick(32.5)
    assert server.load == (0, 0)
    server.outbox()
    server.receive(invite(2), peer(), 31.9)
    assert statuses(server) == [503]


def test_the_ack_of_a_stateless_refusal_is_swallowed() -> None:
    server = UserAgent(replace(ROOMY, max_dialogs=0), tokens("s"))
    server.receive(invite(1), peer(), 0.0)
    ((_, data),) = server.outbox()
    refused = parse_message(data)
    asked = parse_message(invite(1))
    items = [(name, value) for name, value in asked.headers if name in ("Via", "From", "Call-ID")]
    to = refused.headers.get("To") or ""
    ack = Request(Headers.of([*items, ("To", to), ("CSeq", "1 ACK")]), b"", "ACK", "sip:b@127.0.0.1")
    server.events()
    server.receive(bytes(ack), peer(), 0.1)
    assert (server.outbox(), server.events(), server.load) == ([], [], (0, 0))


def test_half_open_sessions_are_counted_until_their_ack_or_their_end() -> None:
    pair = Pair(server=replace(ROOMY, max_half_open=1, port=5060))
    mine = pair.invite()
    pair.run()
    (event,) = pair.server_events(InviteReceived)
    assert isinstance(event, InviteReceived)
    pair.invite()
    assert pair.run().log[-2:] == ["< 503 INVITE", "> ACK"]
    assert causes(pair.server) == ["limit.half_open"]
    pair.server.respond(event.transaction, 200, now=pair.now, body=SDP, content_type="application/sdp")
    pair.run()
    assert [type(told) for told in pair.server_events()] == [AckReceived]
    pair.invite()
    assert pair.run().log[-1] == "< 100 INVITE"
    pair.client.bye(mine, now=pair.now)
    pair.run().wait(40)
    assert pair.server_events(InviteReceived)


def test_a_session_that_is_never_acknowledged_gives_its_place_back() -> None:
    pair = Pair(server=replace(ROOMY, max_half_open_per_source=1, port=5060))
    pair.lose = lambda line: line == "> ACK"
    pair.invite()
    pair.run()
    (event,) = pair.server_events(InviteReceived)
    assert isinstance(event, InviteReceived)
    pair.server.respond(event.transaction, 200, now=pair.now, body=SDP, content_type="application/sdp")
    pair.run().wait(5)
    pair.invite()
    pair.run()
    assert causes(pair.server) == ["limit.half_open_per_source"]
    pair.wait(40).invite()
    assert pair.run().log[-1] == "< 100 INVITE"


def test_sources_are_counted_apart_and_an_ipv6_network_is_one() -> None:
    server = UserAgent(replace(ROOMY, max_dialogs_per_source=2), tokens("s"))
    hosts = ["192.0.2.1", "192.0.2.1", "192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2", "2001:db8::3"]
    for number, host in enumerate(hosts):
        server.receive(invite(number), peer(host), 0.0)
    assert statuses(server) == [100, 100, 503, 100, 100, 100, 503]


def test_one_source_in_a_loop_leaves_tokens_to_the_others() -> None:
    server = UserAgent(replace(ROOMY, calls_per_second=10, calls_per_second_per_source=6), tokens("s"))
    for number in range(100):
        server.receive(invite(number), peer("192.0.2.1"), 0.0)
    for number in range(100, 110):
        server.receive(invite(number), peer("192.0.2.2"), 0.0)
    assert statuses(server) == [100] * 6 + [503] * 94 + [100] * 4 + [503] * 6
    assert causes(server) == ["limit.rate_per_source"] * 94 + ["limit.rate"] * 6


@pytest.mark.thorough
def test_ten_thousand_half_open_sessions_leave_the_tables_within_their_limits() -> None:
    config = replace(AgentConfig(), calls_per_second=100_000, calls_per_second_per_source=100_000)
    server = UserAgent(config, tokens("s"))
    for number in range(10_000):
        server.receive(invite(number), peer(f"192.0.2.{number % 250}"), number / 1_000)
        server.outbox()
        for event in server.events():
            if isinstance(event, InviteReceived):
                server.respond(event.transaction, 200, now=number / 1_000, body=SDP)
    assert server.load == (config.max_half_open, config.max_half_open)
    assert server.pressure == (config.max_half_open, 1, 8_000)
    server.tick(200.0)  # given up, BYE, given up
    server.outbox()
    server.tick(300.0)
    assert server.load == (0, 0)
    assert server.pressure[0] == 0


@pytest.mark.thorough
def test_a_hundred_thousand_sources_leave_the_tables_within_their_limits() -> None:
    admission = Admission(replace(ROOMY, calls_per_second=50_000))
    taken = 0
    for number in range(100_000):
        host = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
        taken += admission.refusal(str(number), host, 0.0) is None
    assert taken == 50_000
    assert admission.held == (0, MAX_SOURCES, MAX_REFUSED)


@pytest.mark.thorough
def test_a_flood_from_many_addresses_is_taken_at_the_rate_and_no_faster() -> None:
    server = UserAgent(AgentConfig(), tokens("s"))
    for number in range(3_000):
        server.receive(invite(number), peer(f"10.0.{number >> 8}.{number & 255}"), 0.0)
        server.outbox()
        server.events()
    assert server.load == (400, 400)
    assert server.pressure == (400, 400, 2_600)


@pytest.mark.thorough
@pytest.mark.parametrize("method", ["OPTIONS", "BYE", "DANCE"])
def test_a_flood_of_other_requests_stays_within_the_transactions(method: str) -> None:
    server = UserAgent(replace(ROOMY, max_transactions=500), tokens("s"))
    for number in range(2_000):
        via = ("Via", f"SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bK{number}")
        server.receive(raw_request(method, via), peer(), 0.0)
        server.outbox()
        server.events()
    assert server.load == (0, 500)


def test_a_flood_of_cancels_which_no_password_can_stop_holds_nothing() -> None:
    server = UserAgent(ROOMY, tokens("s"))
    for number in range(2_000):
        via = ("Via", f"SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bK{number}")
        server.receive(raw_request("CANCEL", via), peer(), 0.0)
        [(_, answer)] = server.outbox()
        assert answer.startswith(b"SIP/2.0 481 ")
        server.events()
    assert server.load == (0, 0)


@pytest.mark.thorough
@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(["stranger", "copy", "garbage", "update", "reinvite", "wait"]), max_size=40))
def test_a_running_call_is_never_refused_whatever_strangers_do(moves: list[str]) -> None:
    limits = replace(
        ROOMY, port=5060, calls_per_second=2, calls_per_second_per_source=2, max_dialogs=4, max_half_open=3
    )
    pair = Pair(server=limits)
    mine, _ = established(pair)
    for number, move in enumerate(moves):
        if move in ("stranger", "copy"):
            pair.server.receive(invite(number if move == "stranger" else 0), peer("192.0.2.1"), pair.now)
        elif move == "garbage":
            pair.server.receive(b"INVITE sip:x SIP/2.0\r\n\r\n", peer("192.0.2.1"), pair.now)
        elif move == "wait":
            pair.wait(1.5)
        else:
            send = pair.client.update if move == "update" else pair.client.reinvite
            send(mine, now=pair.now, body=SDP, content_type="application/sdp")
        pair.server.outbox() if move in ("stranger", "copy", "garbage") else pair.run()
        for event in pair.server_events(UpdateReceived, ReinviteReceived):
            assert isinstance(event, UpdateReceived | ReinviteReceived)
            pair.server.respond(event.transaction, 200, now=pair.now, body=SDP, content_type="application/sdp")
        pair.run()
    pair.client.bye(mine, now=pair.now)
    pair.run()
    assert ByeReceived in [type(event) for event in pair.server_events()]
    assert not any("503" in line for line in pair.log if "INVITE" not in line)
    answered = [event for event in pair.client_events() if isinstance(event, ResponseReceived)]
    assert {event.response.status for event in answered} <= {100, 200}


@settings(max_examples=30)
@given(st.lists(st.binary(max_size=200), max_size=50))
def test_garbage_leaves_nothing_behind(flood: list[bytes]) -> None:
    server = UserAgent(ROOMY, tokens("s"))
    for data in flood:
        server.receive(data, peer(), 0.0)
    assert (server.load, server.pressure) == ((0, 0), (0, 0, 0))


@given(st.lists(st.tuples(st.sampled_from("oac"), st.integers(0, 9)), max_size=60))
def test_whatever_opens_and_ends_the_counts_come_back_to_nothing(moves: list[tuple[str, int]]) -> None:
    admission = Admission(ROOMY)
    address = Address("sip:a@b")
    dialogs = [Dialog(str(n), "c", address, address, "sip:a@b", peer(), n % 3 == 0, f"h{n % 2}") for n in range(10)]
    opened: set[str] = set()
    for move, number in moves:
        dialog = dialogs[number]
        if move == "o" and dialog.id not in opened:
            admission.opened(dialog)
            opened.add(dialog.id)
        elif move == "a":
            admission.acknowledged(dialog)
        elif move == "c" and dialog.id in opened:
            admission.closed(dialog)
            opened.discard(dialog.id)
        assert admission.held[0] <= len(opened)
    for name in opened:
        admission.closed(dialogs[int(name)])
    assert admission.held[0] == 0
    assert admission.refusal("k", "h0", 0.0) is None
    assert not any(vars(admission)[name] for name in ("_dialogs", "_by_source", "_half_open", "_half_open_by_source"))
