"""The client's SIP side against a tiny recorder: bodies, glare, endings, and what a client must refuse."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from gateways.fake_recorder import FakeRecorder, Session
from mitschnitt.errors import MalformedPacket
from mitschnitt.gateways import sip_client
from mitschnitt.gateways.sip_client import Recorder, SipClient
from mitschnitt.wire.sip.accounts import Accounts, Secret
from mitschnitt.wire.sip.authentication import KEY_BYTES, Authenticator
from mitschnitt.wire.sip.digest import Algorithm, secret_of

SDP = b"v=0\r\nm=audio 5 RTP/AVP 8\r\n"
METADATA = b"<recording/>"


@dataclass
class Listener:
    """Remembers what the recorder did."""

    happened: list[str] = field(default_factory=list)
    answer: bytes = SDP
    refuses: bool = False

    def answered(self, sdp: bytes) -> None:
        self.happened.append("answered" if sdp.startswith(b"v=0") else "answered without")

    def offered(self, sdp: bytes) -> bytes:
        if self.refuses:
            raise MalformedPacket("no")
        self.happened.append("recvonly" if b"recvonly" in sdp else "inactive")
        return self.answer

    def snapshot(self) -> bytes:
        self.happened.append("snapshot")
        return METADATA

    def ended(self, why: str) -> None:
        self.happened.append(why)


Play = Callable[[SipClient, FakeRecorder, Listener], Awaitable[Any]]


def with_recorder(play: Play, *, transport: str = "UDP") -> tuple[Any, Listener, FakeRecorder]:
    async def run() -> tuple[Any, Listener, FakeRecorder]:
        recorder, listener = FakeRecorder(), Listener()
        await recorder.open()
        client = SipClient(Recorder("127.0.0.1", recorder.port, transport), host="127.0.0.1")
        await client.open()
        try:
            return await play(client, recorder, listener), listener, recorder
        finally:
            await client.close()
            await recorder.close()

    return asyncio.run(run())


async def until(true: Callable[[], object]) -> None:
    """Waits for loopback."""
    async with asyncio.timeout(60):
        while not true():
            await asyncio.sleep(0.005)


def only(recorder: FakeRecorder) -> Session:
    (session,) = recorder.sessions.values()
    return session


@pytest.mark.parametrize("transport", ["UDP", "TCP"])
def test_a_session_starts_changes_and_ends(transport: str) -> None:
    async def play(client: SipClient, recorder: FakeRecorder, listener: Listener) -> tuple[int, int]:
        assert await client.ping()
        dialog, status = await client.invite(SDP, METADATA, listener)
        await until(lambda: recorder.sessions and only(recorder).body)
        recorder.turn(only(recorder), "open")
        await until(lambda: "recvonly" in listener.happened)
        recorder.turn(only(recorder), "closed")
        await until(lambda: "inactive" in listener.happened)
        return status, await client.bye(dialog)

    statuses, listener, recorder = with_recorder(play, transport=transport)
    assert statuses == (200, 200)
    assert listener.happened == ["answered", "recvonly", "inactive"]
    assert only(recorder).ended
    assert only(recorder).answers == [SDP, SDP]


@pytest.mark.parametrize("password, status", [("opensesame", 200), ("guessed", 401)])
def test_a_recorder_that_knows_its_clients_is_answered_once(password: str, status: int) -> None:
    def account(word: str) -> Secret:
        return Secret("centre", "r", Algorithm.SHA256, secret_of(Algorithm.SHA256, "centre", "r", word))

    async def run() -> tuple[int, int, bool]:
        asks = Authenticator("r", [account("opensesame")], key=bytes(KEY_BYTES), salt=lambda: "s")
        recorder, listener = FakeRecorder(authenticator=asks), Listener()
        await recorder.open()
        client = SipClient(
            Recorder("127.0.0.1", recorder.port, "UDP"), host="127.0.0.1", accounts=Accounts([account(password)])
        )
        await client.open()
        try:
            pinged = await client.ping()
            dialog, invited = await client.invite(SDP, METADATA, listener)
            ended = await client.bye(dialog) if invited == 200 else invited
        finally:
            await client.close()
            await recorder.close()
        return invited, ended, pinged

    assert asyncio.run(run()) == (status, status, status == 200)


def test_the_invite_carries_description_and_metadata() -> None:
    async def play(client: SipClient, recorder: FakeRecorder, listener: Listener) -> None:
        await client.invite(SDP, METADATA, listener)

    _, _, recorder = with_recorder(play)
    assert only(recorder).body == sip_client.multipart(SDP, METADATA)
    assert only(recorder).lines == 1


def test_our_offer_waits_out_the_recorders_own() -> None:
    async def play(client: SipClient, recorder: FakeRecorder, listener: Listener) -> int:
        dialog, _ = await client.invite(SDP, METADATA, listener)
        await until(lambda: only(recorder).acknowledged)
        recorder.turn(only(recorder), "open")  # both offers cross on the wire
        return await client.reoffer(dialog, SDP, METADATA)

    status, listener, _ = with_recorder(play)
    assert status == 200
    assert listener.happened[-1] in ("answered", "recvonly")
    assert listener.happened.count("answered") == 2
    assert "recvonly" in listener.happened


def test_an_offer_that_makes_no_sense_is_refused_and_the_session_stands() -> None:
    async def play(client: SipClient, recorder: FakeRecorder, listener: Listener) -> int:
        dialog, _ = await client.invite(SDP, METADATA, listener)
        await until(lambda: only(recorder).acknowledged)
        listener.refuses = True
        recorder.turn(only(recorder), "open")
        await until(lambda: only(recorder).refused)
        return await client.bye(dialog)

    status, listener, recorder = with_recorder(play)
    assert status == 200
    assert listener.happened == ["answered"]
    assert only(recorder).answers == []


def test_a_snapshot_is_sent_when_the_recorder_asks_for_one() -> None:
    async def play(client: SipClient, recorder: FakeRecorder, listener: Listener) -> None:
        await client.invite(SDP, METADATA, listener)
        await until(lambda: recorder.sessions)
        body = b"<recording><requestsnapshot/></recording>"
        now = recorder.shell.now
        recorder.agent.update(only(recorder).dialog, now=now, body=body, content_type="application/rs-metadata+xml")
        recorder.shell.flush()
        await until(lambda: "snapshot" in listener.happened)

    _, listener, _ = with_recorder(play)
    assert listener.happened == ["answered", "snapshot"]


def test_the_recorders_bye_ends_the_session() -> None:
    async def play(client: SipClient, recorder: FakeRecorder, listener: Listener) -> None:
        await client.invite(SDP, METADATA, listener)
        await until(lambda: only(recorder).acknowledged)
        recorder.agent.bye(only(recorder).dialog, now=recorder.shell.now)
        recorder.shell.flush()
        await until(lambda: len(listener.happened) > 1)

    _, listener, _ = with_recorder(play)
    assert listener.happened == ["answered", "BYE of the recorder"]


@pytest.mark.parametrize("transport", ["UDP", "TCP"])
def test_nobody_there_answers_no_ping(monkeypatch: pytest.MonkeyPatch, transport: str) -> None:
    monkeypatch.setattr(sip_client, "PING_SECONDS", 0.1)

    async def run() -> bool:
        client = SipClient(Recorder("127.0.0.1", 9, transport), host="127.0.0.1")
        await client.open()
        try:
            return await client.ping()
        finally:
            await client.close()

    assert asyncio.run(run()) is False


def test_the_description_is_found_whole_or_as_a_part() -> None:
    both = sip_client.multipart(SDP, METADATA)
    assert sip_client.sdp_of("application/sdp", SDP) == SDP
    assert sip_client.sdp_of("", SDP) == SDP
    assert sip_client.sdp_of('multipart/mixed; boundary="centre-part"', both).startswith(SDP)
    assert sip_client.sdp_of("multipart/mixed;boundary=centre-part", both).startswith(SDP)
    assert sip_client.sdp_of("multipart/mixed", both) == b""
    assert sip_client.sdp_of("multipart/mixed;boundary=other", both) == b""
    assert sip_client.sdp_of("application/rs-metadata+xml", METADATA) == b""
    assert sip_client.sdp_of("", b"") == b""


def test_a_recorder_over_tcp_is_addressed_as_such() -> None:
    assert Recorder("127.0.0.1", 5060, "TCP").uri == "sip:recorder@127.0.0.1:5060;transport=tcp"
    assert Recorder("127.0.0.1", 5060, "UDP").uri == "sip:recorder@127.0.0.1:5060"
