"""Writes tests/vectors/rtp and tests/vectors/dtmf: packets put together by hand from RFC 3550 and RFC 4733.

Shares no code with mitschnitt. A `.bin` file is a sequence of (u16 big-endian length, datagram); the JSON
beside it says what must come out. Run: python tests/second/make_rtp_vectors.py
"""

from __future__ import annotations

import json
import struct
from pathlib import Path

VECTORS = Path(__file__).parent.parent / "vectors"


def rtp(
    seq: int,
    time: int,
    payload: bytes,
    *,
    kind: int = 8,
    marker: int = 0,
    ssrc: int = 0x11223344,
    csrc: int = 0,
    extension: bytes | None = None,
    padding: bytes = b"",
    version: int = 2,
) -> bytes:
    first = version << 6 | bool(padding) << 5 | (extension is not None) << 4 | csrc
    head = struct.pack(">BBHII", first, marker << 7 | kind, seq & 0xFFFF, time & 0xFFFFFFFF, ssrc)
    head += b"".join(struct.pack(">I", 0xC0 + n) for n in range(csrc))
    if extension is not None:
        head += struct.pack(">HH", 0xBEDE, len(extension) // 4) + extension
    return head + payload + padding


def save(name: str, packets: list[bytes]) -> None:
    data = b"".join(struct.pack(">H", len(p)) + p for p in packets)
    (VECTORS / name).write_bytes(data)


VOICE = bytes(range(160))
SINGLES = {
    "plain": (rtp(7, 160, VOICE), ["VALID", 8, False, 7, 160, 12, 160]),
    "marker": (rtp(7, 160, VOICE, kind=0, marker=1), ["VALID", 0, True, 7, 160, 12, 160]),
    "csrc_two": (rtp(7, 160, VOICE, csrc=2), ["VALID", 8, False, 7, 160, 20, 160]),
    "extension": (rtp(7, 160, VOICE, extension=bytes(8)), ["VALID", 8, False, 7, 160, 24, 160]),
    "extension_empty": (rtp(7, 160, VOICE, extension=b""), ["VALID", 8, False, 7, 160, 16, 160]),
    "padding": (rtp(7, 160, VOICE, padding=b"\0\0\0\4"), ["VALID", 8, False, 7, 160, 12, 160]),
    "padding_is_all": (rtp(7, 160, b"", padding=b"\0\0\0\4"), ["VALID", 8, False, 7, 160, 12, 0]),
    "csrc_extension_padding": (
        rtp(7, 160, VOICE, csrc=15, extension=bytes(4), padding=b"\1"),
        ["VALID", 8, False, 7, 160, 80, 160],
    ),
    "header_only": (rtp(7, 160, b""), ["VALID", 8, False, 7, 160, 12, 0]),
    "short": (rtp(7, 160, b"")[:11], ["SHORT"]),
    "empty": (b"", ["SHORT"]),
    "version_one": (rtp(7, 160, VOICE, version=1), ["VERSION"]),
    "longer_than_slot": (rtp(7, 160, bytes(693)), ["TRUNCATED"]),
    "csrc_cut": (rtp(7, 160, b"", csrc=3)[:20], ["OVERRUN"]),
    "extension_cut_in_head": (rtp(7, 160, b"", extension=b"")[:14], ["OVERRUN"]),
    "extension_cut": (rtp(7, 160, b"", extension=bytes(40))[:30], ["OVERRUN"]),
    "padding_zero": (rtp(7, 160, VOICE, padding=b"\0"), ["PADDING"]),
    "padding_too_long": (rtp(7, 160, b"abc", padding=b"\x05"), ["PADDING"]),
    "padding_flag_without_bytes": (b"\xa0" + rtp(7, 160, b"")[1:], ["PADDING"]),
}

# name -> packets; expected runs as [seq, count, rtp_time, step, length, payload_type, flags, ssrc]
# and play-back order as [packet numbers in order], [their duplicate marks], [epochs]
S, T = 0x11223344, 0x55667788
SEQUENCES: dict[str, tuple[list[bytes], list[list[int]], list[list[int]]]] = {
    "in_order": (
        [rtp(s, 160 * s, VOICE) for s in range(1, 6)],
        [[1, 5, 160, 160, 160, 8, 0, S]],
        [[0, 1, 2, 3, 4], [0] * 5, [0] * 5],
    ),
    "wrap": (
        [rtp(65534 + n, 2**32 - 320 + 160 * n, VOICE) for n in range(4)],
        [[65534, 4, 2**32 - 320, 160, 160, 8, 0, S]],
        [[0, 1, 2, 3], [0] * 4, [0] * 4],
    ),
    "duplicate": (
        [rtp(s, 160 * s, VOICE) for s in (1, 2, 2, 3)],
        [[1, 2, 160, 160, 160, 8, 0, S], [2, 2, 320, 160, 160, 8, 0, S]],
        [[0, 1, 2, 3], [0, 0, 1, 0], [0] * 4],
    ),
    "reordered_over_the_wrap": (
        [rtp(65535 + d, 1000 + 160 * d, VOICE) for d in (0, 2, 1, 3)],
        [
            [65535, 1, 1000, 0, 160, 8, 0, S],
            [1, 1, 1320, 0, 160, 8, 0, S],
            [0, 1, 1160, 0, 160, 8, 0, S],
            [2, 1, 1480, 0, 160, 8, 0, S],
        ],
        [[0, 2, 1, 3], [0] * 4, [0] * 4],
    ),
    "lost": (
        [rtp(s, 160 * s, VOICE) for s in (1, 2, 4, 5)],
        [[1, 2, 160, 160, 160, 8, 0, S], [4, 2, 640, 160, 160, 8, 0, S]],
        [[0, 1, 2, 3], [0] * 4, [0] * 4],
    ),
    "silence_gap_then_marker": (
        [rtp(1, 160, VOICE), rtp(2, 320, VOICE), rtp(3, 9600, VOICE, marker=1), rtp(4, 9760, VOICE)],
        [[1, 2, 160, 160, 160, 8, 0, S], [3, 2, 9600, 160, 160, 8, 1, S]],
        [[0, 1, 2, 3], [0] * 4, [0] * 4],
    ),
    "step_changes": (
        [rtp(s, t, VOICE) for s, t in ((1, 0), (2, 160), (3, 320), (4, 640), (5, 960), (6, 1280))],
        [[1, 3, 0, 160, 160, 8, 0, S], [4, 3, 640, 320, 160, 8, 0, S]],
        [[0, 1, 2, 3, 4, 5], [0] * 6, [0] * 6],
    ),
    "step_never_twice_the_same": (
        [rtp(s, t, VOICE) for s, t in ((1, 0), (2, 10), (3, 30), (4, 60), (5, 100), (6, 150))],
        [[1, 2, 0, 10, 160, 8, 0, S], [3, 2, 30, 30, 160, 8, 0, S], [5, 2, 100, 50, 160, 8, 0, S]],
        [[0, 1, 2, 3, 4, 5], [0] * 6, [0] * 6],
    ),
    "codec_and_length_change": (
        [rtp(1, 160, VOICE), rtp(2, 320, VOICE[:80]), rtp(3, 400, VOICE[:80], kind=0)],
        [
            [1, 1, 160, 0, 160, 8, 0, S],
            [2, 1, 320, 0, 80, 8, 0, S],
            [3, 1, 400, 0, 80, 0, 0, S],
        ],
        [[0, 1, 2], [0] * 3, [0] * 3],
    ),
    "source_changes": (
        [rtp(9, 160, VOICE), rtp(10, 320, VOICE), rtp(3, 70, VOICE, ssrc=T), rtp(4, 230, VOICE, ssrc=T)],
        [[9, 2, 160, 160, 160, 8, 0, S], [3, 2, 70, 160, 160, 8, 0, T]],
        [[0, 1, 2, 3], [0] * 4, [0, 0, 1, 1]],
    ),
    "restart_with_the_same_source": (
        [rtp(40000, 160, VOICE), rtp(40001, 320, VOICE), rtp(20000, 5, VOICE), rtp(20001, 165, VOICE)],
        [[40000, 2, 160, 160, 160, 8, 0, S], [20000, 2, 5, 160, 160, 8, 0, S]],
        [[0, 1, 2, 3], [0] * 4, [0, 0, 1, 1]],
    ),
}

# name -> (events as [seconds after the start, rtp time, code, end, duration]), digits
EVENTS: dict[str, tuple[list[tuple[float, int, int, int, int]], str]] = {
    "three_end_packets": (
        [(0.00, 800, 5, 0, 160), (0.02, 800, 5, 0, 320)] + [(0.04, 800, 5, 1, 400)] * 3,
        "5",
    ),
    "all_end_packets_lost": ([(0.0, 800, 1, 0, 160), (0.3, 4000, 1, 0, 160), (0.6, 8000, 2, 1, 400)], "112"),
    "only_one_end_packet_arrived": ([(0.0, 800, 11, 1, 800)], "#"),
    "start_lost": ([(0.0, 800, 10, 0, 640), (0.02, 800, 10, 1, 800)], "*"),
    "late_end_of_the_press_before": (
        [(0.0, 800, 3, 0, 160), (0.2, 2400, 4, 0, 160), (0.21, 800, 3, 1, 320), (0.22, 2400, 4, 1, 320)],
        "34",
    ),
    "long_press_in_segments": (
        [(0.0, 1000, 9, 0, 0xFFFF), (0.1, 1000 + 0xFFFF, 9, 0, 160), (0.2, 1000 + 0xFFFF, 9, 1, 320)],
        "9",
    ),
    "next_press_exactly_a_segment_later": (
        [(0.0, 1000, 9, 1, 400), (8.2, 1000 + 0xFFFF, 9, 0, 160), (8.3, 1000 + 0xFFFF, 9, 1, 320)],
        "99",
    ),
    "segment_after_silence_is_a_new_press": (
        [(0.0, 1000, 9, 0, 400), (8.2, 1000 + 0xFFFF, 9, 0, 160)],
        "99",
    ),
    "rtp_time_wraps": ([(0.0, 2**32 - 100, 0, 1, 80), (0.5, 300, 13, 0, 80), (0.6, 300, 13, 1, 80)], "0B"),
    "clock_set_anew_after_silence": ([(0.0, 900000, 10, 1, 80), (2.0, 100, 9, 1, 80)], "*9"),
    "flash_and_tones_are_no_digits": ([(0.0, 1, 16, 1, 80), (0.5, 5000, 64, 1, 80)], ""),
    "two_codes_under_one_time": ([(0.0, 800, 1, 0, 160), (0.02, 800, 2, 1, 320)], "1"),
    # At 48 kHz a segment is full after 1.365 s; packets every 50 ms (2400 units).
    "long_press_at_48000": (
        [(n * 0.05, 7000, 1, 0, min(2400 * (n + 1), 0xFFFF)) for n in range(28)]
        + [(1.4 + n * 0.05, 7000 + 0xFFFF, 1, 0, 2400 * (n + 1)) for n in range(27)]
        + [(2.75, 7000 + 0xFFFF, 1, 1, 65000)] * 3,
        "1",
    ),
    "segment_of_whole_packets": (  # 8.16 s are 51 packets of 160 ms; the sender turns before the longest duration
        [(n * 0.16, 5000, 7, 0, 1280 * (n + 1)) for n in range(51)]
        + [(8.17, 5000 + 65280, 7, 0, 160), (8.2, 5000 + 65280, 7, 1, 400)],
        "7",
    ),
    "first_segment_lost": ([(0.0, 900 + 0xFFFF, 3, 0, 160), (0.1, 900 + 0xFFFF, 3, 1, 960)], "3"),
    "ends_lost_and_the_same_key_again": ([(0.0, 800, 6, 0, 160), (0.1, 800, 6, 0, 960), (0.3, 3200, 6, 1, 400)], "66"),
    "all_sixteen": ([(n / 2, 4000 * n, n, 1, 400) for n in range(16)], "0123456789*#ABCD"),
}


def main() -> None:
    singles = {}
    for name, (packet, expected) in SINGLES.items():
        save(f"rtp/{name}.bin", [packet])
        singles[name] = expected
    (VECTORS / "rtp" / "packets.json").write_text(json.dumps(singles, indent=1) + "\n")
    sequences = {}
    for name, (packets, expected_runs, order) in SEQUENCES.items():
        save(f"rtp/{name}.bin", packets)
        sequences[name] = {"runs": expected_runs, "order": order}
    (VECTORS / "rtp" / "sequences.json").write_text(json.dumps(sequences, indent=1) + "\n")
    events = {}
    for name, (rows, digits) in EVENTS.items():
        payloads = [struct.pack(">BBH", code, end << 7 | 10, duration) for _, _, code, end, duration in rows]
        save(
            f"dtmf/{name}.bin",
            [rtp(n, rows[n][1], payload, kind=101) for n, payload in enumerate(payloads)],
        )
        events[name] = {"at": [row[0] for row in rows], "digits": digits}
    (VECTORS / "dtmf" / "events.json").write_text(json.dumps(events, indent=1) + "\n")


if __name__ == "__main__":
    main()
