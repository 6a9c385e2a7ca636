"""The recorder's event journal with its personal fields sealed: what happened, for the keeper to apply.

One thread appends and syncs, so that the loop never waits for a disk. Journal types are neutral words (design
section 7): why a call was not kept stands only in its decision, which the officer's key opens.
"""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from types import MappingProxyType
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mitschnitt.errors import NoSpace, VaultError
from mitschnitt.recorder.clock import rfc3339
from mitschnitt.recorder.link import LeasedKey
from mitschnitt.recorder.pages import Page
from mitschnitt.telemetry.metrics import Buckets
from mitschnitt.vault.artefact import Coded
from mitschnitt.vault.decision import MAX_LADDERS, seal_decision
from mitschnitt.vault.derive import FACTS_LEAF, Kind, artefact_key
from mitschnitt.vault.journal_files import JournalWriter
from mitschnitt.vault.keytree import leaf_key
from mitschnitt.vault.page import seal_page
from mitschnitt.wire.sip.ladder import Ladder

ROTATE_SECONDS = 600.0  # a file tells which calls were kept for a while; the keeper drops it when the next one begins
RETRY_SECONDS = 1.0  # between two attempts to write to a disk that takes no more
SYNC_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)  # buckets of the metrics

NO_CALL = "0" * 26  # the call id of sixteen zero bytes, which no call has: stands where an entry is of no call

Job = Callable[[JournalWriter], None]
Then = Callable[[], None]

log = logging.getLogger("mitschnitt.recorder")


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
        on_synced: Callable[[list[Then]], None],
        on_full: Callable[[], None],
    ) -> None:
        self._open_writer = open_writer
        self._writer = open_writer()
        self._recorder = recorder
        self._on_synced = on_synced
        self._on_full = on_full
        self._then: list[Then] = []
        self._unsynced: list[tuple[int, Job]] = []  # seq and job of what a failed disk may still lose
        self._is_stuck = False
        self._file_began = time.monotonic()
        self.syncs = Buckets(SYNC_SECONDS)
        self._jobs: queue.SimpleQueue[tuple[Job, Then | None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)
        self._thread.start()

    @property
    def refuses(self) -> bool:
        """Whether nothing can be journalled at this moment: then nothing may be kept."""
        return self._is_stuck or not self._thread.is_alive()

    def arrived(
        self,
        call: str,
        key: LeasedKey,
        fields: Mapping[str, Any],
        pages: Sequence[Page] = (),
        *,
        policy: str,
        at: datetime,
    ) -> None:
        """A call exists and uses this leased key; `fields` (references, addresses, agent) are sealed.

        `policy` is the hash of the one that it began with and that applies to it until it is over; `pages` are what
        its persons read if nothing more is ever told.
        """

        def job(writer: JournalWriter) -> None:
            sealed = self._seal(key, "arrived", fields, writer.next_seq)
            data = {
                "index": key.index,
                "block": key.block,
                "policy": policy,
                "sealed": sealed,
                "pages": _sealed_pages(call, pages),
            }
            writer.append(call, "arrived", data, at=rfc3339(at))

        self._jobs.put((job, None))

    def track(
        self, call: str, party: int, role: str, codecs: Mapping[int, Coded],
        binding: Sequence[Mapping[str, Any]] = (), *, at: datetime,
    ) -> None:  # fmt: skip
        """Kept media of this party begins, or comes by another way; recovery finishes what has a track.

        `binding` says what all of it rests on: a list of {label, session, association, cname}.
        """
        named = {str(number): list(codec) for number, codec in codecs.items()}
        data = {"party": party, "track": party, "role": role, "codecs": named, "started_at": rfc3339(at)}
        self._append(call, "track", {**data, "binding": list(binding)}, at)

    def draw(self, data: Mapping[str, Any], *, on: date, then: Then) -> None:
        """A draw or a unit of a cap. Names no call, and no time but its day: a journal joins no call to its draw."""
        at = datetime(on.year, on.month, on.day, tzinfo=UTC)
        self._append(NO_CALL, "draw", data, at, then=then)

    def shred(self, call: str, *, at: datetime) -> None:
        """The keys of this call are to be punctured now."""
        self._append(call, "shred", {"party": None}, at)

    def sealed(self, call: str, data: Mapping[str, Any], *, at: datetime, then: Then) -> None:
        """A party's files are written, synced and named; `then` goes to `on_synced` once this is durable."""
        self._append(call, "sealed", data, at, then=then)

    def closed(
        self,
        call: str,
        decision: Mapping[str, Any],
        officer_key: bytes,
        *,
        kept: str,
        ladders: Sequence[Ladder],
        pages: Sequence[Page] = (),
        also: Sequence[str] = (),
        names: Mapping[int, str] = MappingProxyType({}),
        at: datetime,
    ) -> None:
        """The call is over. `kept` is `kept` or `not_kept`; the decision opens with the officer's key only.

        Each of the `pages` opens for its own readers only, and has one size. The ladders of its dialogs stand in the
        decision; outside of it only those of a kept call: a ladder shows whether a call was ever opened. `also` are the
        purposes beside the first that everybody agreed to, `names` pseudonyms of agents by party; of a call that is not
        kept nobody needs them.
        """

        def job(writer: JournalWriter) -> None:
            sealed = b""
            with contextlib.suppress(VaultError):  # no usable key: the keeper writes a decision of its own
                sealed = seal_decision(officer_key, call, decision, ladders)
            data: dict[str, Any] = {"kept": kept == "kept", "decision": base64.b64encode(sealed).decode()}
            data["pages"] = _sealed_pages(call, pages)
            if kept == "kept":
                data["ladders"] = [ladder.to_json() for ladder in ladders[:MAX_LADDERS]]
                data["also"] = list(also)
                data["names"] = {str(party): name for party, name in names.items()}
            writer.append(call, "closed", data, at=rfc3339(at))

        self._jobs.put((job, None))

    def close(self) -> None:
        """Write what waits, then end the thread."""
        self._jobs.put(None)
        self._thread.join()

    def _seal(self, key: LeasedKey, kind: str, fields: Mapping[str, Any], seq: int) -> str:
        facts_key = artefact_key(leaf_key(key.node, FACTS_LEAF), Kind.FACTS, 0)
        nonce = self._recorder.to_bytes(4, "big") + seq.to_bytes(8, "big")
        sealed = AESGCM(facts_key).encrypt(nonce, json.dumps(fields, sort_keys=True).encode(), kind.encode())
        return base64.b64encode(sealed).decode()

    def _append(self, call: str, kind: str, data: Mapping[str, Any], at: datetime, *, then: Then | None = None) -> None:
        self._jobs.put((lambda writer: _entry(writer, call, kind, data, at), then))

    def _run(self) -> None:
        going_on = True
        while going_on:
            jobs = [self._jobs.get()]
            while not self._jobs.empty():
                jobs.append(self._jobs.get())
            going_on = None not in jobs
            self._rotate_if_old()
            for job in jobs:
                if job is not None:
                    self._write(*job)
            began = time.monotonic()
            self._until_taken(lambda writer: writer.sync())
            self.syncs.add(time.monotonic() - began)
            self._unsynced.clear()
            done, self._then = self._then, []
            self._on_synced(done)
        self._writer.close()

    def _rotate_if_old(self) -> None:
        if time.monotonic() - self._file_began >= ROTATE_SECONDS:
            self._until_taken(lambda writer: writer.rotate())
            self._file_began = time.monotonic()

    def _write(self, job: Job, then: Then | None) -> None:
        try:
            self._until_taken(job)
        except (VaultError, TypeError, ValueError):
            # One entry that cannot be written must not hold up those behind it: one may be a withdrawal.
            log.exception("an entry could not be journalled and was passed over")
        else:
            self._unsynced.append((self._writer.next_seq - 1, job))
            if then is not None:
                self._then.append(then)

    def _until_taken(self, job: Job) -> None:
        while not _took(self._writer, job):
            self._is_stuck = True
            self._on_full()
            time.sleep(RETRY_SECONDS)
            self._reopen_if_failed()
        self._is_stuck = False

    def _reopen_if_failed(self) -> None:
        # A writer whose fdatasync failed refuses everything; a new one goes on with what is on disk. The old one
        # is closed first: what it still manages to write must be seen by the new one.
        if not _took(self._writer, lambda writer: writer.sync()):
            _took(self._writer, lambda writer: writer.close())
            with contextlib.suppress(NoSpace, OSError):
                self._writer = self._open_writer()
                self._write_again()

    def _write_again(self) -> None:
        """What the failed writer took and the disk has not, in the same order, so with the same seq."""
        lost = [(seq, job) for seq, job in self._unsynced if seq >= self._writer.next_seq]
        for _, job in lost:
            if not _took(self._writer, job):
                _took(self._writer, lambda writer: writer.close())  # so that all of it is tried again
                return


def _sealed_pages(call: str, pages: Sequence[Page]) -> dict[str, str]:
    sealed = {}
    for page in pages:
        with contextlib.suppress(VaultError):  # does not fit: the keeper writes one that nobody opens
            sealed[page.person] = seal_page(page.person, call, page.readers, page.told)
    return {person: base64.b64encode(page).decode() for person, page in sealed.items()}


def _took(writer: JournalWriter, job: Job) -> bool:
    """Whether the disk took it. The error ends here: its traceback would hold on to the writer's buffer."""
    try:
        job(writer)
    except NoSpace:
        return False
    return True


def _entry(writer: JournalWriter, call: str, kind: str, data: Mapping[str, Any], at: datetime) -> None:
    writer.append(call, kind, data, at=rfc3339(at))
