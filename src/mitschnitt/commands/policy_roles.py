"""`mitschnitt policy show --roles`: who may do what, from the table that decides it. Changes nothing, asks no keeper.

What a policy takes away is named beside what the table gives; nothing here says what the table does not.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import typer

from mitschnitt.config import load_config
from mitschnitt.core.access import DEEDS, OWN, ROLES, TABLE, Action, Permission
from mitschnitt.core.policy import Policy
from mitschnitt.core.purpose import ACCOUNTABILITY, BUILT_IN, DISPUTE, OBLIGATION, TRAINING, Purpose
from mitschnitt.errors import NotAllowed
from mitschnitt.keeper.clock import wall_clock
from mitschnitt.keeper.policies import Policies

NOBODY: Mapping[Purpose, str] = {
    DISPUTE: "it takes two people to open one",
    OBLIGATION: "a law demands the recording, and it is used for nothing else (WpHG section 83(9))",
    ACCOUNTABILITY: "it is proof without audio",
}
AGREED = "if every party on the call agreed to it, and until the recording falls due"
STATES: Mapping[frozenset[str], str] = {
    frozenset({"kept"}): "of a kept call",
    frozenset({"kept", "not_kept"}): "of a call that is over",
    frozenset({"kept", "not_kept", "live"}): "of any call whose id is known",
    frozenset(): "",
}


def run(directory: Path, name: str, *, as_json: bool) -> None:
    """The whole table for one policy, or with "" for the one in force. ConfigError, NotAllowed when there is none."""
    policies = Policies.of(load_config(directory))
    policy = policies.files.named(name).policy if name else _in_force(policies)
    told = table_of(policy)
    if as_json:
        typer.echo(json.dumps(told))
        return
    for line in in_words(told):
        typer.echo(line)


def _in_force(policies: Policies) -> Policy:
    try:
        return policies.in_force(wall_clock()).policy
    except NotAllowed as error:
        raise NotAllowed(
            error.rule, "no policy is in force; name the one that you want to read: HASH --roles"
        ) from error


def table_of(policy: Policy) -> dict[str, Any]:
    """{policy, roles, hearing, doing}: who hears for which purpose and who does what else, each by its rule."""
    purposes = [TRAINING, *(one for one in BUILT_IN if one != TRAINING)]
    purposes += [one for one in sorted(policy.purposes) if one not in BUILT_IN]
    return {
        "policy": policy.hash,
        "name": policy.name,
        "roles": dict(ROLES),
        "hearing": [_hearing(purpose, policy) for purpose in purposes],
        "doing": [_doing(action) for action in Action if action is not Action.HEAR],
    }


def _hearing(purpose: Purpose, policy: Policy) -> dict[str, Any]:
    named = purpose if purpose in BUILT_IN else OWN
    rows = [row for row in TABLE if row.action is Action.HEAR and row.purpose == named]
    rule = policy.purposes.get(purpose)
    lets = rule.roles if rule is not None else frozenset()
    heard = [{"role": row.role, "rule": row.rule} for row in rows if row.role in lets]
    taken = [{"role": row.role, "rule": "access.policy.role"} for row in rows if row.role not in lets]
    return {
        "purpose": purpose,
        "in_policy": rule is not None,
        "heard_by": heard,
        "not_let_by_policy": taken,
        "condition": AGREED if heard else "",
        "because": "" if rows else NOBODY.get(purpose, "there is no row for it"),
        "others": DEEDS[Action.HEAR].role,
    }


def _doing(action: Action) -> dict[str, Any]:
    rows = [row for row in TABLE if row.action is action]
    return {
        "action": action.value,
        "does": DEEDS[action].says,
        "by": [{"role": row.role, "rule": row.rule, "condition": _condition(row)} for row in rows],
        "others": DEEDS[action].role,
    }


def _condition(row: Permission) -> str:
    return STATES[row.states]


def in_words(told: Mapping[str, Any]) -> Iterator[str]:
    """The table for reading."""
    yield f"policy {told['policy'][:8]}, {told['name']}"
    yield ""
    yield "Roles. There are no others."
    yield from (f"  {role:9} {says}" for role, says in told["roles"].items())
    yield ""
    yield f"Who hears recordings, {AGREED}."
    for one in told["hearing"]:
        yield from _hearing_in_words(one)
    yield f"  whoever else asks: no [{told['hearing'][0]['others']}]"
    yield ""
    yield "Who does what else. Roles that are not named may not."
    for one in told["doing"]:
        yield f"  {one['does']}: no other role [{one['others']}]"
        for who in one["by"]:
            yield f"    {who['role']:9} {who['condition'] or 'yes'} [{who['rule']}]"


def _hearing_in_words(one: Mapping[str, Any]) -> Iterator[str]:
    yield f"  for {one['purpose']}" + ("" if one["in_policy"] else " (not in this policy)")
    for who in one["heard_by"]:
        yield f"    {who['role']:9} yes [{who['rule']}]"
    for who in one["not_let_by_policy"]:
        yield f"    {who['role']:9} no: this policy does not let the role [{who['rule']}]"
    if one["because"]:
        yield f"    nobody: {one['because']}"
