"""The recorder's event journal with its personal fields sealed: what happened, synced before anything depends on it.

Journal types are neutral words (design section 7): why a call was not kept stands only in its sealed decision.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mitschnitt.recorder.clock import rfc3339
from mitschnitt.recorder.link import LeasedKey
from mitschnitt.vault.derive import FACTS_LEAF, Kind, artefact_key
from mitschnitt.vault.envelope import pad, seal_to
from mitschnitt.vault.journal import Entry
from mitschnitt.vault.journal_files import JournalWriter
from mitschnitt.vault.keytree import leaf_key

DECISION_BYTES = 1_024  # every decision is padded to this size: its length must not tell the outcome


class Ledger:
    """Writes the entries of one recorder; `sync` before the effect."""

    def __init__(self, writer: JournalWriter, *, recorder: int) -> None:
        self._writer = writer
        self._recorder = recorder

    def _seal(self, key: LeasedKey, kind: str, fields: Mapping[str, Any], seq: int) -> str:
        facts_key = artefact_key(leaf_key(key.node, FACTS_LEAF), Kind.FACTS, 0)
        nonce = self._recorder.to_bytes(4, "big") + seq.to_bytes(8, "big")
        sealed = AESGCM(facts_key).encrypt(nonce, json.dumps(fields, sort_keys=True).encode(), kind.encode())
        return base64.b64encode(sealed).decode()

    def arrived(self, call: str, key: LeasedKey, fields: Mapping[str, Any], *, at: datetime) -> Entry:
        """A call exists and uses this leased key; `fields` (references, addresses, agent) are sealed."""
        sealed = self._seal(key, "arrived", fields, self._writer.next_seq)
        return self._append(call, "arrived", {"index": key.index, "block": key.block, "sealed": sealed}, at)

    def track(self, call: str, party: int, codecs: Mapping[str, Any], *, at: datetime) -> Entry:
        """Kept media of this party begins; recovery finishes what has a track."""
        data = {"party": party, "track": party, "codecs": dict(codecs), "started_at": rfc3339(at)}
        return self._append(call, "track", data, at)

    def shred(self, call: str, *, at: datetime) -> Entry:
        """The keys of this call are to be punctured now."""
        return self._append(call, "shred", {"party": None}, at)

    def sealed(self, call: str, data: Mapping[str, Any], *, at: datetime) -> Entry:
        """A party's files are written, synced and named."""
        return self._append(call, "sealed", dict(data), at)

    def closed(self, call: str, decision: Mapping[str, Any], officer_key: bytes, *, kept: str, at: datetime) -> Entry:
        """The call is over. `kept` is `kept` or `not_kept`; the decision opens with the officer's key only."""
        plain = pad(json.dumps(decision, sort_keys=True).encode(), DECISION_BYTES)
        sealed = seal_to(officer_key, plain, context=b"mitschnitt/v1/decision/" + call.encode())
        data = {"kept": kept == "kept", "decision": base64.b64encode(sealed).decode()}
        return self._append(call, "closed", data, at)

    def _append(self, call: str, kind: str, data: dict[str, Any], at: datetime) -> Entry:
        return self._writer.append(call, kind, data, at=rfc3339(at))

    def sync(self) -> None:
        """All entries so far are on disk. NoSpace when the disk takes no more."""
        self._writer.sync()
