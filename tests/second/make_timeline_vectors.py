"""Writes tests/vectors/timeline: what a recorder wrote of one party, and where each packet must lie.

Shares no code with mitschnitt; times are those at which each packet was spoken, and no arithmetic of RTP is done to
get them. A `.bin` file holds runs of 32 bytes; `cases.json` says of each: codecs as in a header, pauses in ms, the
packets in order of time as [ms after the first, ms long, first byte in the media], how far a place may be off
(0 within one clock, for which nothing but RTP time counts), duplicates, epochs, losses and gaps as [from, to, kind].
Run: python tests/second/make_timeline_vectors.py
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent.parent / "vectors" / "timeline"
NOON_MS = 1_795_435_200_000
DRAIN_MS = 250
ON_THE_WAY_MS = 4
ARRIVAL_MS = 20  # how far off a place may be that only arrival tells


@dataclass(frozen=True)
class Packet:
    spoken_ms: int  # its first sample
    ms: int
    seq: int
    time: int
    length: int = 160
    kind: int = 8
    ssrc: int = 0xA1
    held_ms: int = 0  # by the network
    flags: int = 0
    again: bool = False  # a copy, or what is not heard

    @property
    def came_ms(self) -> int:
        return self.spoken_ms + self.ms + ON_THE_WAY_MS + self.held_ms


def speech(
    from_ms: int, packets: int, *, seq: int, time: int, ms: int = 20, ticks: int = 160, length: int = 160,
    kind: int = 8, ssrc: int = 0xA1,
) -> list[Packet]:  # fmt: skip
    return [Packet(from_ms + ms * n, ms, seq + n, time + ticks * n, length, kind, ssrc) for n in range(packets)]


def key(from_ms: int, packets: int, *, seq: int, time: int) -> list[Packet]:
    return [Packet(from_ms + 20 * n, 20, seq + n, time, 0, 101, flags=2, again=True) for n in range(packets)]


def without(packets: list[Packet], *lost: int) -> list[Packet]:
    return [packet for number, packet in enumerate(packets) if number not in lost]


def changed(packets: list[Packet], number: int, **changes: Any) -> list[Packet]:
    return [replace(packet, **changes) if at == number else packet for at, packet in enumerate(packets)]


def case(
    packets: list[Packet], *, off: int = 0, lost: int = 0, epochs: int = 1, gaps: list[list[Any]] | None = None,
    codecs: dict[str, list[Any]] | None = None, pauses: list[list[int]] | None = None,
) -> dict[str, Any]:  # fmt: skip
    return {"packets": packets, "off": off, "lost": lost, "epochs": epochs, "gaps": gaps or [],
            "codecs": codecs or {"8": ["PCMA", 8000]}, "pauses": pauses or []}  # fmt: skip


MIXED = [(10, 3), (20, 40), (30, 3), (40, 20), (60, 5), (20, 10)]  # ms of a packet, how many


def mixed() -> list[Packet]:
    found: list[Packet] = []
    at = 0
    for ms, count in MIXED:
        found += speech(at, count, seq=len(found), time=8 * at, ms=ms, ticks=8 * ms, length=8 * ms)
        at += ms * count
    return found


TALK = speech(0, 100, seq=700, time=5000)
AFTER_HOLD = {
    f"hold_of_{seconds}_s_time_ran_on": case(
        TALK + speech(2000 + 1000 * seconds, 100, seq=800, time=5000 + 16_000 + 8000 * seconds),
        gaps=[[2000, 2000 + 1000 * seconds, "hold"]],
    )
    for seconds in (15, 31, 600)
}
BUSY = speech(0, 200, seq=9, time=9)
CASES: dict[str, dict[str, Any]] = {
    "both_wraps": case(speech(0, 100, seq=65_500, time=2**32 - 800)),
    "out_of_order": case(changed(changed(TALK, 20, held_ms=50), 70, held_ms=170)),
    "came_twice": case(TALK + [replace(TALK[30], held_ms=90, again=True), replace(TALK[31], held_ms=2, again=True)]),
    "one_time_two_numbers": case(  # the one with the higher number is heard
        changed(changed(TALK, 49, ms=0), 50, time=TALK[49].time, spoken_ms=TALK[49].spoken_ms),
        gaps=[[1000, 1020, "dtx"]],
    ),
    **AFTER_HOLD,
    "hold_time_stood_still": case(
        TALK + speech(12_000, 100, seq=800, time=21_000), off=ARRIVAL_MS, epochs=2, gaps=[[2000, 12_000, "hold"]]
    ),
    "pause_of_ours": case(
        TALK + speech(12_000, 100, seq=1300, time=101_000), pauses=[[2000, 12_000]], gaps=[[2000, 12_000, "pause"]]
    ),
    "transfer": case(
        TALK + speech(5000, 100, seq=1, time=77, ssrc=0xB2), off=ARRIVAL_MS, epochs=2, gaps=[[2000, 5000, "hold"]]
    ),
    "restart": case(
        TALK + speech(12_000, 100, seq=40_000, time=2**31), off=ARRIVAL_MS, epochs=2, gaps=[[2000, 12_000, "hold"]]
    ),
    "collision_of_two_ssrcs": case(BUSY + speech(1007, 100, seq=5, time=500, ssrc=0xB2), off=ARRIVAL_MS, epochs=2),
    "collision_under_one_ssrc": case(BUSY + speech(1007, 100, seq=50_000, time=2**31), off=ARRIVAL_MS, epochs=2),
    "stale_packets_of_the_call_before": case(
        speech(0, 15, seq=900, time=2**30, ssrc=0xC3) + speech(150, 200, seq=9, time=9), off=ARRIVAL_MS, epochs=2
    ),
    "source_comes_back": case(
        TALK + speech(2000, 100, seq=1, time=77, ssrc=0xB2) + speech(4000, 100, seq=800, time=5000 + 32_000),
        off=ARRIVAL_MS, epochs=2,
    ),
    "loss": case(without(TALK, 10, 50, 51, 52), lost=4, gaps=[[200, 220, "loss"], [1000, 1060, "loss"]]),
    "loss_over_the_wraps": case(
        without(speech(0, 100, seq=65_500, time=2**32 - 800), 3, 36), lost=2,
        gaps=[[60, 80, "loss"], [720, 740, "loss"]]
    ),
    "quiet_without_comfort_noise": case(
        TALK + speech(3400, 50, seq=800, time=5000 + 27_200), gaps=[[2000, 3400, "dtx"]]
    ),
    "comfort_noise": case(
        TALK + speech(2000, 40, seq=800, time=21_000, ms=0, ticks=1600, length=1, kind=13)
        + speech(10_000, 50, seq=840, time=5000 + 80_000),
        codecs={"8": ["PCMA", 8000], "13": ["CN", 8000]}, gaps=[[2000, 10_000, "dtx"]],
    ),
    "a_key_is_held": case(
        TALK + key(2000, 50, seq=800, time=21_000) + speech(3000, 50, seq=850, time=29_000),
        gaps=[[2000, 3000, "masked"]],
    ),
    "packets_of_10_to_60_ms": case(mixed()),
    "g722_at_its_clock_of_8000": case(
        speech(0, 60, seq=3, time=9, kind=9), codecs={"9": ["G722", 8000]}
    ),
    "linear_at_16_khz": case(
        speech(0, 60, seq=3, time=9, ticks=320, length=640, kind=97), codecs={"97": ["L16", 16_000]}
    ),
    "opus_whose_bytes_do_not_tell": case(
        without(speech(0, 60, seq=3, time=2**32 - 9600, ticks=960, length=80, kind=111), 30),
        codecs={"111": ["opus", 48_000]}, lost=1, gaps=[[600, 620, "loss"]],
    ),
}  # fmt: skip
# Comfort noise is sent at moments: spoken every 200 ms.
CASES["comfort_noise"]["packets"] = [
    replace(packet, spoken_ms=2000 + 200 * (packet.seq - 800)) if packet.kind == 13 else packet
    for packet in CASES["comfort_noise"]["packets"]
]


def main() -> None:
    told = {}
    for name, made in CASES.items():
        packets = sorted(made.pop("packets"), key=lambda packet: packet.came_ms)
        data, offset, places = b"", 0, []
        for packet in packets:
            drain_ms = NOON_MS + (packet.came_ms + DRAIN_MS - 1) // DRAIN_MS * DRAIN_MS
            data += struct.pack(
                "<QIIHHHBBII", drain_ms * 1_000_000, packet.time % 2**32, 0, packet.seq % 2**16, 1, packet.length,
                packet.kind, packet.flags, packet.ssrc, 0,
            )  # fmt: skip
            if not packet.again:
                places.append([packet.spoken_ms, packet.ms, offset])
            offset += packet.length
        (FOLDER / f"{name}.bin").write_bytes(data)
        first = min(place[0] for place in places)
        places = sorted([at - first, ms, offset] for at, ms, offset in places)
        twice = sum(packet.again and packet.length > 0 for packet in packets)
        told[name] = made | {"twice": twice, "places": places}
    (FOLDER / "cases.json").write_text(json.dumps(told, separators=(",", ":")).replace('},"', '},\n"') + "\n")


if __name__ == "__main__":
    main()
