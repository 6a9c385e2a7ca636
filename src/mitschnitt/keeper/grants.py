"""Standing grants: an agent's own act, signed with the agent's own key (section 26(2) BDSG). No file holds consent.

An act is canonical JSON (RFC 8785) with an Ed25519 signature. Checks and reads acts; the database keeps them.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from sqlalchemy import Connection

from mitschnitt.config import Config
from mitschnitt.core.consent import StandingGrant
from mitschnitt.core.purpose import Purpose
from mitschnitt.core.view import Agent
from mitschnitt.errors import ConfigError, MalformedPacket, NotAllowed, TooLarge
from mitschnitt.keeper.acts import VERSION, SignedAct, is_signed, read_fields, sign_act, time_in
from mitschnitt.keeper.agents_file import load_agents
from mitschnitt.keeper.clock import rfc3339, wall_clock
from mitschnitt.store import queries
from mitschnitt.store.engine import open_engine
from mitschnitt.store.writer import Writer

DOMAIN = b"mitschnitt/v1/grant\n"  # what is signed begins with it: a signature for something else is none here
MAX_LIFE = timedelta(days=366)  # twelve months, in the longest year: consent is given again or it ends
MAX_SIGNATURES = 100_000  # that are remembered as checked: 20,000 agents with some purposes; 60 MB
MAX_AHEAD = timedelta(minutes=5)  # clocks of two machines differ; an act from further ahead is quarantined
Notices = Mapping[Purpose, str]  # to what agents can consent, and the notice that the policy names for it
FIELDS = {
    "grant": frozenset({"v", "act", "agent", "purpose", "granted_at", "expires_at", "notice"}),
    "withdraw": frozenset({"v", "act", "agent", "purpose", "withdrawn_at"}),
}


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """From this moment the agent's grants for this purpose no longer count."""

    agent: str
    purpose: Purpose
    at: datetime


def sign_grant(grant: StandingGrant, key: Ed25519PrivateKey) -> SignedAct:
    """The agent agrees, until `expires_at`, after having read `notice` (its name or hash)."""
    return sign_act(
        key,
        DOMAIN,
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
    return sign_act(
        key,
        DOMAIN,
        {
            "v": VERSION,
            "act": "withdraw",
            "agent": agent,
            "purpose": purpose,
            "withdrawn_at": rfc3339(withdrawn_at),
        },
    )


def read_act(act: bytes) -> StandingGrant | Withdrawal:
    """What an act says, unchecked; MalformedPacket or TooLarge for what is none."""
    fields = read_fields(act, FIELDS)
    if fields["act"] == "withdraw":
        return Withdrawal(fields["agent"], Purpose(fields["purpose"]), time_in(fields, "withdrawn_at"))
    return StandingGrant(
        agent=fields["agent"],
        purpose=Purpose(fields["purpose"]),
        granted_at=time_in(fields, "granted_at"),
        expires_at=time_in(fields, "expires_at"),
        notice=fields["notice"],
    )


def check_act(signed: SignedAct, agents: Iterable[Agent]) -> StandingGrant | Withdrawal:
    """The act, if the agent whom it names signed it and it lives no longer than twelve months.

    NotAllowed with `grant.agent.unknown`, `grant.signature`, `grant.too_long`; MalformedPacket for no act.
    """
    return _checked(signed, {agent.id: agent for agent in agents})


def _checked(signed: SignedAct, known: Mapping[str, Agent]) -> StandingGrant | Withdrawal:
    said = read_act(signed.act)
    agent = known.get(said.agent)
    if agent is None or not agent.key:
        raise NotAllowed("grant.agent.unknown", "an act needs an agent of agents.toml who has a `key`")
    if not is_of_agent(agent.key, DOMAIN, signed):
        raise NotAllowed("grant.signature", "the act is not signed with the agent's own key")
    if isinstance(said, StandingGrant) and not timedelta(0) < said.expires_at - said.granted_at <= MAX_LIFE:
        raise NotAllowed("grant.too_long", f"a grant lives more than 0 and at most {MAX_LIFE.days} days")
    return said


@lru_cache(maxsize=MAX_SIGNATURES)
def is_of_agent(key: str, domain: bytes, signed: SignedAct) -> bool:
    """Whether this key (base64) signed this. Remembered: a view is made anew for every act, and acts never change."""
    try:
        public = Ed25519PublicKey.from_public_bytes(base64.b64decode(key, validate=True))
    except (binascii.Error, ValueError):
        return False
    return is_signed(public, domain, signed)


def import_grant(
    writer: Writer,
    agents: Iterable[Agent],
    signed: SignedAct,
    *,
    now: datetime,
    notices: Notices | None = None,
) -> StandingGrant | Withdrawal:
    """Check an act and keep it, durably; what it says. A grant that is over already is kept, and counts for nothing.

    Raises what `check_act` raises, and NotAllowed with `grant.future`, `grant.older`, `grant.purpose.unknown` or
    `grant.notice`. A withdrawal asks for none of the last two: it is taken for whatever was once agreed.
    """
    listed = tuple(agents)
    said = check_act(signed, listed)
    if _dated(said) > now + MAX_AHEAD:
        raise NotAllowed("grant.future", "the act is dated later than now")
    if isinstance(said, StandingGrant) and notices is not None:
        _check_notice(said, notices)
    writer.submit(lambda connection: _keep(connection, listed, signed, said)).result()
    return said


def _dated(said: StandingGrant | Withdrawal) -> datetime:
    return said.at if isinstance(said, Withdrawal) else said.granted_at


def _check_notice(said: StandingGrant, notices: Notices) -> None:
    """Consent is specific and informed: for a purpose of the policy, after the notice that it names (Art. 4(11))."""
    if said.purpose not in notices:
        raise NotAllowed("grant.purpose.unknown", "the policy asks agents for no consent to this purpose")
    named = notices[said.purpose]
    if named and said.notice != named:
        raise NotAllowed("grant.notice", f"the policy names the notice {named}; the grant is for another")


def _keep(
    connection: Connection, agents: tuple[Agent, ...], signed: SignedAct, said: StandingGrant | Withdrawal
) -> None:
    """In one transaction, so that two acts that come together are looked at one after the other.

    An act that is kept already changes nothing, but does no harm: it is not told apart from a new one.
    """
    kept = queries.grant_acts_of(connection, said.agent, said.purpose)
    if (signed.act, signed.signature) not in kept and (newest := _newest(kept, agents)) is not None:
        at = _dated(said)
        # A grant of the very moment of a withdrawal would count for nothing; better it is refused than silent.
        late = isinstance(said, StandingGrant) and isinstance(newest, Withdrawal) and at == newest.at
        if at < _dated(newest) or late:
            raise NotAllowed("grant.older", "a newer act of this agent for this purpose is known already")
    queries.add_grant_act(
        connection, agent=said.agent, purpose=said.purpose, act=signed.act, signature=signed.signature
    )


def _newest(acts: Iterable[tuple[bytes, bytes]], agents: tuple[Agent, ...]) -> StandingGrant | Withdrawal | None:
    """The newest act that counts; of one moment the withdrawal."""
    said = _said(acts, agents)
    return max(said, key=lambda item: (_dated(item), isinstance(item, Withdrawal)), default=None)


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
    said = _said(acts, agents)
    withdrawals = [item for item in said if isinstance(item, Withdrawal)]
    return tuple(_with_withdrawal(item, withdrawals) for item in said if isinstance(item, StandingGrant))


def counting(grants: Iterable[StandingGrant]) -> tuple[StandingGrant, ...]:
    """Of each agent and purpose the newest grants only: older ones decide nothing, and a view has room for so many."""
    given = tuple(grants)
    newest: dict[tuple[str, Purpose], datetime] = {}
    for grant in given:
        key = (grant.agent, grant.purpose)
        newest[key] = max(grant.granted_at, newest.get(key, grant.granted_at))
    return tuple(grant for grant in given if grant.granted_at == newest[grant.agent, grant.purpose])


def _said(acts: Iterable[tuple[bytes, bytes]], agents: Iterable[Agent]) -> list[StandingGrant | Withdrawal]:
    """What acts of the database say; those that do not hold are left out."""
    said, keys = [], {agent.id: agent for agent in agents}
    for act, signature in acts:
        try:
            said.append(_checked(SignedAct(act, signature), keys))
        except (NotAllowed, MalformedPacket, TooLarge):
            continue
    return said


def _with_withdrawal(grant: StandingGrant, withdrawals: Iterable[Withdrawal]) -> StandingGrant:
    times = [
        item.at
        for item in withdrawals
        if (item.agent, item.purpose) == (grant.agent, grant.purpose) and item.at >= grant.granted_at
    ]
    return replace(grant, withdrawn_at=min(times)) if times else grant
