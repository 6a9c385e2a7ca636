"""The SIP shell on real sockets: every transport, both families of addresses, and what cannot be reached."""

from __future__ import annotations

from pathlib import Path

import pytest

from certificates import Authority, write_files
from mitschnitt.errors import ConfigError
from mitschnitt.recorder.sip_server import Ports
from mitschnitt.recorder.tls import Tls
from mitschnitt.wire.sip.config import SRC_FEATURE
from mitschnitt.wire.sip.events import (
    AckReceived,
    ByeReceived,
    DialogEnded,
    InviteReceived,
    ReinviteReceived,
    ResponseReceived,
    TransactionTimedOut,
)
from mitschnitt.wire.sip.hop import Hop
from sip_shells import LOCALHOST, Side, invite, with_sides

AUTHORITY = Authority()


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tls, Tls]:
    """TLS of a recorder and of a client who let each other in."""
    root: Path = tmp_path_factory.mktemp("tls")
    ours, theirs = AUTHORITY.issue("recorder.example"), AUTHORITY.issue("sbc.example")
    return (
        Tls(write_files(root / "ours", ours, AUTHORITY, "sbc.example")),
        Tls(write_files(root / "theirs", theirs, AUTHORITY, ours.fingerprint)),
    )


@pytest.mark.parametrize("host", [LOCALHOST, "::1"])
@pytest.mark.parametrize("transport, scheme", [("UDP", "sip"), ("TCP", "sip"), ("TLS", "sip"), ("TLS", "sips")])
def test_a_session_runs_over_real_sockets(transport: str, scheme: str, host: str, both: tuple[Tls, Tls]) -> None:
    async def talk(recorder: Side, client: Side) -> None:
        mine = invite(client, recorder, transport, host=host, scheme=scheme)
        invited = await recorder.hear(InviteReceived)
        assert (invited.source.transport, invited.source.host) == (transport, host)
        answered = await client.hear(ResponseReceived, status=200)
        contact = str(answered.response.headers.get("Contact"))
        port = recorder.shell.tls_port if transport == "TLS" else recorder.shell.port
        where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        assert f"@{where}" in contact or f"{scheme}:{where}" in contact
        assert contact.startswith(f"<{scheme}:")
        assert (f"transport={transport.lower()}" in contact) is (transport != "UDP" and scheme == "sip")
        await recorder.hear(AckReceived)
        recorder.shell.agent.reinvite(
            invited.dialog, now=recorder.shell.now, body=b"v=0\r\n", content_type="application/sdp"
        )
        recorder.shell.flush()
        offered = await client.hear(ReinviteReceived)
        assert offered.dialog == mine
        assert str(offered.request.headers.get("Via")).startswith(f"SIP/2.0/{transport} {where}")
        await recorder.hear(ResponseReceived, status=200)
        client.shell.agent.bye(mine, now=client.shell.now)
        client.shell.flush()
        await recorder.hear(ByeReceived)
        assert await client.hear(DialogEnded) == DialogEnded(mine, 200)

    ours, theirs = both
    with_sides(talk, host=host, ours=ours, theirs=theirs)


def test_without_plain_ports_only_tls_is_there_and_nothing_of_ours_leaves_plain(both: tuple[Tls, Tls]) -> None:
    async def talk(recorder: Side, client: Side) -> None:
        assert recorder.shell.port == 0
        recorder.shell.agent.options(
            "sip:a@127.0.0.1:9", Hop("UDP", LOCALHOST, 9), now=recorder.shell.now, sender="sip:r@a"
        )
        recorder.shell.flush()
        assert (await recorder.hear(TransactionTimedOut)).undeliverable
        invite(client, recorder, "TLS")
        await recorder.hear(InviteReceived)

    ours, theirs = both
    with_sides(talk, ours=ours, theirs=theirs, ports=Ports(plain=None, tls=0))


def test_requests_answers_and_what_was_shed_are_counted_by_words_of_closed_sets() -> None:
    async def talk(recorder: Side, client: Side) -> None:
        invite(client, recorder, "UDP")
        await recorder.hear(AckReceived)
        recorder.shell.agent.drain()
        invite(client, recorder, "UDP")
        await client.hear(ResponseReceived, status=503)
        recorder.shell.received(b"GOSSIP sip:x SIP/2.0\r\n\r\n", Hop("UDP", LOCALHOST, 9))
        assert recorder.shell.requests["INVITE"] == 2
        assert recorder.shell.requests["other"] == 1
        assert set(recorder.shell.requests) <= {"INVITE", "ACK", "other"}
        assert recorder.shell.responses["2xx"] == 1
        assert recorder.shell.shed == recorder.shell.responses["5xx"] == 1
        assert not client.shell.requests

    with_sides(talk)


def test_a_peer_that_cannot_be_reached_is_told() -> None:
    async def talk(recorder: Side, client: Side) -> None:
        port = recorder.shell.port
        await recorder.shell.stop()
        client.shell.agent.invite(
            f"sip:r@{LOCALHOST}:{port};transport=tcp",
            Hop("TCP", LOCALHOST, port),
            now=client.shell.now,
            sender="sip:c@127.0.0.1",
            body=b"",
            content_type="",
        )
        client.shell.flush()
        assert (await client.hear(TransactionTimedOut)).undeliverable
        assert client.shell.refused["connect.failed"] == 1

    with_sides(talk)


@pytest.mark.parametrize("transport", ["UDP", "TCP"])
@pytest.mark.parametrize("host", ["a" * 64 + ".example", "a..b"])
def test_a_name_that_no_host_can_have_is_told_as_any_that_cannot_be_reached(host: str, transport: str) -> None:
    async def talk(recorder: Side, client: Side) -> None:
        for _ in range(2):  # nothing of the first attempt stands in the way of the next
            recorder.shell.agent.options(
                f"sip:{host}", Hop(transport, host, 5060), now=recorder.shell.now, sender="sip:r@127.0.0.1"
            )
            recorder.shell.flush()
            assert (await recorder.hear(TransactionTimedOut)).undeliverable
        assert recorder.shell.refused["host.unknown" if transport == "UDP" else "connect.failed"] == 2

    with_sides(talk)


def test_without_tls_files_nothing_is_sent_over_tls() -> None:
    async def talk(recorder: Side, client: Side) -> None:
        invite(client, recorder, "TLS")
        assert (await client.hear(TransactionTimedOut)).undeliverable

    with_sides(talk)


def test_a_port_in_use_is_the_operators_business() -> None:
    async def talk(recorder: Side, client: Side) -> None:
        third = Side(SRC_FEATURE)
        with pytest.raises(ConfigError, match=str(recorder.shell.port)):
            await third.shell.start(LOCALHOST, recorder.shell.port)

    with_sides(talk)
