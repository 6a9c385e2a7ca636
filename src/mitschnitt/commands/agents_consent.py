"""`mitschnitt agents consent`: an agent's own acts for one purpose, signed with the agent's own key.

Granting tells first what is agreed and asks; withdrawing asks nothing. Both speak the agent's language, which is the
policy's unless the agent wants another. What an act must be, the keeper decides.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mitschnitt.commands.agents import checked_agent
from mitschnitt.commands.agents_terms import Words, consent_line, recorders, terms, words_for
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
    directory: Path, signer: Signer, purpose: str, *, notice: str, months: int, language: str, as_json: bool
) -> None:
    """Tell what is agreed, ask, sign and bring it to the keeper; nothing without a yes. NotAllowed with a rule."""
    words_for(language, "")
    door = Door(directory)
    offer = _offer(door, purpose, notice)
    words = words_for(language, str(offer.get("language", "")))
    until = Duration(months=months).after(datetime.now(UTC))
    # On the error stream, as all that is said to somebody at a terminal: with --json the other one is for programs.
    typer.echo(terms(signer.agent, offer, until, words), err=True)
    key = signer.load()
    _ask(words)
    now = datetime.now(UTC)
    given = StandingGrant(signer.agent, Purpose(purpose), now, until, str(offer["notice"]))
    done = _bring(door, sign_grant(given, key))
    told = {"agent": signer.agent, "purpose": purpose, "granted_at": now.isoformat(), "expires_at": until.isoformat()}
    if as_json:
        typer.echo(json.dumps({**told, "notice": offer["notice"], "recorders": done}))
        return
    typer.echo(words.granted.format(until=until.strftime(words.date), recorders=recorders(done, words)))


def withdraw(directory: Path, signer: Signer, purpose: str, *, language: str, as_json: bool) -> None:
    """Take it back: one step, no question, no reason (Art. 7(3) GDPR). In force when this returns."""
    words_for(language, "")
    door, key = Door(directory), signer.load()
    found = _own(door, signer.agent, key)
    at = max([datetime.now(UTC), *_newest(found["consents"], purpose)])
    done = _bring(door, sign_withdrawal(key, agent=signer.agent, purpose=Purpose(purpose), withdrawn_at=at))
    if as_json:
        told = {"agent": signer.agent, "purpose": purpose, "withdrawn_at": at.isoformat(), "recorders": done}
        typer.echo(json.dumps(told))
        return
    words = words_for(language, str(found.get("language", "")))
    typer.echo(words.withdrawn.format(recorders=recorders(done, words)))


def show(directory: Path, signer: Signer, *, language: str, as_json: bool) -> None:
    """How it stands with the own consents, to whoever holds the agent's key."""
    words_for(language, "")
    found = _own(Door(directory), signer.agent, signer.load())
    if as_json:
        typer.echo(json.dumps({"agent": signer.agent, "consents": found["consents"]}))
        return
    words = words_for(language, str(found.get("language", "")))
    for consent in found["consents"]:
        typer.echo(consent_line(consent, words))
    if not found["consents"]:
        typer.echo(words.nothing_asked)


def _ask(words: Words) -> None:
    """Abort unless the answer is a clear yes in the words of the language (Art. 4(11) GDPR)."""
    said = typer.prompt(words.question, default="", show_default=False, err=True)
    if str(said).strip().lower() not in words.yes:
        raise typer.Abort


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


def _own(door: Door, agent: str, key: Ed25519PrivateKey) -> Mapping[str, Any]:
    question = sign_question(key, agent=agent, at=datetime.now(UTC))
    found: Mapping[str, Any] = door.post("/consents", _body(question))
    return found


def _newest(consents: Iterable[Mapping[str, Any]], purpose: str) -> list[datetime]:
    """The times of the own act for this purpose: a withdrawal is never older, whatever the clocks say."""
    own = [consent for consent in consents if consent["purpose"] == purpose]
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
