from __future__ import annotations

import time

import pytest

from mitschnitt.recorder.clock import SteadyClock


def test_a_wall_clock_that_is_set_anew_moves_nothing_but_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    wall, steady = [10**18], [500]
    monkeypatch.setattr(time, "time_ns", lambda: wall[0])
    monkeypatch.setattr(time, "monotonic_ns", lambda: steady[0])
    clock = SteadyClock()
    wall[0] += 3_000_000_000 + 40
    steady[0] += 40
    assert clock() == 10**18 + 40
    assert clock.jump_ns() == 3_000_000_000
