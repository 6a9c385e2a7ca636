"""Calls for measuring: what a poor network makes of them, and that what is sealed is what was said."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from keeper.site_on_disk import make_site, open_holdings
from mitschnitt.commands.bench_call import CODECS, LOST, PACKET_BYTES, keep_calls, payload_of, spoken_for
from mitschnitt.core.call import decode_call_id
from mitschnitt.store import queries
from mitschnitt.vault.artefact import octets, packets
from mitschnitt.vault.derive import Kind
from mitschnitt.wire.timeline import lay_out

CALL, OTHER = "0" * 25 + "1", "0" * 25 + "2"


def test_a_poor_network_loses_some_packets_and_turns_some_round_and_nothing_else() -> None:
    spoken = spoken_for(60, role="caller", party=0)
    runs = np.concatenate([piece.runs for piece in spoken.slices])
    media = b"".join(bytes(piece.payload) for piece in spoken.slices)
    count = packets(runs)
    assert octets(runs) == len(media) == count * PACKET_BYTES
    assert 0 < 3_000 - count < 3_000 * 4 * LOST
    assert len(runs) > 3 * len(spoken.slices) / 2, "reordering makes runs"
    layout = lay_out(runs, CODECS)
    assert layout.repeated == 0
    numbers = np.rint(layout.first / 20_000_000).astype(np.int64)
    rows = np.frombuffer(media, np.uint8).reshape(-1, PACKET_BYTES)[layout.offset // PACKET_BYTES]
    lead = next(lead for lead in range(5) if np.array_equal(rows[0], payload_of(np.array([lead]), 0)[0]))
    assert np.array_equal(rows, payload_of(numbers + lead, 0)), "in order of time every packet stands at its place"


def test_it_is_the_same_each_time_and_another_for_each_party() -> None:
    one, again, other = (spoken_for(5, role="caller", party=party) for party in (0, 0, 1))
    assert [piece.payload for piece in one.slices] == [piece.payload for piece in again.slices]
    assert [piece.payload for piece in one.slices] != [piece.payload for piece in other.slices]


def test_calls_are_sealed_and_booked_as_kept(tmp_path: Path) -> None:
    config = make_site(tmp_path)
    spoken = [spoken_for(2, role=role, party=party) for party, role in enumerate(("caller", "agent"))]
    with open_holdings(config) as holdings:
        keep_calls(holdings, config, {CALL: spoken, OTHER: spoken[:1]})
        rows = holdings.writer.submit(queries.all_calls).result(10)
        assert {row.call_id: row.state for row in rows} == {CALL: "kept", OTHER: "kept"}
        row = next(row for row in rows if row.call_id == CALL)
        assert row.tree_index is not None
        for party, one in enumerate(spoken):
            raw = decode_call_id(CALL)
            size = holdings.vault.size(raw, party, Kind.MEDIA)
            media = holdings.vault.read(raw, row.tree_index, party, Kind.MEDIA, 0, size)
            assert media == b"".join(bytes(piece.payload) for piece in one.slices)
