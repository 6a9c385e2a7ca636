"""What a recorder left when it died: its calls are finished from the media journal, with the reason `truncated`.

Runs the same `finish_party` as the normal end, on purpose. A call that was shredded, or of which nothing was
kept, leaves nothing. Every step may be repeated: a crash in here is repaired by the next run.
"""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from mitschnitt.core.call import decode_call_id
from mitschnitt.core.policy import Policy
from mitschnitt.errors import KeyGone
from mitschnitt.keeper.apply import Applier, Holdings, close_call
from mitschnitt.keeper.clock import rfc3339
from mitschnitt.keeper.decisions import own_decision
from mitschnitt.keeper.keyring import Span
from mitschnitt.keeper.pages import pages_at_end
from mitschnitt.store import queries
from mitschnitt.store.queries import BlobRow, CallRow, PartyRow
from mitschnitt.vault import slice_files
from mitschnitt.vault.artefact import Coded, PartyHeader, PlainSlices
from mitschnitt.vault.blobs import Blobs, sync_directory
from mitschnitt.vault.derive import Kind, artefact_name
from mitschnitt.vault.finish import SALT_BYTES, SealedParty, finish_party, opened
from mitschnitt.vault.slice_index import SliceIndex
from mitschnitt.vault.slices import SealedSlice

TRUNCATED = "truncated"
Random = Callable[[int], bytes]

log = logging.getLogger("mitschnitt.keeper")


@dataclass(frozen=True, slots=True)
class _Finished:
    """What recovery made of one call."""

    row: CallRow
    parties: tuple[PartyRow, ...]

    @property
    def kept(self) -> bool:
        return bool(self.parties)


def recover(
    applier: Applier,
    holdings: Holdings,
    blobs: Blobs,
    *,
    boot: str,
    now: datetime,
    random: Random = secrets.token_bytes,
) -> int:
    """Finish what a recorder's former lives left; the seq with which its new life begins.

    With the boot that is known already nothing was lost, and only the journal is applied.
    """
    applier.drain()
    if applier.position.boot == boot:
        return applier.position.seq + 1
    # Listed first: the recorder's new life begins to write only after we answered.
    old = [path for _, path in slice_files.segments(applier.directory)] if applier.directory.is_dir() else []
    rows = holdings.writer.submit(lambda connection: queries.live_calls(connection, applier.recorder)).result()
    index = SliceIndex(applier.directory) if rows else None
    finished = [_finish(row, index, holdings, blobs, random=random) for row in rows]
    _forget([call for call in finished if not call.kept], holdings)
    if finished:
        log.info("calls of a recorder that ended were finished", extra={"count": len(finished)})
    holdings.writer.submit(lambda connection: _close_all(connection, finished, holdings, now)).result()
    _retire_leases(applier.recorder, boot, holdings)
    _remove(old, applier.directory)
    applier.set_boot(boot)
    return applier.position.seq + 1


def _finish(row: CallRow, index: SliceIndex | None, holdings: Holdings, blobs: Blobs, *, random: Random) -> _Finished:
    def look(connection: Connection) -> list[PartyRow]:
        return queries.parties_of(connection, row.call_id)

    # Without a policy nobody knows by which rules it may be kept; `Applier` keeps such a call neither.
    if row.tree_index is None or not row.policy_hash or not holdings.keyring.derives(row.tree_index):
        return _Finished(row, ())
    parties = holdings.writer.submit(look).result()
    waiting = [party for party in parties if party.media is None]
    done = [party for party in parties if party.media is not None]
    for party in waiting:
        try:
            leaf = holdings.keyring.leaf_key(row.tree_index, party.party)
        except KeyGone:
            return _Finished(row, ())  # withdrawn while we worked
        mine = [] if index is None else list(index.of_party(decode_call_id(row.call_id), party.party))
        made = _finish_party(party, mine, leaf, blobs, random)
        if made is not None:
            done.append(made)
    return _Finished(row, tuple(done))


def _finish_party(
    party: PartyRow, mine: Sequence[SealedSlice], leaf: bytes, blobs: Blobs, random: Random
) -> PartyRow | None:
    """The party's row with its files, or None when the journal holds nothing of it."""
    call_id = decode_call_id(party.call_id)
    for kind in (Kind.MEDIA, Kind.TIMELINE):
        # No `sealed` entry: whatever lies there is the rest of an end that did not come to its end.
        blobs.delete(artefact_name(call_id, party.party, kind))
    last = _last_arrival(mine, leaf, party.party)
    if last is None:
        return None
    codecs = {int(number): _coded(codec) for number, codec in json.loads(party.codecs).items()}
    sealed = finish_party(
        opened(mine, leaf_key=leaf, party=party.party),
        leaf_key=leaf,
        call_id=call_id,
        party=party.party,
        header=PartyHeader(codecs, party.started_at, rfc3339(last), TRUNCATED),
        blobs=blobs,
        salts=(random(SALT_BYTES), random(SALT_BYTES)),
    )
    return _row_of(party, sealed)


def _coded(codec: Sequence[Any]) -> Coded:
    """A codec as the recorder's `track` entry names it, with channels and parameters where they matter."""
    name, clock, *form = codec
    return (str(name), int(clock), int(form[0]), str(form[1])) if form else (str(name), int(clock))


def _last_arrival(mine: Sequence[SealedSlice], leaf: bytes, party: int) -> datetime | None:
    """When the newest packet of the newest whole slice arrived; None when there is none."""
    for piece in reversed(mine):
        for plain in opened([piece], leaf_key=leaf, party=party):
            arrived = _arrival_ns(plain)
            if arrived:
                return datetime.fromtimestamp(arrived / 1e9, UTC)
    return None


def _arrival_ns(plain: PlainSlices) -> int:
    return int(plain.runs["arrival_ns"].max()) if plain.runs.size else 0


def _row_of(party: PartyRow, sealed: SealedParty) -> PartyRow:
    return PartyRow(
        call_id=party.call_id,
        party=party.party,
        role=party.role,
        track=party.track,
        codecs=party.codecs,
        started_at=party.started_at,
        ended_at=sealed.ended_at,
        reason=sealed.reason,
        media=BlobRow(sealed.media_name, sealed.media_size, sealed.media_sha256),
        timeline=BlobRow(sealed.timeline_name, sealed.timeline_size, sealed.timeline_sha256),
        binding=party.binding,
    )


def _forget(calls: Sequence[_Finished], holdings: Holdings) -> None:
    """Puncture, then remove files, of calls of which nothing is kept."""
    if not calls:
        return
    spans = [Span(call.row.tree_index) for call in calls if call.row.tree_index is not None]
    holdings.punctures.request(spans).result()
    for call in calls:
        holdings.vault.remove(decode_call_id(call.row.call_id), None)


def _close_all(connection: Connection, calls: Sequence[_Finished], holdings: Holdings, now: datetime) -> None:
    for call in calls:
        for party in call.parties:
            queries.seal_party(connection, party)
        outcome = queries.KEPT if call.kept else queries.NOT_KEPT
        decision = own_decision(
            holdings.officer_key,
            call.row.call_id,
            outcome=outcome,
            rule="recorder.truncated" if call.kept else "recorder.lost",
            policy=call.row.policy_hash,
        )
        closing = CallRow(
            call.row.call_id,
            call.row.recorder,
            None,
            call.row.arrived_day,
            queries.NOT_KEPT,
            call.row.purpose,
            call.row.policy_hash,
            None,
            decision,
        )
        pages = pages_at_end(call.row.call_id, {}, agents_read=False)  # the agents' died with their recorder
        due = _due(call, holdings.policies.get(call.row.policy_hash), now) if call.kept else None
        close_call(connection, closing, pages, due=due)


def _due(call: _Finished, policy: Policy, now: datetime) -> datetime:
    ends = [datetime.fromisoformat(party.ended_at) for party in call.parties if party.ended_at]
    return policy.due_at(min(max(ends, default=now), now))


def _retire_leases(recorder: int, boot: str, holdings: Holdings) -> None:
    old = holdings.leases.unused(recorder, boot)

    def used(connection: Connection) -> set[int]:
        return {index for lease in old for index in queries.used_indices(connection, lease.first, lease.count)}

    holdings.leases.retire(old, holdings.writer.submit(used).result())


def _remove(paths: Sequence[Path], directory: Path) -> None:
    """The media journal of former lives; a crash before it leaves slices of closed calls, which are removed then."""
    for path in paths:
        path.unlink(missing_ok=True)
    if paths:
        sync_directory(directory)
