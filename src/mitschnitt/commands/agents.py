"""`mitschnitt agents`: who works here, and keys with which agents speak for themselves. Never who agreed to what."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import typer

from mitschnitt.commands.call import checked_role
from mitschnitt.commands.door_client import Door
from mitschnitt.commands.passwords import role_password
from mitschnitt.core.view import AGENT_ID
from mitschnitt.errors import ConfigError
from mitschnitt.keeper.role_keys import make_private


def list_agents(directory: Path, *, role: str, as_json: bool) -> None:
    """Id, team and first day of each. Whoever asks learns nothing that agents.toml does not say."""
    agents = Door(directory).get("/agents", **{"as": checked_role(role)})["agents"]
    if as_json:
        typer.echo(json.dumps(agents))
        return
    width = max((len(agent["id"]) for agent in agents), default=0)
    for agent in agents:
        typer.echo(f"{agent['id']:{width}}  {agent['started'] or '-':10}  {agent['team'] or '-'}")
    if not agents:
        typer.echo("no agents yet; write them into agents.toml")


def make_key(directory: Path, agent: str, *, out: Path, password_file: Path | None, as_json: bool) -> None:
    """Make an agent's key under a password, and print the line of its public half for agents.toml.

    ConfigError, and nothing is written, for what is no id, and as `make_private` says.
    """
    password = role_password(checked_agent(agent), file=password_file, again=True)
    public = base64.b64encode(make_private(directory, out, password).public_bytes_raw()).decode()
    if as_json:
        typer.echo(json.dumps({"agent": agent, "private_key": str(out), "key": public}))
        return
    typer.echo(f"made {out}: the private key of {agent}, under the password; both are for {agent} alone")
    typer.echo("the operator writes this line into the agent's table in agents.toml; it counts within a second:")
    typer.echo(f'key = "{public}"')


def checked_agent(agent: str) -> str:
    """The id as given; ConfigError for what is none."""
    if not AGENT_ID.fullmatch(agent):
        raise ConfigError(f"agent: an id has lower-case letters, digits, dot and dash; found {agent[:64]!r}")
    return agent
