"""From slices to the two sealed files of a party; the normal end and recovery come here alike, on purpose.

Decides nothing: whose slices, with which key and for which reason the caller says. Randomness (the salts)
is an argument. It writes through `Blobs` only and deletes no journal.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from cryptography.exceptions import InvalidTag

from mitschnitt.errors import Damaged
from mitschnitt.vault.artefact import (
    PartyHeader,
    PlainSlice,
    PlainSlices,
    octets,
    pack_timeline,
    packets,
    unpack_slices,
)
from mitschnitt.vault.blobs import Blobs, BlobWriter
from mitschnitt.vault.derive import Kind, artefact_context, artefact_key, artefact_name
from mitschnitt.vault.sealed import SALT_BYTES, Sealer
from mitschnitt.vault.slice_index import scan
from mitschnitt.vault.slices import TAG_BYTES, SealedSlice, journal_cipher, slice_nonce
from mitschnitt.wire.rtp import RUN

PIECE_BYTES = 128 * 1024  # of slices that are opened at once: 16 s of G.711
Salts = tuple[bytes, bytes]  # of the media and of the timeline file, SALT_BYTES random bytes each
__all__ = ["SALT_BYTES", "Salts", "SealedParty", "finish_party", "opened", "recover_party"]


@dataclass(frozen=True)
class SealedParty:
    """What lies in the vault of one party; names are blob names, sizes are bytes of the sealed files."""

    party: int
    media_name: str
    media_size: int
    media_sha256: str
    timeline_name: str
    timeline_size: int
    timeline_sha256: str
    packets: int
    octets: int
    reason: str
    started_at: str
    ended_at: str


class _SealedBlob:
    """Seals into one blob while counting and hashing what is stored."""

    def __init__(self, blobs: Blobs, *, leaf_key: bytes, call_id: bytes, party: int, kind: Kind, salt: bytes):
        self.name = artefact_name(call_id, party, kind)
        key = artefact_key(leaf_key, kind, party)
        self._sealer = Sealer(key, salt=salt, context=artefact_context(call_id, party, kind))
        self._writer: BlobWriter = blobs.create(self.name)
        self._hash = hashlib.sha256()
        self.size = 0
        self._store(self._sealer.header)

    def write(self, plain: bytes | memoryview) -> None:
        self._store(self._sealer.update(plain))

    def commit(self) -> str:
        """Makes the blob visible; its SHA-256 in hexadecimal."""
        self._store(self._sealer.finish())
        self._writer.commit()
        return self._hash.hexdigest()

    def abort(self) -> None:
        self._writer.abort()

    def _store(self, sealed: bytes) -> None:
        if sealed:
            self._writer.write(sealed)
            self._hash.update(sealed)
            self.size += len(sealed)


def finish_party(
    slices: Iterable[PlainSlice | PlainSlices],
    *,
    leaf_key: bytes,
    call_id: bytes,
    party: int,
    header: PartyHeader,
    blobs: Blobs,
    salts: Salts,
) -> SealedParty:
    """Writes `media` and `timeline` of one party from its slices, in the order given.

    Raises NoSpace, and VaultError when the files exist. A crash between the two commits leaves a media file
    without timeline, and the slices in the journal: recovery deletes the one and writes both anew.
    """
    runs, flags = bytearray(), 0
    media = _SealedBlob(blobs, leaf_key=leaf_key, call_id=call_id, party=party, kind=Kind.MEDIA, salt=salts[0])
    try:
        for piece in slices:
            media.write(piece.payload)
            runs += piece.runs.tobytes()
            flags |= piece.flags
        media_sha256 = media.commit()
    except BaseException:
        media.abort()
        raise
    together = np.frombuffer(runs, RUN)
    timeline = _SealedBlob(blobs, leaf_key=leaf_key, call_id=call_id, party=party, kind=Kind.TIMELINE, salt=salts[1])
    try:
        timeline.write(pack_timeline(call_id, party, header, together, flags=flags))
        timeline_sha256 = timeline.commit()
    except BaseException:
        timeline.abort()
        raise
    return SealedParty(
        party=party,
        media_name=media.name,
        media_size=media.size,
        media_sha256=media_sha256,
        timeline_name=timeline.name,
        timeline_size=timeline.size,
        timeline_sha256=timeline_sha256,
        packets=packets(together),
        octets=octets(together),
        reason=header.reason,
        started_at=header.started_at,
        ended_at=header.ended_at,
    )


def opened(sealed: Iterable[SealedSlice], *, leaf_key: bytes, party: int) -> Iterator[PlainSlices]:
    """The slices of one party, opened, some at a time; those that fail their tag (torn by a crash) are left out.

    A slice is read before the next one is asked for, so its ciphertext may lie in memory that is used again.
    """
    cipher = journal_cipher(leaf_key, party)
    plain, sizes, used = bytearray(PIECE_BYTES), list[int](), 0
    try:
        for piece in sealed:
            size = len(piece.ciphertext) - TAG_BYTES
            if sizes and used + size > len(plain):
                yield from _unpacked(memoryview(plain), sizes)
                sizes, used = [], 0
            if size > len(plain):
                plain[:] = bytes(len(plain))
                plain = bytearray(size)
            place = memoryview(plain)[used : used + size]
            try:
                cipher.decrypt_into(slice_nonce(piece.track, piece.number), piece.ciphertext, None, place)
            except (InvalidTag, ValueError):
                continue  # the timeline shows the gap; bytes that are shorter than a tag are no slice either
            sizes.append(size)
            used += size
        yield from _unpacked(memoryview(plain), sizes)
    finally:
        plain[:] = bytes(len(plain))


def _unpacked(plains: memoryview, sizes: Sequence[int]) -> Iterator[PlainSlices]:
    """These slices as one piece; if any is damaged, each that is not as one of its own."""
    if not sizes:
        return
    try:
        yield unpack_slices(plains, sizes)
    except Damaged:
        for number, size in enumerate(sizes if len(sizes) > 1 else ()):
            with contextlib.suppress(Damaged):
                yield unpack_slices(plains[sum(sizes[:number]) :], [size])


def recover_party(
    directory: Path,
    *,
    before: int | None,
    leaf_key: bytes,
    call_id: bytes,
    party: int,
    header: PartyHeader,
    blobs: Blobs,
    salts: Salts,
) -> SealedParty:
    """Finishes a party whose recorder died, from the journal segments below `before`.

    Only for parties without a `sealed` entry in the event journal: whatever lies under their names is the
    rest of an unfinished end and is deleted first. May be repeated until that entry is durable.
    """
    for kind in (Kind.MEDIA, Kind.TIMELINE):
        blobs.delete(artefact_name(call_id, party, kind))
    mine = [piece for piece in scan(directory, call_id, before=before) if piece.party == party]
    mine.sort(key=lambda piece: (piece.track, piece.number))
    return finish_party(
        opened(mine, leaf_key=leaf_key, party=party),
        leaf_key=leaf_key,
        call_id=call_id,
        party=party,
        header=header,
        blobs=blobs,
        salts=salts,
    )
