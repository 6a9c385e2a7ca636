"""What the bench of arrivals does: real decisions, real numbers, and a floor of the same bytes."""

from __future__ import annotations

import hashlib
import hmac

from mitschnitt.commands import bench_draw_arrival as bench
from mitschnitt.core.criteria import Placed
from mitschnitt.core.draw import DOMAIN, KEEPER, decide, draw_id, ticket


def test_it_tells_a_decision_its_floor_and_what_a_commit_adds() -> None:
    lines, figures = bench.measure(64)
    assert len(lines) == 1 + len(bench.CONCURRENT)
    assert set(figures) == {*bench.NAMES, "durable_1", "durable_64"}
    assert all(value > 0 for value in figures.values())


def test_the_floor_hashes_the_bytes_that_a_decision_hashes() -> None:
    lot = hmac.digest(bench.DAY.day_key, b"keeper|7", "sha256")[:16]
    assert lot == draw_id(bench.DAY.day_key, KEEPER, 7)
    floor = hashlib.sha256(DOMAIN + bytes(32) + b"b" * 32 + lot).digest()
    assert int.from_bytes(floor, "big") == ticket(bytes(32), bench.DAY.beacon or b"", lot)
    assert decide(bench.DAY, KEEPER, 7, Placed(0, None), rates=bench.RATES, spent=None).draw_id == lot
