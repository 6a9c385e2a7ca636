"""`mitschnitt policy show [HASH]`: which policy is in force, which comes, who signed what and when. Changes nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import typer

from mitschnitt.config import load_config
from mitschnitt.core.policy import Policy
from mitschnitt.core.policy_life import Activation
from mitschnitt.errors import ConfigError, NotAllowed
from mitschnitt.keeper.clock import rfc3339, wall_clock
from mitschnitt.keeper.next_step import step_of
from mitschnitt.keeper.policies import Policies
from mitschnitt.keeper.role_keys import ROLES, fingerprint, load_public

MISSING = "has not signed"


def run(directory: Path, name: str, *, as_json: bool) -> None:
    """One policy, or with "" how the site stands. ConfigError for a name that is none."""
    policies, now = Policies.of(load_config(directory)), wall_clock()
    if name:
        _show_one(policies, policies.files.named(name).policy, directory, now=now, as_json=as_json)
        return
    told = standing(policies, directory, now)
    if as_json:
        typer.echo(json.dumps(told))
        return
    for line in _in_words(told):
        typer.echo(line)


# -- the site ------------------------------------------------------------------------------------------


def standing(policies: Policies, directory: Path, now: datetime) -> dict[str, Any]:
    """What is in force or why nothing is, what comes, what was proposed only, and the keys that are enrolled."""
    lines = policies.files.activations()
    coming = [item for line in lines if (item := _coming(policies, line, now)) is not None]
    active = {line.hash for line in lines}
    proposed = [_told(policies, digest) for digest in policies.files.known() if digest not in active]
    keys = {role: _key(directory, role) for role in ROLES}
    return {**_in_force(policies, now), "coming": coming, "proposed": proposed, "keys": keys}


def _in_force(policies: Policies, now: datetime) -> dict[str, Any]:
    try:
        policy = policies.in_force(now).policy
    except (NotAllowed, ConfigError) as error:
        return {"in_force": None, "because": str(error)}
    return {"in_force": _told(policies, policy.hash), "signatures_needed": not policies.allow_unsigned}


def _coming(policies: Policies, line: Activation, now: datetime) -> dict[str, Any] | None:
    try:
        begins = policies.files.tenure(line).begins
    except ConfigError as error:
        return {"policy": line.hash, "from": str(line.first), "because": str(error)}
    return {**_told(policies, line.hash), "from": str(line.first)} if begins > now else None


def _told(policies: Policies, digest: str) -> dict[str, Any]:
    try:
        policy = policies.files.read(digest).policy
    except ConfigError as error:
        return {"policy": digest, "because": str(error)}
    return {"policy": digest, "name": policy.name, "signatures": signatures(policies, policy)}


def signatures(policies: Policies, policy: Policy) -> dict[str, str]:
    """By role whom the policy names: when it signed, or in words why that counts for nothing."""
    return {role: _signature(policies, policy, role) for role in policy.signed_by}


def _signature(policies: Policies, policy: Policy, role: str) -> str:
    try:
        found = policies.signatures.of(policy, role)
    except (NotAllowed, ConfigError) as error:
        return str(error)
    return MISSING if found is None else rfc3339(found.at)


def _key(directory: Path, role: str) -> str | None:
    try:
        return fingerprint(load_public(directory, role))
    except ConfigError:
        return None


def _in_words(told: dict[str, Any]) -> Iterator[str]:
    if told["in_force"] is None:
        yield f"in force: none, nobody is asked ({told['because']})"
    else:
        yield from _block("in force", told["in_force"])
        if not told["signatures_needed"]:
            yield "  this is a trial ([gate] allow_unsigned_policy): signatures are not asked for"
    for item in told["coming"]:
        yield from _block(f"from {item['from']} on", item)
    for item in told["proposed"]:
        yield from _block("proposed", item)
    for role, key in told["keys"].items():
        yield f"key of {role:8} {key or 'none enrolled'}"


def _block(when: str, item: dict[str, Any]) -> Iterator[str]:
    if "because" in item:
        yield f"{when}: {item['policy']} cannot be used: {item['because']}"
        return
    yield f"{when}: {item['policy']} ({item['name']!r})"
    for role, signed in item["signatures"].items():
        yield f"  {role}: {signed if not signed[:1].isdigit() else f'signed {signed}'}"


# -- one policy ----------------------------------------------------------------------------------------


def _show_one(policies: Policies, policy: Policy, directory: Path, *, now: datetime, as_json: bool) -> None:
    told = facts(policies, policy)
    if as_json:
        typer.echo(json.dumps(told))
        return
    for name, value in told.items():
        typer.echo(f"{name:12} {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}")
    typer.echo(f"next: {step_of(policies, policy, directory, now=now)}")


def facts(policies: Policies, policy: Policy) -> dict[str, Any]:
    """What somebody who is to sign must know first; the whole of it is the file."""
    return {
        "policy": policy.hash,
        "name": policy.name,
        "file": str(policies.files.text_path(policy.hash)),
        "time zone": policy.timezone,
        "controller": policy.controller.name,
        "records for": str(policy.purpose),
        "kept for": str(policy.retention),
        "purposes": {str(rule.id): dict(rule.basis) for rule in policy.purposes.values()},
        "drawn": {stratum.name: str(stratum.rate) for stratum in policy.strata},
        "not drawn": [exclusion.name for exclusion in policy.exclusions],
        "beacon": policy.beacon.value,
        "asking": policy.asking.value,
        "languages": list(policy.languages),
        "signatures": signatures(policies, policy),
    }
