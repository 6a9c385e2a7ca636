"""The recorder's event journal with its personal fields sealed: what happened, for the keeper to apply.

One thread appends and syncs, so that the loop never waits for a disk. Journal types are neutral words (design
section 7): why a call was not kept stands only in its decision, which the officer's key opens.
"""

from __future__ import annotations

import base64
import json
import queue
import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mitschnitt.errors import NoSpace
from mitschnitt.recorder.clock import rfc3339
from mitschnitt.recorder.link import LeasedKey
from mitschnitt.vault.derive import FACTS_LEAF, Kind, artefact_key
from mitschnitt.vault.envelope import pad, seal_to
from mitschnitt.vault.journal_files import JournalWriter
from mitschnitt.vault.keytree import leaf_key

DECISION_BYTES = 1_024  # every decision is padded to this size: its length must not tell the outcome
RETRY_SECONDS = 1.0  # between two attempts to write to a disk that takes no more

Job = Callable[[JournalWriter], None]


class Ledger:
    """Takes entries on the loop, writes and syncs them in order in a thread of its own.

    `on_synced` is called (from that thread) whenever new entries are durable, with what was to be done then;
    `on_full` when the disk refuses;
    what could not be written is tried again for ever, for it may be a withdrawal.
    """

    def __init__(
        self,
        open_writer: Callable[[], JournalWriter],
        *,
        recorder: int,
        on_synced: Callable[[list[Callable[[], None]]], None],
        on_full: Callable[[], None],
    ) -> None:
        self._open_writer = open_writer
        self._writer = open_writer()
        self._recorder = recorder
        self._on_synced = on_synced
        self._on_full = on_full
        self._then: list[Callable[[], None]] = []
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)
        self._thread.start()

    def arrived(self, call: str, key: LeasedKey, fields: Mapping[str, Any], *, at: datetime) -> None:
        """A call exists and uses this leased key; `fields` (references, addresses, agent) are sealed."""

        def job(writer: JournalWriter) -> None:
            sealed = self._seal(key, "arrived", fields, writer.next_seq)
            writer.append(call, "arrived", {"index": key.index, "block": key.block, "sealed": sealed}, at=rfc3339(at))

        self._jobs.put(job)

    def track(self, call: str, party: int, role: str, codecs: Mapping[int, tuple[str, int]], *, at: datetime) -> None:
        """Kept media of this party begins; recovery finishes what has a track."""
        named = {str(number): list(codec) for number, codec in codecs.items()}
        data = {"party": party, "track": party, "role": role, "codecs": named, "started_at": rfc3339(at)}
        self._append(call, "track", data, at)

    def shred(self, call: str, *, at: datetime) -> None:
        """The keys of this call are to be punctured now."""
        self._append(call, "shred", {"party": None}, at)

    def sealed(self, call: str, data: Mapping[str, Any], *, at: datetime, then: Callable[[], None]) -> None:
        """A party's files are written, synced and named; `then` goes to `on_synced` once this is durable."""

        def job(writer: JournalWriter) -> None:
            writer.append(call, "sealed", data, at=rfc3339(at))
            self._then.append(then)

        self._jobs.put(job)

    def closed(self, call: str, decision: Mapping[str, Any], officer_key: bytes, *, kept: str, at: datetime) -> None:
        """The call is over. `kept` is `kept` or `not_kept`; the decision opens with the officer's key only."""

        def job(writer: JournalWriter) -> None:
            plain = pad(json.dumps(decision, sort_keys=True).encode(), DECISION_BYTES)
            sealed = seal_to(officer_key, plain, context=b"mitschnitt/v1/decision/" + call.encode())
            data = {"kept": kept == "kept", "decision": base64.b64encode(sealed).decode()}
            writer.append(call, "closed", data, at=rfc3339(at))

        self._jobs.put(job)

    def close(self) -> None:
        """Write what waits, then end the thread."""
        self._jobs.put(None)
        self._thread.join()

    def _seal(self, key: LeasedKey, kind: str, fields: Mapping[str, Any], seq: int) -> str:
        facts_key = artefact_key(leaf_key(key.node, FACTS_LEAF), Kind.FACTS, 0)
        nonce = self._recorder.to_bytes(4, "big") + seq.to_bytes(8, "big")
        sealed = AESGCM(facts_key).encrypt(nonce, json.dumps(fields, sort_keys=True).encode(), kind.encode())
        return base64.b64encode(sealed).decode()

    def _append(self, call: str, kind: str, data: Mapping[str, Any], at: datetime) -> None:
        self._jobs.put(lambda writer: _entry(writer, call, kind, data, at))

    def _run(self) -> None:
        going_on = True
        while going_on:
            jobs = [self._jobs.get()]
            while not self._jobs.empty():
                jobs.append(self._jobs.get())
            going_on = None not in jobs
            for job in jobs:
                if job is not None:
                    self._until_taken(job)
            self._until_taken(lambda writer: writer.sync())
            done, self._then = self._then, []
            self._on_synced(done)
        self._writer.close()

    def _until_taken(self, job: Job) -> None:
        while True:
            try:
                return job(self._writer)
            except NoSpace:
                self._on_full()
                time.sleep(RETRY_SECONDS)
                self._reopen_if_failed()

    def _reopen_if_failed(self) -> None:
        # A writer whose fdatasync failed refuses everything; a new one goes on with what is on disk.
        try:
            self._writer.sync()
        except NoSpace:
            try:
                fresh = self._open_writer()
            except (NoSpace, OSError):
                return
            self._writer = fresh


def _entry(writer: JournalWriter, call: str, kind: str, data: Mapping[str, Any], at: datetime) -> None:
    writer.append(call, kind, data, at=rfc3339(at))
