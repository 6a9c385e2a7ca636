"""A site that is signed and serves, on a day for which nobody told a value: nobody is asked, and it is said why.

What the IVR hears is the same as of an agent who did not agree: no answer tells one from the other.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from journeys.running import Site, running_site
from keeper.signed_site import SIGNERS, enrol, propose
from mitschnitt import cli
from mitschnitt.commands.demo_site import DemoSite, agent_id
from mitschnitt.commands.init import PROPOSED_NAME, SOME, policy_text
from mitschnitt.gateways import cast
from mitschnitt.gateways.speech import prompt, prompt_entries
from mitschnitt.keeper.policies import Policies

pytestmark = [pytest.mark.journey, pytest.mark.timeout(120)]

AGREED, DID_NOT = agent_id(cast.AGENTS_WITH_GRANT[0]), agent_id(cast.AGENT_WITHOUT_GRANT)
OWN = ("call", "receipt_code")  # of each call its own, of the same length


def sign(demo: DemoSite) -> None:
    """The policy that `init` proposes, in force since yesterday; of its days nobody has committed to one."""
    directory, at = demo.directory, datetime.now(UTC) - timedelta(days=3)
    config = directory / "config.toml"
    config.write_text(config.read_text().replace("allow_unsigned_policy = true", "allow_unsigned_policy = false"))
    (directory / "policy" / "active").unlink()
    for role in SIGNERS:
        enrol(directory, role)
    prompts = [prompt(entry["name"], entry["language"]) for entry in prompt_entries()]
    policy = propose(directory, policy_text(prompts, draw=SOME), *SIGNERS, at=at)
    Policies(directory).activate(policy, None, now=at)


def announce(site: Site, agent: str) -> tuple[int, bytes, dict[str, str]]:
    """Status, body with the call's own values blotted out, and headers of `POST /v1/calls`."""
    token = (site.demo.directory / "secrets" / "control.token").read_text().strip()
    body = {
        "refs": [{"kind": "header", "value": "one"}],
        "queue": "hotline",
        "direction": "inbound",
        "agent": agent,
        "answer_by": "digit",
    }
    headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": "one"}
    with httpx.Client(trust_env=False, timeout=10) as client:
        answer = client.post(f"http://127.0.0.1:{site.demo.control_port}/v1/calls", json=body, headers=headers)
    said, content = answer.json(), answer.content
    assert said["ask"] is None
    for name in OWN:
        content = content.replace(said[name].encode(), b"x" * len(said[name]))
    return answer.status_code, content, {name: value for name, value in answer.headers.items() if name != "date"}


def asked_in(root: Path, look: Callable[[Site], Any], agent: str, **more: Any) -> tuple[Any, Any]:
    root.mkdir()
    with running_site(root, **more) as site:
        return announce(site, agent), look(site)


def said(site: Site, *arguments: str) -> str:
    told = CliRunner().invoke(cli.app, [*arguments, "--dir", str(site.demo.directory)])
    assert told.exit_code == 0, told.exception
    return told.output


def test_on_a_day_without_values_nobody_is_asked_and_the_site_says_whose_are_missing(tmp_path: Path) -> None:
    def look(site: Site) -> tuple[str, str, dict[str, Any]]:
        shown = said(site, "policy", "show")
        return said(site, "draw", "days"), shown, json.loads(said(site, "policy", "show", "--json"))

    undrawn, (days, shown, told) = asked_in(tmp_path / "signed", look, AGREED, before=sign)
    not_agreed, _ = asked_in(tmp_path / "trial", lambda _site: None, DID_NOT)
    assert undrawn == not_agreed
    today, *_, last = days.splitlines()
    assert today.endswith("missing: commitment of council, commitment of officer, commitment of operator")
    assert last == "a missing value means nobody is asked"
    digest = told["in_force"]["policy"]
    assert shown.splitlines()[0] == f"in force: {digest} ('{PROPOSED_NAME}')"
    signed = told["in_force"]["signatures"]
    assert shown.splitlines()[1:3] == [f"  {role}: signed {signed[role]}" for role in SIGNERS]
    assert told["signatures_needed"] is True
