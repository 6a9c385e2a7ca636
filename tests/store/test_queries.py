"""Named queries: a call from its arrival to its row that tells nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Connection, select

from mitschnitt.store import queries
from mitschnitt.store.engine import open_engine
from mitschnitt.store.queries import AccessRow, BlobRow, CallRow, PartyRow, Position, PunctureRow
from mitschnitt.store.tables import calls
from mitschnitt.store.upgrade import upgrade

CALL = CallRow("0" * 25 + "1", 1, 5, "2026-11-23", "live", "training", "a" * 64, None, None)
TRACK = PartyRow(CALL.call_id, 0, "caller", 0, '{"8":["PCMA",8000]}', "2026-11-23T09:00:00.000000Z")
SEALED = replace(
    TRACK,
    ended_at="2026-11-23T09:01:00.000000Z",
    reason="ended",
    media=BlobRow("00/x/0.media", 10, "b" * 64),
    timeline=BlobRow("00/x/0.timeline", 11, "c" * 64),
)


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    engine = open_engine(tmp_path / "d.sqlite")
    upgrade(engine)
    with engine.begin() as opened:
        yield opened


def test_a_kept_call_has_its_files_and_its_due_date(connection: Connection) -> None:
    queries.add_call(connection, CALL)
    queries.add_call(connection, replace(CALL, recorder=9))  # told twice
    queries.begin_track(connection, TRACK)
    assert queries.live_calls(connection, 1) == [CALL]
    assert queries.parties_of(connection, CALL.call_id) == [TRACK]
    queries.seal_party(connection, SEALED)
    queries.close_kept(connection, CALL.call_id, due_at="2026-12-23T09:01:00.000000Z", decision=b"d")
    kept = queries.call_by_id(connection, CALL.call_id)
    assert kept == replace(CALL, state="kept", due_at="2026-12-23T09:01:00.000000Z")
    assert queries.decision_of(connection, CALL.call_id) == b"d"
    assert queries.listed_calls(connection) == [(CALL.call_id, CALL.arrived_day, "kept")]
    assert queries.parties_of(connection, CALL.call_id) == [SEALED]
    assert queries.live_calls(connection, 1) == []


def test_files_without_a_track_entry_are_known_all_the_same(connection: Connection) -> None:
    queries.add_call(connection, CALL)
    queries.seal_party(connection, SEALED)
    assert queries.parties_of(connection, CALL.call_id) == [SEALED]
    queries.begin_track(connection, replace(TRACK, party=1))
    queries.drop_unsealed(connection, CALL.call_id)
    assert queries.parties_of(connection, CALL.call_id) == [SEALED]
    queries.drop_parties(connection, CALL.call_id)
    assert queries.parties_of(connection, CALL.call_id) == []


def test_a_track_that_is_told_again_has_its_newer_codecs(connection: Connection) -> None:
    queries.add_call(connection, CALL)
    queries.begin_track(connection, TRACK)
    more = '{"8":["PCMA",8000],"97":["AMR-WB",16000,1,"octet-align=1"]}'
    queries.begin_track(connection, replace(TRACK, codecs=more, started_at="2027-01-01T00:00:00.000000Z"))
    assert queries.parties_of(connection, CALL.call_id) == [replace(TRACK, codecs=more)]


def test_not_kept_rows_are_alike_whatever_came_before(connection: Connection) -> None:
    never, withdrew, erased = (replace(CALL, call_id="0" * 25 + c, tree_index=i) for i, c in enumerate("123"))
    for row in (never, withdrew, erased):
        queries.add_call(connection, row)
    for row in (withdrew, erased):
        queries.seal_party(connection, replace(SEALED, call_id=row.call_id))
    queries.close_kept(connection, erased.call_id, due_at="2026-12-23T09:01:00.000000Z", decision=b"d")
    queries.close_not_kept(connection, never.call_id, decision=b"d")
    queries.close_not_kept(connection, withdrew.call_id, decision=b"d")
    queries.close_not_kept(connection, erased.call_id)
    rows = connection.execute(select(*[c for c in calls.columns if c.name != "call_id"])).all()
    assert len(rows) == 3
    assert len(set(rows)) == 1
    assert not any(queries.parties_of(connection, row.call_id) for row in (never, withdrew, erased))


def test_calls_are_listed_by_day_and_then_by_id(connection: Connection) -> None:
    assert not queries.any_call(connection)
    for number, (char, day) in enumerate([("Z", "2026-11-23"), ("A", "2026-11-23"), ("Z", "2026-11-22")]):
        call_id = f"{number}{'0' * 24}{char}"
        queries.add_call(connection, replace(CALL, call_id=call_id, tree_index=number, arrived_day=day))
    assert [row.call_id[0] for row in queries.all_calls(connection)] == ["2", "0", "1"]
    assert queries.any_call(connection)


def test_a_position_moves_with_its_boot(connection: Connection) -> None:
    assert queries.position_of(connection, 1) is None
    for position in (Position("a", 1, 10, 2), Position("b", 3, 0, 4)):
        queries.move_position(connection, 1, position)
        assert queries.position_of(connection, 1) == position
    assert queries.position_of(connection, 2) is None


def test_no_index_is_leased_twice(connection: Connection) -> None:
    assert queries.next_index(connection) == 0
    first = queries.add_lease(connection, 1, "a", first=0, count=64)
    second = queries.add_lease(connection, 2, "b", first=queries.next_index(connection), count=8)
    assert queries.next_index(connection) == 72
    assert [lease.block for lease in queries.open_leases(connection)] == [first, second]
    lease = queries.lease_by_block(connection, second)
    assert lease is not None
    assert (lease.recorder, lease.boot, lease.first, lease.count) == (2, "b", 64, 8)
    queries.close_leases(connection, [first])
    assert queries.open_leases(connection, 1) == []
    assert queries.next_index(connection) == 72
    queries.add_call(connection, CALL)
    assert queries.used_indices(connection, 0, 64) == [5]
    assert queries.lease_by_block(connection, 99) is None


def test_punctures_are_found_from_an_epoch_on(connection: Connection) -> None:
    assert queries.newest_puncture_epoch(connection) == -1
    rows = [PunctureRow(1, 0, 1, None), PunctureRow(2, 5, 3, None), PunctureRow(2, 9, 1, 4)]
    queries.add_punctures(connection, rows)
    queries.add_punctures(connection, [])
    assert queries.punctures_from(connection, 2) == rows[1:]
    assert queries.newest_puncture_epoch(connection) == 2


def test_a_signed_act_counts_once(connection: Connection) -> None:
    for _ in range(2):
        queries.add_grant_act(connection, agent="anna", purpose="training", act=b"{}", signature=b"s")
    assert queries.grant_acts(connection) == [(b"{}", b"s")]


def test_accesses_outlive_the_recording(connection: Connection) -> None:
    row = AccessRow(CALL.call_id, "coach", "training", "2026-11-23T10:00:00.000000Z", "access.coach.training")
    queries.add_call(connection, CALL)
    assert queries.add_access(connection, row) == 1
    queries.close_not_kept(connection, CALL.call_id, decision=b"d")
    assert queries.accesses_of(connection, CALL.call_id) == [row]
