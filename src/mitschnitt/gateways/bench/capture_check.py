"""Opens every file that a capture bench left and checks it packet by packet against what was sent.

Reads only; uses the same formats as play-back, but no key tree: the bench derives its keys.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mitschnitt.errors import VaultError
from mitschnitt.gateways.bench.capture_side import call_id_of, leaf_key_of
from mitschnitt.vault.artefact import parse_timeline
from mitschnitt.vault.blobs import Blobs, LocalBlobs
from mitschnitt.vault.derive import Kind, artefact_context, artefact_key, artefact_name
from mitschnitt.vault.sealed import HEADER_BYTES, Opener, plain_size, read_range
from mitschnitt.wire.rtp import sequence_order

PAYLOAD_BYTES = 160  # generator.c: u32 stream, u32 counter, then bytes of their sum


@dataclass(frozen=True)
class Checked:
    """What all files of a run hold."""

    packets: int  # different packets that were sent there
    complete: int  # files with every packet, once, in order, and a timeline that agrees
    wrong: int  # files with bytes that were not sent there, or that do not open


def check_files(root: Path, streams: int, packets: int) -> Checked:
    """Checks `streams` files that should hold `packets` packets each."""
    blobs, found, complete, wrong = LocalBlobs(root), 0, 0, 0
    for stream in range(streams):
        try:
            mine, is_whole = check_stream(blobs, stream, packets)
        except VaultError:
            wrong += 1
            continue
        found += max(0, mine)
        complete += is_whole
        wrong += mine < 0
    return Checked(found, complete, wrong)


def check_stream(blobs: Blobs, stream: int, packets: int) -> tuple[int, bool]:
    """(different packets of the stream, whether the file is complete); -1 packets for a wrong payload."""
    media = np.frombuffer(read_artefact(blobs, stream, Kind.MEDIA), np.uint8)
    if media.size % PAYLOAD_BYTES:
        return -1, False
    rows = media.reshape(-1, PAYLOAD_BYTES)
    ids = np.ascontiguousarray(rows[:, :4]).view(">u4")[:, 0]
    counters = np.ascontiguousarray(rows[:, 4:8]).view(">u4")[:, 0].astype(np.int64)
    fill = ((stream + counters) & 0xFF).astype(np.uint8)
    if (ids != stream).any() or (counters >= packets).any() or (rows[:, 8:] != fill[:, None]).any():
        return -1, False
    timeline = parse_timeline(read_artefact(blobs, stream, Kind.TIMELINE))
    placed = sequence_order(timeline.runs)
    is_whole = (
        np.array_equal(counters, np.arange(packets))
        and timeline.header["packets"] == packets
        and np.array_equal(placed.packet, np.arange(packets))
        and not placed.duplicate.any()
    )
    return int(np.unique(counters).size), is_whole


def read_artefact(blobs: Blobs, stream: int, kind: Kind) -> bytes:
    """The whole plaintext of one file of the bench."""
    call_id, party = call_id_of(stream), stream % 2
    name = artefact_name(call_id, party, kind)
    size = blobs.size(name)
    opener = Opener(
        artefact_key(leaf_key_of(stream), kind, party),
        header=blobs.read(name, 0, HEADER_BYTES),
        context=artefact_context(call_id, party, kind),
    )
    return read_range(
        opener,
        lambda start, stop: blobs.read(name, start, stop),
        size=size,
        start=0,
        stop=plain_size(size),
    )
