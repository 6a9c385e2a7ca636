"""`policy show --roles`: what a works council reads is what the table decides, cell by cell."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from core.test_purposes import POLICY, TEXT
from dialogue import START
from keeper.site_on_disk import make_site
from mitschnitt.commands import policy_roles as command
from mitschnitt.core.access import ROLES, Action, Kept, decide
from mitschnitt.core.decision import Verdict
from mitschnitt.core.policy_text import parse_policy
from mitschnitt.core.purpose import Purpose
from mitschnitt.errors import ConfigError, NotAllowed
from mitschnitt.keeper.permission import limits_of

OWN = b'\n[[purpose]]\nid = "onboarding"\nretention = "P5D"\nroles = ["coach"]\n'
NARROW = parse_policy(TEXT.replace(b'roles = ["coach"]', b'roles = ["officer"]') + OWN)
KEPT_UNTIL = START + timedelta(days=1)


@pytest.mark.parametrize("policy", [POLICY, NARROW], ids=["as published", "narrowed"])
def test_who_is_said_to_hear_hears_and_who_is_not_does_not(policy: object) -> None:
    assert policy in (POLICY, NARROW)
    chosen = POLICY if policy == POLICY else NARROW
    told = command.table_of(chosen)
    for one in told["hearing"]:
        purpose = Purpose(one["purpose"])
        said = {who["role"]: who["rule"] for who in (*one["heard_by"], *one["not_let_by_policy"])}
        for role in ROLES:
            kept = Kept("kept", purpose, KEPT_UNTIL)
            found = decide(role, Action.HEAR, call=kept, purpose=purpose, limits=limits_of(chosen), now=START)
            assert (found.verdict is Verdict.OPEN) is (role in {who["role"] for who in one["heard_by"]})
            assert found.rule == said.get(role, found.rule)


def test_who_is_said_to_do_something_may_and_nobody_else() -> None:
    for one in command.table_of(POLICY)["doing"]:
        named = {who["role"]: who["rule"] for who in one["by"]}
        for role in ROLES:
            found = decide(role, Action(one["action"]), call=Kept("kept"))
            assert found.rule == named.get(role, one["others"])
            assert (found.verdict is Verdict.OPEN) is (role in named)


def test_it_is_read_in_words() -> None:
    lines = list(command.in_words(command.table_of(NARROW)))
    assert "  for training" in lines
    assert "    coach     no: this policy does not let the role [access.policy.role]" in lines
    assert lines[lines.index("  for onboarding") + 1] == "    coach     yes [access.coach.own]"
    assert lines[lines.index("  for dispute") + 1] == "    nobody: it takes two people to open one"
    assert "    officer   of a call that is over [erase.officer]" in lines
    assert all(f"  {role:9} {says}" in lines for role, says in ROLES.items())


def test_the_command_prints_the_policy_in_force_or_a_named_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = make_site(tmp_path)
    command.run(config.directory, "", as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert [one["purpose"] for one in told["hearing"]][0] == "training"
    command.run(config.directory, told["policy"][:8], as_json=False)
    assert capsys.readouterr().out.startswith(f"policy {told['policy'][:8]}, training, asked first\n")
    with pytest.raises(ConfigError):
        command.run(config.directory, "ffffffff", as_json=False)


def test_before_a_policy_is_in_force_it_says_how_to_read_another(tmp_path: Path) -> None:
    config = make_site(tmp_path)
    active = config.directory / "policy" / "active"
    active.write_text(f"{active.read_text().split()[0]} 9000-01-01\n")
    with pytest.raises(NotAllowed, match=r"name the one that you want to read: HASH --roles.*policy\.none"):
        command.run(config.directory, "", as_json=False)
