"""`mitschnitt agents consent`: an agent's own acts for one purpose, signed with the agent's own key.

Granting tells first what is agreed and asks; withdrawing asks nothing. What an act must be, the keeper decides.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mitschnitt.commands.agents import checked_agent
from mitschnitt.commands.door_client import Door
from mitschnitt.commands.passwords import role_password
from mitschnitt.core.consent import StandingGrant
from mitschnitt.core.durations import Duration
from mitschnitt.core.purpose import Purpose
from mitschnitt.errors import NotAllowed
from mitschnitt.keeper.acts import SignedAct
from mitschnitt.keeper.consents import sign_question
from mitschnitt.keeper.grants import sign_grant, sign_withdrawal
from mitschnitt.keeper.role_keys import load_private

MONTHS = 12  # a grant lives at most, and unless the agent wants less

TERMS = """\
{agent}, you are asked for your consent (Art. 6(1)(a) GDPR, section 26(2) BDSG):

  for what      {purpose}
  by whom       {controller}
  the notice    {notice}   (you were given its text; do not agree without having read it)
  heard by      {roles}
  kept for      {retention} per recording
  until         {until}, then it ends by itself

It is of your own free will and no part of your contract: saying no, or nothing, has no consequences, and nobody is
told. You can take it back at any time, in one step and without a reason:
mitschnitt agents consent withdraw --agent {agent} --purpose {purpose} --key FILE
"""


@dataclass(frozen=True, slots=True)
class Signer:
    """Who acts: the agent's id, the file of the agent's private key, and where its password comes from."""

    agent: str
    key: Path
    password_file: Path | None

    def load(self) -> Ed25519PrivateKey:
        """The private key. ConfigError says what is wrong with file or password."""
        return load_private(self.key, role_password(checked_agent(self.agent), file=self.password_file))


def grant(  # noqa: PLR0913 - an act has as many parts
    directory: Path, signer: Signer, purpose: str, *, notice: str, months: int, as_json: bool
) -> None:
    """Tell what is agreed, ask, sign and bring it to the keeper; nothing without a yes. NotAllowed with a rule."""
    door = Door(directory)
    offer = _offer(door, purpose, notice)
    until = Duration(months=months).after(datetime.now(UTC))
    _tell(signer.agent, offer, until)
    key = signer.load()
    typer.confirm("Do you agree?", abort=True, err=True)
    now = datetime.now(UTC)
    given = StandingGrant(signer.agent, Purpose(purpose), now, until, str(offer["notice"]))
    done = _bring(door, sign_grant(given, key))
    told = {"agent": signer.agent, "purpose": purpose, "granted_at": now.isoformat(), "expires_at": until.isoformat()}
    if as_json:
        typer.echo(json.dumps({**told, "notice": offer["notice"], "recorders": done}))
        return
    typer.echo(f"granted until {until:%Y-%m-%d}; in force on {_recorders(done)}")


def withdraw(directory: Path, signer: Signer, purpose: str, *, as_json: bool) -> None:
    """Take it back: one step, no question, no reason (Art. 7(3) GDPR). In force when this returns."""
    door, key = Door(directory), signer.load()
    at = max([datetime.now(UTC), *_newest(door, signer.agent, key, purpose)])
    done = _bring(door, sign_withdrawal(key, agent=signer.agent, purpose=Purpose(purpose), withdrawn_at=at))
    if as_json:
        told = {"agent": signer.agent, "purpose": purpose, "withdrawn_at": at.isoformat(), "recorders": done}
        typer.echo(json.dumps(told))
        return
    typer.echo(f"withdrawn; in force on {_recorders(done)}. Calls that run end unrecorded, and what they kept is gone")


def show(directory: Path, signer: Signer, *, as_json: bool) -> None:
    """How it stands with the own consents, to whoever holds the agent's key."""
    found = _own(Door(directory), signer.agent, signer.load())
    if as_json:
        typer.echo(json.dumps({"agent": signer.agent, "consents": found}))
        return
    for consent in found:
        more = f", until {consent['expires_at'][:10]}" if consent["state"] == "given" else ""
        notice = f" (notice {consent['notice']})" if consent["notice"] else ""
        typer.echo(f"{consent['purpose']}{notice}: {consent['state']}{more}")
    if not found:
        typer.echo("the policy asks agents for no consent")


def _offer(door: Door, purpose: str, notice: str) -> Mapping[str, Any]:
    """What the policy asks for; NotAllowed as the keeper would say it, before anybody reads terms that are none."""
    offered = {str(offer["purpose"]): offer for offer in door.get("/consents", **{"as": "agent"})["offered"]}
    if purpose not in offered:
        known = ", ".join(offered) or "nothing"
        raise NotAllowed("grant.purpose.unknown", f"the policy asks agents for consent to {known}; found {purpose!r}")
    named = str(offered[purpose]["notice"])
    if notice and notice != named:
        raise NotAllowed("grant.notice", f"the policy names the notice {named or 'none'}; found {notice!r}")
    return {**offered[purpose], "notice": named}


def _tell(agent: str, offer: Mapping[str, Any], until: datetime) -> None:
    terms = TERMS.format(
        agent=agent,
        purpose=offer["purpose"],
        controller=", ".join(part for part in (offer["controller"], offer["contact"]) if part),
        notice=offer["notice"] or "none is named",
        roles=", ".join(offer["roles"]) or "nobody",
        retention=offer["retention"],
        until=f"{until:%Y-%m-%d}",
    )
    limit = f"  within        {offer['agreement']} (it limits this, and stands in for none of it)\n"
    # On the error stream, as all that is said to somebody at a terminal: with --json the other one is for programs.
    typer.echo(terms.replace("  kept for", f"{limit}  kept for") if offer["agreement"] else terms, err=True)


def _own(door: Door, agent: str, key: Ed25519PrivateKey) -> list[dict[str, Any]]:
    question = sign_question(key, agent=agent, at=datetime.now(UTC))
    found: list[dict[str, Any]] = door.post("/consents", _body(question))["consents"]
    return found


def _newest(door: Door, agent: str, key: Ed25519PrivateKey, purpose: str) -> list[datetime]:
    """The times of the own act for this purpose: a withdrawal is never older, whatever the clocks say."""
    own = [consent for consent in _own(door, agent, key) if consent["purpose"] == purpose]
    times = [consent.get(name) for consent in own for name in ("granted_at", "withdrawn_at")]
    return [datetime.fromisoformat(at) for at in times if at]


def _body(signed: SignedAct) -> dict[str, str]:
    return {
        "role": "agent",
        "act": base64.b64encode(signed.act).decode(),
        "signature": base64.b64encode(signed.signature).decode(),
    }


def _bring(door: Door, signed: SignedAct) -> int:
    return int(door.post("/grants", _body(signed))["recorders"])


def _recorders(count: int) -> str:
    return "the recorder" if count == 1 else f"all {count} recorders" if count else "no recorder yet: none is connected"
