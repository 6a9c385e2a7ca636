"""What the operator's files say: agents, the officer's key, the control token. Policies have modules of their own.

Refuses what is not as it must be. Reads once at start; of the files only agents.toml counts when it is changed later.
Holds no consent: standing grants are in the database.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mitschnitt.config import Config
from mitschnitt.core.consent import StandingGrant
from mitschnitt.core.policy import Policy
from mitschnitt.core.view import OFFICER_KEY_BYTES, Agent, View
from mitschnitt.errors import ConfigError
from mitschnitt.keeper.agents_file import load_agents
from mitschnitt.keeper.kek import check_private
from mitschnitt.keeper.policy_files import PolicyText
from mitschnitt.keeper.pseudonym_key import load_pseudonym_key

MIN_TOKEN_CHARS = 32  # of the bearer token; shorter ones can be guessed
PRIVATE_FILE = 0o600
PRIVATE_DIRECTORY = 0o700


@dataclass(frozen=True, slots=True)
class Site:
    """All of it, checked."""

    agents: tuple[Agent, ...]
    officer_key: bytes  # X25519, raw
    token: str
    agents_path: Path  # of agents.toml, which may change
    pseudonym_key: bytes

    def view(self, version: int, grants: tuple[StandingGrant, ...], rules: PolicyText) -> View:
        """The picture that recorders get, under this policy."""
        return View(
            version, rules.policy, rules.text, self.agents, grants, self.officer_key, pseudonym_key=self.pseudonym_key
        )

    def agent_named(self, name: str) -> str:
        """The id of the agent whom an id or address means; the name itself when it means none or several."""
        if any(agent.id == name for agent in self.agents):
            return name
        found = [agent.id for agent in self.agents if agent.matches(name)]
        return found[0] if len(found) == 1 else name


def load_site(config: Config, policy: Policy) -> Site:
    """Everything, or a ConfigError that says what was found and expected; teams are those of the policy's cells."""
    agents_path = config.directory / "agents.toml"
    secrets = config.directory / "secrets"
    check_private(config.directory, mode=PRIVATE_DIRECTORY, what="data directory")
    check_private(secrets, mode=PRIVATE_DIRECTORY, what="secrets")
    return Site(
        agents=load_agents(agents_path, teams=policy.cells.teams),
        agents_path=agents_path,
        officer_key=_officer_key(secrets / "officer.x25519.pub"),
        token=load_token(secrets / "control.token"),
        pseudonym_key=load_pseudonym_key(secrets),
    )


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{what}: cannot read {path}: {error.strerror}") from error


def _officer_key(path: Path) -> bytes:
    key = _read(path, "officer's key")
    if len(key) != OFFICER_KEY_BYTES:
        raise ConfigError(f"officer's key: {path} has {len(key)} bytes, expected {OFFICER_KEY_BYTES} (X25519, raw)")
    return key


def load_token(path: Path) -> str:
    """The bearer token of the control API, from a file of mode 0600."""
    check_private(path, mode=PRIVATE_FILE, what="control token")
    token = _read(path, "control token").decode("ascii", errors="replace").strip()
    if len(token) < MIN_TOKEN_CHARS:
        raise ConfigError(f"control token: {path} has {len(token)} characters, expected at least {MIN_TOKEN_CHARS}")
    return token
