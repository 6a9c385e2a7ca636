"""The session timer row by row, as walks, and what the headers agree on (RFC 4028)."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mitschnitt.wire.sip.message import Headers
from mitschnitt.wire.sip.session_timer import (
    AGAIN_SECONDS,
    DEVIATIONS,
    LONGEST_SECONDS,
    MAX_RAISES,
    TABLE,
    SessionAction,
    SessionClock,
    SessionEvent,
    SessionInput,
    SessionState,
    SessionTimer,
    Terms,
    answer_terms,
    min_se,
    request_headers,
    session_expires,
    supports_timer,
    terms_headers,
    too_small,
)


def headers(*items: tuple[str, str]) -> Headers:
    return Headers.of(items)


def ours(seconds: int = 600) -> SessionTimer:
    """A timer that we refresh, agreed at 0."""
    timer = SessionTimer()
    assert timer.agree(Terms(seconds, "uas"), ours=True, now=0.0) == ()
    return timer


# --- the table -----------------------------------------------------------------------------------------


def test_every_state_is_reached_and_can_end() -> None:
    reached, waiting = set[SessionState](), [SessionState.OFF]
    while waiting:
        state = waiting.pop()
        if state not in reached:
            reached.add(state)
            waiting += [move[0] for (at, _), move in TABLE.items() if at is state]
    assert reached == set(SessionState)
    assert {state for state, _ in TABLE} == reached - {SessionState.OVER}
    assert all((state, SessionInput.CLOSED) in TABLE for state in reached - {SessionState.OVER})


def test_every_clock_that_is_started_can_fire_in_the_state_that_it_starts_in() -> None:
    started = [(state, item) for state, doing in TABLE.values() for item in doing if isinstance(item, SessionClock)]
    assert started
    assert all(pair in TABLE for pair in started)


def test_whatever_runs_comes_to_its_end_if_nobody_refreshes() -> None:
    running = {state for state, _ in TABLE} - {SessionState.OFF}
    assert all(TABLE[state, SessionClock.LAST] == (SessionState.OVER, (SessionAction.END,)) for state in running)


def test_each_deviation_belongs_to_a_row() -> None:
    assert DEVIATIONS
    assert set(DEVIATIONS) <= set(TABLE)


@given(st.lists(st.sampled_from([*SessionInput, *SessionClock]), max_size=14))
def test_no_order_of_events_leaves_the_table_or_keeps_clocks_behind_the_end(events: list[SessionEvent]) -> None:
    timer = SessionTimer(seconds=600)
    for step, event in enumerate(events):
        before = timer.state
        timer.feed(event, float(step))
        assert timer.state is before or (before, event) in TABLE
        assert all((timer.state, clock) in TABLE for clock in timer.deadlines)
    assert timer.runs or not timer.deadlines


# --- walks ---------------------------------------------------------------------------------------------


def test_who_refreshes_does_so_at_half_time_and_then_the_clocks_begin_anew() -> None:
    timer = ours(600)
    assert timer.deadlines == {SessionClock.HALF: 300.0, SessionClock.LAST: 568.0}
    assert timer.feed(SessionClock.HALF, 300.0) == (SessionAction.UPDATE,)
    assert timer.deadlines == {SessionClock.LAST: 568.0}
    assert timer.agree(Terms(600, "uac"), ours=True, now=300.1) == ()
    assert timer.deadlines == {SessionClock.HALF: 600.1, SessionClock.LAST: 868.1}


@pytest.mark.parametrize("seconds, last", [(90, 60.0), (95, 63.333), (96, 64.0), (600, 568.0), (86_400, 86_368.0)])
def test_the_end_comes_a_third_of_the_interval_or_32_seconds_early(seconds: int, last: float) -> None:
    timer = SessionTimer()
    timer.agree(Terms(seconds, "uac"), ours=False, now=0.0)
    assert timer.deadlines[SessionClock.LAST] == pytest.approx(last, abs=0.001)
    assert timer.feed(SessionClock.LAST, last) == (SessionAction.END,)
    assert (timer.state, timer.deadlines, timer.runs) == (SessionState.OVER, {}, False)


def test_a_peer_that_takes_no_update_is_offered_anew() -> None:
    timer = ours()
    timer.feed(SessionClock.HALF, 300.0)
    assert timer.feed(SessionInput.NOT_ALLOWED, 300.1) == (SessionAction.OFFER,)
    assert timer.agree(Terms(600, "uac"), ours=True, now=301.0) == ()
    assert timer.state is SessionState.OURS


def test_a_refresh_that_is_refused_for_now_is_tried_again_until_the_end() -> None:
    timer = ours(90)
    assert timer.feed(SessionClock.HALF, 45.0) == (SessionAction.UPDATE,)
    assert timer.feed(SessionInput.REFUSED, 45.1) == ()
    assert timer.deadlines == {SessionClock.AGAIN: 45.1 + AGAIN_SECONDS, SessionClock.LAST: 60.0}
    assert timer.feed(SessionClock.AGAIN, 55.1) == (SessionAction.UPDATE,)
    assert timer.feed(SessionClock.LAST, 60.0) == (SessionAction.END,)


def test_a_refresh_that_is_never_answered_ends_the_session() -> None:
    timer = ours()
    timer.feed(SessionClock.HALF, 300.0)
    assert timer.feed(SessionInput.LOST, 332.0) == (SessionAction.END,)


def test_a_422_raises_the_interval_but_two_agents_cannot_drive_each_other() -> None:
    timer = ours()
    timer.feed(SessionClock.HALF, 300.0)
    assert timer.raise_to(1_200)
    assert timer.feed(SessionInput.TOO_SMALL, 300.1) == (SessionAction.UPDATE,)
    assert request_headers(timer, wanted=600) == (("Session-Expires", "1200;refresher=uac"), ("Min-SE", "1200"))
    assert timer.feed(SessionInput.TOO_SMALL, 300.2) == ()
    assert [timer.raise_to(least) for least in (1_200, 1_300, 1_400, 1_500)] == [False, True, True, False]
    assert timer.raises == MAX_RAISES


@pytest.mark.parametrize("least", [None, 0, 600])
def test_a_422_that_asks_for_nothing_longer_is_a_refusal(least: int | None) -> None:
    assert not ours(600).raise_to(least)


def test_a_peer_that_is_late_is_asked_and_we_refresh_from_then_on() -> None:
    timer = SessionTimer()
    timer.agree(Terms(600, "uac"), ours=False, now=0.0)
    assert timer.deadlines == {SessionClock.LATE: 434.0, SessionClock.LAST: 568.0}
    assert timer.feed(SessionClock.LATE, 434.0) == (SessionAction.UPDATE,)
    assert request_headers(timer, wanted=600) == (("Session-Expires", "600;refresher=uac"),)
    assert timer.deadlines == {SessionClock.LAST: 568.0}
    timer.agree(Terms(600, "uac"), ours=True, now=434.1)
    assert timer.state is SessionState.OURS


def test_a_peer_that_leaves_the_timer_out_of_its_answer_turns_its_own_off() -> None:
    timer = SessionTimer()
    timer.agree(Terms(600, "uac"), ours=False, now=0.0)
    timer.agree(None, ours=False, now=10.0)
    assert (timer.state, timer.deadlines) == (SessionState.OFF, {})


def test_after_our_bye_nothing_is_refreshed() -> None:
    timer = ours()
    timer.feed(SessionInput.CLOSED, 1.0)
    assert timer.deadlines == {}
    assert timer.agree(Terms(600, "uac"), ours=True, now=2.0) == ()
    assert timer.state is SessionState.OVER


@pytest.mark.parametrize("told, taken", [(1, 90), (10**9, LONGEST_SECONDS)])
def test_an_interval_from_outside_is_bounded(told: int, taken: int) -> None:
    timer = SessionTimer()
    timer.agree(Terms(told, "uas"), ours=True, now=0.0)
    assert timer.seconds == taken


# --- what the headers say ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value, terms",
    [
        ("1800", Terms(1800)),
        (" 1800 ; Refresher = UAS ;x=y", Terms(1800, "uas")),
        ("1800;refresher=uac", Terms(1800, "uac")),
        ("1800;refresher=me", Terms(1800)),
        ("soon", None),
        ("-1", None),
        ("1" * 11, None),
        ("", None),
        ("90;" + ";".join(f"a{number}=1" for number in range(70)), None),
    ],
)
def test_session_expires_is_read_in_any_spelling_and_nonsense_is_none(value: str, terms: Terms | None) -> None:
    assert session_expires(headers(("x", value))) == terms  # the compact form


def test_min_se_is_read_and_bounded() -> None:
    assert [min_se(headers(("min-se", text))) for text in ("120", "120;x", "x", "9" * 10)] == [
        120,
        120,
        None,
        LONGEST_SECONDS,
    ]
    assert min_se(headers()) is None


@pytest.mark.parametrize(
    "supported, refresher, ours_says",
    [  # RFC 4028, 9, table 2; where it leaves the choice, whoever can refresh does
        (False, "", "uas"),
        (False, "uac", "uas"),
        (False, "uas", "uas"),
        (True, "", "uac"),
        (True, "uac", "uac"),
        (True, "uas", "uas"),
    ],
)
def test_who_refreshes_is_said_by_the_table_of_the_standard(supported: bool, refresher: str, ours_says: str) -> None:
    asked = Terms(1800, refresher)
    items = [("Session-Expires", str(asked)), *([("k", "100rel, TIMER")] if supported else [])]
    terms = answer_terms(headers(*items), wanted=600)
    assert terms == Terms(600, ours_says)
    required = dict(terms_headers(terms)).get("Require")
    assert required == ("timer" if ours_says == "uac" else None)


def test_who_asks_for_no_timer_gets_one_only_if_it_can_refresh() -> None:
    assert answer_terms(headers(("Supported", "timer")), wanted=600) == Terms(600, "uac")
    assert answer_terms(headers(("Supported", "replaces")), wanted=600) is None


def test_an_interval_is_shortened_to_ours_but_never_below_the_peers_least_and_never_raised() -> None:
    usual = ("Supported", "timer")
    assert answer_terms(headers(usual, ("Session-Expires", "300")), wanted=600) == Terms(300, "uac")
    assert answer_terms(headers(usual, ("Session-Expires", "1800"), ("Min-SE", "900")), wanted=600) == Terms(900, "uac")
    assert answer_terms(headers(usual, ("Min-SE", "900")), wanted=600) == Terms(900, "uac")
    assert answer_terms(headers(("Session-Expires", "10")), wanted=600) is None


def test_only_who_can_refresh_is_told_that_its_interval_is_too_small() -> None:
    small = ("Session-Expires", "89")
    assert too_small(headers(small, ("Supported", "timer")), least=90)
    assert not too_small(headers(small), least=90)
    assert not too_small(headers(("Session-Expires", "90"), ("Supported", "timer")), least=90)
    assert not too_small(headers(("Supported", "timer")), least=90)


def test_who_requires_the_timer_can_refresh() -> None:
    assert supports_timer(headers(("Require", "siprec, timer")))
    assert not supports_timer(headers(("Require", "siprec")))


def test_a_request_of_ours_leaves_the_roles_as_they_are() -> None:
    assert request_headers(SessionTimer(), wanted=600) == (("Session-Expires", "600"),)
    assert request_headers(ours(300), wanted=600) == (("Session-Expires", "300;refresher=uac"),)
    theirs = SessionTimer()
    theirs.agree(Terms(300, "uac"), ours=False, now=0.0)
    assert request_headers(theirs, wanted=600) == (("Session-Expires", "300;refresher=uas"),)


@given(st.text(max_size=40), st.text(max_size=20))
@example("0\x1f", "0\x1f")  # a separator that a regular expression takes for a space, and `int` does not
def test_nothing_that_a_peer_writes_makes_it_raise(value: str, least: str) -> None:
    told = headers(("Session-Expires", value), ("Min-SE", least), ("Supported", "timer"))
    terms, asked = answer_terms(told, wanted=600), session_expires(told)
    assert terms is None or terms.seconds <= (asked.seconds if asked else LONGEST_SECONDS)
