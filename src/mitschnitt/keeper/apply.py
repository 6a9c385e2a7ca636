"""Applies one recorder's event journal to keys, files and database, by (recorder, seq).

What must be gone goes first, from memory and without the database: a locked database holds up rows, never an
erasure. Nothing here looks into sealed fields. All methods of an Applier run on one thread.
"""

from __future__ import annotations

import itertools
import json
import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

from sqlalchemy import Connection

from mitschnitt.core.call import decode_call_id
from mitschnitt.core.policy import Policy
from mitschnitt.core.pseudonym import SPEAKABLE
from mitschnitt.core.purpose import Purpose
from mitschnitt.errors import ConfigError, MitschnittError
from mitschnitt.keeper.bindings import binding_text
from mitschnitt.keeper.clock import rfc3339
from mitschnitt.keeper.decisions import decision_in, own_decision
from mitschnitt.keeper.draw_entries import draw_change
from mitschnitt.keeper.keyring import Keyring, Span
from mitschnitt.keeper.ladders import ladders_in
from mitschnitt.keeper.leases import Leases
from mitschnitt.keeper.pages import pages_at_end, pages_in, write_pages
from mitschnitt.keeper.policies import Policies
from mitschnitt.keeper.punctures import Punctures
from mitschnitt.keeper.purposes import due_of, purposes_in
from mitschnitt.store import page_queries, queries
from mitschnitt.store.purpose_queries import add_purposes
from mitschnitt.store.queries import BlobRow, CallRow, PartyRow, Position
from mitschnitt.store.writer import Writer
from mitschnitt.vault.blobs import checked_name
from mitschnitt.vault.derive import PARTY_LEAVES
from mitschnitt.vault.door import Vault
from mitschnitt.vault.journal import Entry
from mitschnitt.vault.journal_files import JournalReader, segment_name, segments

MAX_WAITING = 100_000  # entries read ahead of a locked database, some 100 MB; more stay in the journal
MAX_GONE = 1_000  # a withdrawal that comes twice comes within seconds
MAX_AT_ONCE = 1_000  # entries in one transaction
WAIT_SECONDS = 0.2  # for a transaction, before new entries are looked through for erasures again
ROLES = ("caller", "agent", "third")

log = logging.getLogger("mitschnitt.keeper")
Change = Callable[[Connection], None]


@dataclass(frozen=True, slots=True)
class Holdings:
    """What applying, recovering and erasing act on; one for the whole keeper."""

    writer: Writer
    keyring: Keyring
    punctures: Punctures
    leases: Leases
    vault: Vault
    policies: Policies
    officer_key: bytes
    gone: list[Callable[[str], None]] = field(default_factory=list)  # who hears at once which kept call was erased


@dataclass(slots=True)
class LiveCall:
    """A call that is not closed, as the journal tells it."""

    index: int | None  # None: it has no key of its own lease, so nothing of it can be kept
    policy: Policy | None  # that it began with; None: nobody knows by which rules it may be kept, so it is not
    sealed: set[int] = field(default_factory=set)  # parties whose files are written
    gone: bool = False  # punctured

    @property
    def policy_hash(self) -> str:
        """For its row."""
        return self.policy.hash if self.policy is not None else ""

    @property
    def purpose(self) -> Purpose:
        """What its audio would be kept for."""
        return self.policy.purpose if self.policy is not None else Purpose("")


@dataclass(frozen=True, slots=True)
class _Step:
    """An entry that was looked through, with what it changes in the database."""

    change: Change
    segment: int
    offset: int
    seq: int


class Applier:
    """The journal of one recorder."""

    def __init__(self, recorder: int, directory: Path, holdings: Holdings) -> None:
        self.recorder = recorder
        self.directory = directory
        self._holdings = holdings
        self._reader = JournalReader(directory)
        self._waiting: deque[_Step] = deque()
        self._flying: tuple[Future[None], Position, int] | None = None
        self._withdrawn: set[str] = set()  # before the journal told of the call
        self._live: dict[str, LiveCall] = {}
        self._closing: dict[str, bool] = {}  # of the batch that is looked through: whether the call was kept
        self.outcomes: Counter[str] = Counter()  # calls that closed, by their one word
        self._gone: deque[str] = deque(maxlen=MAX_GONE)  # calls that were punctured last
        position = holdings.writer.submit(self._load).result()
        self._applied = self._read = position

    def _load(self, connection: Connection) -> Position:
        for row in queries.live_calls(connection, self.recorder):
            call = LiveCall(row.tree_index, self._holdings.policies.get(row.policy_hash) if row.policy_hash else None)
            call.sealed = {party.party for party in queries.parties_of(connection, row.call_id) if party.media}
            self._live[row.call_id] = call
        return queries.position_of(connection, self.recorder) or Position("", 0, 0, 0)

    @property
    def position(self) -> Position:
        """How far the database is."""
        return self._applied

    @property
    def lag(self) -> int:
        """Entries that were read and are not in the database yet."""
        return len(self._waiting)

    def step(self) -> None:
        """Look through what is new, erase what must go, and move the database on if it lets us.

        Raises NoSpace or VaultError when keys could not be punctured or the journal is damaged; the next call
        begins where this one failed.
        """
        self._look_through()
        self._land()
        if self._waiting and self._flying is None:
            self._take_off()
            self._land()

    def drain(self) -> None:
        """Until everything that is in the journal now is in the database."""
        self.step()
        while self._waiting:
            self.step()

    def withdraw(self, call_id: str) -> bool:
        """A party took consent back: puncture now. False when nothing of the call was seen, or it is over and kept."""
        self._look_through()
        if call_id in self._gone:
            return True  # the recorder heard it, too, and its journal was faster; a locked database holds up nothing
        call = self._live.get(call_id)
        if call is None:
            self._withdrawn.add(call_id)
            return False
        self._erase({call_id: call})
        return True

    def forget_withdrawal(self, call_id: str) -> None:
        """The call will not come any more."""
        self._withdrawn.discard(call_id)

    def set_boot(self, boot: str) -> None:
        """The recorder has a new life; all of its former one is applied (call `drain` before)."""
        position = replace(self._applied, boot=boot)
        recorder = self.recorder
        writer = self._holdings.writer
        writer.submit(lambda connection: queries.move_position(connection, recorder, position)).result()
        self._applied = position
        self._read = replace(self._read, boot=boot)
        self._live.clear()
        self._withdrawn.clear()

    # -- reading ---------------------------------------------------------------------------------

    def _has_more(self) -> bool:
        """Whether the directory says so; reading unchanged megabytes five times a second would be dear."""
        if not self.directory.is_dir():
            return False
        found = segments(self.directory)
        if not found:
            return False
        newest = found[-1]
        if newest > self._read.segment:
            return True
        return (self.directory / segment_name(newest)).stat().st_size > self._read.offset

    def _look_through(self) -> None:
        if len(self._waiting) >= MAX_WAITING or not self._has_more():
            return
        found = self._reader.read_from(self._read.segment, self._read.offset)
        batch = list(itertools.islice(found, MAX_AT_ONCE))
        if not batch:
            return
        doomed: dict[str, LiveCall] = {}
        steps = [_Step(self._take(entry, doomed), place, offset, entry.seq) for entry, place, offset in batch]
        # What must be gone shares one puncture, before any row. When that fails nothing is taken: the batch is
        # read again, and taking an entry twice changes nothing.
        self._erase(doomed)
        for entry, _, _ in batch:
            if entry.type == "closed":
                self._live.pop(entry.call, None)
                self._withdrawn.discard(entry.call)
                self.outcomes[queries.KEPT if self._closing.pop(entry.call, False) else queries.NOT_KEPT] += 1
        self._waiting.extend(steps)
        last = steps[-1]
        self._read = replace(self._read, segment=last.segment, offset=last.offset, seq=last.seq)

    def _take(self, entry: Entry, doomed: dict[str, LiveCall]) -> Change:
        """What an entry changes in the database; calls that must be gone are added to `doomed`."""
        takers = {
            "arrived": self._arrived,
            "track": self._track,
            "shred": self._shred,
            "sealed": self._sealed,
            "closed": self._closed,
            "draw": self._draw,
        }
        taker = takers.get(entry.type)
        try:
            return _nothing if taker is None else taker(entry, doomed)
        except (KeyError, TypeError, ValueError):
            log.exception("a journal entry could not be understood and was passed over", extra={"seq": entry.seq})
            return _nothing

    def _arrived(self, entry: Entry, doomed: dict[str, LiveCall]) -> Change:
        index, block = int(entry.data["index"]), int(entry.data["block"])
        call = self._live.get(entry.call)
        if call is None:
            own = self._holdings.leases.claim(self.recorder, block, index)
            if not own:
                log.error("a call names a key that its recorder was not given", extra={"seq": entry.seq})
            call = self._live[entry.call] = LiveCall(index if own else None, self._policy_of(entry))
        if entry.call in self._withdrawn:
            doomed[entry.call] = call
        row = CallRow(
            call_id=entry.call,
            recorder=self.recorder,
            tree_index=call.index,
            arrived_day=entry.at[:10],
            state=queries.LIVE,
            purpose=call.purpose,
            policy_hash=call.policy_hash,
            due_at=None,
            sealed_decision=None,
        )
        pages = pages_in(entry.data)  # as they are to be read if the recorder never comes to its end

        def change(connection: Connection) -> None:
            queries.add_call(connection, row)
            page_queries.add_pages(connection, entry.call, pages)

        return change

    def _policy_of(self, entry: Entry) -> Policy | None:
        """The policy that a call began with, as its recorder tells; "" is a call that no view had reached."""
        digest = str(entry.data.get("policy", ""))
        try:
            return self._holdings.policies.get(digest) if digest else None
        except ConfigError:
            log.exception("a call names a policy that is not known here; it is not kept", extra={"seq": entry.seq})
            return None

    def _draw(self, entry: Entry, _doomed: dict[str, LiveCall]) -> Change:
        return draw_change(self.recorder, entry.data)

    def _track(self, entry: Entry, _doomed: dict[str, LiveCall]) -> Change:
        if entry.call not in self._live:
            return _nothing
        row = _party_row(entry)
        return lambda connection: queries.begin_track(connection, row)

    def _shred(self, entry: Entry, doomed: dict[str, LiveCall]) -> Change:
        # One party's withdrawal ends the recording of all (Art. 7(3) GDPR, core/consent): the whole call goes.
        call = self._live.get(entry.call)
        if call is None:
            return _nothing
        doomed[entry.call] = call
        return lambda connection: queries.drop_parties(connection, entry.call)

    def _sealed(self, entry: Entry, _doomed: dict[str, LiveCall]) -> Change:
        call = self._live.get(entry.call)
        if call is None or call.gone:
            return _nothing
        row = replace(
            _party_row(entry),
            media=_blob_row(entry.data["media"]),
            timeline=_blob_row(entry.data["timeline"]),
            reason=str(entry.data["reason"])[:32],
            ended_at=_time(entry.data["ended_at"]),
        )
        call.sealed.add(row.party)
        return lambda connection: queries.seal_party(connection, row)

    def _closed(self, entry: Entry, doomed: dict[str, LiveCall]) -> Change:
        holdings, call = self._holdings, self._live.get(entry.call)
        decision = decision_in(entry.data)
        kept = (
            entry.data["kept"] is True
            and call is not None
            and call.index is not None
            and call.policy is not None
            and bool(call.sealed)
            and entry.call not in doomed
            and not call.gone
            and holdings.keyring.derives(call.index)
        )
        self._closing[entry.call] = kept
        if call is not None and not kept:
            doomed[entry.call] = call
        if decision is None:
            outcome = queries.KEPT if kept else queries.NOT_KEPT
            log.error("a decision is missing or has another size; it is replaced", extra={"seq": entry.seq})
            decision = own_decision(
                holdings.officer_key,
                entry.call,
                outcome=outcome,
                rule="decision.missing",
                policy=call.policy_hash if call is not None else "",
            )
        row = CallRow(
            entry.call,
            self.recorder,
            None,
            entry.at[:10],
            "not_kept",
            call.purpose if call is not None else "",
            call.policy_hash if call is not None else "",
            None,
            decision,
        )
        policy = call.policy if call is not None and kept else None
        also = purposes_in(entry.data, policy) if policy is not None else ()
        due = due_of(policy, also, datetime.fromisoformat(entry.at)) if policy is not None else None
        ladders = ladders_in(entry.data) if kept else ""
        # Of a call that is not kept the recorder sealed the agents' page to nobody; what it took for kept may not be.
        agents_read = kept or entry.data["kept"] is not True
        pages = pages_at_end(entry.call, pages_in(entry.data), agents_read=agents_read)
        names = names_in(entry.data) if kept else {}
        return lambda connection: close_call(connection, row, pages, due=due, ladders=ladders, also=also, names=names)

    def _erase(self, doomed: Mapping[str, LiveCall]) -> None:
        """Puncture, then remove files. A crash between leaves files that no key opens; the entry is taken again."""
        if not doomed:
            return
        # Once, however a call came to its end: a second row of one key would tell which were withdrawn.
        spans = [Span(call.index) for call in doomed.values() if call.index is not None and not call.gone]
        if spans:
            self._holdings.punctures.request(spans).result()
        for name, call in doomed.items():
            call.gone = True
            self._gone.append(name)
            call.sealed.clear()
            self._holdings.vault.remove(decode_call_id(name), None)

    # -- the database ----------------------------------------------------------------------------

    def _take_off(self) -> None:
        steps = list(itertools.islice(self._waiting, MAX_AT_ONCE))
        last, recorder = steps[-1], self.recorder
        position = Position(self._applied.boot, last.segment, last.offset, last.seq)

        def apply(connection: Connection) -> None:
            for step in steps:
                step.change(connection)
            # In the same transaction: rows and position are both there after a crash, or neither is.
            queries.move_position(connection, recorder, position)

        self._flying = (self._holdings.writer.submit(apply), position, len(steps))

    def _land(self) -> None:
        if self._flying is None:
            return
        future, position, count = self._flying
        try:
            future.result(WAIT_SECONDS)
        except FutureTimeoutError:
            return
        except MitschnittError:
            log.warning("the database took nothing; the journal keeps it", extra={"count": len(self._waiting)})
            self._flying = None
            time.sleep(WAIT_SECONDS)
            return
        self._flying = None
        for _ in range(count):
            self._waiting.popleft()
        if position.segment != self._applied.segment:
            self._reader.drop_before(position.segment)
        self._applied = position


def close_call(
    connection: Connection,
    row: CallRow,
    pages: Mapping[str, bytes],
    *,
    due: datetime | None,
    ladders: str = "",
    also: Sequence[str] = (),
    names: Mapping[int, str] = MappingProxyType({}),
) -> None:
    """The call of `row` is over: kept until `due`, or with None nothing of it is left. A closed call stays as it is.

    `pages` are those of its persons; `ladders` is JSON of a kept call's dialogs, "" when nobody told of them; `also`
    are purposes that everybody agreed to beside the first, `names` the pseudonyms of its agents by party.
    """
    state = queries.state_of(connection, row.call_id)
    if state is None:
        queries.add_call(connection, row)
    elif state == queries.LIVE and due is not None and row.sealed_decision is not None:
        queries.drop_unsealed(connection, row.call_id)
        queries.close_kept(connection, row.call_id, due_at=rfc3339(due), decision=row.sealed_decision)
        if ladders:
            queries.add_ladders(connection, row.call_id, ladders)
        add_purposes(connection, row.call_id, also)
        for party, name in names.items():
            queries.name_party(connection, row.call_id, party, name)
    elif state == queries.LIVE:
        queries.close_not_kept(connection, row.call_id, decision=row.sealed_decision)
    if state in (None, queries.LIVE):
        write_pages(connection, row.call_id, pages)


def names_in(data: Mapping[str, Any]) -> dict[int, str]:
    """The pseudonyms in a `closed` entry, by party; what is none is left out."""
    told = data.get("names")
    if not isinstance(told, dict):
        return {}
    return {
        int(party): name
        for party, name in told.items()
        if party.isdecimal() and int(party) < PARTY_LEAVES and isinstance(name, str) and SPEAKABLE.fullmatch(name)
    }


def _nothing(_connection: Connection) -> None:
    """An entry that changes no row."""


def _time(text: object) -> str:
    return rfc3339(datetime.fromisoformat(str(text)))


def _party_row(entry: Entry) -> PartyRow:
    data = entry.data
    party, role = int(data["party"]), data.get("role")
    if not 0 <= party < PARTY_LEAVES:
        raise ValueError("a party has no leaf of this number")
    codecs = json.dumps(data.get("codecs", {}), sort_keys=True, separators=(",", ":"))
    return PartyRow(
        call_id=entry.call,
        party=party,
        role=str(role) if role in ROLES else "",
        track=int(data.get("track", party)),
        codecs=codecs,
        started_at=_time(data["started_at"]),
        binding=binding_text(data.get("binding")),
    )


def _blob_row(data: Mapping[str, Any]) -> BlobRow:
    return BlobRow(checked_name(str(data["name"])), int(data["size"]), str(data["sha256"])[:64])
