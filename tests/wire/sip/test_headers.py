"""Values inside header fields: what real equipment writes, and what is refused (RFC 3261, 20 and 25)."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitschnitt.errors import MalformedPacket, PeerError, TooLarge
from mitschnitt.wire.sip.headers import (
    MAX_LIST_ITEMS,
    Address,
    CSeq,
    SipUri,
    Via,
    is_token,
    parameter,
    parse_host_port,
    parse_parameters,
    parse_port,
    split_outside_quotes,
    unquote,
    write_host,
    write_parameters,
)


@pytest.mark.parametrize(
    "text, uri, display, tag",
    [
        ("<sip:a@b>;tag=1", "sip:a@b", "", "1"),
        ("sip:a@b;tag=1", "sip:a@b", "", "1"),
        ("sip:a@b", "sip:a@b", "", None),
        (
            '"Zentrale, <Nord>" <sip:a@b;transport=tcp>;tag=x',
            "sip:a@b;transport=tcp",
            "Zentrale, <Nord>",
            "x",
        ),
        ('"sagt \\"ja\\"" <sip:a@b>', "sip:a@b", 'sagt "ja"', None),
        ("Anna Beispiel <sip:a@b> ; tag = 9", "sip:a@b", "Anna Beispiel", "9"),
        ("<tel:+4930123456>;tag=t", "tel:+4930123456", "", "t"),
        ("<sip:a@[2001:db8::1]:5070>", "sip:a@[2001:db8::1]:5070", "", None),
    ],
)
def test_addresses_are_read_in_both_forms(text: str, uri: str, display: str, tag: str | None) -> None:
    address = Address.parse(text)
    assert (address.uri, address.display, address.tag) == (uri, display, tag)
    assert Address.parse(str(address)) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<<sip:a@b>;+sip.src>",
        "<sip:a@b",
        '"open <sip:a@b>',
        "<sip:a b>",
        "nobody",
        '"x" sip:a@b',
        "<sip:a>x",
    ],
)
def test_what_is_not_one_address_is_refused(text: str) -> None:
    with pytest.raises(MalformedPacket):
        Address.parse(text)


def test_a_tag_is_replaced_and_other_parameters_stay() -> None:
    assert str(Address.parse("<sip:a@b>;x=1;tag=old").with_tag("new")) == "<sip:a@b>;x=1;tag=new"


def test_vias_are_read_with_spaces_and_ipv6() -> None:
    via = Via.parse("SIP / 2.0 / udp first.example.com: 4000 ;ttl=16 ;branch=z9hG4bKa7c6a8dlze.1")
    assert (via.transport, via.host, via.port, via.branch) == (
        "UDP",
        "first.example.com",
        4000,
        "z9hG4bKa7c6a8dlze.1",
    )
    via = Via.parse("SIP/2.0/TCP [2001:db8::9]:5070;branch=b;rport")
    assert (via.host, via.port, parameter(via.parameters, "rport")) == ("2001:db8::9", 5070, "")
    assert str(via) == "SIP/2.0/TCP [2001:db8::9]:5070;branch=b;rport"
    assert str(via.replaced(rport="9")) == "SIP/2.0/TCP [2001:db8::9]:5070;branch=b;rport=9"


@pytest.mark.parametrize("text", ["", "SIP/2.0/UDP", "SIP/1.0/UDP a", "UDP a:1", "SIP/2.0/UDP a:b"])
def test_what_is_no_via_is_refused(text: str) -> None:
    with pytest.raises(MalformedPacket):
        Via.parse(text)


def test_cseqs_are_read_and_bounded() -> None:
    assert CSeq.parse("  0009   INVITE ") == CSeq(9, "INVITE")
    assert str(CSeq(9, "INVITE")) == "9 INVITE"
    for text in ("", "INVITE", "-1 INVITE", f"{2**31} INVITE", "1 IN VITE", "1 <"):
        with pytest.raises(MalformedPacket):
            CSeq.parse(text)


def test_uris_are_read_and_written() -> None:
    uri = SipUri.parse("SIP:alice:secret@[2001:db8::1]:5061;transport=TLS;lr?Subject=x")
    assert (uri.scheme, uri.user, uri.host, uri.port, uri.transport) == (
        "sip",
        "alice:secret",
        "2001:db8::1",
        5061,
        "TLS",
    )
    assert str(uri) == "sip:alice:secret@[2001:db8::1]:5061;transport=TLS;lr"
    assert SipUri.parse("sip:host").transport is None
    for text in ("tel:1", "sip:", "host", "sip:[::1", "sip:a@:5060"):
        with pytest.raises(MalformedPacket):
            SipUri.parse(text)


def test_hosts_and_ports_are_bounded() -> None:
    assert parse_host_port("a:65535") == ("a", 65_535)
    assert write_host("::1") == "[::1]"
    for text in ("65536", "-1", "", "1e3", "9" * 40):
        with pytest.raises(MalformedPacket):
            parse_port(text)


def test_lists_are_split_outside_quotes_and_brackets_only() -> None:
    assert split_outside_quotes('"a,b" <sip:c,d>, e', ",") == ['"a,b" <sip:c,d>', "e"]
    assert split_outside_quotes('"a\\",b",c', ",") == ['"a\\",b"', "c"]
    with pytest.raises(TooLarge):
        split_outside_quotes("," * MAX_LIST_ITEMS, ",")


def test_parameters_keep_their_quotes_where_needed() -> None:
    parameters = parse_parameters(';a;B = "x;y\\"z";c=[::1]')
    assert parameters == (("a", None), ("b", 'x;y"z'), ("c", "[::1]"))
    assert write_parameters(parameters) == ';a;b="x;y\\"z";c=[::1]'
    assert parameter(parameters, "none") is None
    with pytest.raises(TooLarge):
        parse_parameters(";x" * 65)


def test_only_whole_quoted_strings_lose_their_quotes() -> None:
    assert [unquote(text) for text in ('"a"', '"', 'a"b"', '""')] == ["a", '"', 'a"b"', ""]


def test_tokens_hold_no_spaces_or_separators() -> None:
    assert [is_token(text) for text in ("INVITE", "x-1.!%*_+`'~", "", "a b", "a:b", "a\n")] == [
        True,
        True,
        False,
        False,
        False,
        False,
    ]


@given(st.text(alphabet='sip:@<>";,=[]. \\a1\t', max_size=60))
def test_no_text_makes_the_readers_raise_anything_undocumented(text: str) -> None:
    for read in (Address.parse, Via.parse, CSeq.parse, SipUri.parse, parse_parameters):
        with contextlib.suppress(PeerError):
            assert read(text) is not None


@given(st.text(alphabet='sip:@<>";,=[]. \\a1\t', max_size=60))
def test_an_address_that_was_read_is_read_again_from_what_it_writes(text: str) -> None:
    try:
        address = Address.parse(text)
    except PeerError:
        return
    assert Address.parse(str(address)).uri == address.uri


@pytest.mark.parametrize(
    "uri, user, host",
    [
        ("sip:a?b@192.0.2.1", "a?b", "192.0.2.1"),
        ("sip:a;x=y?z@192.0.2.1:5070?Subject=c", "a;x=y?z", "192.0.2.1"),
        ("sip:192.0.2.1?Replaces=x", "", "192.0.2.1"),
        ("sip:a@192.0.2.1?Replaces=call@192.0.2.66", "a", "192.0.2.1"),
    ],
)
def test_a_question_mark_belongs_to_the_user_or_begins_headers(uri: str, user: str, host: str) -> None:
    parsed = SipUri.parse(uri)
    assert (parsed.user, parsed.host) == (user, host)


@pytest.mark.parametrize("name", ["<x", "x>", '"x', 'a"b'])
def test_a_parameter_name_holds_no_half_of_an_address_or_string(name: str) -> None:
    with pytest.raises(MalformedPacket, match="parameter name"):
        parse_parameters(f";{name}=1")
