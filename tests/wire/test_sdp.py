"""Offers read, answers and offers of ours written (RFC 3264; RFC 7866, 7; design, "In SIPREC terms")."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitschnitt.errors import MalformedPacket, PeerError, TooLarge
from mitschnitt.wire.sdp import (
    MAX_RECORDED_LINES,
    Description,
    Direction,
    Form,
    LocalLine,
    MediaLine,
    Origin,
    answer,
    destination,
    is_usable,
    parse_sdp,
    refusal,
    reoffer,
)

VECTORS = Path(__file__).parents[1] / "vectors" / "sip"
TWO = parse_sdp((VECTORS / "two-lines.sdp").read_bytes())
PORTS = (LocalLine(10_000), LocalLine(10_002))


def rows(description: Description, start: str) -> list[str]:
    return [row for row in bytes(description).decode().splitlines() if row.startswith(start)]


def closed() -> Description:
    return answer(TWO, PORTS, Form.CLOSED, address="192.0.2.1", session=7)


def test_an_offer_of_two_lines_is_read() -> None:
    first, second = TWO.lines
    assert (first.kind, first.port, first.protocol, first.address) == (
        "audio",
        30698,
        "RTP/AVP",
        "192.0.2.20",
    )
    assert (first.label, second.label) == ("0", "1")
    assert first.direction is Direction.SENDONLY
    assert [(c.payload_type, c.name, c.clock) for c in first.codecs] == [
        (8, "PCMA", 8000),
        (101, "telephone-event", 8000),
    ]
    assert first.event_types == {101: 8000}
    assert (first.rtcp_port, first.rtcp_mux, first.ptime) == (30699, False, "20")


def test_session_level_values_ipv6_and_static_codecs_are_read() -> None:
    audio, video, secure = parse_sdp((VECTORS / "ipv6-session-level.sdp").read_bytes()).lines
    assert audio.address == "2001:db8::5"
    assert audio.direction is Direction.SENDONLY
    assert [(c.name, c.clock) for c in audio.codecs] == [
        ("G722", 8000),
        ("PCMU", 8000),
        ("telephone-event", 16000),
    ]
    assert audio.rtcp_mux
    assert (video.kind, secure.protocol) == ("video", "RTP/SAVP")


def audio_line(types: str, *attributes: str) -> Description:
    text = f"v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\nm=audio 40000 RTP/AVP {types}\r\n"
    return parse_sdp((text + "".join(f"a={attribute}\r\n" for attribute in attributes)).encode())


# RFC 3551, table 4, audio: payload type, encoding name, clock, channels.
TABLE_4 = """
0 PCMU 8000 1, 3 GSM 8000 1, 4 G723 8000 1, 5 DVI4 8000 1, 6 DVI4 16000 1, 7 LPC 8000 1, 8 PCMA 8000 1, 9 G722 8000 1,
10 L16 44100 2, 11 L16 44100 1, 12 QCELP 8000 1, 13 CN 8000 1, 14 MPA 90000 1, 15 G728 8000 1, 16 DVI4 11025 1,
17 DVI4 22050 1, 18 G729 8000 1
"""


def test_static_payload_types_mean_what_table_4_of_rfc_3551_says() -> None:
    rows_of_table = [row.split() for row in TABLE_4.split(",")]
    (line,) = audio_line(" ".join(number for number, *_ in rows_of_table)).lines
    found = [[str(c.payload_type), c.name, str(c.clock), str(c.channels)] for c in line.codecs]
    assert found == rows_of_table


def test_an_rtpmap_says_more_than_a_static_meaning() -> None:
    (line,) = audio_line("10 9", "rtpmap:10 L16/44100", "rtpmap:9 G722/16000").lines
    assert [(c.name, c.clock, c.channels) for c in line.codecs] == [("L16", 44100, 1), ("G722", 16000, 1)]


CODECS = (
    "rtpmap:96 opus/48000/2", "fmtp:96 useinbandfec=1;usedtx=1", "rtpmap:97 AMR-WB/16000", "fmtp:97 octet-align=1",
    "rtpmap:98 AMR/8000/1", "rtpmap:99 L16/16000/2", "rtpmap:100 X-OWN/8000", "rtpmap:103 telephone-event/8000",
    "rtpmap:104 telephone-event/48000", "fmtp:104 0-15", "rtpmap:105 red/8000", "fmtp:105 0/8", "rtpmap:106 CN/16000",
)  # fmt: skip


def test_every_codec_of_an_offer_is_taken_with_its_parameters_known_or_not() -> None:
    offer = audio_line("0 8 9 10 11 13 18 96 97 98 99 100 103 104 105 106 107", *CODECS)
    answered = answer(offer, PORTS[:1], Form.CLOSED, address="192.0.2.1", session=7)
    assert refusal(offer, 0) is None
    assert answered.lines[0].formats == offer.lines[0].formats
    (line,) = parse_sdp(bytes(answered)).lines
    assert line.codecs == offer.lines[0].codecs
    assert line.event_types == {103: 8000, 104: 48000}
    assert [codec.fmtp for codec in line.codecs if codec.payload_type in (96, 97)] == [
        "useinbandfec=1;usedtx=1",
        "octet-align=1",
    ]


@pytest.mark.parametrize("kind", [0, 3, 4, 8, 9, 10, 11, 13, 18])
def test_a_line_of_one_static_codec_is_taken(kind: int) -> None:
    assert refusal(audio_line(str(kind)), 0) is None


def test_row_12_the_closed_answer_is_inactive_and_zero_with_real_ports_and_every_payload_type() -> None:
    answered = closed()
    assert rows(answered, "m=") == ["m=audio 10000 RTP/AVP 8 101", "m=audio 10002 RTP/AVP 8 101"]
    assert rows(answered, "c=") == ["c=IN IP4 0.0.0.0"] * 2
    assert rows(answered, "a=inactive") == ["a=inactive"] * 2
    assert rows(answered, "a=label") == ["a=label:0", "a=label:1"]
    assert rows(answered, "a=fmtp") == ["a=fmtp:101 0-15"] * 2
    assert rows(answered, "o=") == ["o=- 7 1 IN IP4 192.0.2.1"]
    assert parse_sdp(bytes(answered)) == answered


@pytest.mark.parametrize("form", [Form.LISTEN, Form.OPEN])
def test_row_10_the_open_forms_receive_only_at_the_real_address(form: Form) -> None:
    answered = answer(TWO, PORTS, form, address="192.0.2.1", session=7)
    assert rows(answered, "c=") == ["c=IN IP4 192.0.2.1"] * 2
    assert rows(answered, "a=recvonly") == ["a=recvonly"] * 2


@pytest.mark.parametrize("direction", [Direction.INACTIVE, Direction.RECVONLY])
def test_row_11_an_offer_that_sends_nothing_is_answered_inactive_in_every_form(direction: Direction) -> None:
    offer = replace(TWO, lines=tuple(replace(line, direction=direction) for line in TWO.lines))
    for form in Form:
        answered = answer(offer, PORTS, form, address="192.0.2.1", session=7)
        assert {line.direction for line in answered.lines} == {Direction.INACTIVE}


def test_an_ordinary_call_gets_the_closed_answer_too() -> None:
    offer = parse_sdp((VECTORS / "ordinary-call.sdp").read_bytes())
    answered = answer(offer, (LocalLine(10_000),), Form.CLOSED, address="192.0.2.1", session=7)
    assert rows(answered, "m=") == ["m=audio 10000 RTP/AVP 0 8 101"]
    assert rows(answered, "a=inactive") == ["a=inactive"]


def test_row_08_video_secure_and_disabled_lines_are_answered_with_port_0_in_their_place() -> None:
    offer = parse_sdp((VECTORS / "ipv6-session-level.sdp").read_bytes())
    assert [refusal(offer, index) for index in range(3)] == [None, "media.kind", "media.protocol"]
    answered = answer(offer, (LocalLine(10_000, 10_000),) * 3, Form.OPEN, address="2001:db8::1", session=7)
    assert rows(answered, "m=") == [
        "m=audio 10000 RTP/AVP 9 0 96",
        "m=video 0 RTP/AVP 97",
        "m=audio 0 RTP/SAVP 8",
    ]
    assert rows(answered, "c=IN IP6 2001:db8::1") != []
    assert rows(answered, "a=rtcp-mux") == ["a=rtcp-mux"]
    disabled = replace(TWO, lines=(replace(TWO.lines[0], port=0), TWO.lines[1]))
    assert refusal(disabled, 0) == "media.disabled"


def test_row_08_more_lines_than_eight_are_refused_one_by_one() -> None:
    offer = parse_sdp((VECTORS / "ten-lines.sdp").read_bytes())
    lines = [LocalLine(10_000 + 2 * index) for index in range(10)]
    answered = answer(offer, lines, Form.OPEN, address="192.0.2.1", session=7)
    assert [bool(line.port) for line in answered.lines] == [True] * MAX_RECORDED_LINES + [False] * 2
    assert refusal(offer, 8) == "media.count"


def test_row_17_labels_of_any_kind_are_read_and_written_as_they_are() -> None:
    offer = parse_sdp((VECTORS / "labels.sdp").read_bytes())
    labels = ["0", "a_leg", "16777227", "10", None]
    assert [line.label for line in offer.lines] == labels
    lines = [LocalLine(10_000 + 2 * number) for number in range(5)]
    assert [line.label for line in answer(offer, lines, Form.OPEN, address="192.0.2.1", session=7).lines] == labels


@pytest.mark.parametrize("audio", [1, 2, 3, 4, 8])
def test_row_08_every_line_is_answered_in_its_place_and_video_with_port_0(audio: int) -> None:
    lines = [replace(TWO.lines[0], label=str(number)) for number in range(audio)]
    lines.insert(1, replace(TWO.lines[0], kind="video", label="v"))
    offer = replace(TWO, lines=tuple(lines))
    given_lines = [LocalLine(10_000 + 2 * number) for number in range(len(lines))]
    answered = answer(offer, given_lines, Form.OPEN, address="192.0.2.1", session=7)
    assert [(line.label, bool(line.port)) for line in answered.lines] == [
        (line.label, line.kind == "audio") for line in lines
    ]


def test_a_line_without_a_codec_that_has_a_name_is_not_taken() -> None:
    events = tuple(codec for codec in TWO.lines[0].codecs if codec.is_events)
    offer = replace(TWO, lines=(replace(TWO.lines[0], codecs=events), TWO.lines[1]))
    assert [refusal(offer, number) for number in range(2)] == ["media.codec", None]


@pytest.mark.parametrize("protocol", ["RTP/AVP", "RTP/AVPF"])
def test_the_feedback_profile_is_taken_and_echoed(protocol: str) -> None:
    offer = replace(TWO, lines=tuple(replace(line, protocol=protocol) for line in TWO.lines))
    answered = answer(offer, PORTS, Form.OPEN, address="192.0.2.1", session=7)
    assert {line.protocol for line in answered.lines} == {protocol}


@pytest.mark.parametrize("form", list(Form))
def test_a_shut_line_is_closed_in_every_form(form: Form) -> None:
    lines = (PORTS[0], replace(PORTS[1], is_shut=True))
    answered = answer(TWO, lines, form, address="192.0.2.1", session=7)
    assert (answered.lines[1].direction, answered.lines[1].address) == (Direction.INACTIVE, "0.0.0.0")
    assert answered.lines[1].port == 10_002


def test_one_line_can_be_refused_by_us() -> None:
    answered = answer(TWO, (LocalLine(0), PORTS[1]), Form.OPEN, address="192.0.2.1", session=7)
    assert rows(answered, "m=")[0] == "m=audio 0 RTP/AVP 8 101"
    assert answered.lines[0].direction is Direction.INACTIVE


def test_our_version_rises_with_each_change_and_only_then() -> None:
    first = closed()
    same = answer(TWO, PORTS, Form.CLOSED, address="192.0.2.1", session=7, previous=first)
    opened = reoffer(same, (LocalLine(10_004), LocalLine(10_006)), Form.OPEN, address="192.0.2.1")
    shut = reoffer(opened, PORTS, Form.CLOSED, address="192.0.2.1")
    assert [d.origin.version for d in (first, same, opened, shut)] == [1, 1, 2, 3]
    assert {d.origin.session for d in (first, same, opened, shut)} == {7}


def test_our_offer_never_adds_lines_and_never_revives_refused_ones() -> None:
    before = answer(TWO, (LocalLine(0), PORTS[1]), Form.OPEN, address="192.0.2.1", session=7)
    offered = reoffer(before, PORTS, Form.OPEN, address="192.0.2.1")
    assert [line.port for line in offered.lines] == [0, 10_002]
    with pytest.raises(MalformedPacket, match="2 m-lines, 3"):
        reoffer(before, (*PORTS, LocalLine(1)), Form.OPEN, address="192.0.2.1")
    with pytest.raises(MalformedPacket, match="2 m-lines, 1"):
        answer(TWO, PORTS[:1], Form.OPEN, address="192.0.2.1", session=7)


def test_our_offer_opens_a_line_that_the_client_had_paused() -> None:
    paused = replace(TWO, lines=tuple(replace(line, direction=Direction.INACTIVE) for line in TWO.lines))
    before = answer(paused, PORTS, Form.OPEN, address="192.0.2.1", session=7)
    assert {line.direction for line in reoffer(before, PORTS, Form.OPEN, address="192.0.2.1").lines} == {
        Direction.RECVONLY
    }


def test_an_ipv6_recorder_closes_with_the_unspecified_address() -> None:
    answered = answer(TWO, PORTS, Form.CLOSED, address="2001:db8::1", session=7)
    assert rows(answered, "c=") == ["c=IN IP6 ::"] * 2


def test_rtcp_is_named_only_where_it_is_not_the_next_port() -> None:
    lines = (LocalLine(10_000, 10_001), LocalLine(10_002, 10_009))
    assert rows(answer(TWO, lines, Form.OPEN, address="192.0.2.1", session=7), "a=rtcp") == ["a=rtcp:10009"]


def test_lf_only_and_odd_spacing_are_read() -> None:
    text = b"v=0\no=- 1 1 IN IP4 h\ns= \nt=0 0\nm=audio 4000/2 rtp/avp 8  \na=label: a_leg\na=SENDONLY\n\n"
    (line,) = parse_sdp(text).lines
    assert (line.port, line.protocol, line.label, line.direction) == (4000, "RTP/AVP", "a_leg", "sendonly")
    assert line.address is None


@pytest.mark.parametrize(
    "text, sentence",
    [
        (b"", "begins with v=0"),
        (b"hello", "one letter"),
        (b"v=0\ns=-\n", "o= line"),
        (b"v=0\no=- x 1 IN IP4 h\n", "expected o="),
        (b"v=0\no=- 1 1 IN IP4 h\nm=audio\n", "expected m="),
        (b"v=0\no=- 1 1 IN IP4 h\nm=audio 70000 RTP/AVP 8\n", "port"),
        (b"v=0\no=- 1 1 IN IP4 h\nc=IN IPX y\n", "expected c="),
        (b"v=0\no=- 1 1 IN IP4 h\x01\n", "one letter"),
    ],
)
def test_what_is_no_description_is_refused_by_its_sentence(text: bytes, sentence: str) -> None:
    with pytest.raises(MalformedPacket, match=sentence):
        parse_sdp(text)


def test_limits_hold() -> None:
    head = b"v=0\no=- 1 1 IN IP4 h\n"
    for text in (
        b"v" * 70_000,
        head + b"a=x\n" * 3000,
        head + b"m=audio 1 RTP/AVP 8\n" * 33,
        head + b"m=audio 1 RTP/AVP 8\na=label:" + b"x" * 300,
    ):
        with pytest.raises(TooLarge):
            parse_sdp(text)


def test_only_literal_addresses_are_sources_of_media() -> None:
    given_addresses = ("192.0.2.1", "2001:db8::1", "0.0.0.0", "::", "host.example", None)
    assert [is_usable(address) for address in given_addresses] == [True, True, False, False, False, False]


def test_a_description_of_ours_can_be_written_from_nothing() -> None:
    line = MediaLine("audio", 4000, "RTP/AVP", ("8",), direction=Direction.SENDONLY, label="1")
    assert parse_sdp(bytes(Description(Origin("-", 1, 1, "192.0.2.9"), (line,)))).lines[0].address == "192.0.2.9"


@pytest.mark.thorough
@given(st.text(alphabet="vomasc=:/ 0189.\nINP4audio-RTAVlbe", max_size=120))
def test_no_text_makes_the_reader_raise_anything_undocumented(text: str) -> None:
    with contextlib.suppress(PeerError):
        parsed = parse_sdp(b"v=0\no=- 1 1 IN IP4 h\n" + text.encode())
        lines = [LocalLine(10_000)] * len(parsed.lines)
        answered = answer(parsed, lines, Form.CLOSED, address="192.0.2.1", session=1)
        assert [line.formats for line in parse_sdp(bytes(answered)).lines] == [line.formats for line in parsed.lines]


@pytest.mark.parametrize(
    ("line", "port", "address"),
    [
        (b"a=rtcp:4001", 4001, None),
        (b"a=rtcp:4001 IN IP4 192.0.2.77", 4001, "192.0.2.77"),
        (b"a=rtcp:4001 IN IP6 2001:db8::7", 4001, "2001:db8::7"),
        (b"a=rtcp:4001 IN IP4", 4001, None),
    ],
)
def test_rtcp_may_have_a_port_and_an_address_of_its_own(line: bytes, port: int, address: str | None) -> None:
    text = b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8\r\nc=IN IP4 192.0.2.1\r\n"
    (read,) = parse_sdp(text + line + b"\r\n").lines
    assert (read.rtcp_port, read.rtcp_address) == (port, address)
    answered = answer(parse_sdp(text + line), [LocalLine(10_000)], Form.OPEN, address="192.0.2.9", session=7)
    assert answered.lines[0].rtcp_address is None
    assert b"192.0.2.77" not in bytes(answered)
    assert reoffer(answered, [LocalLine(10_000)], Form.OPEN, address="192.0.2.9") == answered


@pytest.mark.parametrize(
    ("address", "ours", "there"),
    [
        ("192.0.2.1", "127.0.0.1", "192.0.2.1"),
        ("2001:DB8:0::1", "::1", "2001:db8::1"),
        ("2001:db8::1", "127.0.0.1", None),
        ("192.0.2.1", "::1", None),
        ("0.0.0.0", "127.0.0.1", None),
        ("::", "::1", None),
        ("224.0.0.1", "127.0.0.1", None),
        ("ff02::1", "::1", None),
        ("255.255.255.255", "127.0.0.1", None),
        ("sbc.example.org", "127.0.0.1", None),
        ("", "127.0.0.1", None),
        (None, "127.0.0.1", None),
    ],
)
def test_only_a_literal_address_of_one_host_and_our_family_can_be_sent_to(
    address: str | None, ours: str, there: str | None
) -> None:
    assert destination(address, ours) == there
