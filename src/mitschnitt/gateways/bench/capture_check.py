"""Opens every file that a capture bench left and checks it packet by packet against what was sent.

Reads only, through the one door like play-back; but without a key tree: the bench derives its keys.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mitschnitt.errors import VaultError
from mitschnitt.gateways.bench.capture_side import call_id_of, leaf_key_of
from mitschnitt.vault.artefact import parse_timeline
from mitschnitt.vault.blobs import LocalBlobs
from mitschnitt.vault.derive import Kind
from mitschnitt.vault.door import Vault
from mitschnitt.wire.codecs import codings
from mitschnitt.wire.packets import unfold
from mitschnitt.wire.sequences import count_on

PAYLOAD_BYTES = 160  # generator.c: u32 stream, u32 counter, then bytes of their sum


@dataclass(frozen=True)
class Checked:
    """What all files of a run hold."""

    packets: int  # different packets that were sent there
    complete: int  # files with every packet, once, in order, and a timeline that agrees
    wrong: int  # files with bytes that were not sent there, or that do not open


def check_files(root: Path, streams: Iterable[int], packets: int) -> Checked:
    """Checks the files of these streams, which should hold `packets` packets each."""
    # The bench's keys come from the stream's number, which therefore stands in for the index of the tree.
    vault = Vault(LocalBlobs(root), lambda stream, _: leaf_key_of(stream))
    found = complete = wrong = 0
    for stream in streams:
        try:
            mine, is_whole = check_stream(vault, stream, packets)
        except VaultError:
            wrong += 1
            continue
        found += max(0, mine)
        complete += is_whole
        wrong += mine < 0
    return Checked(found, complete, wrong)


def check_stream(vault: Vault, stream: int, packets: int) -> tuple[int, bool]:
    """(different packets of the stream, whether the file is complete); -1 packets for a wrong payload."""
    media = np.frombuffer(read_artefact(vault, stream, Kind.MEDIA), np.uint8)
    if media.size % PAYLOAD_BYTES:
        return -1, False
    rows = media.reshape(-1, PAYLOAD_BYTES)
    ids = np.ascontiguousarray(rows[:, :4]).view(">u4")[:, 0]
    counters = np.ascontiguousarray(rows[:, 4:8]).view(">u4")[:, 0].astype(np.int64)
    fill = ((stream + counters) & 0xFF).astype(np.uint8)
    if (ids != stream).any() or (counters >= packets).any() or (rows[:, 8:] != fill[:, None]).any():
        return -1, False
    timeline = parse_timeline(read_artefact(vault, stream, Kind.TIMELINE))
    came = unfold(timeline.runs, codings(timeline.header["codecs"], {}))
    stretch, number = count_on(came.seq, came.ssrc, came.rtp_time, came.span)
    is_whole = (
        np.array_equal(counters, np.arange(packets))
        and timeline.header["packets"] == packets
        and np.array_equal(number - came.seq[0], np.arange(packets))
        and not stretch.any()
    )
    return int(np.unique(counters).size), is_whole


def read_artefact(vault: Vault, stream: int, kind: Kind) -> bytes:
    """The whole plaintext of one file of the bench."""
    call_id, party = call_id_of(stream), stream % 2
    return vault.read(call_id, stream, party, kind, 0, vault.size(call_id, party, kind))
