"""Whether the agents of a site can be told apart: by address, by key, by team. One finding is one sentence.

Reads no file and changes nobody. What it refuses would shut calls later (`agent.ambiguous`); here it is said at once.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from mitschnitt.core.view import Agent
from mitschnitt.errors import ConfigError

AGENT_KEY_BYTES = 32  # Ed25519 public key, raw (RFC 8032, 5.1.5)
NO_LINES: Mapping[str, int] = MappingProxyType({})
WILD, EXACT = 0, 1  # in this order: `sip:a*` also stands for `sip:a`


def check_roster(agents: Sequence[Agent], *, lines: Mapping[str, int] = NO_LINES) -> None:
    """ConfigError for two agents of one id, address or key; `lines` says, by id, where in the file an agent begins."""
    names = [agent.id for agent in agents]
    twice = sorted(name for name in set(names) if names.count(name) > 1) if len(set(names)) < len(names) else []
    if twice:
        raise ConfigError(f"agents: `{twice[0]}` is there twice; ids are unique")
    _check_addresses(agents, lines)
    _check_keys(agents, lines)


def check_teams(agents: Iterable[Agent], teams: frozenset[str], *, lines: Mapping[str, int] = NO_LINES) -> None:
    """ConfigError for a team that no group of the policy has; where it has no groups, every team is as good."""
    for agent in agents:
        if teams and agent.team and agent.team not in teams:
            known = ", ".join(sorted(teams))
            raise ConfigError(
                f"agents: {_where(agent.id, lines)}: `team` must be one that a [[group]] of the policy has "
                f"({known}) or be left out, found {agent.team!r}"
            )


def _where(name: str, lines: Mapping[str, int]) -> str:
    return f"line {lines[name]}: {name}" if name in lines else name


def _check_addresses(agents: Iterable[Agent], lines: Mapping[str, int]) -> None:
    """Sorted, all addresses that begin like a wildcard follow it directly: one pass finds the first that collide."""
    stems = sorted(
        (pattern.removesuffix("*"), WILD if pattern.endswith("*") else EXACT, agent.id, pattern)
        for agent in agents
        for pattern in agent.patterns
    )
    above: list[tuple[str, str, str]] = []  # wildcards that the current address begins with, shortest first
    last: tuple[str, str, str] | None = None  # the newest exact address
    for stem, kind, name, pattern in stems:
        while above and not stem.startswith(above[-1][0]):
            above.pop()
        # Nothing collided so far, so all wildcards above are of one agent: the newest stands for them.
        same = above[-1:] or ([last] if last is not None and last[0] == stem else [])
        for _, other, other_pattern in same:
            if other != name:
                raise ConfigError(
                    f"agents: {_where(name, lines)} and {_where(other, lines)} are both known by {pattern} "
                    f"(the other's pattern is {other_pattern}); each needs addresses that fit nobody else"
                )
        if kind == WILD:
            above.append((stem, name, pattern))
        else:
            last = (stem, name, pattern)


def _check_keys(agents: Iterable[Agent], lines: Mapping[str, int]) -> None:
    owners: dict[bytes, str] = {}
    for agent in agents:
        if not agent.key:
            continue
        try:
            key = base64.b64decode(agent.key, validate=True)
        except (binascii.Error, ValueError):
            key = b""
        if len(key) != AGENT_KEY_BYTES:
            raise ConfigError(
                f"agents: {_where(agent.id, lines)}: `key` must be {AGENT_KEY_BYTES} bytes in base64 (Ed25519); "
                "`mitschnitt agents key` prints the line"
            )
        if key in owners:
            raise ConfigError(
                f"agents: {_where(agent.id, lines)} and {_where(owners[key], lines)} have one `key`; "
                "each agent signs with a key of their own"
            )
        owners[key] = agent.id
