from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest

from media_rig import AT, CALL, LEAF, PCMA, read_party
from mitschnitt.errors import Damaged, NoSpace, VaultError
from mitschnitt.vault import finish as module
from mitschnitt.vault import slices
from mitschnitt.vault.artefact import DIGITS_PRESENT, RUN, PartyHeader, PlainSlice, PlainSlices, pack_slice
from mitschnitt.vault.blobs import BlobWriter, MemoryBlobs
from mitschnitt.vault.finish import PIECE_BYTES, SealedParty, finish_party, opened, recover_party
from mitschnitt.vault.slice_files import SliceWriter
from mitschnitt.vault.slices import SealedSlice

HEADER = PartyHeader(PCMA, AT, AT, "ended")
SALTS = (bytes(24), b"\1" * 24)


def plain(number: int, payload: bytes, *, flags: int = 0, track: int = 0) -> PlainSlice:
    runs = np.zeros(1, RUN)
    runs["count"], runs["length"], runs["seq"] = 1, len(payload), number
    return PlainSlice(track, number, flags, runs, payload)


def finish(pieces: list[PlainSlice], blobs: MemoryBlobs, reason: str = "ended") -> SealedParty:
    return finish_party(
        pieces,
        leaf_key=LEAF,
        call_id=CALL,
        party=2,
        header=PartyHeader(PCMA, AT, AT, reason),
        blobs=blobs,
        salts=SALTS,
    )


def journal_with(directory: Path, pieces: list[PlainSlice]) -> None:
    writer = SliceWriter(directory)
    for piece in pieces:
        sealed = slices.journal_cipher(LEAF, 2).encrypt(
            slices.slice_nonce(piece.track, piece.number),
            pack_slice(piece.runs, bytes(piece.payload), flags=piece.flags),
            None,
        )
        index = np.zeros(1, slices.INDEX)
        index["call"], index["party"], index["track"] = np.void(CALL), 2, piece.track
        index["slice"], index["offset"], index["length"] = piece.number, slices.body_offset(1), len(sealed)
        writer.append([slices.pack_head(index, length=slices.body_offset(1) + len(sealed)), sealed], [1])
    writer.close()


def seen(pieces: Iterable[PlainSlices]) -> tuple[list[int], bytes]:
    """Sequence numbers and payload of all together."""
    found = list(pieces)
    return [int(seq) for piece in found for seq in piece.runs["seq"]], b"".join(piece.payload for piece in found)


def recover(directory: Path, blobs: MemoryBlobs) -> SealedParty:
    return recover_party(
        directory,
        before=None,
        leaf_key=LEAF,
        call_id=CALL,
        party=2,
        header=PartyHeader(PCMA, AT, AT, "truncated"),
        blobs=blobs,
        salts=SALTS,
    )


def test_two_files_hold_all_payload_and_all_runs_and_are_described() -> None:
    blobs = MemoryBlobs()
    party = finish([plain(0, b"a" * 20_000), plain(1, b"", flags=DIGITS_PRESENT), plain(2, b"c")], blobs)
    media, timeline = read_party(blobs, party)
    assert media == b"a" * 20_000 + b"c"
    assert timeline.runs["seq"].tolist() == [0, 1, 2]
    assert timeline.header["digits"] is True
    assert (party.packets, party.octets, party.reason) == (2, 20_001, "ended")
    for name, size, digest in (
        (party.media_name, party.media_size, party.media_sha256),
        (party.timeline_name, party.timeline_size, party.timeline_sha256),
    ):
        stored = blobs.read(name, 0, 1 << 30)
        assert (len(stored), hashlib.sha256(stored).hexdigest()) == (size, digest)


def test_a_party_without_a_packet_has_two_files_too() -> None:
    blobs = MemoryBlobs()
    media, timeline = read_party(blobs, finish([], blobs))
    assert media == b""
    assert timeline.runs.size == 0


def test_files_that_exist_are_not_replaced() -> None:
    blobs = MemoryBlobs()
    party = finish([plain(0, b"first")], blobs)
    with pytest.raises(VaultError):
        finish([plain(0, b"second")], blobs)
    assert read_party(blobs, party)[0] == b"first"


class FailsAt(MemoryBlobs):
    """A store that is full when the named kind is committed."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def create(self, name: str) -> BlobWriter:
        writer = super().create(name)
        if name.endswith(self.kind):

            def commit() -> None:
                writer.abort()
                raise NoSpace("full")

            writer.commit = commit  # type: ignore[method-assign]
        return writer


@pytest.mark.parametrize(("kind", "left"), [("media", 0), ("timeline", 1)])
def test_recovery_repairs_what_a_crash_between_the_two_files_leaves(tmp_path: Path, kind: str, left: int) -> None:
    pieces = [plain(0, b"all"), plain(1, b" of it")]
    journal_with(tmp_path, pieces)
    blobs = FailsAt(kind)
    with pytest.raises(NoSpace):
        finish(pieces, blobs)
    assert len(list(blobs.names())) == left
    blobs.kind = "nothing"
    party = recover(tmp_path, blobs)
    media, timeline = read_party(blobs, party)
    assert media == b"all of it"
    assert timeline.header["reason"] == "truncated"


def test_recovery_may_be_repeated_and_gives_the_same_bytes(tmp_path: Path) -> None:
    journal_with(tmp_path, [plain(0, b"once"), plain(0, b" more", track=1), plain(1, b" two")])
    blobs = MemoryBlobs()
    first = recover(tmp_path, blobs)
    assert recover(tmp_path, blobs) == first
    assert read_party(blobs, first)[0] == b"once two more"


def test_recovery_and_the_normal_end_write_the_same_media(tmp_path: Path) -> None:
    pieces = [plain(n, bytes([n]) * 160) for n in range(20)]
    journal_with(tmp_path, pieces)
    normal, recovered = MemoryBlobs(), MemoryBlobs()
    assert finish(pieces, normal).media_sha256 == recover(tmp_path, recovered).media_sha256


def test_slices_that_fail_their_tag_are_left_out() -> None:
    cipher = slices.journal_cipher(LEAF, 2)
    pieces = [plain(number, b"%d" % number) for number in range(3)]
    good = [
        cipher.encrypt(slices.slice_nonce(0, piece.number), pack_slice(piece.runs, bytes(piece.payload)), None)
        for piece in pieces
    ]
    sealed = [SealedSlice(CALL, 2, 0, 0, good[0]), SealedSlice(CALL, 2, 0, 1, good[2]), SealedSlice(CALL, 2, 0, 2, b"")]
    assert seen(opened([*sealed, SealedSlice(CALL, 2, 0, 2, good[2])], leaf_key=LEAF, party=2)) == ([0, 2], b"02")


def test_slices_whose_layout_is_broken_are_left_out_and_those_around_them_are_not() -> None:
    cipher = slices.journal_cipher(LEAF, 2)
    plains = [pack_slice(piece.runs, bytes(piece.payload)) for piece in (plain(n, b"%d" % n) for n in range(4))]
    plains[1], plains[3] = plains[1] + b"more", b"\1"
    sealed = [
        SealedSlice(CALL, 2, 0, number, cipher.encrypt(slices.slice_nonce(0, number), data, None))
        for number, data in enumerate(plains)
    ]
    assert seen(opened(sealed, leaf_key=LEAF, party=2)) == ([0, 2], b"02")


@pytest.mark.parametrize("size", [1, 1_000, PIECE_BYTES - 1_000, 2 * PIECE_BYTES])
def test_slices_of_any_size_are_opened_in_order_out_of_memory_that_is_used_again(size: int) -> None:
    cipher = slices.journal_cipher(LEAF, 2)
    payloads = [bytes([65 + number]) * (size if number % 3 else 7) for number in range(9)]
    memory = memoryview(bytearray(3 * PIECE_BYTES))

    def sealed() -> Iterator[SealedSlice]:
        for number, payload in enumerate(payloads):
            runs = np.zeros(1, RUN)
            runs["count"], runs["seq"] = 1, number
            # A run counts up to 65,535 bytes a packet: several make any size.
            runs = np.repeat(runs, -(-len(payload) // 60_000))
            runs["length"] = [len(payload[at : at + 60_000]) for at in range(0, len(payload), 60_000)]
            data = cipher.encrypt(slices.slice_nonce(0, number), pack_slice(runs, payload), None)
            memory[: len(data)] = data
            yield SealedSlice(CALL, 2, 0, number, memory[: len(data)])

    order, together = seen(opened(sealed(), leaf_key=LEAF, party=2))
    assert order == sorted(order)
    assert set(order) == set(range(9))
    assert together == b"".join(payloads)


def test_memory_that_slices_were_opened_in_is_zeroed_also_when_nobody_reads_on(monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[bytearray] = []

    def noted(size: int) -> bytearray:
        used.append(bytearray(size))
        return used[-1]

    monkeypatch.setattr(module, "bytearray", noted, raising=False)
    cipher = slices.journal_cipher(LEAF, 2)
    payloads = [b"small", b"large" * 12_000, b"larger" * 10_000, b"small"]
    runs = [np.repeat(plain(number, payload).runs, 3) for number, payload in enumerate(payloads)]
    plains = [pack_slice(run, payload * 3) for run, payload in zip(runs, payloads, strict=True)]
    sealed = [
        SealedSlice(CALL, 2, 0, number, cipher.encrypt(slices.slice_nonce(0, number), data, None))
        for number, data in enumerate(plains)
    ]
    opening = opened(sealed, leaf_key=LEAF, party=2)
    assert [next(opening).payload for _ in range(2)] == [payload * 3 for payload in payloads[:2]]
    assert isinstance(opening, Generator)
    opening.close()
    assert len(used) == 2
    assert not any(any(memory) for memory in used)


def test_a_slice_that_cannot_be_read_leaves_no_file() -> None:
    def pieces() -> Iterator[PlainSlice]:
        yield plain(0, b"x")
        raise Damaged("the journal is cut")

    blobs = MemoryBlobs()
    with pytest.raises(Damaged, match="is cut"):
        finish_party(pieces(), leaf_key=LEAF, call_id=CALL, party=2, header=HEADER, blobs=blobs, salts=SALTS)
    assert list(blobs.names()) == []
