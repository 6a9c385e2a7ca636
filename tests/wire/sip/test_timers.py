"""Deadlines for many owners, in order, without leaks."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mitschnitt.wire.sip.timers import MIN_SWEEP, Timers


def test_timers_fall_due_in_order_and_once() -> None:
    timers = Timers()
    timers.set(("a", "E"), 5.0)
    timers.set(("b", "F"), 3.0)
    assert timers.next() == 3.0
    assert timers.pop_due(2.9) is None
    assert [timers.pop_due(9.0), timers.pop_due(9.0), timers.pop_due(9.0)] == [("b", "F"), ("a", "E"), None]
    assert timers.next() is None


def test_a_timer_set_again_moves_and_a_stopped_one_is_gone() -> None:
    timers = Timers()
    timers.set(("a", "E"), 1.0)
    timers.set(("a", "E"), 4.0)
    timers.set(("b", "E"), 2.0)
    timers.stop(("b", "E"))
    timers.stop(("unknown", "E"))
    assert timers.pop_due(3.0) is None
    assert timers.pop_due(4.0) == ("a", "E")


def test_moving_timers_for_ever_keeps_memory_bounded() -> None:
    timers = Timers()
    for step in range(10 * MIN_SWEEP):
        timers.set(("a", "E"), float(step))
    assert len(timers) == 1
    assert len(timers._heap) <= MIN_SWEEP + 3


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9), st.booleans()), max_size=30))
def test_what_falls_due_is_what_was_set_last(steps: list[tuple[str, int, bool]]) -> None:
    timers, model = Timers(), dict[str, int]()
    for owner, at, stops in steps:
        if stops:
            timers.stop((owner, "T"))
            model.pop(owner, None)
        else:
            timers.set((owner, "T"), at)
            model[owner] = at
    popped = []
    while key := timers.pop_due(10.0):
        popped.append(key[0])
    assert sorted(popped) == sorted(model)
    assert [model[owner] for owner in popped] == sorted(model.values())
