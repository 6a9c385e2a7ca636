"""A policy with a second purpose: the IVR asks twice, and the second purpose is heard where everybody agreed to it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from journeys.running import Site, report_rows, running_site
from mitschnitt.commands.demo_site import NOTICE, DemoSite, agent_id
from mitschnitt.commands.init import activate, policy_text
from mitschnitt.commands.play import opened
from mitschnitt.config import load_config
from mitschnitt.core.consent import StandingGrant
from mitschnitt.core.purpose import Purpose
from mitschnitt.errors import NotAllowed
from mitschnitt.gateways import cast
from mitschnitt.gateways.scenarios import Scenario
from mitschnitt.gateways.speech import prompt, prompt_entries
from mitschnitt.keeper.grants import import_grants, sign_grant

KINDS = ("prompt", "further")
ONBOARDING = Purpose("onboarding")
TRAINING_ONLY = cast.AGENTS_WITH_GRANT[3]  # agreed to no second purpose
MIX = "agreed_by_act=5,agreed_by_digit=2,third_joined=1,paused=1,refused_by_act=1,silent=1,withdrew=1"
CALLS = 12
PURPOSE = f"""
[[purpose]]
id = "onboarding"
retention = "P10D"
notice = "{NOTICE}"
roles = ["coach"]
"""

pytestmark = [pytest.mark.journey, pytest.mark.timeout(120)]


def second_purpose(demo: DemoSite) -> None:
    """The trial's policy with one more purpose, which all agents but one agree to as well."""
    training, further = ([prompt(one["name"], one["language"]) for one in prompt_entries(kind)] for kind in KINDS)
    asked = (
        policy_text(further).partition(b"[[prompt]]")[2].replace(b"[[prompt]]", b'purpose = "onboarding"\n[[prompt]]')
    )
    activate(
        demo.directory,
        policy_text(training) + PURPOSE.encode() + b"[[prompt]]" + asked + b'purpose = "onboarding"\n',
    )
    now, keys = datetime.now(UTC), demo.directory.parent / "agents"
    grants = []
    for speaker in cast.AGENTS_WITH_GRANT:
        if speaker != TRAINING_ONLY:
            key = load_pem_private_key((keys / f"{agent_id(speaker)}.pem").read_bytes(), password=None)
            assert isinstance(key, Ed25519PrivateKey)
            grants.append(
                sign_grant(StandingGrant(agent_id(speaker), ONBOARDING, now, now + timedelta(days=9), NOTICE), key)
            )
    import_grants(load_config(demo.directory), grants)


def heard(site: Site, call: str, purpose: str) -> str:
    """The rule by which a coach may not hear the call for this purpose, "" when it opens."""
    try:
        with opened(site.door, call, purpose=purpose, role="coach"):
            return ""
    except NotAllowed as refused:
        return refused.rule


def expected(row: dict[str, Any]) -> tuple[str, str]:
    """By which rules a call of this kind is refused for training, and for the second purpose."""
    if row["scenario"] in (Scenario.REFUSED_BY_ACT, Scenario.SILENT, Scenario.WITHDREW):
        return "access.not_kept", "access.not_kept"
    both = row["scenario"] in (Scenario.AGREED_BY_ACT, Scenario.AGREED_BY_DIGIT)
    return "", "" if both and cast.agent(row["call"]) != TRAINING_ONLY else "access.purpose.not_agreed"


def test_a_second_purpose_is_asked_for_and_heard_only_where_everybody_agreed_to_it(tmp_path: Path) -> None:
    report = tmp_path / "report.jsonl"
    with running_site(tmp_path, before=second_purpose, agent_keys=tmp_path / "agents") as site:
        centre = site.centre(
            *("--calls", str(CALLS), "--rate", "4", "--mix", MIX, "--max-talk", "6", "--report", str(report))
        )
        centre.communicate(timeout=90)
        assert centre.returncode == 0
        rows = report_rows(report)
        assert [row["errors"] for row in rows] == [[]] * CALLS
        site.wait_closed(CALLS)
        found = {
            row["call"]: tuple(heard(site, row["control"], one) for one in ("training", "onboarding")) for row in rows
        }
    assert {(row["scenario"], row["call"]): found[row["call"]] for row in rows} == {
        (row["scenario"], row["call"]): expected(row) for row in rows
    }
    assert {expected(row) for row in rows} >= {
        ("", ""),
        ("", "access.purpose.not_agreed"),
        ("access.not_kept", "access.not_kept"),
    }
    agreeing = [row for row in rows if row["scenario"] not in (Scenario.REFUSED_BY_ACT, Scenario.SILENT)]
    assert [row["further"] for row in agreeing] == [["onboarding"]] * len(agreeing)
    assert [row["further"] for row in rows if row not in agreeing] == [[], []]
    # His no shows in no question: callers of the agent who agreed to training only are asked all the same.
    assert any(cast.agent(row["call"]) == TRAINING_ONLY for row in agreeing)
