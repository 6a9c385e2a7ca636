"""Names and lengths of codings: RFC 3551 (sections 4.5.2, 4.5.6, 4.5.11), RFC 3389, RFC 4867."""

from __future__ import annotations

import pytest

from mitschnitt.wire.codecs import coding, codings, format_of, is_heard, span_ticks

OCTETS = "octet-align=1"


@pytest.mark.parametrize(
    "described, named",
    [
        (("pcma", 8000), "PCMA"),
        (("PCMU", 16000), "PCMU/16000/1"),
        (("L16", 44100, 2), "L16/44100/2"),
        (("l16", 8000), "L16/8000/1"),
        (("opus", 48000, 2, "useinbandfec=1"), "OPUS"),
        (("G729", 8000, 1, "annexb=no"), "G729"),
        (("AMR-WB", 16000, 1, OCTETS), "AMR-WB;octet-align=1"),
        (("AMR-WB", 16000), "AMR-WB"),
        (("AMR", 8000, 2), "AMR/2"),
        (("X-own", 8000), "X-OWN"),
    ],
)
def test_a_coding_names_what_decoding_depends_on_and_nothing_else(described: tuple[str, int], named: str) -> None:
    assert coding(*described) == named


@pytest.mark.parametrize(
    "described, kept",
    [
        (("PCMA", 1, ""), None),
        (("L16", 2, ""), (2, "")),
        (("opus", 2, "stereo=1"), None),
        (("AMR-WB", 1, OCTETS), (1, OCTETS)),
        (("AMR", 1, ""), None),
        (("iLBC", 1, "mode=20"), (1, "mode=20")),
        (("iLBC", 1, "x" * 257), None),
    ],
)
def test_channels_and_parameters_are_kept_where_they_matter_or_nobody_knows(
    described: tuple[str, int, str], kept: tuple[int, str] | None
) -> None:
    assert format_of(*described) == kept


@pytest.mark.parametrize(
    "name, heard", [("ulpfec", False), ("rtx", False), ("tone", False), ("red", True), ("X", True)]
)
def test_parity_copies_and_tones_in_numbers_are_nothing_that_was_said(name: str, heard: bool) -> None:
    assert is_heard(name) is heard


def test_a_header_gives_codings_with_and_without_its_newer_field() -> None:
    codecs = {"8": ["PCMA", 8000], "97": ["AMR-WB", 16000], "98": ["L16", 16000]}
    assert codings(codecs, {}) == {8: ("PCMA", 8000), 97: ("AMR-WB", 16000), 98: ("L16/16000/1", 16000)}
    formats = {"97": [1, OCTETS], "98": [2, ""]}
    assert codings(codecs, formats)[97] == ("AMR-WB;octet-align=1", 16000)
    assert codings(codecs, formats)[98] == ("L16/16000/2", 16000)


@pytest.mark.parametrize(
    "name, clock, length, ticks",
    [
        ("PCMA", 8000, 160, 160),
        ("PCMU", 8000, 240, 240),
        ("PCMU/16000/2", 16000, 640, 320),
        ("L16", 44100, 1764, 882),
        ("L16/44100/2", 44100, 1764, 441),
        ("G722", 8000, 160, 160),  # 20 ms: 320 samples at 16 kHz
        ("G722", 16000, 160, 320),  # a sender that did not read RFC 3551, section 4.5.2
        ("G729", 8000, 20, 160),
        ("G729", 8000, 22, 240),  # two speech frames, one comfort noise frame
        ("G729", 8000, 2, 80),
        ("G729", 8000, 1, 0),
        ("CN", 8000, 11, 0),
        ("OPUS", 48000, 80, None),
        ("AMR-WB;octet-align=1", 16000, 62, None),
        ("SPEEX", 16000, 70, None),
    ],
)
def test_the_bytes_of_a_packet_tell_its_ticks_where_they_can(
    name: str, clock: int, length: int, ticks: int | None
) -> None:
    assert span_ticks(name, clock, length) == ticks
