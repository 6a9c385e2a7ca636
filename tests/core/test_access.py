"""Who may hear what: every pair of role and purpose, and every way in which a recording is closed."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from dialogue import START
from mitschnitt.core.access import MAY_HEAR, ROLES, Kept, may_read, may_see_ladders
from mitschnitt.core.decision import Decision, Verdict
from mitschnitt.core.purpose import ACCOUNTABILITY, TRAINING, Purpose

KEPT = Kept(TRAINING, "kept", START + timedelta(days=30))
DISPUTE = Purpose("dispute")


def test_a_coach_hears_what_was_agreed_for_training() -> None:
    assert may_read(KEPT, TRAINING, "coach", START) == Decision(Verdict.OPEN, "access.coach.training", "coach")


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("purpose", [TRAINING, ACCOUNTABILITY, DISPUTE, Purpose("")])
def test_every_other_pair_of_role_and_purpose_is_refused(role: str, purpose: Purpose) -> None:
    decision = may_read(replace(KEPT, purpose=purpose), purpose, role, START)
    if (role, purpose) == ("coach", TRAINING):
        assert decision.verdict is Verdict.OPEN
    else:
        assert decision == Decision(Verdict.REFUSE, "access.role.purpose", role)


@pytest.mark.parametrize("role", ["", "Coach", "admin", "root", "coach "])
def test_a_role_that_nobody_knows_is_refused(role: str) -> None:
    assert may_read(KEPT, TRAINING, role, START).rule == "access.role.unknown"


@pytest.mark.parametrize("state", ["live", "not_kept", "", "KEPT", "erased"])
def test_only_what_is_kept_is_heard(state: str) -> None:
    decision = may_read(replace(KEPT, state=state), TRAINING, "coach", START)
    assert decision == Decision(Verdict.REFUSE, "access.not_kept", "coach")


def test_a_call_that_does_not_exist_and_one_that_was_not_kept_look_the_same() -> None:
    absent = may_read(None, TRAINING, "coach", START)
    assert absent == may_read(replace(KEPT, state="not_kept"), TRAINING, "coach", START)
    assert absent.rule == "access.not_kept"


def test_another_purpose_than_the_agreed_one_is_refused() -> None:
    decision = may_read(replace(KEPT, purpose=DISPUTE), TRAINING, "coach", START)
    assert decision.rule == "access.purpose.not_agreed"


def test_nothing_is_heard_from_the_due_time_on() -> None:
    assert may_read(KEPT, TRAINING, "coach", KEPT.due_at - timedelta(microseconds=1)).verdict is Verdict.OPEN
    assert may_read(KEPT, TRAINING, "coach", KEPT.due_at).rule == "access.retention.over"


def test_the_table_names_only_known_roles() -> None:
    assert {role for role, _ in MAY_HEAR} <= set(ROLES)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("state", ["kept", "live", "not_kept", "", "anything else"])
def test_a_ladder_is_seen_of_kept_calls_only_by_operator_and_officer(role: str, state: str) -> None:
    decision = may_see_ladders(state, role)
    allowed = state == "kept" and role in ("operator", "officer")
    assert (decision.verdict is Verdict.OPEN) is allowed
    rules = {True: "access.ladder", False: "access.ladder.role" if state == "kept" else "access.not_kept"}
    assert decision.rule == rules[allowed]


def test_whoever_has_no_role_sees_no_ladder() -> None:
    assert may_see_ladders("kept", "outsider").rule == "access.role.unknown"
