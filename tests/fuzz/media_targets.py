"""Fuzz targets for what comes with the voices: codecs' packets, captured frames, keys, and runs of a damaged timeline.

As in `targets`: bytes in, nothing out, and what must hold of whatever parses.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mitschnitt.errors import MalformedPacket, TooLarge
from mitschnitt.wire import dtmf as keys
from mitschnitt.wire import ogg as pages
from mitschnitt.wire import opus as opus_packets
from mitschnitt.wire import red as redundant
from mitschnitt.wire import udp as datagrams
from mitschnitt.wire.amr import MAX_FRAMES, amr_format, parse_frames
from mitschnitt.wire.codecs import Decoder, codings
from mitschnitt.wire.completeness import statement
from mitschnitt.wire.linear import linear_decoder
from mitschnitt.wire.packets import MAX_PACKETS, unfold
from mitschnitt.wire.rtp import RUN
from mitschnitt.wire.timeline import MAX_SECONDS, lay_out, render

CUT = b"\xff\xfe"  # between the packets of one input
AMR_FORMS = ("AMR", "AMR;octet-align=1", "AMR;crc=1", "AMR-WB", "AMR-WB;octet-align=1", "AMR-WB;crc=1")
RED_SLOT = 64  # bytes of a row
UDP_WIDTH = 240  # bytes of a captured packet, as in the vectors
UDP_ROW = np.dtype([("captured", "<u2"), ("actual", "<u2"), ("vouched", "u1"), ("packet", "u1", UDP_WIDTH)])
ADDRESSES = (bytes([10, 0, 0, 1]), bytes([0xFD] + [0] * 14 + [1]))
KEY_ROW = np.dtype([("wait", "u1"), ("who", "u1"), ("rtp_time", "<u4"), ("payload", "u1", 4)])
HEADERS: tuple[dict[str, list[object]], ...] = (  # of timelines
    {"8": ["PCMA", 8_000]},
    {"8": ["PCMA", 8_000], "13": ["CN", 8_000], "101": ["telephone-event", 8_000], "9": ["G722", 8_000]},
    {"8": ["L16", 44_100], "0": ["PCMU", 8_000], "18": ["G729", 8_000]},
    {"8": ["opus", 48_000], "96": ["AMR", 8_000], "97": ["AMR-WB", 16_000]},
)
MOST_PACKETS = 4_000  # that are laid out: as many as an input claims is a day, which is allowed to take its time
MEDIA = bytes(65_536)  # behind each timeline, so that most of it is missing


def amr(data: bytes) -> None:
    """A packet, packing in its first byte: frames are of their types' lengths, and together no longer than it."""
    form = amr_format(AMR_FORMS[data[0] % len(AMR_FORMS)]) if data else None
    if form is None:
        return
    payload = data[1:]
    try:
        frames = parse_frames(payload, form)
    except MalformedPacket:
        return
    assert 1 <= len(frames) <= MAX_FRAMES
    assert all(len(frame.stored) == 1 + (form.bits[frame.kind] + 7) // 8 for frame in frames)
    assert sum(form.bits[frame.kind] for frame in frames) <= 8 * len(payload)


def opus(data: bytes) -> None:
    """Packets: the quick look says what the whole one says, and from Ogg they come back as they were."""
    packets = data.split(CUT)
    sound: list[tuple[bytes, int]] = []
    for packet in packets:
        lengths = np.array([len(packet)], np.int64)
        span = int(opus_packets.durations(np.frombuffer(packet, np.uint8), lengths)[0])
        assert 0 <= span <= opus_packets.MAX_SAMPLES
        try:
            found = opus_packets.parse_packet(packet)
        except MalformedPacket:
            continue
        assert found.samples == span
        assert sum(found.frames) < len(packet)
        lost = opus_packets.parse_packet(opus_packets.emptied(packet))
        assert (lost.samples, lost.is_dtx) == (span, True)
        sound.append((packet, span))
    out = pages.OggOpus(serial=7)
    written = out.head() + out.tags() + b"".join(out.add(*each) for each in sound) + out.end()
    assert from_ogg(written)[2:] == [packet for packet, _ in sound]


def from_ogg(data: bytes) -> list[bytes]:
    """The packets of whole pages, each with its checksum and number."""
    packets, at, sequence = [], 0, 0
    while at < len(data):
        magic, _, _, _, _, number, checksum, segments = pages.PAGE_HEAD.unpack_from(data, at)
        assert (magic, number) == (b"OggS", sequence)
        begin = at + pages.PAGE_HEAD.size + segments
        lacing = data[at + pages.PAGE_HEAD.size : begin]
        end = begin + sum(lacing)
        blank = data[at : at + pages.CRC_AT] + bytes(4) + data[at + pages.CRC_AT + 4 : end]
        assert pages.crc(blank) == checksum
        size = 0
        for length in lacing:
            size += length
            if length < 255:
                packets.append(data[begin : begin + size])
                begin, size = begin + size, 0
        assert (begin, size) == (end, 0)
        at, sequence = end, sequence + 1
    return packets


def red(data: bytes) -> None:
    """Rows with where their payload lies: the primary block lies within it, alone as among others."""
    count = len(data) // (RED_SLOT + 2)
    table = np.frombuffer(data[: count * (RED_SLOT + 2)], np.uint8).reshape(count, RED_SLOT + 2)
    rows = np.ascontiguousarray(table[:, 2:])
    offset = (table[:, 0] % (RED_SLOT + 1)).astype(np.int32)
    length = (table[:, 1] % (RED_SLOT + 1 - offset)).astype(np.int32)
    kind, begin, size = redundant.primaries(rows, offset, length)
    assert np.all(size >= 0)
    heard = size > 0
    assert np.all(kind < 128)
    assert np.all(begin[heard] > offset[heard])
    assert np.array_equal((begin + size)[heard], (offset + length)[heard])
    for row in range(count):
        one = slice(row, row + 1)
        alone = redundant.primaries(rows[one], offset[one], length[one])
        assert [int(found[0]) for found in alone] == [int(found[row]) for found in (kind, begin, size)]


def udp(data: bytes) -> None:
    """Captured packets, IP version in the first byte: datagrams lie within theirs, and none changes another."""
    count = max(0, len(data) - 1) // UDP_ROW.itemsize
    if not count:
        return
    address = ADDRESSES[data[0] & 1]
    table = np.frombuffer(data, UDP_ROW, count, 1)
    captured = np.minimum(table["captured"], UDP_WIDTH).astype(np.int32)
    actual = np.maximum(table["actual"], captured).astype(np.int32)
    vouched = table["vouched"] & 1 != 0
    packets = np.ascontiguousarray(table["packet"])
    found = datagrams.examine(packets, captured, actual, vouched, address=address)
    head = datagrams.payload_offset(4 if len(address) == 4 else 6)
    sound = found.sound
    assert np.all(found.lengths[sound] >= 0)
    assert np.all(found.lengths[sound] + head <= actual[sound])
    assert np.all(captured[sound] >= head)
    for row in range(count):
        one = slice(row, row + 1)
        alone = datagrams.examine(packets[one], captured[one], actual[one], vouched[one], address=address)
        assert alone.faults[0] == found.faults[row]
        if sound[row]:
            assert alone.lengths[0] == found.lengths[row]
            assert alone.senders[0].tolist() == found.senders[row].tolist()


def dtmf(data: bytes) -> None:
    """Event packets: digits are those of the keypad, no more than packets, and the same one by one."""
    rows = np.frombuffer(data[: len(data) // KEY_ROW.itemsize * KEY_ROW.itemsize], KEY_ROW)
    at_once: keys.Press | None = None
    singly: keys.Press | None = None
    now_ns = 0
    for batch in np.split(rows, np.flatnonzero(rows["wait"][1:] > 0) + 1) if rows.size else []:
        now_ns += int(batch["wait"][0]) * 10_000_000
        packets = _events(batch)
        at_once, digits = keys.read(at_once, packets, now_ns=now_ns)
        assert set(digits) <= set(keys.DIGITS)
        assert len(digits) <= batch.size
        again = ""
        for row in range(batch.size):
            singly, more = keys.read(singly, _events(batch[row : row + 1]), now_ns=now_ns)
            again += more
        assert (singly, again) == (at_once, digits)
        keys.is_held(at_once, now_ns=now_ns)


def _events(rows: np.ndarray[tuple[int], np.dtype[np.void]]) -> keys.EventPackets:
    who = rows["who"]
    ssrc, kind = (who & 1).astype(np.uint32), (who >> 1 & 1).astype(np.uint8)
    return keys.EventPackets(ssrc, rows["rtp_time"], np.ascontiguousarray(rows["payload"]), kind)


def timeline(data: bytes) -> None:
    """Runs of a damaged timeline, codecs by the first byte: laid out, told of and heard, or refused by name."""
    size = max(0, len(data) - 1) // RUN.itemsize
    runs = np.frombuffer(data, RUN, size, min(1, len(data)))
    codecs = HEADERS[(data[:1] or b"\0")[0] % len(HEADERS)]
    named = codings(codecs, {})
    claimed = int(runs["count"].astype(np.int64).sum())
    if claimed > MAX_PACKETS:
        try:
            unfold(runs, named)
        except MalformedPacket:
            return
        raise AssertionError(f"{claimed} packets were unfolded")
    if claimed > MOST_PACKETS:
        return
    try:
        layout = lay_out(runs, named)
        said = statement(runs, {"codecs": codecs, "pauses": []})
    except (MalformedPacket, TooLarge):
        return
    assert 0 <= layout.duration_ns <= MAX_SECONDS * 1_000_000_000
    assert np.all(layout.first >= 0)
    assert np.all(layout.span >= 0)
    assert np.all(np.diff(layout.first) >= 0)
    assert np.unique(layout.offset).size == layout.offset.size
    assert said.received == claimed
    assert said.expected == said.received - said.duplicate + said.lost
    assert all(gap.from_ms <= gap.to_ms for gap in said.gaps)
    makers = {name: _maker(name) for name in layout.codecs if linear_decoder(name) is not None}
    try:
        heard = render(layout, lambda start, stop: MEDIA[start:stop], makers, 0, 800, 8_000)
    except MalformedPacket:
        return
    assert heard.shape == (800,)


def _maker(name: str) -> Callable[[], Decoder]:
    def make() -> Decoder:
        decoder = linear_decoder(name)
        assert decoder is not None
        return decoder

    return make


MEDIA_TARGETS: dict[str, Callable[[bytes], None]] = {
    "amr": amr,
    "opus": opus,
    "red": red,
    "udp": udp,
    "dtmf": dtmf,
    "timeline": timeline,
}
