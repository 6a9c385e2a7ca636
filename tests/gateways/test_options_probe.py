"""The probe against SBCs that answer OPTIONS in several ways, over real sockets of loopback; Debian's sipp is one."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import cast

import pytest

from certificates import Authority, write_files
from mitschnitt.errors import ConfigError, PeerError
from mitschnitt.gateways.options_probe import Answer, ask_options, parse_client, resolve
from mitschnitt.recorder.sip_server import Ports, SipServer
from mitschnitt.recorder.tls import Tls
from mitschnitt.wire.sip.agent import UserAgent
from mitschnitt.wire.sip.config import SRC_FEATURE, AgentConfig
from mitschnitt.wire.sip.events import SipEvent
from mitschnitt.wire.sip.hop import Hop
from mitschnitt.wire.sip.message import Headers, Request, Response, parse_message
from mitschnitt.wire.sip.options import read_options

PATIENCE_SECONDS = 60.0
VECTORS = Path(__file__).parents[1] / "vectors" / "options"


class Sbc(asyncio.DatagramProtocol):
    """Answers the first `deaf` copies with nothing, then as its file says."""

    def __init__(self, name: str, *, deaf: int = 0) -> None:
        self.heard: list[Request] = []
        self._deaf = deaf
        self._answer = parse_message((VECTORS / f"{name}.sip").read_bytes())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)  # by behaviour, not by class

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        request = parse_message(data)
        assert isinstance(request, Request)
        self.heard.append(request)
        if len(self.heard) > self._deaf and isinstance(self._answer, Response):
            copied = [(name, request.headers.get(name) or "") for name in ("Via", "From", "To", "Call-ID", "CSeq")]
            own = self._answer.headers.without("Via", "From", "To", "Call-ID", "CSeq")
            answer = Response(Headers.of([*copied, *own.items]), b"", self._answer.status)
            self._transport.sendto(bytes(answer), addr)


def with_sbc(sbc: Sbc, play: Callable[[int], Awaitable[Answer | None]]) -> Answer | None:
    async def run() -> Answer | None:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: sbc, local_addr=("127.0.0.1", 0))
        try:
            return await play(transport.get_extra_info("sockname")[1])
        finally:
            transport.close()

    return asyncio.run(run())


@pytest.mark.parametrize(
    "name, status", [("rich", 200), ("poor", 200), ("silent-on-everything", 200), ("refused", 405)]
)
def test_an_sbc_is_asked_once_and_its_answer_comes_back(name: str, status: int) -> None:
    sbc = Sbc(name)
    answer = with_sbc(sbc, lambda port: ask_options(Hop("UDP", "127.0.0.1", port), seconds=PATIENCE_SECONDS))
    assert answer is not None
    assert answer.response.status == status
    assert answer.ms >= 0
    (request,) = sbc.heard
    assert request.method == "OPTIONS"
    assert "+sip.srs" in (request.headers.get("Contact") or "")
    assert read_options(answer.response, ms=answer.ms)


def test_a_lost_request_is_sent_again() -> None:
    sbc = Sbc("rich", deaf=2)
    answer = with_sbc(sbc, lambda port: ask_options(Hop("UDP", "127.0.0.1", port), seconds=PATIENCE_SECONDS))
    assert answer is not None
    assert len(sbc.heard) >= 3


def test_no_answer_is_none() -> None:
    sbc = Sbc("rich", deaf=100)
    assert with_sbc(sbc, lambda port: ask_options(Hop("UDP", "127.0.0.1", port), seconds=0.2)) is None
    assert sbc.heard


def test_where_nobody_listens_there_is_no_answer_and_no_waiting() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        hop = Hop("TCP", "127.0.0.1", unused.getsockname()[1])
        assert asyncio.run(ask_options(hop, seconds=PATIENCE_SECONDS)) is None


@pytest.mark.parametrize("transport", ["UDP", "TCP"])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_our_own_client_answers_over_every_transport(transport: str, host: str) -> None:
    async def run() -> Answer | None:
        def ignore(_event: SipEvent) -> None:
            pass

        tokens = iter(range(1_000))
        agent = UserAgent(AgentConfig(host=host, feature=SRC_FEATURE, product="sbc"), lambda: f"t{next(tokens)}")
        server = SipServer(agent, ignore)
        await server.start(host, 0)
        try:
            return await ask_options(Hop(transport, host, server.port), seconds=PATIENCE_SECONDS)
        finally:
            await server.stop()

    answer = asyncio.run(run())
    assert answer is not None
    assert answer.response.headers.get("Server") == "sbc"


@pytest.mark.parametrize("is_known", [True, False])
def test_over_tls_an_sbc_that_is_on_the_list_answers_and_another_does_not(tmp_path: Path, is_known: bool) -> None:
    authority = Authority()
    ours, theirs = authority.issue("recorder.example"), authority.issue("sbc.example")
    own = Tls(write_files(tmp_path / "ours", ours, authority, "sbc.example" if is_known else "another.example"))
    peers = Tls(write_files(tmp_path / "theirs", theirs, authority, ours.fingerprint))

    async def run() -> Answer | None:
        def ignore(_event: SipEvent) -> None:
            pass

        tokens = iter(range(1_000))
        agent = UserAgent(AgentConfig(feature=SRC_FEATURE, product="sbc"), lambda: f"t{next(tokens)}")
        server = SipServer(agent, ignore, tls=peers)
        await server.start("127.0.0.1", Ports(plain=None, tls=0))
        try:
            return await ask_options(Hop("TLS", "127.0.0.1", server.tls_port), seconds=PATIENCE_SECONDS, tls=own)
        finally:
            await server.stop()

    answer = asyncio.run(run())
    assert (answer is not None) is is_known


SCENARIO = """<?xml version="1.0" encoding="ISO-8859-1" ?>
<scenario name="an SBC that answers OPTIONS">
  <recv request="OPTIONS"/>
  <send><![CDATA[
SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:];tag=[call_number]
[last_Call-ID:]
[last_CSeq:]
Server: sipp
Allow: INVITE, ACK, BYE, CANCEL, OPTIONS
Content-Length: 0

  ]]></send>
</scenario>
"""


@pytest.mark.parametrize("transport", ["UDP", "TCP"])
def test_sipp_as_an_sbc_is_explained(tmp_path: Path, transport: str) -> None:
    sipp = shutil.which("sipp")
    if sipp is None:
        pytest.skip("there is no sipp here")
    (tmp_path / "options.xml").write_text(SCENARIO, encoding="ascii")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    kind = "u1" if transport == "UDP" else "t1"
    command = [sipp, "-sf", "options.xml", "-i", "127.0.0.1", "-p", str(port), "-t", kind, "-m", "1", "-nostdin"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        answer, deadline = None, time.monotonic() + PATIENCE_SECONDS
        while answer is None and time.monotonic() < deadline:
            answer = asyncio.run(ask_options(Hop(transport, "127.0.0.1", port), seconds=1.0))
    finally:
        process.kill()
        process.wait()
    assert answer is not None
    codes = [finding.code for finding in read_options(answer.response, ms=answer.ms)]
    assert codes[:2] == ["options.answered", "options.product"]
    assert "allow.update.missing" in codes


@pytest.mark.parametrize(
    "text, hop",
    [
        ("192.0.2.1", Hop("UDP", "192.0.2.1", 5060)),
        ("sbc.example.org:5080", Hop("UDP", "sbc.example.org", 5080)),
        ("192.0.2.1:5080;transport=tcp", Hop("TCP", "192.0.2.1", 5080)),
        ("[2001:db8::1];transport=UDP", Hop("UDP", "2001:db8::1", 5060)),
        ("192.0.2.1;transport=tls", Hop("TLS", "192.0.2.1", 5061)),
    ],
)
def test_a_client_is_named_by_host_port_and_transport(text: str, hop: Hop) -> None:
    assert parse_client(text) == hop


@pytest.mark.parametrize("text", ["", ":5060", "a b", "x:70000", "me@x", "x;transport=sctp", "x?y=z", "[::1"])
def test_what_names_no_client_is_wrong_usage(text: str) -> None:
    with pytest.raises(ConfigError, match=r"client: expected host\[:port\]"):
        parse_client(text)


def test_only_loopback_and_private_addresses_are_called() -> None:
    assert asyncio.run(resolve(Hop("UDP", "localhost", 5070))).host in ("127.0.0.1", "::1")
    for public in ("8.8.8.8", "2606:4700::1", "0.0.0.0"):  # noqa: S104 - an address that is refused
        with pytest.raises(ConfigError, match="neither loopback nor private"):
            asyncio.run(resolve(Hop("UDP", public, 5060)))
    assert asyncio.run(resolve(Hop("TLS", "8.8.8.8", 5061))).host == "8.8.8.8"
    for nobody in ("nowhere.invalid", "a..b"):
        with pytest.raises(PeerError, match="no address and no name"):
            asyncio.run(resolve(Hop("UDP", nobody, 5060)))
