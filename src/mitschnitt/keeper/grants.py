"""Standing grants: an agent's own act, signed with the agent's own key (section 26(2) BDSG). No file holds consent.

An act is canonical JSON (RFC 8785) with an Ed25519 signature. Checks and reads acts; the database keeps them.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import rfc8785
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from mitschnitt.config import Config
from mitschnitt.core.consent import StandingGrant
from mitschnitt.core.purpose import Purpose
from mitschnitt.core.view import Agent
from mitschnitt.errors import ConfigError, MalformedPacket, NotAllowed, TooLarge
from mitschnitt.keeper.clock import rfc3339, wall_clock
from mitschnitt.keeper.site import load_agents
from mitschnitt.store import queries
from mitschnitt.store.engine import open_engine
from mitschnitt.store.writer import Writer

VERSION = 1
DOMAIN = b"mitschnitt/v1/grant\n"  # what is signed begins with it: a signature for something else is none here
MAX_ACT_BYTES = 4_096  # an act names a person, a purpose, two times and a notice
MAX_LIFE = timedelta(days=366)  # twelve months, in the longest year: consent is given again or it ends
MAX_AHEAD = timedelta(minutes=5)  # clocks of two machines differ; an act from further ahead is quarantined
FIELDS = {
    "grant": frozenset({"v", "act", "agent", "purpose", "granted_at", "expires_at", "notice"}),
    "withdraw": frozenset({"v", "act", "agent", "purpose", "withdrawn_at"}),
}


@dataclass(frozen=True, slots=True)
class SignedAct:
    """An act as its bytes, and the agent's signature over them."""

    act: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """From this moment the agent's grants for this purpose no longer count."""

    agent: str
    purpose: Purpose
    at: datetime


def _sign(key: Ed25519PrivateKey, act: Mapping[str, Any]) -> SignedAct:
    data = rfc8785.dumps(dict(act))
    return SignedAct(data, key.sign(DOMAIN + data))


def sign_grant(grant: StandingGrant, key: Ed25519PrivateKey) -> SignedAct:
    """The agent agrees, until `expires_at`, after having read `notice` (its name or hash)."""
    return _sign(
        key,
        {
            "v": VERSION,
            "act": "grant",
            "agent": grant.agent,
            "purpose": grant.purpose,
            "granted_at": rfc3339(grant.granted_at),
            "expires_at": rfc3339(grant.expires_at),
            "notice": grant.notice,
        },
    )


def sign_withdrawal(key: Ed25519PrivateKey, *, agent: str, purpose: Purpose, withdrawn_at: datetime) -> SignedAct:
    """The agent takes it back; one step, no reason."""
    return _sign(
        key,
        {
            "v": VERSION,
            "act": "withdraw",
            "agent": agent,
            "purpose": purpose,
            "withdrawn_at": rfc3339(withdrawn_at),
        },
    )


def _fields(act: bytes) -> Mapping[str, Any]:
    if len(act) > MAX_ACT_BYTES:
        raise TooLarge(f"an act has at most {MAX_ACT_BYTES} bytes, found {len(act)}")
    try:
        fields: dict[str, Any] = json.loads(act)
        canonical = isinstance(fields, dict) and rfc8785.dumps(fields) == act
    except (ValueError, RecursionError) as error:
        raise MalformedPacket("an act is canonical JSON (RFC 8785); this is not") from error
    if not canonical or fields.get("v") != VERSION:
        raise MalformedPacket(f"an act is a canonical JSON object with v {VERSION} (RFC 8785)")
    if fields.get("act") not in FIELDS or set(fields) != FIELDS[fields["act"]]:
        raise MalformedPacket(f"an act is one of {', '.join(FIELDS)} with exactly its own fields")
    if not all(isinstance(value, str) for name, value in fields.items() if name != "v"):
        raise MalformedPacket("the fields of an act are texts")
    return fields


def _time(fields: Mapping[str, Any], name: str) -> datetime:
    try:
        at = datetime.fromisoformat(fields[name])
    except ValueError as error:
        raise MalformedPacket(f"`{name}` of an act must be an RFC 3339 time") from error
    if at.tzinfo is None:
        raise MalformedPacket(f"`{name}` of an act must name its zone")
    return at


def read_act(act: bytes) -> StandingGrant | Withdrawal:
    """What an act says, unchecked; MalformedPacket or TooLarge for what is none."""
    fields = _fields(act)
    if fields["act"] == "withdraw":
        return Withdrawal(fields["agent"], Purpose(fields["purpose"]), _time(fields, "withdrawn_at"))
    return StandingGrant(
        agent=fields["agent"],
        purpose=Purpose(fields["purpose"]),
        granted_at=_time(fields, "granted_at"),
        expires_at=_time(fields, "expires_at"),
        notice=fields["notice"],
    )


def check_act(signed: SignedAct, agents: Iterable[Agent]) -> StandingGrant | Withdrawal:
    """The act, if the agent whom it names signed it and it lives no longer than twelve months.

    NotAllowed with `grant.agent.unknown`, `grant.signature`, `grant.too_long`; MalformedPacket for no act.
    """
    said = read_act(signed.act)
    known = {agent.id: agent for agent in agents}
    agent = known.get(said.agent)
    if agent is None or not agent.key:
        raise NotAllowed("grant.agent.unknown", "an act needs an agent of agents.toml who has a `key`")
    try:
        public = Ed25519PublicKey.from_public_bytes(base64.b64decode(agent.key, validate=True))
        public.verify(signed.signature, DOMAIN + signed.act)
    except (InvalidSignature, binascii.Error, ValueError) as error:
        raise NotAllowed("grant.signature", "the act is not signed with the agent's own key") from error
    if isinstance(said, StandingGrant) and not timedelta(0) < said.expires_at - said.granted_at <= MAX_LIFE:
        raise NotAllowed("grant.too_long", f"a grant lives more than 0 and at most {MAX_LIFE.days} days")
    return said


def import_grant(
    writer: Writer, agents: Iterable[Agent], signed: SignedAct, *, now: datetime
) -> StandingGrant | Withdrawal:
    """Check an act and keep it, durably; what it says. A grant that is over already is kept, and counts for nothing.

    Raises what `check_act` raises, and NotAllowed with `grant.future`.
    """
    said = check_act(signed, agents)
    begins = said.at if isinstance(said, Withdrawal) else said.granted_at
    if begins > now + MAX_AHEAD:
        raise NotAllowed("grant.future", "the act is dated later than now")
    writer.submit(
        lambda connection: queries.add_grant_act(
            connection, agent=said.agent, purpose=said.purpose, act=signed.act, signature=signed.signature
        )
    ).result()
    return said


def import_grants(config: Config, signed: Iterable[SignedAct]) -> None:
    """Bring acts into a site that is not running; a running keeper takes them at its door. Raises as `import_grant`."""
    agents = load_agents(config.directory / "agents.toml")
    if not config.database.exists():
        raise ConfigError(f"grants: {config.database} is missing; `mitschnitt init DIR` makes it")
    writer = Writer(open_engine(config.database))
    try:
        for act in signed:
            import_grant(writer, agents, act, now=wall_clock())
    finally:
        writer.close()


def standing_grants(acts: Iterable[tuple[bytes, bytes]], agents: Iterable[Agent]) -> tuple[StandingGrant, ...]:
    """All grants of all agents with their withdrawals, from the acts in the database.

    Each signature is checked again: a row that somebody wrote into the database by hand counts for nothing, and
    neither does an act of an agent who is no longer listed.
    """
    listed = tuple(agents)
    said = []
    for act, signature in acts:
        try:
            said.append(check_act(SignedAct(act, signature), listed))
        except (NotAllowed, MalformedPacket, TooLarge):
            continue
    withdrawals = [item for item in said if isinstance(item, Withdrawal)]
    return tuple(_with_withdrawal(item, withdrawals) for item in said if isinstance(item, StandingGrant))


def _with_withdrawal(grant: StandingGrant, withdrawals: Iterable[Withdrawal]) -> StandingGrant:
    times = [
        item.at
        for item in withdrawals
        if (item.agent, item.purpose) == (grant.agent, grant.purpose) and item.at >= grant.granted_at
    ]
    return replace(grant, withdrawn_at=min(times)) if times else grant
