"""The site of demo and journeys: a real one, four agents who agreed, one who never did, one too long ago."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mitschnitt.commands.call import load_key
from mitschnitt.commands.call_page import load_page_key
from mitschnitt.commands.demo_site import (
    CONTROL_PORT,
    FIRST_RTP_PORT,
    LAST_RTP_PORT,
    SIP_PORT,
    DemoSite,
    agent_id,
    prepare,
)
from mitschnitt.config import Control, Rtp, Sip, load_config
from mitschnitt.gateways import cast, centre
from mitschnitt.keeper.agents_file import load_agents
from mitschnitt.store import queries
from mitschnitt.store.engine import open_reader
from mitschnitt.vault.page import public_of

OWN_PORTS = {"sip_port": 15_999, "control_port": 18_999, "first_rtp_port": 21_000, "last_rtp_port": 21_999}


@pytest.fixture(scope="module", name="site")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> DemoSite:
    return prepare(tmp_path_factory.mktemp("demo") / "site", **OWN_PORTS, agent_keys=None)


def test_the_configuration_has_the_ports_that_were_asked_for(site: DemoSite) -> None:
    config = load_config(site.directory)
    assert (config.sip.port, config.control.port) == (site.sip_port, site.control_port) == (15_999, 18_999)
    assert (config.rtp.first_port, config.rtp.last_port) == (21_000, 21_999)
    assert config.gate.allow_unsigned_policy  # nobody can sign a demo's policy


def test_the_default_ports_are_not_those_of_a_site_that_serves_here() -> None:
    assert Sip().port != SIP_PORT
    assert Control().port != CONTROL_PORT
    assert Rtp().first_port < FIRST_RTP_PORT < LAST_RTP_PORT <= Rtp().last_port


def test_every_agent_of_the_cast_works_there_and_nobody_else(site: DemoSite) -> None:
    agents = {agent.id: agent for agent in load_agents(site.directory / "agents.toml")}
    speakers = (*cast.AGENTS_WITH_GRANT, cast.AGENT_WITHOUT_GRANT, cast.AGENT_EXPIRED_GRANT)
    assert set(agents) == {agent_id(speaker) for speaker in speakers}
    assert [speaker.aor for speaker in speakers if not agents[agent_id(speaker)].matches(speaker.aor)] == []


def test_who_agreed_has_a_grant_in_force_and_the_others_have_none(site: DemoSite) -> None:
    reader = open_reader(load_config(site.directory).database)
    try:
        with reader.connect() as connection:
            acts = [json.loads(act) for act, _ in queries.grant_acts(connection)]
    finally:
        reader.dispose()
    now = datetime.now(UTC)
    grants = {act["agent"]: datetime.fromisoformat(act["expires_at"]) for act in acts}
    in_force = {name for name, expires in grants.items() if expires > now}
    assert in_force == {agent_id(speaker) for speaker in cast.AGENTS_WITH_GRANT}
    assert set(grants) - in_force == {agent_id(cast.AGENT_EXPIRED_GRANT)}


def test_the_officers_key_opens_and_lies_outside(site: DemoSite) -> None:
    assert len(load_key(site.officer_key)) == 32
    assert not site.officer_key.resolve().is_relative_to(site.directory.resolve())


def test_the_centre_understands_what_it_is_told(site: DemoSite) -> None:
    options, _ = centre.parse_options([*site.centre_arguments(), "--calls", "3"])
    assert options.control == "http://127.0.0.1:18999"
    assert options.token_file == site.directory / "secrets" / "control.token"
    assert options.token_file.is_file()
    assert (options.recorder.host, options.recorder.port) == ("127.0.0.1", 15_999)


def test_the_agents_keys_are_written_where_somebody_wants_them(tmp_path: Path) -> None:
    prepare(tmp_path / "site", agent_keys=tmp_path / "keys", **OWN_PORTS)
    agents = {agent.id: agent for agent in load_agents(tmp_path / "site" / "agents.toml")}
    assert {path.stem for path in (tmp_path / "keys").iterdir()} == set(agents)
    for name, agent in agents.items():
        own = public_of(load_page_key(tmp_path / "keys" / f"{name}.pem"))
        assert base64.b64decode(agent.page_key) == own
