"""What a refusal says: the rule of core/access, and a sentence that tells nothing of a call."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from mitschnitt.core.access import ROLES, Action, Kept
from mitschnitt.core.purpose import DISPUTE, TRAINING, Purpose
from mitschnitt.errors import NotAllowed
from mitschnitt.keeper.permission import require

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
KEPT = Kept("kept", TRAINING, NOW + timedelta(days=1))
LIMITS = {TRAINING: frozenset(ROLES)}


def test_who_may_is_told_by_which_rule() -> None:
    assert require("coach", Action.HEAR, call=KEPT, purpose=TRAINING, limits=LIMITS, now=NOW) == "access.coach.training"
    assert require("operator", Action.DRAIN) == "access.drain"


@pytest.mark.parametrize(
    "role, purpose, sentence",
    [
        ("boss", TRAINING, "role: expected one of caller, agent, coach, officer, council, operator, analyst, client; "
         "found 'boss' [access.role.unknown]"),
        ("coach", DISPUTE, "coach is no role that hears a recording for dispute [access.role.purpose]"),
        ("coach", Purpose("fun"), "there is no such purpose: it is neither built in nor the policy's "
         "[access.purpose.unknown]"),
    ],
)  # fmt: skip
def test_whoever_may_not_hear_is_told_why(role: str, purpose: Purpose, sentence: str) -> None:
    with pytest.raises(NotAllowed) as refused:
        require(role, Action.HEAR, call=KEPT, purpose=purpose, limits=LIMITS, now=NOW)
    assert str(refused.value) == sentence


def test_a_policy_that_lets_a_role_not_hear_is_named_as_what_refused() -> None:
    with pytest.raises(NotAllowed, match=r"the policy does not let this role hear .* \[access\.policy\.role\]"):
        require("coach", Action.HEAR, call=KEPT, purpose=TRAINING, limits={TRAINING: frozenset({"officer"})}, now=NOW)


@pytest.mark.parametrize("state", ["live", "not_kept"])
def test_what_is_not_kept_is_refused_in_one_sentence(state: str) -> None:
    with pytest.raises(NotAllowed) as refused:
        require("coach", Action.HEAR, call=Kept(state, TRAINING, NOW), purpose=TRAINING, limits=LIMITS, now=NOW)
    assert str(refused.value) == "this recording is not played [access.not_kept]"


@pytest.mark.parametrize("action", [action for action in Action if action is not Action.HEAR])
def test_every_refusal_of_a_role_has_a_sentence(action: Action) -> None:
    roles = [role for role in ROLES if role != "officer"]
    refused = []
    for role in roles:
        try:
            require(role, action, call=KEPT)
        except NotAllowed as error:
            refused.append(str(error))
    assert all(" is no role that " in sentence for sentence in refused)
    assert refused or action is Action.SEE_POLICY
