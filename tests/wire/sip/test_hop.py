"""Where messages go: Via, rport, Contact (RFC 3261, 18; RFC 3581)."""

from __future__ import annotations

import pytest

from mitschnitt.errors import MalformedPacket
from mitschnitt.wire.sip.headers import Via
from mitschnitt.wire.sip.hop import Hop, reached_by, response_hop, stamp_via, uri_hop
from mitschnitt.wire.sip.message import Headers, Request

SOURCE = Hop("UDP", "127.0.0.9", 40_000)
OVER_TCP = Hop("TCP", "127.0.0.9", 40_000, 7)


def stamped(via: str) -> Via:
    request = Request(Headers.of([("Via", f"{via}, SIP/2.0/UDP behind"), ("To", "x")]), b"", "OPTIONS", "sip:a")
    result = stamp_via(request, SOURCE)
    assert result.headers.listed("Via")[1] == "SIP/2.0/UDP behind"
    assert result.headers.get("To") == "x"
    return result.via


@pytest.mark.parametrize(
    "via, expected",
    [
        ("SIP/2.0/UDP 127.0.0.9:5060;branch=b", Hop("UDP", "127.0.0.9", 5060)),
        ("SIP/2.0/UDP 127.0.0.9;branch=b", Hop("UDP", "127.0.0.9", 5060)),
        ("SIP/2.0/UDP host.example:5070;branch=b", Hop("UDP", "127.0.0.9", 5070)),
        ("SIP/2.0/UDP 127.0.0.9:5060;branch=b;rport", Hop("UDP", "127.0.0.9", 40_000)),
        ("SIP/2.0/UDP 127.0.0.9;maddr=127.0.0.3", Hop("UDP", "127.0.0.3", 5060)),
        ("SIP/2.0/UDP 127.0.0.9;maddr=look.me.up.example", Hop("UDP", "127.0.0.9", 5060)),
    ],
)
def test_answers_over_udp_follow_the_via(via: str, expected: Hop) -> None:
    assert response_hop(stamped(via), SOURCE) == expected


def test_answers_over_tcp_take_the_connection_and_its_via_port_when_that_is_gone() -> None:
    assert response_hop(Via.parse("SIP/2.0/TCP a:5070"), OVER_TCP) == Hop("TCP", "127.0.0.9", 5070, 7)
    assert response_hop(Via.parse("SIP/2.0/TLS a"), OVER_TCP).port == 5061


def test_the_source_is_stamped_only_where_it_differs_or_is_asked_for() -> None:
    assert str(stamped("SIP/2.0/UDP 127.0.0.9:5060;branch=b")) == "SIP/2.0/UDP 127.0.0.9:5060;branch=b"
    assert str(stamped("SIP/2.0/UDP h;branch=b")) == "SIP/2.0/UDP h;branch=b;received=127.0.0.9"
    assert str(stamped("SIP/2.0/UDP h;rport")) == "SIP/2.0/UDP h;received=127.0.0.9;rport=40000"


@pytest.mark.parametrize(
    "uri, transport, expected",
    [
        ("sip:a@192.0.2.1", "UDP", Hop("UDP", "192.0.2.1", 5060)),
        ("sip:a@192.0.2.1:5070;transport=tcp", "UDP", Hop("TCP", "192.0.2.1", 5070)),
        ("sip:a@192.0.2.1;transport=tcp", "TCP", Hop("TCP", "192.0.2.1", 5060, 7)),
        ("sip:a@[2001:db8::1]", "TCP", Hop("TCP", "2001:db8::1", 5060, 7)),
        ("sips:a@192.0.2.1", "TLS", Hop("TLS", "192.0.2.1", 5061, 7)),
    ],
)
def test_requests_go_where_the_uri_says_over_the_dialogs_connection(uri: str, transport: str, expected: Hop) -> None:
    assert uri_hop(uri, transport, 7 if transport != "UDP" else 0) == expected


def test_a_uri_of_another_kind_leads_nowhere() -> None:
    with pytest.raises(MalformedPacket):
        uri_hop("tel:+49", "UDP")


def test_only_udp_is_unreliable() -> None:
    assert [hop.reliable for hop in (SOURCE, OVER_TCP)] == [False, True]


@pytest.mark.parametrize(
    "headers, behind",
    [
        ([], ()),
        ([("Contact", "<sips:b@192.0.2.9>;+sip.src")], ("sips:b@192.0.2.9",)),
        ([("Contact", "<sip:b@192.0.2.9>"), ("Record-Route", "<sips:p1;lr>, <sip:p2;lr>")], ("sips:p1;lr",)),
        ([("Contact", "<<sips:b@192.0.2.9>;x>")], ()),
        ([("Contact", ",".join(["<sips:b@192.0.2.9>"] * 65))], ()),
    ],
    ids=["neither", "its Contact", "its first route, not its Contact", "a Contact that cannot be read", "too many"],
)
def test_a_request_says_by_which_scheme_we_are_reached(headers: list[tuple[str, str]], behind: tuple[str, ...]) -> None:
    request = Request(Headers.of(headers), b"", "INVITE", "sip:recorder@192.0.2.1")
    assert reached_by(request) == ("sip:recorder@192.0.2.1", *behind)
