"""The operator's files: what is refused, and in which words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from keeper.site_on_disk import make_site, rules_of
from mitschnitt.config import Config
from mitschnitt.errors import ConfigError
from mitschnitt.keeper.site import load_site


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return make_site(tmp_path)


def test_a_whole_site_is_read(config: Config) -> None:
    site = load_site(config, rules_of(config).current.policy)
    assert [agent.id for agent in site.agents] == ["anna", "ben"]
    rules = rules_of(config).current
    assert (site.view(3, (), rules).policy, site.view(3, (), rules).policy_text) == rules


def test_agents_are_named_by_id_or_address(config: Config) -> None:
    site = load_site(config, rules_of(config).current.policy)
    assert site.agent_named("anna") == site.agent_named("sip:anna@pbx.example.org") == "anna"
    assert site.agent_named("sip:nobody@pbx.example.org") == "sip:nobody@pbx.example.org"


@pytest.mark.parametrize(
    "spoil, says",
    [
        (lambda c: (c.directory / "secrets").chmod(0o750), "secrets: .* mode 0750, expected 0700"),
        (lambda c: (c.directory / "secrets" / "officer.x25519.pub").unlink(), "officer's key: cannot read"),
        (
            lambda c: (c.directory / "secrets" / "control.token").write_text("x"),
            "1 characters, expected at least 32",
        ),
        (lambda c: (c.directory / "secrets" / "control.token").unlink(), "control token: .* is missing"),
    ],
)
def test_a_file_that_is_not_as_it_must_be_is_refused(config: Config, spoil: Any, says: str) -> None:
    spoil(config)
    with pytest.raises(ConfigError, match=says):
        load_site(config, rules_of(config).current.policy)
