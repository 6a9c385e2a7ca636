"""What a recorder knows of the keeper's world: policy, agents, standing grants. A picture with a version and an age."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from mitschnitt.core.consent import StandingGrant, grant_from_json, grant_to_json
from mitschnitt.core.draw import Day
from mitschnitt.core.lent import Lent, day_from_json, day_to_json, lent_from_json, lent_to_json
from mitschnitt.core.policy import Policy
from mitschnitt.core.policy_text import parse_policy
from mitschnitt.errors import ConfigError, MalformedPacket

OFFICER_KEY_BYTES = 32  # X25519
PSEUDONYM_KEY_BYTES = 32  # of HMAC-SHA-256
MAX_AGENTS = 20_000  # of one site; a view with more does not fit a frame
MAX_PATTERN_CHARS = 200  # an address, not a program
MAX_FOUND_CHARS = 60  # of a wrong value that is shown
STARTED_YEARS = range(1950, 2200)  # nobody who works today started earlier


@dataclass(frozen=True, slots=True)
class Agent:
    """One line of `agents.toml`: by which addresses the agent is known. No consent stands here."""

    id: str
    team: str
    started: str  # ISO 8601 date, "" = not said: new to whom it matters, and in no figure
    patterns: tuple[str, ...]  # exact addresses of record; a final * stands for any rest
    key: str = ""  # Ed25519 public key, base64: the agent's own acts are checked with it
    page_key: str = ""  # X25519 public key, base64: what the agent may read of kept calls is sealed to it

    def matches(self, aor: str) -> bool:
        """Whether this address of record (RFC 3261 section 6) is this agent's."""
        return any(
            aor.startswith(pattern[:-1]) if pattern.endswith("*") else aor == pattern for pattern in self.patterns
        )


@dataclass(frozen=True, slots=True)
class View:
    """The keeper's world as of `version`. Only the newest counts; its age is the receiver's to measure."""

    version: int
    policy: Policy
    policy_text: bytes
    agents: tuple[Agent, ...]
    grants: tuple[StandingGrant, ...]
    officer_key: bytes
    day: Day | None = None  # None: nobody is drawn
    lent: Lent | None = None
    pseudonym_key: bytes = b""  # empty: agents have no names towards coaches

    def agents_at(self, aor: str) -> tuple[Agent, ...]:
        """All agents whose patterns match; none or several is no binding."""
        return tuple(agent for agent in self.agents if agent.matches(aor))

    def to_json(self) -> dict[str, Any]:
        """The frame body of a `view` message (design section 11)."""
        return {
            "version": self.version,
            "policy_hash": self.policy.hash,
            "policy": base64.b64encode(self.policy_text).decode(),
            "strata": [],
            "caps": lent_to_json(self.lent),
            "agents": [
                {
                    "id": agent.id,
                    "team": agent.team,
                    "started": agent.started,
                    "patterns": list(agent.patterns),
                    **({"page_key": agent.page_key} if agent.page_key else {}),
                }
                for agent in self.agents
            ],
            "grants": [grant_to_json(grant) for grant in self.grants],
            **day_to_json(self.day),
            "officer_key": base64.b64encode(self.officer_key).decode(),
            **({"pseudonym_key": base64.b64encode(self.pseudonym_key).decode()} if self.pseudonym_key else {}),
        }


AGENT_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def agent_from_json(data: Mapping[str, Any]) -> Agent:
    """An agent of a view or of `agents.toml`; ConfigError says what was found and expected."""
    agent_id, patterns = data.get("id"), data.get("patterns")
    if not isinstance(agent_id, str) or not AGENT_ID.fullmatch(agent_id):
        raise ConfigError(f"agents: `id` must be lower-case letters, digits, dot, dash; found {agent_id!r}")
    if (
        not isinstance(patterns, list)
        or not patterns
        or not all(isinstance(item, str) and 3 <= len(item) <= MAX_PATTERN_CHARS for item in patterns)
    ):
        raise ConfigError(f"agents: {agent_id} needs `patterns`, a list of addresses such as sip:name@host")
    if any("*" in pattern[:-1] for pattern in patterns):
        raise ConfigError(f"agents: {agent_id}: * may only end a pattern")
    unknown = set(data) - {"id", "team", "started", "patterns", "key", "page_key"}
    if unknown:
        raise ConfigError(f"agents: {agent_id}: unknown key `{min(unknown)}`")
    team, key, page_key = (data.get(name, "") for name in ("team", "key", "page_key"))
    for name, value in (("team", team), ("key", key), ("page_key", page_key)):
        if not isinstance(value, str) or len(value) > MAX_PATTERN_CHARS:
            raise ConfigError(f"agents: {agent_id}: `{name}` must be a text of at most {MAX_PATTERN_CHARS} characters")
    return Agent(agent_id, team, _started(agent_id, data.get("started", "")), tuple(patterns), key, page_key)


def _started(agent_id: str, value: Any) -> str:
    """The day as ISO 8601 has it; "" where nobody says."""
    if value == "":
        return ""
    try:
        # TOML has dates of its own, which are as good as a text; a time of day is no date.
        day = value if type(value) is date else date.fromisoformat(value)
        if day.year not in STARTED_YEARS or str(day) != str(value):
            raise ValueError("nobody started then")
    except (TypeError, ValueError):
        raise ConfigError(
            f"agents: {agent_id}: `started` must be a day such as 2026-11-26, "
            f"from {STARTED_YEARS.start} to {STARTED_YEARS.stop - 1}; found {str(value)[:MAX_FOUND_CHARS]!r}"
        ) from None
    return str(day)


def view_from_json(data: Mapping[str, Any]) -> View:
    """The view in a frame; MalformedPacket or ConfigError say what is wrong, and the old view stays."""
    try:
        text = base64.b64decode(data["policy"], validate=True)
        officer_key = base64.b64decode(data["officer_key"], validate=True)
        pseudonym_key = base64.b64decode(data.get("pseudonym_key", ""), validate=True)
        version = data["version"]
        agents = tuple(agent_from_json(item) for item in data["agents"])
        grants = tuple(grant_from_json(item) for item in data["grants"])
    except (AttributeError, KeyError, TypeError, ValueError, binascii.Error) as error:
        raise MalformedPacket(f"view: a field is missing or of the wrong kind: {error}") from error
    if not isinstance(version, int) or isinstance(version, bool) or version < 0:
        raise MalformedPacket(f"view: `version` must be a whole number from 0, found {version!r}")
    policy = parse_policy(text)
    if policy.hash != data.get("policy_hash"):
        raise MalformedPacket("view: the policy's text does not have the hash that the view names")
    if len(officer_key) != OFFICER_KEY_BYTES:
        raise MalformedPacket(f"view: the officer's key has {len(officer_key)} bytes, not {OFFICER_KEY_BYTES}")
    if len(pseudonym_key) not in (0, PSEUDONYM_KEY_BYTES):
        raise MalformedPacket(f"view: the key of pseudonyms has {len(pseudonym_key)} bytes, not {PSEUDONYM_KEY_BYTES}")
    if len(agents) > MAX_AGENTS:
        raise MalformedPacket(f"view: {len(agents)} agents, at most {MAX_AGENTS}")
    lent = lent_from_json(data.get("caps"), len(agents))
    return View(version, policy, text, agents, grants, officer_key, day_from_json(data), lent, pseudonym_key)
