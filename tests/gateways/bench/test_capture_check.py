from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from mitschnitt.gateways.bench.capture_check import Checked, check_files
from mitschnitt.gateways.bench.capture_side import CODECS, call_id_of, leaf_key_of
from mitschnitt.vault.artefact import RUN, PartyHeader, PlainSlice
from mitschnitt.vault.blobs import LocalBlobs
from mitschnitt.vault.finish import finish_party


def payload(stream: int, counter: int) -> bytes:
    return struct.pack(">II", stream, counter) + bytes([(stream + counter) & 0xFF]) * 152


def write(root: Path, stream: int, packets: list[bytes], seqs: list[int] | None = None) -> None:
    runs = np.zeros(len(packets), RUN)
    runs["count"], runs["length"] = 1, [len(packet) for packet in packets]
    runs["seq"] = seqs or list(range(len(packets)))
    finish_party(
        [PlainSlice(0, 0, 0, runs, b"".join(packets))],
        leaf_key=leaf_key_of(stream),
        call_id=call_id_of(stream),
        party=stream % 2,
        header=PartyHeader(CODECS, "", "", "ended"),
        blobs=LocalBlobs(root),
        salts=(bytes(24), bytes(24)),
    )


def test_complete_files_are_complete(tmp_path: Path) -> None:
    for stream in range(3):
        write(tmp_path, stream, [payload(stream, n) for n in range(5)])
    assert check_files(tmp_path, range(3), 5) == Checked(packets=15, complete=3, wrong=0)


@pytest.mark.parametrize(
    ("packets", "expected"),
    [
        ([payload(0, n) for n in (0, 1, 3, 4)], Checked(4, 0, 0)),  # one lost
        ([payload(0, n) for n in (0, 1, 2, 3, 3, 4)], Checked(5, 0, 0)),  # one twice
        ([payload(0, n) for n in (0, 2, 1, 3, 4)], Checked(5, 0, 0)),  # not in order
        ([payload(1, n) for n in range(5)], Checked(0, 0, 1)),  # of another stream
        ([payload(0, n) for n in range(6)], Checked(0, 0, 1)),  # never sent
        ([payload(0, n)[:-1] + b"?" for n in range(5)], Checked(0, 0, 1)),  # other bytes
        ([b"short"], Checked(0, 0, 1)),
    ],
)
def test_what_is_not_complete_or_wrong_is_told_apart(tmp_path: Path, packets: list[bytes], expected: Checked) -> None:
    write(tmp_path, 0, packets)
    assert check_files(tmp_path, range(1), 5) == expected


def test_a_timeline_that_disagrees_is_not_complete(tmp_path: Path) -> None:
    write(tmp_path, 0, [payload(0, n) for n in range(5)], seqs=[0, 1, 2, 4, 3])
    assert check_files(tmp_path, range(1), 5) == Checked(5, 0, 0)


def test_a_file_that_is_missing_or_does_not_open_is_wrong(tmp_path: Path) -> None:
    assert check_files(tmp_path, range(1), 5) == Checked(0, 0, 1)
