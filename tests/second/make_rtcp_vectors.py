"""Writes tests/vectors/rtcp: datagrams put together by hand from RFC 3550, RFC 5506 and RFC 5761.

Shares no code with mitschnitt. Each `.bin` file is one datagram; `good.json` says what must come out, `bad.json` which
error and sentence. Run: python tests/second/make_rtcp_vectors.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

VECTORS = Path(__file__).parent.parent / "vectors" / "rtcp"


def hexed(text: str) -> bytes:
    """Bytes from hex words; what stands behind a # is a remark."""
    return bytes.fromhex("".join(line.partition("#")[0] for line in text.splitlines()))


SR = """
80 C8 0006            # version 2, no blocks, sender report, 6 words
11223344              # SSRC
E8F1A2B3 80000000     # NTP time: so many seconds and a half
00001F40              # RTP time 8000
00000032              # 50 packets
00001F40              # 8000 octets
"""
RR = """
81 C9 0007            # one block, receiver report
AABBCCDD              # SSRC of the receiver
11223344              # of the source
40 000019             # a quarter lost, 25 in all
0001FFFE              # one wrap, sequence 65534
00000010              # jitter 16
A2B38000 00018000     # last SR; 1.5 s ago
"""
RR_EMPTY = "80 C9 0001 AABBCCDD"
SDES = """
81 CA 0003            # one chunk
11223344
01 04 61404062        # CNAME "a@@b"
00 00                 # end
"""
SDES_ALL_ITEMS = """
81 CA 000A
11223344
01 03 786D6C          # CNAME "xml"
02 05 436C617261      # NAME, never read
03 03 614062          # EMAIL, never read
04 03 2B3439          # PHONE, never read
07 04 6E6F7465        # NOTE, never read
08 02 01 78           # PRIV, never read
00000000              # end: filled up to a whole word
"""
SDES_TWO = """
82 CA 0005            # two chunks
11223344
01 02 4142 00000000   # CNAME "AB"; the item fills its word, so four zeros close the chunk
55667788
01 01 43 00           # CNAME "C"
"""
BYE = """
81 CB 0003
11223344
05 68656C6C6F 0000    # reason "hello", never read
"""
APP = "80 CC 0002 11223344 6E616D65"
FEEDBACK = "81 CD 0002 11223344 55667788"  # RFC 4585

BLOCK = [0x11223344, 0x40, 25, 0x1FFFE, 16, 0xA2B38000, 0x18000]
SENT = ["SR", 0x11223344, 0xE8F1A2B380000000, 8000, 50, 8000, []]
HEARD = ["RR", 0xAABBCCDD, [BLOCK]]


def out(
    reports: list[Any] | None = None,
    names: list[list[Any]] | None = None,
    goodbyes: list[int] | None = None,
    *,
    skipped: int = 0,
    reduced: bool = False,
) -> dict[str, Any]:
    """What must come out of a datagram."""
    return {
        "reports": reports or [],
        "names": names or [],
        "goodbyes": goodbyes or [],
        "skipped": skipped,
        "reduced": reduced,
    }


GOOD: dict[str, tuple[str, dict[str, Any]]] = {
    "sr_sdes": (SR + SDES, out([SENT], [[0x11223344, "a@@b"]])),
    "rr_sdes": (RR + SDES, out([HEARD], [[0x11223344, "a@@b"]])),
    "rr_empty": (RR_EMPTY, out([["RR", 0xAABBCCDD, []]])),
    "sr_with_two_blocks": (
        "82 C8 0012 11223344 E8F1A2B3 80000000 00001F40 00000032 00001F40"
        + "11223344 40 000019 0001FFFE 00000010 A2B38000 00018000" * 2,
        out([[*SENT[:-1], [BLOCK, BLOCK]]]),
    ),
    "rr_lost_is_negative": (
        "81 C9 0007 AABBCCDD 11223344 00 FFFFFB 00000009 00000000 00000000 00000000",
        out([["RR", 0xAABBCCDD, [[0x11223344, 0, -5, 9, 0, 0, 0]]]]),
    ),
    "rr_with_an_extension_of_a_profile": ("80 C9 0003 AABBCCDD 00000001 00000002", out([["RR", 0xAABBCCDD, []]])),
    "only_the_cname_is_read": (RR_EMPTY + SDES_ALL_ITEMS, out([["RR", 0xAABBCCDD, []]], [[0x11223344, "xml"]])),
    "two_chunks": (RR_EMPTY + SDES_TWO, out([["RR", 0xAABBCCDD, []]], [[0x11223344, "AB"], [0x55667788, "C"]])),
    "sdes_without_chunks": (RR_EMPTY + "80 CA 0000", out([["RR", 0xAABBCCDD, []]])),
    "sdes_empty_cname_is_none": (RR_EMPTY + "81 CA 0002 11223344 01 00 00 00", out([["RR", 0xAABBCCDD, []]])),
    "sdes_second_cname_is_not_read": (
        RR_EMPTY + "81 CA 0003 11223344 01 01 41 01 01 42 00 00",
        out([["RR", 0xAABBCCDD, []]], [[0x11223344, "A"]]),
    ),
    "sdes_without_its_end": (
        RR_EMPTY + "81 CA 0002 11223344 01 02 4142",
        out([["RR", 0xAABBCCDD, []]], [[0x11223344, "AB"]]),
    ),
    "bye": (RR_EMPTY + BYE, out([["RR", 0xAABBCCDD, []]], None, [0x11223344])),
    "bye_of_nobody": (RR_EMPTY + "80 CB 0000", out([["RR", 0xAABBCCDD, []]])),
    "app_and_unknown_are_skipped": (
        RR_EMPTY + APP + "80 DF 0000" + SDES,
        out([["RR", 0xAABBCCDD, []]], [[0x11223344, "a@@b"]], skipped=2),
    ),
    "padded": (
        RR_EMPTY + "A1 CA 0005 11223344 01 04 61404062 00 00 00000000 00000008",
        out([["RR", 0xAABBCCDD, []]], [[0x11223344, "a@@b"]]),
    ),
    "padding_is_all": (RR_EMPTY + "A0 CA 0001 00000004", out([["RR", 0xAABBCCDD, []]])),
    "reduced_feedback_alone": (FEEDBACK, out(skipped=1, reduced=True)),
    "reduced_sdes_alone": (SDES, out(None, [[0x11223344, "a@@b"]], reduced=True)),
    "reduced_bye_alone": (BYE, out(None, None, [0x11223344], reduced=True)),
    "reduced_and_padded": ("A1 CD 0003 11223344 55667788 00000004", out(skipped=1, reduced=True)),
    "two_reports": (SR + RR, out([SENT, HEARD])),
    "32_packets": (RR_EMPTY + "80 CC 0001 11223344" * 31, out([["RR", 0xAABBCCDD, []]], skipped=31)),
}

BAD: dict[str, tuple[str, str, str]] = {
    "empty": ("", "MalformedPacket", "whole words of 4 bytes, got 0"),
    "three_bytes": ("80 C9 00", "MalformedPacket", "whole words of 4 bytes, got 3"),
    "not_whole_words": (RR_EMPTY + "00", "MalformedPacket", "whole words of 4 bytes, got 9"),
    "version_one": ("40 C9 0001 AABBCCDD", "MalformedPacket", "version 2, got 1"),
    "version_of_the_second": (RR_EMPTY + "00 CA 0000", "MalformedPacket", "version 2, got 0"),
    "rtp": ("80 08 0001 000000A0 11223344", "MalformedPacket", "192 to 223, got 8"),
    "type_too_high": ("80 E0 0001 AABBCCDD", "MalformedPacket", "192 to 223, got 224"),
    "length_reaches_behind_the_end": ("80 C9 0002 AABBCCDD", "MalformedPacket", "says 8 bytes, 4 are left"),
    "length_leaves_a_rest": ("80 C9 0000 AABBCCDD", "MalformedPacket", "needs 4 bytes, got 0"),
    "sr_cut": ("80 C8 0005 11223344 E8F1A2B3 80000000 00001F40 00000032", "MalformedPacket", "needs 24 bytes, got 20"),
    "sr_counts_a_block_that_is_not_there": (SR.replace("80 C8", "81 C8"), "MalformedPacket", "needs 48 bytes, got 24"),
    "rr_counts_31_blocks": (RR.replace("81 C9", "9F C9"), "MalformedPacket", "needs 748 bytes, got 28"),
    "sdes_counts_a_chunk_that_is_not_there": (
        RR_EMPTY + SDES.replace("81 CA", "82 CA"), "MalformedPacket", "needs 16 bytes, got 12",
    ),
    "sdes_item_reaches_behind_the_end": (
        RR_EMPTY + "81 CA 0002 11223344 01 FF 6140", "MalformedPacket", "needs 261 bytes, got 8",
    ),
    "sdes_item_without_length": (
        RR_EMPTY + "81 CA 0002 11223344 01 01 41 01", "MalformedPacket", "needs 9 bytes, got 8",
    ),
    "bye_counts_more_than_it_has": (RR_EMPTY + "82 CB 0001 11223344", "MalformedPacket", "needs 8 bytes, got 4"),
    "padding_in_the_first_of_two": ("A0 C9 0002 AABBCCDD 00000004" + SDES, "MalformedPacket", "in the last packet"),
    "padding_zero": (RR_EMPTY + "A0 CA 0001 00000000", "MalformedPacket", "in the last packet"),
    "padding_no_whole_words": (RR_EMPTY + "A0 CA 0001 00000003", "MalformedPacket", "in the last packet"),
    "padding_longer_than_the_packet": (RR_EMPTY + "A0 CA 0001 00000008", "MalformedPacket", "in the last packet"),
    "padding_without_bytes": (RR_EMPTY + "A0 CA 0000", "MalformedPacket", "in the last packet"),
    "padding_reaches_into_the_report": ("A0 C9 0001 00000004", "MalformedPacket", "needs 4 bytes, got 0"),
    "33_packets": (RR_EMPTY + "80 CC 0001 11223344" * 32, "TooLarge", "at most 32 packets"),
    "longer_than_a_frame": (RR_EMPTY + "80 CC 0175" + "00" * 1496, "TooLarge", "at most 1500 bytes"),
}  # fmt: skip


def main() -> None:
    """Writes all files."""
    VECTORS.mkdir(exist_ok=True)
    for name, (text, _) in GOOD.items():
        (VECTORS / f"{name}.bin").write_bytes(hexed(text))
    for name, (text, _, _) in BAD.items():
        (VECTORS / f"bad-{name}.bin").write_bytes(hexed(text))
    good = {name: told for name, (_, told) in GOOD.items()}
    bad = {name: [kind, sentence] for name, (_, kind, sentence) in BAD.items()}
    (VECTORS / "good.json").write_text(json.dumps(good, indent=1) + "\n")
    (VECTORS / "bad.json").write_text(json.dumps(bad, indent=1) + "\n")


if __name__ == "__main__":
    main()
