"""The key tree and its sealed state: the only place that derives a call's key, and the only one that punctures.

State file: "MTKS" | version u8 | 3 zero bytes | epoch u64 | nonce 12 | AES-256-GCM(reserved u64 | tree) under the
KEK of that epoch, the bytes before as AAD; all big endian. All copies are the same bytes.
It knows no database; which punctures must be applied again after a crash is told to it (`open`).
"""

from __future__ import annotations

import logging
import secrets
import struct
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mitschnitt.errors import ConfigError, Damaged, KeyGone, NoSpace, VaultError
from mitschnitt.keeper.kek import KEK_BYTES, TEMP_SUFFIX, KekStore, replace_file
from mitschnitt.vault.blobs import FULL_ERRNOS
from mitschnitt.vault.keytree import CALLS, NODE_BYTES, KeyTree

MAGIC = b"MTKS"
VERSION = 1
HEADER = struct.Struct(">4sB3xQ12s")
RESERVED = struct.Struct(">Q")
NONCE_BYTES = 12
RESERVE_CALLS = 1 << 16  # indices that one state allows to be leased; the next 65,536 cost one rotation

Random = Callable[[int], bytes]
log = logging.getLogger("mitschnitt.keeper")


@dataclass(frozen=True, slots=True)
class Span:
    """What is to be punctured: `count` calls from `first` on, or one leaf of call `first`."""

    first: int
    count: int = 1
    leaf: int | None = None


@dataclass(frozen=True, slots=True)
class _State:
    epoch: int
    reserved: int  # leases stay below this index, also when the database is an old one
    tree: KeyTree


def _seal(state: _State, kek: bytes, nonce: bytes) -> bytes:
    header = HEADER.pack(MAGIC, VERSION, state.epoch, nonce)
    return header + AESGCM(kek).encrypt(nonce, RESERVED.pack(state.reserved) + bytes(state.tree), header)


def _epoch_of(sealed: bytes) -> int:
    if len(sealed) < HEADER.size:
        raise Damaged(f"a sealed tree state begins with {HEADER.size} bytes, got {len(sealed)}")
    magic, version, epoch, _ = HEADER.unpack_from(sealed)
    if (magic, version) != (MAGIC, VERSION):
        raise Damaged(f"not a sealed tree state of version {VERSION}: {magic!r} {version}")
    return int(epoch)


def _unseal(sealed: bytes, kek: bytes) -> _State:
    epoch, header = _epoch_of(sealed), sealed[: HEADER.size]
    try:
        plain = AESGCM(kek).decrypt(header[-NONCE_BYTES:], sealed[HEADER.size :], header)
    except InvalidTag as error:
        raise Damaged(f"the sealed tree state of epoch {epoch} fails its tag") from error
    (reserved,) = RESERVED.unpack_from(plain)
    tree = KeyTree.parse(plain[RESERVED.size :])
    if tree.epoch != epoch:
        raise Damaged(f"a tree of epoch {tree.epoch} in a state of epoch {epoch}")
    return _State(epoch, reserved, tree)


class Keyring:
    """Derives from any thread; `puncture` and `reserve` are called by one thread at a time."""

    def __init__(self, state: _State, copies: Sequence[Path], keks: KekStore, random: Random) -> None:
        self._state = state
        self._copies = tuple(copies)
        self._keks = keks
        self._random = random
        self._durable = True  # whether every copy holds `_state`
        self._lock = threading.Lock()

    @classmethod
    def create(cls, copies: Sequence[Path], keks: KekStore, *, random: Random = secrets.token_bytes) -> Keyring:
        """A new tree at all copies. ConfigError where a state or a KEK already is: they would be lost."""
        present = [str(path) for path in copies if path.exists()]
        if present or keks.epochs():
            raise ConfigError(
                f"keys: there is a key tree already ({', '.join(present) or 'a KEK'}); it is not replaced"
            )
        tree = KeyTree.fresh(random(NODE_BYTES))
        keyring = cls(_State(tree.epoch, 0, tree), copies, keks, random)
        keyring._rotate(RESERVE_CALLS, tree)
        return keyring

    @classmethod
    def open(cls, copies: Sequence[Path], keks: KekStore, *, random: Random = secrets.token_bytes) -> Keyring:
        """The newest state that opens; repairs what a crash left (see `_rotate`).

        VaultError when no copy opens: whoever calls must not go on, for all that was kept would be lost.
        """
        for path in copies:
            path.with_name(path.name + TEMP_SUFFIX).unlink(missing_ok=True)
        found = [_load(path, keks) for path in copies]
        states = [state for state in found if isinstance(state, _State)]
        if not states:
            reasons = "; ".join(f"{path}: {reason}" for path, reason in zip(copies, found, strict=True))
            raise VaultError(f"keys: no copy of the key tree opens ({reasons})")
        newest = max(states, key=lambda state: state.epoch)
        keyring = cls(newest, copies, keks, random)
        keyring._repair(found)
        return keyring

    @property
    def epoch(self) -> int:
        """Erasure batches so far."""
        return self._state.epoch

    @property
    def reserved(self) -> int:
        """First index that this state does not allow to be leased."""
        return self._state.reserved

    @property
    def copies(self) -> tuple[Path, ...]:
        """Where the sealed state lies."""
        return self._copies

    def call_node(self, index: int) -> bytes:
        """The 32-byte node of a call. KeyGone when anything of it was punctured."""
        return self._state.tree.call_node(index)

    def leaf_key(self, index: int, leaf: int) -> bytes:
        """The 32-byte key of one leaf of a call. KeyGone when it was punctured."""
        return self._state.tree.leaf_key(index, leaf)

    def derives(self, index: int) -> bool:
        """Whether the whole call can still be opened."""
        try:
            self.call_node(index)
        except KeyGone:
            return False
        return True

    def puncture(self, spans: Iterable[Span]) -> int:
        """These no longer derive, here at once and in every copy when it returns; the epoch after it.

        NoSpace or VaultError when a copy or the KEK could not be written: here they are gone all the same, on
        disk they are when a later call returns.
        """
        with self._lock:
            tree = self._state.tree
            for span in spans:
                if span.leaf is None:
                    tree = tree.puncture_calls(span.first, span.count)
                else:
                    tree = tree.puncture_leaf(span.first, span.leaf)
            if tree is not self._state.tree or not self._durable:
                self._rotate(self._state.reserved, tree)
            return self._state.epoch

    def reserve(self, index: int) -> int:
        """Indices below `index` may be leased; the epoch after it. VaultError when the tree has no more calls."""
        if index > CALLS.calls:
            raise VaultError(f"the key tree has {CALLS.calls} calls; they are used up")
        with self._lock:
            if index > self._state.reserved or not self._durable:
                self._rotate(min(index + RESERVE_CALLS, CALLS.calls), self._state.tree)
            return self._state.epoch

    def _rotate(self, reserved: int, tree: KeyTree) -> None:
        """One erasure batch: fresh KEK, every copy under it, then every older KEK destroyed.

        A crash before the first copy is replaced leaves the old state and one KEK too many, which start-up
        destroys: the punctures are applied again from the database and the journals. A crash after it leaves
        copies of two epochs, both of which open: start-up takes the newer one, writes it to all and destroys the
        older KEK. Only when `destroy` returned does the batch count.
        """
        tree = tree.next_epoch()
        # Memory first: from here on nobody is given such a key, whatever the disk does.
        self._state, self._durable = _State(tree.epoch, reserved, tree), False
        try:
            kek = self._random(KEK_BYTES)
            self._keks.write(tree.epoch, kek)
            sealed = _seal(self._state, kek, self._random(NONCE_BYTES))
            for path in self._copies:
                replace_file(path, sealed)
            self._destroy_all_but(tree.epoch)
        except OSError as error:
            family = NoSpace if error.errno in FULL_ERRNOS else VaultError
            raise family(f"keys: the key tree could not be written: {error.strerror}") from error
        self._durable = True

    def _repair(self, found: Sequence[_State | str]) -> None:
        """Bring all copies to the state that was chosen and destroy what nothing needs; see `_rotate`."""
        behind = [
            path
            for path, state in zip(self._copies, found, strict=True)
            if not isinstance(state, _State) or state.epoch != self.epoch
        ]
        if behind:
            log.warning("copies of the key tree were missing or old; they are rewritten", extra={"count": len(behind)})
            self._rotate(self.reserved, self._state.tree)
        else:
            self._destroy_all_but(self.epoch)

    def _destroy_all_but(self, epoch: int) -> None:
        for other in self._keks.epochs():
            if other != epoch:
                self._keks.destroy(other)


def _load(path: Path, keks: KekStore) -> _State | str:
    """The state at a path, or why there is none."""
    try:
        sealed = path.read_bytes()
        return _unseal(sealed, keks.read(_epoch_of(sealed)))
    except FileNotFoundError:
        return "missing"
    except OSError as error:
        return str(error.strerror)
    except VaultError as error:
        return str(error)
