"""The callers of the bench against an answering side of a few lines: what they send, resend and count."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import Callable
from typing import cast

import pytest

from mitschnitt.gateways.bench import callers
from mitschnitt.gateways.bench.callers import Callers, Figures, Load, Profile
from mitschnitt.wire.sdp import parse_sdp
from mitschnitt.wire.sip.message import Request, parse_message
from mitschnitt.wire.sip.recording import InviteKind, classify_invite, read_body
from mitschnitt.wire.siprec import Metadata, Participant, bind
from mitschnitt.wire.siprec_xml import read_metadata

HOST = "127.0.0.1"
RETRY = ("Retry-After: 10",)


class Answerer(asyncio.DatagramProtocol):
    """Answers by rule; keeps what came."""

    def __init__(self, rule: Callable[[Answerer, Request], None]) -> None:
        self.rule = rule
        self.came: list[Request] = []
        self.methods: Counter[str] = Counter()
        self.running: set[str] = set()  # Call-IDs
        self.transport: asyncio.DatagramTransport | None = None
        self._caller: tuple[str, int] = (HOST, 0)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        message = parse_message(data)
        self._caller = addr
        if isinstance(message, Request):
            self.came.append(message)
            self.methods[message.method] += 1
            if message.method == "BYE":
                self.running.discard(message.call_id)
                self.answer(message, 200)
            else:
                self.rule(self, message)

    def answer(self, request: Request, status: int, *headers: str) -> None:
        """An answer with our tag."""
        copied = [f"{name}: {request.headers.get(name)}" for name in ("Via", "From", "Call-ID", "CSeq")]
        to = str(request.headers.get("To"))
        copied.append(f"To: {to if 'tag=' in to else to + ';tag=there'}")
        self.send([f"SIP/2.0 {status} Said", *copied, *headers])

    def send(self, lines: list[str]) -> None:
        """A message without body."""
        assert self.transport is not None
        self.transport.sendto("\r\n".join([*lines, "Content-Length: 0", "", ""]).encode(), self._caller)


def take(there: Answerer, request: Request) -> None:
    """100, then 200."""
    if request.method == "INVITE":
        there.answer(request, 100)
    if request.method != "ACK":
        there.running.add(request.call_id)
        there.answer(request, 200)


def take_two(there: Answerer, request: Request) -> None:
    """As long as fewer than two run; 503 to the others."""
    if request.method == "INVITE" and len(there.running) >= 2 and request.call_id not in there.running:
        there.answer(request, 503, *RETRY)
    else:
        take(there, request)


async def play(rule: Callable[[Answerer, Request], None], load: Load) -> tuple[Figures, Answerer]:
    """The load against an answering side with this rule."""
    loop = asyncio.get_running_loop()
    transport, there = await loop.create_datagram_endpoint(lambda: Answerer(rule), local_addr=(HOST, 0))
    port = transport.get_extra_info("sockname")[1]
    load = Load((HOST, port), HOST, load.profile, load.rate, load.calls, load.hold, load.seconds)
    ours, caller = await loop.create_datagram_endpoint(lambda: Callers(load), local_addr=(HOST, 0))
    try:
        return await asyncio.wait_for(caller.run(), 60), there
    finally:
        ours.close()
        transport.close()


def played(rule: Callable[[Answerer, Request], None], load: Load) -> tuple[Figures, Answerer]:
    return asyncio.run(play(rule, load))


def steady(calls: int) -> Load:
    return Load((HOST, 0), rate=200.0, calls=calls, hold=0.05)


def test_each_call_is_invited_acknowledged_and_ended() -> None:
    figures, there = played(take, steady(5))
    assert there.methods == {"INVITE": 5, "ACK": 5, "BYE": 5}
    assert (figures.offered, figures.statuses, figures.ended, figures.resends) == (5, {200: 5}, 5, 0)
    assert len(figures.answer_ms) == len(figures.late_ms) == 5
    assert len({request.call_id for request in there.came}) == 5


def test_the_invite_is_one_that_a_recorder_reads_and_binds() -> None:
    _, there = played(take, steady(1))
    invite = there.came[0]
    assert classify_invite(invite) is InviteKind.RECORDING
    body = read_body(invite)
    assert body.sdp is not None
    assert body.metadata is not None
    labels = [line.label for line in parse_sdp(body.sdp).lines]
    metadata = read_metadata(body.metadata)
    assert isinstance(metadata, Metadata)
    bound = bind(metadata, labels)
    assert bound.certain
    assert all(isinstance(who, Participant) for who in bound.labels.values())
    acked = there.came[1]
    assert (acked.method, acked.recipient.tag, acked.via.branch) == ("ACK", "there", "z9hG4bK-0-1-ACK")


def test_what_is_not_answered_is_sent_again_and_counted() -> None:
    def deaf_once(there: Answerer, request: Request) -> None:
        if there.methods[request.method] > 1 or request.method == "ACK":
            take(there, request)

    figures, there = played(deaf_once, steady(1))
    assert there.methods == {"INVITE": 2, "ACK": 1, "BYE": 1}
    assert (figures.resends, figures.statuses) == (1, {200: 1})


def test_an_answer_that_comes_twice_is_acknowledged_twice_and_counted_once() -> None:
    def double(there: Answerer, request: Request) -> None:
        take(there, request)
        if request.method == "INVITE":
            there.answer(request, 200)

    figures, there = played(double, steady(1))
    assert there.methods["ACK"] == 2
    assert figures.statuses == {200: 1}


def test_what_is_asked_within_a_call_is_answered_and_counted_but_an_ack_is_not() -> None:
    def asks(there: Answerer, request: Request) -> None:
        take(there, request)
        if request.method == "ACK":
            names = [f"{name}: {request.headers.get(name)}" for name in ("Via", "From", "To", "Call-ID")]
            there.send(["INVITE sip:sbc@there SIP/2.0", *names, "CSeq: 1 INVITE"])
            there.send(["ACK sip:sbc@there SIP/2.0", *names, "CSeq: 1 ACK"])

    figures, _ = played(asks, steady(1))
    assert figures.unasked == {"INVITE": 1}


def test_a_wave_offers_more_than_there_is_room_for_and_refreshes_and_ends_what_was_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(callers, "SETTLE_SECONDS", 0.5)
    load = Load((HOST, 0), profile=Profile.WAVES, rate=500.0, calls=3, hold=0.1, seconds=0.15)
    figures, there = played(take_two, load)
    assert set(figures.waves) == {(2, 1)}
    waves = len(figures.waves)
    assert figures.statuses == {200: 2 * waves, 503: waves}
    assert figures.retry_after == len(figures.shed_ms) == waves
    assert figures.refreshed == figures.ended == there.methods["UPDATE"] == 2 * waves
    shed = [request for request in there.came if request.method == "ACK" and request.via.branch.endswith("-INVITE")]
    assert len(shed) == waves, "the ACK to a failure carries the branch of its INVITE (RFC 3261, 17.1.1.3)"


def test_the_process_prints_its_figures_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    load = {"target": [HOST, 9], "calls": 0, "rate": 1.0}
    assert callers.main(json.dumps(load)) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["offered"], told["statuses"], told["waves"]) == (0, {}, [])
    assert told["rss_mib"] > 0
    assert re.fullmatch(r"\d+\.\d+(e-\d+)?", str(told["wall_s"]))
