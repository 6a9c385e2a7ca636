"""From when on which policy is in force: never from today, never unsigned, never in the midst of a period."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitschnitt.core.decision import Verdict
from mitschnitt.core.policy_life import (
    BEGINNING,
    MAX_ACTIVE_BYTES,
    Activation,
    Served,
    Signature,
    Tenure,
    active_text,
    in_force_at,
    is_signed,
    may_activate,
    may_follow,
    parse_active,
    parse_served,
    served_text,
)
from mitschnitt.errors import ConfigError

A, B, C = "a" * 64, "b" * 64, "c" * 64
DAY = date(2026, 11, 26)
NOON = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
BOTH = ("officer", "council")


# -- the file ------------------------------------------------------------------------------------------


def test_lines_are_a_hash_and_a_day_and_one_may_be_bare() -> None:
    text = f"{A}\n{B} 2026-11-27\n".encode()
    lines = (Activation(A, None), Activation(B, date(2026, 11, 27)))
    assert parse_active(text) == lines
    assert active_text(lines) == text
    assert parse_active(b"") == ()


@pytest.mark.parametrize(
    "text, says",
    [
        ("newest", "line 1 must hold 64 lower-case hex digits and a day, found 'newest'"),
        (f"{A}\n{B.upper()} 2026-11-27", "line 2 must hold"),
        (f"{A} 2026-11-27 2026-11-28", "line 1 must hold"),
        (f"{A}\n\n{B}", "line 2 must hold"),
        (f"{A} tomorrow", "expected a day such as 2026-11-26, found 'tomorrow'"),
        (f"{A} 2026-02-30", "expected a day"),
        (f"{A} 20261127", "expected a day"),
        (f"{A} 2026-W48-5", "expected a day"),
        (f"{A} ", "expected a day"),
        ("x" * (MAX_ACTIVE_BYTES + 1), "at most"),
    ],
)
def test_a_line_that_is_none_is_named(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        parse_active(text.encode())


@given(st.binary(max_size=200))
def test_any_bytes_are_lines_or_a_named_error(data: bytes) -> None:
    try:
        lines = parse_active(data)
    except ConfigError:
        return
    assert parse_active(active_text(lines)) == lines


def test_what_was_served_is_a_hash_and_a_time() -> None:
    served = Served(A, NOON)
    assert parse_served(served_text(served)) == served


@pytest.mark.parametrize("data", [b"", b"x", f"{A} today".encode(), f"{A} 2026-11-26T12:00:00".encode(), b"\xff " * 2])
def test_a_note_that_is_none_is_refused(data: bytes) -> None:
    with pytest.raises(ConfigError, match="`served` must hold"):
        parse_served(data)


# -- when ----------------------------------------------------------------------------------------------


def test_the_newest_that_has_begun_is_in_force() -> None:
    tenures = [Tenure(A, BEGINNING), Tenure(B, NOON), Tenure(C, NOON + HOUR)]
    assert in_force_at(tenures, NOON - timedelta(microseconds=1)) == tenures[0]
    assert in_force_at(tenures, NOON) == tenures[1]
    assert in_force_at(tenures, NOON + HOUR) == tenures[2]
    assert in_force_at(tenures[1:], NOON - HOUR) is None
    assert in_force_at([], NOON) is None


def test_who_activates_anew_takes_back_what_was_to_come() -> None:
    tenures = [Tenure(A, NOON + 5 * HOUR), Tenure(B, NOON + HOUR)]
    assert in_force_at(tenures, NOON) is None
    assert in_force_at(tenures, NOON + 9 * HOUR) == tenures[1]


@pytest.mark.parametrize(
    "days, verdict, rule",
    [
        (-30, Verdict.REFUSE, "policy.day.begun"),
        (-1, Verdict.REFUSE, "policy.day.begun"),
        (0, Verdict.REFUSE, "policy.day.begun"),
        (1, Verdict.OPEN, "policy.day.later"),
        (366, Verdict.OPEN, "policy.day.later"),
        (367, Verdict.REFUSE, "policy.day.far"),
    ],
)
def test_a_policy_begins_tomorrow_at_the_earliest(days: int, verdict: Verdict, rule: str) -> None:
    decision = may_activate(DAY + timedelta(days=days), DAY)
    assert (decision.verdict, decision.rule) == (verdict, rule)


# -- who (R18) -----------------------------------------------------------------------------------------


def signature(role: str, at: datetime = NOON, policy: str = A) -> Signature:
    return Signature(role, policy, at)


@pytest.mark.parametrize(
    "signatures, rule, who",
    [
        ([signature("officer"), signature("council")], "policy.signed", ""),
        ([signature("officer")], "policy.signature.missing", "council"),
        ([], "policy.signature.missing", "officer"),
        ([signature("officer"), signature("officer")], "policy.signature.missing", "council"),
        ([signature("officer"), signature("operator")], "policy.signature.missing", "council"),
        ([signature("officer"), signature("council", policy=B)], "policy.signature.missing", "council"),
        ([signature("officer"), signature("council", NOON + 10 * HOUR)], "policy.signature.late", "council"),
        ([signature("officer"), signature("council", NOON + 11 * HOUR)], "policy.signature.late", "council"),
    ],
)
def test_all_whom_it_names_sign_before_it_begins(signatures: list[Signature], rule: str, who: str) -> None:
    decision = is_signed(A, BOTH, signatures, begins=NOON + 10 * HOUR, now=NOON + 20 * HOUR)
    assert (decision.rule, decision.party) == (rule, who)
    assert (decision.verdict is Verdict.OPEN) == (rule == "policy.signed")


def test_a_signature_from_the_future_is_none_yet() -> None:
    ahead = [signature("officer", NOON + timedelta(minutes=6)), signature("council")]
    decision = is_signed(A, BOTH, ahead, begins=NOON + 10 * HOUR, now=NOON)
    assert (decision.verdict, decision.rule) == (Verdict.REFUSE, "policy.signature.future")


def test_a_policy_that_names_nobody_is_signed_by_nobody() -> None:
    decision = is_signed(A, (), [signature("officer")], begins=NOON + HOUR, now=NOON)
    assert (decision.verdict, decision.rule) == (Verdict.REFUSE, "policy.signature.missing")


@pytest.mark.parametrize(
    "found, verdict",
    [
        (Tenure(A, NOON - HOUR), Verdict.OPEN),
        (Tenure(B, NOON + HOUR), Verdict.OPEN),
        (Tenure(B, NOON), Verdict.REFUSE),
        (Tenure(B, NOON - HOUR), Verdict.REFUSE),
        (Tenure(B, BEGINNING), Verdict.REFUSE),
    ],
)
def test_only_what_has_begun_since_may_follow_what_was_served(found: Tenure, verdict: Verdict) -> None:
    assert may_follow(Served(A, NOON), found).verdict is verdict
