"""The one door to kept audio: reads ranges of sealed files, says their size, removes them.

Only the keeper calls it, after `core/access` allowed the reading and the access was queued for the log: the
door knows keys and files, not people, so it asks nobody and takes no permission. It never writes audio
(`finish` does), never punctures (the keeper does, before it removes) and keeps no key after a call.
"""

from __future__ import annotations

from collections.abc import Callable

from mitschnitt.errors import VaultError
from mitschnitt.vault.blobs import Blobs
from mitschnitt.vault.derive import (
    PARTY_LEAVES,
    Kind,
    artefact_context,
    artefact_key,
    artefact_name,
    call_prefix,
)
from mitschnitt.vault.sealed import HEADER_BYTES, Opener, plain_size, read_range

# Artefacts that lie as one file per party; journal slices and facts have other readers.
FILE_KINDS = (Kind.MEDIA, Kind.TIMELINE)


class Vault:
    """Sealed files of calls, and the leaf keys that open them.

    `leaf_key(index, leaf)` is the tree's (`KeyTree.leaf_key` of the newest tree): a call whose one party
    withdrew has no call node any more, but the leaves of the others still open their files.
    """

    def __init__(self, blobs: Blobs, leaf_key: Callable[[int, int], bytes]) -> None:
        self._blobs = blobs
        self._leaf_key = leaf_key

    def read(self, call_id: bytes, index: int, party: int, kind: Kind, start: int, stop: int) -> bytes:
        """Plaintext `[start:stop]` of one party's artefact, cut at the end as a slice is.

        `index` is the call's place in the key tree. Raises KeyGone when the key was punctured (whatever
        files remain), Damaged when the file fails its checks, VaultError when there is no such file.
        """
        name = _file_name(call_id, party, kind)
        # The key first: a punctured call is gone even where its file still lies about.
        key = artefact_key(self._leaf_key(index, party), kind, party)
        header = self._blobs.read(name, 0, HEADER_BYTES)
        opener = Opener(key, header=header, context=artefact_context(call_id, party, kind))
        size = self._blobs.size(name)
        return read_range(opener, lambda a, b: self._blobs.read(name, a, b), size=size, start=start, stop=stop)

    def size(self, call_id: bytes, party: int, kind: Kind) -> int:
        """Plaintext bytes of one party's artefact, unauthenticated until its end is read.

        Raises Damaged for a size that no whole file has, VaultError when there is no such file.
        """
        return plain_size(self._blobs.size(_file_name(call_id, party, kind)))

    def remove(self, call_id: bytes, party: int | None) -> int:
        """Deletes the files of one party, or with None all files of the call; how many there were.

        The puncture came before; this only gives back the space. A crash between two files leaves some that
        no key opens: the erasure is repeated until it says 0.
        """
        if party is None:
            names = list(self._blobs.names(call_prefix(call_id)))
        else:
            own = {_file_name(call_id, party, kind) for kind in FILE_KINDS}
            names = [name for name in self._blobs.names(call_prefix(call_id)) if name in own]
        for name in names:
            self._blobs.delete(name)
        return len(names)


def _file_name(call_id: bytes, party: int, kind: Kind) -> str:
    if kind not in FILE_KINDS:
        raise VaultError(f"the door opens {' and '.join(FILE_KINDS)}, not {kind.value}")
    if not 0 <= party < PARTY_LEAVES:
        raise VaultError(f"a call has parties 0 to {PARTY_LEAVES - 1}, got {party}")
    return artefact_name(call_id, party, kind)
