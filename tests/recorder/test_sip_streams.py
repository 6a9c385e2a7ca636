"""Connections: who is let in over TLS, reconnects, exchanged certificates, slow, greedy and malicious peers."""

from __future__ import annotations

import asyncio
import socket
import ssl
import warnings
from pathlib import Path

import pytest
import uvloop

from certificates import Authority, Issued, write_files
from mitschnitt.recorder import sip_server, sip_streams
from mitschnitt.recorder.sip_streams import Connection
from mitschnitt.recorder.tls import Tls, TlsFiles
from mitschnitt.wire.sip.events import (
    AckReceived,
    ByeReceived,
    DialogEnded,
    InviteReceived,
    OptionsReceived,
    ReinviteReceived,
    ResponseReceived,
    TransactionTimedOut,
)
from mitschnitt.wire.sip.headers import Via
from mitschnitt.wire.sip.message import MAX_HEAD_BYTES
from sip_shells import LOCALHOST, OPTIONS, PATIENCE_SECONDS, Side, ended, invite, stream_to, with_sides

AUTHORITY, STRANGERS = Authority(), Authority("Somebody else's CA")
OURS, CLIENT = AUTHORITY.issue("recorder.example"), AUTHORITY.issue("sbc.example")


@pytest.fixture
def files(tmp_path: Path) -> tuple[TlsFiles, TlsFiles]:
    """Of a recorder and of a client who let each other in."""
    return (
        write_files(tmp_path / "ours", OURS, AUTHORITY, "sbc.example"),
        write_files(tmp_path / "theirs", CLIENT, AUTHORITY, "recorder.example"),
    )


def as_client(directory: Path, own: Issued | None, *, newest: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    """How a bare client speaks TLS: with this certificate or none; it trusts our CA."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(cadata=AUTHORITY.pem.decode())
    if own is not None:
        files = write_files(directory, own, AUTHORITY, "anybody")
        context.load_cert_chain(files.certificate, files.key)
    if newest is not None:
        with warnings.catch_warnings():  # that it is deprecated is why it is refused
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = context.maximum_version = newest
        context.set_ciphers("ALL:@SECLEVEL=0")
    return context


async def heard(reader: asyncio.StreamReader) -> bytes:
    """Everything until the other side ends the connection."""
    try:
        return await asyncio.wait_for(reader.read(), PATIENCE_SECONDS)
    except OSError:
        return b""


# -- who is let in ---------------------------------------------------------------------------------


async def is_answered(side: Side, context: ssl.SSLContext) -> bool:
    """Whether somebody with this TLS gets an answer to OPTIONS."""
    try:
        async with stream_to(side, context) as (reader, writer):
            writer.write(OPTIONS % 1)
            return (await asyncio.wait_for(reader.readline(), PATIENCE_SECONDS)).startswith(b"SIP/2.0 200")
    except OSError:  # ssl.SSLError is one
        return False


@pytest.mark.parametrize(
    "own, cause",
    [
        (None, "tls.certificate"),
        (STRANGERS.issue("sbc.example"), "tls.certificate"),
        (AUTHORITY.issue("sbc.example", days=(-3, -2)), "tls.certificate"),
        (AUTHORITY.issue("sbc.example", days=(2, 3)), "tls.certificate"),
        (AUTHORITY.issue("other.example"), "tls.not_listed"),
    ],
    ids=["none", "of another CA", "run out", "not valid yet", "not on the list"],
)
def test_row_31_a_client_without_a_listed_certificate_is_refused_before_any_sip(
    own: Issued | None, cause: str, files: tuple[TlsFiles, TlsFiles], tmp_path: Path
) -> None:
    async def talk(recorder: Side, _client: Side) -> None:
        assert not await is_answered(recorder, as_client(tmp_path / "other", own))
        await recorder.until(lambda: recorder.shell.refused[cause] == 1)
        assert not recorder.shell.streams.connections
        assert not [event for event in recorder.events if isinstance(event, OptionsReceived)]
        assert await is_answered(recorder, as_client(tmp_path / "right", CLIENT))

    with_sides(talk, ours=Tls(files[0]))


@pytest.mark.parametrize("newest, lets_in", [(ssl.TLSVersion.TLSv1_1, False), (ssl.TLSVersion.TLSv1_2, True)])
def test_row_31_nothing_below_tls_1_2_is_spoken(
    newest: ssl.TLSVersion, lets_in: bool, files: tuple[TlsFiles, TlsFiles], tmp_path: Path
) -> None:
    async def talk(recorder: Side, _client: Side) -> None:
        assert await is_answered(recorder, as_client(tmp_path / "old", CLIENT, newest=newest)) is lets_in
        assert (recorder.shell.refused.total() == 0) is lets_in

    with_sides(talk, ours=Tls(files[0]))


def test_plain_sip_at_the_tls_port_is_refused(files: tuple[TlsFiles, TlsFiles]) -> None:
    async def talk(recorder: Side, _client: Side) -> None:
        async with stream_to(recorder, port=recorder.shell.tls_port) as (reader, writer):
            writer.write(OPTIONS % 1)
            assert not (await heard(reader)).startswith(b"SIP/2.0")
        await recorder.until(lambda: recorder.shell.refused.total() == 1)
        assert recorder.events == []

    with_sides(talk, ours=Tls(files[0]))


def test_a_handshake_that_is_dribbled_is_broken_off(
    files: tuple[TlsFiles, TlsFiles], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sip_streams, "HANDSHAKE_SECONDS", 0.1)

    async def talk(recorder: Side, _client: Side) -> None:
        async with stream_to(recorder, port=recorder.shell.tls_port) as (reader, writer):
            writer.write(b"\x16\x03\x01")  # as a ClientHello begins
            assert await ended(reader)
        await recorder.until(lambda: recorder.shell.refused["tls.broken_off"] == 1)
        assert not recorder.shell.streams.connections

    with_sides(talk, ours=Tls(files[0]))


# -- exchanged files -------------------------------------------------------------------------------


def peer_certificate(writer: asyncio.StreamWriter) -> bytes | None:
    found = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    assert isinstance(found, bytes)
    return found


def test_an_exchanged_certificate_is_shown_to_new_connections_and_running_ones_stay(
    files: tuple[TlsFiles, TlsFiles], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sip_server, "LONGEST_SLEEP", 0.01)
    renewed = AUTHORITY.issue("recorder.example")

    async def talk(recorder: Side, _client: Side) -> None:
        context = as_client(tmp_path / "client", CLIENT)
        async with stream_to(recorder, context) as (reader, writer):
            assert peer_certificate(writer) == OURS.der
            write_files(tmp_path / "ours", renewed, AUTHORITY, "sbc.example")
            shown = OURS.der
            async with asyncio.timeout(PATIENCE_SECONDS):
                while shown == OURS.der:
                    async with stream_to(recorder, context) as (_, other):
                        shown = peer_certificate(other) or b""
            assert shown == renewed.der
            writer.write(OPTIONS % 1)
            assert (await reader.readline()).startswith(b"SIP/2.0 200")

    with_sides(talk, ours=Tls(files[0]))


def test_who_is_struck_off_the_list_loses_the_connection(
    files: tuple[TlsFiles, TlsFiles], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sip_server, "LONGEST_SLEEP", 0.01)

    async def talk(recorder: Side, _client: Side) -> None:
        async with stream_to(recorder, as_client(tmp_path / "client", CLIENT)) as (reader, writer):
            writer.write(OPTIONS % 1)
            await reader.readuntil(b"\r\n\r\n")
            files[0].clients.write_text("other.example\n", encoding="utf-8")
            assert await ended(reader)
        assert recorder.shell.refused["tls.not_listed"] == 1

    with_sides(talk, ours=Tls(files[0]))


# -- reconnects ------------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", ["TCP", "TLS"])
def test_our_request_opens_a_new_connection_when_the_dialogs_own_is_gone(
    transport: str, files: tuple[TlsFiles, TlsFiles]
) -> None:
    async def talk(recorder: Side, client: Side) -> None:
        invite(client, recorder, transport)
        theirs = (await recorder.hear(InviteReceived)).dialog
        await recorder.hear(AckReceived)
        for connection in list(client.shell.streams.connections.values()):
            connection.close()
        await recorder.until(lambda: not recorder.shell.streams.connections)
        recorder.shell.agent.bye(theirs, now=recorder.shell.now)
        recorder.shell.flush()
        await client.hear(ByeReceived)
        assert await recorder.hear(DialogEnded) == DialogEnded(theirs, 200)

    with_sides(talk, ours=Tls(files[0]), theirs=Tls(files[1]))


def test_we_do_not_speak_to_whoever_answers_at_the_address_but_is_not_listed(
    files: tuple[TlsFiles, TlsFiles], tmp_path: Path
) -> None:
    async def talk(recorder: Side, client: Side) -> None:
        invite(client, recorder, "TLS")
        theirs = (await recorder.hear(InviteReceived)).dialog
        await recorder.hear(AckReceived)
        for connection in list(client.shell.streams.connections.values()):
            connection.close()
        await recorder.until(lambda: not recorder.shell.streams.connections)
        write_files(tmp_path / "theirs", AUTHORITY.issue("other.example"), AUTHORITY, "recorder.example")
        client.shell.streams.renew()
        recorder.shell.agent.bye(theirs, now=recorder.shell.now)
        recorder.shell.flush()
        assert (await recorder.hear(TransactionTimedOut)).undeliverable
        assert recorder.shell.refused["tls.not_listed"] == 1

    with_sides(talk, ours=Tls(files[0]), theirs=Tls(files[1]))


@pytest.mark.parametrize("transport", ["TCP", "TLS"])
def test_a_request_over_a_new_connection_moves_the_dialog_there(
    transport: str, files: tuple[TlsFiles, TlsFiles]
) -> None:
    async def talk(recorder: Side, client: Side) -> None:
        mine = invite(client, recorder, transport)
        theirs = (await recorder.hear(InviteReceived)).dialog
        await client.hear(ResponseReceived, status=200)
        await recorder.hear(AckReceived)
        [first] = recorder.shell.streams.connections
        for connection in list(client.shell.streams.connections.values()):
            connection.close()
        await recorder.until(lambda: not recorder.shell.streams.connections)
        client.shell.agent.reinvite(mine, now=client.shell.now, body=b"v=0\r\n", content_type="application/sdp")
        client.shell.flush()
        await recorder.hear(ReinviteReceived)
        await client.hear(ResponseReceived, status=200)
        await recorder.hear(AckReceived)
        [second] = recorder.shell.streams.connections
        assert second != first
        recorder.shell.agent.bye(theirs, now=recorder.shell.now)
        recorder.shell.flush()
        await client.hear(ByeReceived)
        assert list(recorder.shell.streams.connections) == [second]

    with_sides(talk, ours=Tls(files[0]), theirs=Tls(files[1]))


def test_a_dialog_that_began_over_tls_is_neither_ended_nor_moved_by_plain_tcp(
    files: tuple[TlsFiles, TlsFiles],
) -> None:
    async def talk(recorder: Side, client: Side) -> None:
        mine = invite(client, recorder, "TLS")
        theirs = (await recorder.hear(InviteReceived)).dialog
        await recorder.hear(AckReceived)
        dialog = client.shell.agent._end.dialogs[mine]
        bye = dialog.request("BYE", Via("TCP", LOCALHOST, 9, (("branch", "z9hG4bKplain"),)))
        async with stream_to(recorder) as (reader, writer):
            writer.write(bytes(bye))
            assert (await asyncio.wait_for(reader.readline(), PATIENCE_SECONDS)).startswith(b"SIP/2.0 481")
        assert recorder.shell.agent._end.dialogs[theirs].hop.transport == "TLS"
        client.shell.agent.bye(mine, now=client.shell.now)
        client.shell.flush()
        await recorder.hear(ByeReceived)

    with_sides(talk, ours=Tls(files[0]), theirs=Tls(files[1]))


def test_fast_clients_lose_no_handshake_on_the_loop_that_serves(
    files: tuple[TlsFiles, TlsFiles], tmp_path: Path
) -> None:
    context = as_client(tmp_path / "client", CLIENT)

    def call(port: int) -> bytes:
        with context.wrap_socket(socket.create_connection((LOCALHOST, port), 10)) as secured:
            secured.sendall(OPTIONS % 1)
            return secured.recv(7)

    async def talk(recorder: Side, _client: Side) -> None:
        for _ in range(20):
            assert await asyncio.to_thread(call, recorder.shell.tls_port) == b"SIP/2.0"

    with_sides(talk, ours=Tls(files[0]), run=uvloop.run)


# -- slow, greedy and malicious peers --------------------------------------------------------------


def test_a_keep_alive_is_answered_and_garbage_ends_the_connection() -> None:
    async def talk(recorder: Side, _client: Side) -> None:
        async with stream_to(recorder) as (reader, writer):
            writer.write(b"\r\n\r\n")
            assert await reader.readexactly(2) == b"\r\n"
            writer.write(OPTIONS % 1)
            assert (await reader.readline()).startswith(b"SIP/2.0 200")
            writer.write(b"this is no SIP\r\n\r\n")
            await reader.read()
        assert recorder.shell.refused["stream.malformed"] == 1

    with_sides(talk)


async def silent_call(recorder: Side, client: Side) -> Connection:
    """The recorder's connection with a call on it, to look at from a time of our own."""
    invite(client, recorder, "TCP")
    await recorder.hear(AckReceived)
    [connection] = recorder.shell.streams.connections.values()
    return connection


def test_a_peer_with_calls_is_pinged_after_silence_and_gone_when_it_answers_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def talk(recorder: Side, client: Side) -> None:
        connection, streams = await silent_call(recorder, client), recorder.shell.streams
        streams.sweep(connection.heard_at + sip_streams.PING_SECONDS)
        await recorder.until(lambda: connection._framer.pongs == 1)
        [theirs] = client.shell.streams.connections.values()
        monkeypatch.setattr(theirs, "send", lambda _: None)  # a peer that has died without a word
        asked_at = connection.heard_at + sip_streams.PING_SECONDS
        streams.sweep(asked_at)
        streams.sweep(asked_at + sip_streams.PONG_SECONDS)
        assert recorder.shell.refused["stream.no_pong"] == 0
        streams.sweep(asked_at + sip_streams.PONG_SECONDS + 1)
        assert recorder.shell.refused["stream.no_pong"] == 1
        await recorder.until(lambda: not streams.connections)

    with_sides(talk)


def test_a_peer_that_never_answered_a_ping_keeps_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    async def talk(recorder: Side, client: Side) -> None:
        connection, streams = await silent_call(recorder, client), recorder.shell.streams
        [theirs] = client.shell.streams.connections.values()
        monkeypatch.setattr(theirs, "send", lambda _: None)  # as older clients
        for minutes in range(2, 30, 2):
            streams.sweep(connection.heard_at + minutes * 60)
        assert recorder.shell.refused.total() == 0
        assert list(streams.connections.values()) == [connection]

    with_sides(talk)


def test_a_connection_without_calls_is_not_pinged() -> None:
    async def talk(recorder: Side, _client: Side) -> None:
        async with stream_to(recorder) as (reader, writer):
            writer.write(OPTIONS % 1)
            await reader.readuntil(b"\r\n\r\n")
            recorder.shell.streams.sweep(recorder.shell.now + sip_streams.PING_SECONDS + 1)
            writer.write(b"\r\n\r\n")
            assert await reader.readexactly(2) == b"\r\n"
            [connection] = recorder.shell.streams.connections.values()
            assert connection._pinged_at is None

    with_sides(talk)


def test_a_single_empty_line_as_a_sign_of_life_does_not_cost_the_connection() -> None:
    async def talk(recorder: Side, _client: Side) -> None:
        async with stream_to(recorder) as (reader, writer):
            writer.write(OPTIONS % 1 + b"\r\n")
            await reader.readuntil(b"\r\n\r\n")
            recorder.shell.streams.sweep(recorder.shell.now + sip_streams.MESSAGE_SECONDS + 1)
            writer.write(OPTIONS % 2)
            assert (await asyncio.wait_for(reader.readline(), PATIENCE_SECONDS)).startswith(b"SIP/2.0 200")
        assert recorder.shell.refused.total() == 0

    with_sides(talk)


def test_who_was_turned_away_is_logged_by_cause_and_number_alone(
    files: tuple[TlsFiles, TlsFiles], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = as_client(tmp_path / "other", AUTHORITY.issue("other.example"))

    async def talk(recorder: Side, _client: Side) -> None:
        recorder.shell.streams.sweep(recorder.shell.now)
        for _ in range(2):
            assert not await is_answered(recorder, other)
        await recorder.until(lambda: recorder.shell.refused["tls.not_listed"] == 2)
        for later in (0, 1, 2):
            recorder.shell.streams.sweep(recorder.shell.now + later * (sip_streams.TELL_SECONDS + 1))

    with_sides(talk, ours=Tls(files[0]))
    said = [(record.msg, vars(record)["count"]) for record in caplog.records if "turned away" in record.msg]
    assert said == [("SIP turned away: tls.not_listed", 2)]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_row_31_no_session_is_resumed_past_the_end_of_a_certificate(
    version: ssl.TLSVersion, files: tuple[TlsFiles, TlsFiles], tmp_path: Path
) -> None:
    context = as_client(tmp_path / "client", CLIENT)
    context.maximum_version = version

    def twice(port: int) -> list[bool]:
        found, session = [], None
        for number in range(2):
            raw = socket.create_connection((LOCALHOST, port), 5)
            with context.wrap_socket(raw, session=session) as secured:
                secured.sendall(OPTIONS % number)
                assert secured.recv(7) == b"SIP/2.0"
                session = secured.session
                found.append(bool(secured.session_reused))
        return found

    async def talk(recorder: Side, _client: Side) -> None:
        assert await asyncio.to_thread(twice, recorder.shell.tls_port) == [False, False]

    with_sides(talk, ours=Tls(files[0]))


def test_a_connection_is_watched_by_the_kernels_own_keep_alive() -> None:
    async def talk(recorder: Side, _client: Side) -> None:
        async with stream_to(recorder) as (reader, writer):
            writer.write(OPTIONS % 1)
            await reader.readline()
            [connection] = recorder.shell.streams.connections.values()
            assert connection._transport is not None
            sock = connection._transport.get_extra_info("socket")
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60

    with_sides(talk)


def test_a_message_that_never_ends_loses_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sip_streams, "MESSAGE_SECONDS", 0.0)
    monkeypatch.setattr(sip_server, "LONGEST_SLEEP", 0.01)

    async def talk(recorder: Side, _client: Side) -> None:
        async with stream_to(recorder) as (reader, writer):
            writer.write(b"INVITE sip:a SIP/2.0\r\nVia: ")
            assert await ended(reader)
        assert recorder.shell.refused["stream.slow"] == 1

    with_sides(talk)


@pytest.mark.parametrize(
    "flood",
    [b"X-Long: " + b"a" * 65_536, b"X-Many: a\r\n" * 6_554],
    ids=["one header of 64 KiB", "many headers of 64 KiB"],
)
def test_64_kib_of_headers_end_the_connection_and_no_more_is_held(flood: bytes) -> None:
    assert len(flood) >= 65_536 > MAX_HEAD_BYTES

    async def talk(recorder: Side, _client: Side) -> None:
        async with stream_to(recorder) as (reader, writer):
            writer.write(b"OPTIONS sip:a SIP/2.0\r\n" + flood + b"\r\n\r\n")
            assert await ended(reader)
        assert recorder.shell.refused["stream.malformed"] == 1
        assert not recorder.shell.streams.connections

    with_sides(talk)


def test_endless_empty_lines_are_not_collected() -> None:
    async def talk(recorder: Side, _client: Side) -> None:
        async with stream_to(recorder) as (reader, writer):
            for _ in range(64):
                writer.write(b"\r\n\r\n" * 4_096)
                await writer.drain()
            writer.write(OPTIONS % 1)
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not (await reader.readline()).startswith(b"SIP/2.0 200"):
                    pass
            [connection] = recorder.shell.streams.connections.values()
            assert connection._framer.waiting <= 4

    with_sides(talk)


@pytest.mark.thorough
def test_a_peer_that_does_not_read_loses_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sip_streams, "MAX_UNSENT_BYTES", 4_096)

    async def talk(recorder: Side, _client: Side) -> None:
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2_048)
            deaf.connect((LOCALHOST, recorder.shell.port))
            deaf.setblocking(False)
            loop = asyncio.get_running_loop()
            async with asyncio.timeout(PATIENCE_SECONDS):
                number = 0
                while not recorder.shell.refused["stream.unread"]:
                    number += 1
                    try:
                        await asyncio.wait_for(loop.sock_sendall(deaf, OPTIONS % number), 0.5)
                    except OSError:
                        break
            await recorder.until(lambda: not recorder.shell.streams.connections)
            assert recorder.shell.refused["stream.unread"] == 1

    with_sides(talk)


@pytest.mark.parametrize(
    "name, cause",
    [
        ("MAX_CONNECTIONS_PER_SOURCE", "limit.connections_per_source"),
        ("MAX_CONNECTIONS", "limit.connections"),
    ],
)
def test_at_a_limit_the_longest_silent_connection_without_a_dialog_makes_room(
    name: str, cause: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sip_streams, name, 3)

    async def talk(recorder: Side, client: Side) -> None:
        invite(client, recorder, "TCP")
        await recorder.hear(AckReceived)
        async with stream_to(recorder) as (oldest, _), stream_to(recorder) as (reader, writer):
            writer.write(OPTIONS % 1)
            await reader.readuntil(b"\r\n\r\n")
            async with stream_to(recorder) as (newest, calls):
                calls.write(OPTIONS % 2)
                assert (await newest.readline()).startswith(b"SIP/2.0 200")
                assert await ended(oldest)
            assert recorder.shell.refused[cause] == 1
            assert recorder.shell.in_use <= set(recorder.shell.streams.connections)
            assert len(recorder.shell.streams.connections) <= 3

    with_sides(talk)


@pytest.mark.parametrize("name", ["MAX_CONNECTIONS_PER_SOURCE", "MAX_CONNECTIONS"])
def test_where_every_connection_carries_calls_the_newcomer_is_refused(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sip_streams, name, 1)

    async def talk(recorder: Side, client: Side) -> None:
        invite(client, recorder, "TCP")
        await recorder.hear(AckReceived)
        async with stream_to(recorder) as (reader, _):
            assert await ended(reader)
        assert len(recorder.shell.streams.connections) == 1

    with_sides(talk)
