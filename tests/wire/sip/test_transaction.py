"""The four machines, row by row and as walks (RFC 3261, 17; RFC 6026)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitschnitt.wire.sip.message import Request
from mitschnitt.wire.sip.transaction import (
    STARTS,
    TABLES,
    Action,
    Durations,
    Event,
    Input,
    Machine,
    State,
    Timer,
    Transaction,
    status_input,
)


def started(machine: Machine, *, reliable: bool = False) -> Transaction:
    transaction = Transaction("t", machine, Request(), reliable, Durations())
    transaction.start(0.0)
    return transaction


def fire_all(transaction: Transaction, until: float) -> list[tuple[float, Timer, tuple[Action, ...]]]:
    """Every timer that falls due until then, with what it made the transaction do."""
    fired = []
    while transaction.deadlines:
        timer, at = min(transaction.deadlines.items(), key=lambda item: (item[1], item[0]))
        if at > until:
            break
        fired.append((at, timer, transaction.feed(timer, at)))
    return fired


@pytest.mark.parametrize("machine", list(Machine))
def test_every_state_of_a_table_is_reached_and_ends(machine: Machine) -> None:
    reached, waiting = set[State](), [STARTS[machine][0]]
    while waiting:
        state = waiting.pop()
        if state not in reached:
            reached.add(state)
            waiting += [move[0] for (at, _), move in TABLES[machine].items() if at is state]
    assert {state for state, _ in TABLES[machine]} == reached - {State.TERMINATED}
    assert State.TERMINATED in reached


@pytest.mark.parametrize("machine", list(Machine))
def test_every_timer_that_is_started_can_fire_in_the_state_that_it_starts_in(machine: Machine) -> None:
    moves = [STARTS[machine], *TABLES[machine].values()]
    started_timers = [(state, item) for state, doing in moves for item in doing if isinstance(item, Timer)]
    assert started_timers
    assert all(pair in TABLES[machine] for pair in started_timers)


def test_an_invite_is_resent_at_doubling_intervals_and_given_up_after_32_seconds() -> None:
    fired = fire_all(started(Machine.INVITE_CLIENT), 40.0)
    resent = [at for at, timer, _ in fired if timer is Timer.A]
    assert resent == [0.5, 1.5, 3.5, 7.5, 15.5, 31.5]
    assert fired[-1] == (32.0, Timer.B, (Action.TIME_OUT,))


def test_a_request_is_resent_at_most_every_4_seconds() -> None:
    fired = fire_all(started(Machine.CLIENT), 40.0)
    resent = [at for at, timer, _ in fired if timer is Timer.E]
    assert resent == [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    assert fired[-1] == (32.0, Timer.F, (Action.TIME_OUT,))


def test_a_provisional_answer_slows_a_request_down_and_keeps_its_end() -> None:
    transaction = started(Machine.CLIENT)
    transaction.feed(Input.PROVISIONAL, 0.1)
    assert set(transaction.deadlines) == {Timer.E, Timer.F}
    fired = fire_all(transaction, 40.0)
    assert [at for at, timer, _ in fired if timer is Timer.E][:3] == [0.5, 4.5, 8.5]
    assert fired[-1][:2] == (32.0, Timer.F)


def test_a_provisional_answer_stops_the_resending_of_an_invite() -> None:
    transaction = started(Machine.INVITE_CLIENT)
    transaction.feed(Input.PROVISIONAL, 0.1)
    assert set(transaction.deadlines) == {Timer.C}
    assert fire_all(transaction, 200.0) == [(180.1, Timer.C, (Action.TIME_OUT,))]


def test_a_failure_is_resent_until_its_ack() -> None:
    transaction = started(Machine.INVITE_SERVER)
    assert transaction.feed(Input.FAILURE, 0.0) == (Action.SEND,)
    fire_all(transaction, 3.5)
    assert transaction.feed(Input.ACK, 3.6) == ()
    assert fire_all(transaction, 60.0) == [(8.6, Timer.I, ())]
    assert transaction.state is State.TERMINATED


def test_a_failure_that_is_never_acknowledged_times_out() -> None:
    transaction = started(Machine.INVITE_SERVER)
    transaction.feed(Input.FAILURE, 0.0)
    assert fire_all(transaction, 60.0)[-1] == (32.0, Timer.H, (Action.TIME_OUT,))


def test_an_accepted_invite_answers_copies_again_and_passes_acks_up() -> None:
    transaction = started(Machine.INVITE_SERVER)
    transaction.feed(Input.SUCCESS, 0.0)
    assert transaction.feed(Input.REQUEST, 0.1) == (Action.RESEND,)
    assert transaction.feed(Input.ACK, 0.2) == (Action.TELL,)
    assert transaction.feed(Input.FAILURE, 0.3) == ()
    assert fire_all(transaction, 60.0) == [(32.0, Timer.L, ())]


def test_every_2xx_of_an_accepted_invite_is_told_because_forks_answer_too() -> None:
    transaction = started(Machine.INVITE_CLIENT)
    assert transaction.feed(Input.SUCCESS, 0.0) == (Action.TELL,)
    assert transaction.feed(Input.SUCCESS, 1.0) == (Action.TELL,)
    assert fire_all(transaction, 60.0) == [(32.0, Timer.M, ())]


@pytest.mark.parametrize("machine", [Machine.CLIENT, Machine.SERVER])
def test_over_tcp_nothing_is_resent_and_the_end_comes_at_once(machine: Machine) -> None:
    transaction = started(machine, reliable=True)
    assert Timer.E not in transaction.deadlines
    transaction.feed(Input.SUCCESS, 1.0)
    assert [at for at, _, _ in fire_all(transaction, 1.0)] == [1.0]
    assert transaction.state is State.TERMINATED


def test_statuses_fall_into_three_inputs() -> None:
    assert [status_input(s) for s in (100, 199, 200, 299, 300, 699)] == [
        Input.PROVISIONAL,
        Input.PROVISIONAL,
        Input.SUCCESS,
        Input.SUCCESS,
        Input.FAILURE,
        Input.FAILURE,
    ]


@given(st.sampled_from(list(Machine)), st.lists(st.sampled_from([*Input, *Timer]), max_size=12))
def test_no_order_of_events_leaves_the_table_or_keeps_timers_behind_the_end(
    machine: Machine, events: list[Event]
) -> None:
    transaction = started(machine)
    for step, event in enumerate(events):
        before = transaction.state
        transaction.feed(event, float(step))
        assert transaction.state is before or (before, event) in TABLES[machine]
    assert transaction.state is not State.TERMINATED or not transaction.deadlines
