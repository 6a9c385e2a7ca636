"""Every question that is put to the domain database, by name. Takes a connection, opens none, decides nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Row, delete, func, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from mitschnitt.store.tables import (
    accesses,
    call_purposes,
    calls,
    grants,
    journal_offsets,
    ladders,
    leases,
    parties,
    punctures,
)

LIVE, KEPT, NOT_KEPT = "live", "kept", "not_kept"


@dataclass(frozen=True, slots=True)
class CallRow:
    """A call as the database knows it. Its decision is written with it, and only `decision_of` brings it back."""

    call_id: str
    recorder: int
    tree_index: int | None
    arrived_day: str
    state: str
    purpose: str
    policy_hash: str
    due_at: str | None
    sealed_decision: bytes | None = None


@dataclass(frozen=True, slots=True)
class BlobRow:
    """A sealed file: its name, its size in bytes, the SHA-256 of its bytes in hex."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class PartyRow:
    """What is kept of one party; `media` is None until its files are sealed."""

    call_id: str
    party: int
    role: str
    track: int
    codecs: str  # JSON object {payload type: [name, clock in Hz]}
    started_at: str
    ended_at: str | None = None
    reason: str | None = None
    media: BlobRow | None = None
    timeline: BlobRow | None = None
    pseudonym: str | None = None  # of an agent, once the call is closed
    binding: str | None = None  # JSON list of {label, session, association, cname}, oldest first


@dataclass(frozen=True, slots=True)
class Position:
    """How far a recorder's journal was applied: byte `offset` of `segment`; `seq` is the last entry's, 0 for none."""

    boot: str
    segment: int
    offset: int
    seq: int


@dataclass(frozen=True, slots=True)
class Lease:
    """A block of call keys that a recorder was given."""

    block: int
    recorder: int
    boot: str
    first: int
    count: int


@dataclass(frozen=True, slots=True)
class PunctureRow:
    """What the tree must no longer derive: `count` calls from `first` on, or one leaf of one call."""

    epoch: int
    first: int
    count: int
    leaf: int | None


@dataclass(frozen=True, slots=True)
class AccessRow:
    """One access to a recording."""

    call_id: str
    role: str
    purpose: str
    at: str
    rule: str


# Calls


def add_call(connection: Connection, row: CallRow) -> None:
    """A call exists. Nothing happens when it does already: entries may be applied twice."""
    connection.execute(
        upsert(calls)
        .values(
            call_id=row.call_id,
            recorder=row.recorder,
            tree_index=row.tree_index,
            arrived_day=row.arrived_day,
            state=row.state,
            purpose=row.purpose,
            policy_hash=row.policy_hash,
            due_at=row.due_at,
            sealed_decision=row.sealed_decision,
        )
        .on_conflict_do_nothing(index_elements=[calls.c.call_id])
    )


# Without the decision: what is not asked for cannot be told, logged or measured.
_CALL = select(*(column for column in calls.c if column.name != "sealed_decision"))


def call_by_id(connection: Connection, call_id: str) -> CallRow | None:
    """The call without its decision, or None."""
    row = connection.execute(_CALL.where(calls.c.call_id == call_id)).one_or_none()
    return None if row is None else CallRow(*row)


def state_of(connection: Connection, call_id: str) -> str | None:
    """The one word for a call, or None."""
    found = connection.execute(select(calls.c.state).where(calls.c.call_id == call_id)).scalar_one_or_none()
    return None if found is None else str(found)


def decision_of(connection: Connection, call_id: str) -> bytes | None:
    """The sealed decision of a call, for the officer; None while it runs."""
    found = connection.execute(select(calls.c.sealed_decision).where(calls.c.call_id == call_id)).scalar_one_or_none()
    return None if found is None else bytes(found)


def listed_calls(connection: Connection) -> list[tuple[str, str, str]]:
    """(call id, day, word) of all calls by day, then by id: an order that tells nothing of when in the day, or why."""
    wanted = select(calls.c.call_id, calls.c.arrived_day, calls.c.state).order_by(calls.c.arrived_day, calls.c.call_id)
    return [(row.call_id, row.arrived_day, row.state) for row in connection.execute(wanted)]


def all_calls(connection: Connection) -> list[CallRow]:
    """All calls without their decisions, in the same order."""
    return [CallRow(*row) for row in connection.execute(_CALL.order_by(calls.c.arrived_day, calls.c.call_id))]


def any_call(connection: Connection) -> bool:
    """Whether there was ever a call."""
    return connection.execute(select(calls.c.call_id).limit(1)).first() is not None


def live_calls(connection: Connection, recorder: int) -> list[CallRow]:
    """Calls of a recorder that are not closed."""
    wanted = _CALL.where(calls.c.recorder == recorder, calls.c.state == LIVE)
    return [CallRow(*row) for row in connection.execute(wanted.order_by(calls.c.call_id))]


def close_kept(connection: Connection, call_id: str, *, due_at: str, decision: bytes) -> None:
    """The call is over and something of it lies in the vault."""
    connection.execute(
        update(calls).where(calls.c.call_id == call_id).values(state=KEPT, due_at=due_at, sealed_decision=decision)
    )


def close_not_kept(connection: Connection, call_id: str, *, decision: bytes | None = None) -> None:
    """Nothing of the call is left. Without `decision` the one that is there stays (an erasure later on)."""
    values: dict[str, object] = {"state": NOT_KEPT, "tree_index": None, "due_at": None}
    if decision is not None:
        values["sealed_decision"] = decision
    connection.execute(delete(parties).where(parties.c.call_id == call_id))
    connection.execute(delete(ladders).where(ladders.c.call_id == call_id))
    connection.execute(delete(call_purposes).where(call_purposes.c.call_id == call_id))
    connection.execute(update(calls).where(calls.c.call_id == call_id).values(**values))


def add_ladders(connection: Connection, call_id: str, rungs: str) -> None:
    """What went over the wire of a kept call, as JSON; told twice it is one."""
    values = {"call_id": call_id, "rungs": rungs}
    connection.execute(upsert(ladders).values(**values).on_conflict_do_nothing(index_elements=[ladders.c.call_id]))


def ladders_of(connection: Connection, call_id: str) -> str:
    """The JSON of a kept call's ladders; `[]` for any other."""
    wanted = select(ladders.c.rungs).join(calls, calls.c.call_id == ladders.c.call_id)
    found = connection.execute(wanted.where(ladders.c.call_id == call_id, calls.c.state == KEPT)).scalar_one_or_none()
    return "[]" if found is None else str(found)


# Parties


def begin_track(connection: Connection, row: PartyRow) -> None:
    """Kept media of a party begins; a second beginning changes its codecs, and what its binding rests on."""
    connection.execute(
        upsert(parties)
        .values(
            call_id=row.call_id,
            party=row.party,
            role=row.role,
            track=row.track,
            codecs=row.codecs,
            started_at=row.started_at,
            binding=row.binding,
        )
        .on_conflict_do_update(
            index_elements=[parties.c.call_id, parties.c.party], set_={"binding": row.binding, "codecs": row.codecs}
        )
    )


def seal_party(connection: Connection, row: PartyRow) -> None:
    """The party's two files are written; makes the row if `track` was never told."""
    sealed = {
        f"{kind}_{field}": getattr(blob, field) if blob else None
        for kind, blob in (("media", row.media), ("timeline", row.timeline))
        for field in ("name", "size", "sha256")
    }
    sealed |= {"reason": row.reason, "started_at": row.started_at, "ended_at": row.ended_at}
    new = {
        "call_id": row.call_id,
        "party": row.party,
        "role": row.role,
        "track": row.track,
        "codecs": row.codecs,
    }
    connection.execute(
        upsert(parties)
        .values(**new, **sealed)
        .on_conflict_do_update(index_elements=[parties.c.call_id, parties.c.party], set_=sealed)
    )


def name_party(connection: Connection, call_id: str, party: int, pseudonym: str) -> None:
    """How an agent is called towards those who hear this call."""
    named = update(parties).where(parties.c.call_id == call_id, parties.c.party == party)
    connection.execute(named.values(pseudonym=pseudonym))


def drop_parties(connection: Connection, call_id: str) -> None:
    """Nothing of any party of this call is kept."""
    connection.execute(delete(parties).where(parties.c.call_id == call_id))


def drop_unsealed(connection: Connection, call_id: str) -> None:
    """Parties whose files were never written had nothing to keep."""
    connection.execute(delete(parties).where(parties.c.call_id == call_id, parties.c.media_name.is_(None)))


def parties_of(connection: Connection, call_id: str) -> list[PartyRow]:
    """The parties of a call by number."""
    wanted = select(parties).where(parties.c.call_id == call_id).order_by(parties.c.party)
    return [_party(row) for row in connection.execute(wanted)]


def _party(row: Row[tuple[object, ...]]) -> PartyRow:
    found = row._mapping
    blobs = {
        kind: BlobRow(found[f"{kind}_name"], found[f"{kind}_size"], found[f"{kind}_sha256"])
        if found[f"{kind}_name"] is not None
        else None
        for kind in ("media", "timeline")
    }
    return PartyRow(
        call_id=found["call_id"],
        party=found["party"],
        role=found["role"],
        track=found["track"],
        codecs=found["codecs"],
        started_at=found["started_at"],
        ended_at=found["ended_at"],
        reason=found["reason"],
        media=blobs["media"],
        timeline=blobs["timeline"],
        pseudonym=found["pseudonym"],
        binding=found["binding"],
    )


# Journals


def position_of(connection: Connection, recorder: int) -> Position | None:
    """How far a recorder's journal was applied, None when nothing was."""
    wanted = select(
        journal_offsets.c.boot, journal_offsets.c.segment, journal_offsets.c.offset, journal_offsets.c.seq
    ).where(journal_offsets.c.recorder == recorder)
    row = connection.execute(wanted).one_or_none()
    return None if row is None else Position(*row)


def move_position(connection: Connection, recorder: int, position: Position) -> None:
    """The journal is applied up to here; belongs into the transaction that applied it."""
    values = {
        "boot": position.boot,
        "segment": position.segment,
        "offset": position.offset,
        "seq": position.seq,
    }
    connection.execute(
        upsert(journal_offsets)
        .values(recorder=recorder, **values)
        .on_conflict_do_update(index_elements=[journal_offsets.c.recorder], set_=values)
    )


# Keys


def next_index(connection: Connection) -> int:
    """The first tree index that no lease ever covered."""
    return int(connection.execute(select(func.coalesce(func.max(leases.c.first + leases.c.count), 0))).scalar_one())


def add_lease(connection: Connection, recorder: int, boot: str, *, first: int, count: int) -> int:
    """A block is about to be handed out; its number."""
    row = insert(leases).values(recorder=recorder, boot=boot, first=first, count=count, state="open")
    return int(connection.execute(row.returning(leases.c.block)).scalar_one())


def lease_by_block(connection: Connection, block: int) -> Lease | None:
    """The block, whether open or closed."""
    row = connection.execute(_LEASE.where(leases.c.block == block)).one_or_none()
    return None if row is None else Lease(*row)


def open_leases(connection: Connection, recorder: int | None = None) -> list[Lease]:
    """Blocks whose unused keys are not punctured yet."""
    wanted = _LEASE.where(leases.c.state == "open")
    if recorder is not None:
        wanted = wanted.where(leases.c.recorder == recorder)
    return [Lease(*row) for row in connection.execute(wanted.order_by(leases.c.block))]


_LEASE = select(leases.c.block, leases.c.recorder, leases.c.boot, leases.c.first, leases.c.count)


def close_leases(connection: Connection, blocks: Iterable[int]) -> None:
    """Nothing of these blocks will be used any more."""
    connection.execute(update(leases).where(leases.c.block.in_(list(blocks))).values(state="closed"))


def used_indices(connection: Connection, first: int, count: int) -> list[int]:
    """Tree indices of a block that a live or kept call uses, ascending."""
    wanted = select(calls.c.tree_index).where(calls.c.tree_index >= first, calls.c.tree_index < first + count)
    return [int(index) for index in connection.execute(wanted.order_by(calls.c.tree_index)).scalars()]


def add_punctures(connection: Connection, rows: Sequence[PunctureRow]) -> None:
    """From this epoch on the tree must not derive these; written before the state that obeys."""
    if rows:
        connection.execute(
            insert(punctures),
            [{"epoch": row.epoch, "first": row.first, "count": row.count, "leaf": row.leaf} for row in rows],
        )


def punctures_from(connection: Connection, epoch: int) -> list[PunctureRow]:
    """Punctures of this epoch and later ones."""
    wanted = select(punctures.c.epoch, punctures.c.first, punctures.c.count, punctures.c.leaf)
    return [PunctureRow(*row) for row in connection.execute(wanted.where(punctures.c.epoch >= epoch))]


def newest_puncture_epoch(connection: Connection) -> int:
    """The epoch of the newest puncture, -1 when there is none."""
    return int(connection.execute(select(func.coalesce(func.max(punctures.c.epoch), -1))).scalar_one())


# Acts and accesses


def add_grant_act(connection: Connection, *, agent: str, purpose: str, act: bytes, signature: bytes) -> None:
    """An agent's signed act; the same act twice counts once."""
    connection.execute(
        upsert(grants)
        .values(agent=agent, purpose=purpose, act=act, signature=signature)
        .on_conflict_do_nothing(index_elements=[grants.c.act])
    )


def grant_acts(connection: Connection) -> list[tuple[bytes, bytes]]:
    """All signed acts with their signatures, as they came in."""
    rows = connection.execute(select(grants.c.act, grants.c.signature).order_by(grants.c.id))
    return [(row.act, row.signature) for row in rows]


def grant_acts_of(connection: Connection, agent: str, purpose: str) -> list[tuple[bytes, bytes]]:
    """An agent's signed acts for one purpose, as they came in."""
    wanted = select(grants.c.act, grants.c.signature).where(grants.c.agent == agent, grants.c.purpose == purpose)
    return [(row.act, row.signature) for row in connection.execute(wanted.order_by(grants.c.id))]


def add_access(connection: Connection, row: AccessRow) -> int:
    """Somebody is about to hear a recording; the number of the row."""
    values = {
        "call_id": row.call_id,
        "role": row.role,
        "purpose": row.purpose,
        "at": row.at,
        "rule": row.rule,
    }
    return int(connection.execute(insert(accesses).values(**values).returning(accesses.c.id)).scalar_one())


def accesses_of(connection: Connection, call_id: str) -> list[AccessRow]:
    """Who heard a recording, oldest first."""
    wanted = select(accesses.c.call_id, accesses.c.role, accesses.c.purpose, accesses.c.at, accesses.c.rule)
    rows = connection.execute(wanted.where(accesses.c.call_id == call_id).order_by(accesses.c.id))
    return [AccessRow(*row) for row in rows]
