"""agents.toml: who works here, by which addresses, with which key. No consent stands in it.

Reads and refuses; whoever asks decides what a refusal means. A changed file counts without a restart (`AgentsFile`),
a broken one never does: the agents stay who they were, for nobody is recorded or shut out by a typing mistake.
"""

from __future__ import annotations

import logging
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

from mitschnitt.core.roster import check_roster, check_teams
from mitschnitt.core.view import MAX_AGENTS, Agent, agent_from_json
from mitschnitt.errors import ConfigError
from mitschnitt.keeper.pages import with_page_key

HEADING = re.compile(r"^[ \t]*\[\[[ \t]*agent[ \t]*\]\]", re.MULTILINE)
MAX_FILE_BYTES = 16 * 1_048_576  # 20,000 agents with some patterns each fit many times

log = logging.getLogger("mitschnitt.keeper")
Stamp = tuple[int, int, int]  # inode, size in bytes, time of change in ns


def load_agents(path: Path, *, teams: frozenset[str] = frozenset()) -> tuple[Agent, ...]:
    """The `[[agent]]` tables of agents.toml; `teams` are those of the policy's groups, none where it has no groups.

    ConfigError says what was found and expected, with the line where an agent's table begins.
    """
    text = _text(path)
    try:
        top = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"agents: {path} is not TOML: {error}") from error
    unknown, tables = sorted(set(top) - {"agent"}), top.get("agent", [])
    if unknown or not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise ConfigError(f"agents: {path} holds [[agent]] tables only, found {', '.join(unknown) or 'another kind'}")
    if len(tables) > MAX_AGENTS:
        raise ConfigError(f"agents: {len(tables)} agents, at most {MAX_AGENTS}")
    agents = tuple(with_page_key(agent_from_json(table)) for table in tables)
    lines = _lines(text, agents)
    check_roster(agents, lines=lines)
    check_teams(agents, teams, lines=lines)
    return agents


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"agents: cannot read {path}: {error.strerror}") from error
    if len(data) > MAX_FILE_BYTES:
        raise ConfigError(f"agents: {path} has more than {MAX_FILE_BYTES} bytes")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"agents: {path} is not UTF-8: {error.reason} at byte {error.start}") from error


def _lines(text: str, agents: tuple[Agent, ...]) -> Mapping[str, int]:
    """Where each agent's table begins; nothing where headings and agents do not go together one by one."""
    places = [text.count("\n", 0, match.start()) + 1 for match in HEADING.finditer(text)]
    names = [agent.id for agent in agents]
    return dict(zip(names, places, strict=True)) if len(places) == len(names) == len(set(names)) else {}


class AgentsFile:
    """Looks whether the file was changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = self._stamp()

    def _stamp(self) -> Stamp | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_size, found.st_mtime_ns

    @property
    def is_stale(self) -> bool:
        """Whether the file is another than the one that was looked at."""
        return self._stamp() != self._seen

    def changed(self, *, teams: frozenset[str]) -> tuple[Agent, ...] | None:
        """The agents of a file that was changed and can be read; None otherwise.

        A file that cannot be is complained of once, and not looked at before it changes again.
        """
        stamp = self._stamp()
        if stamp == self._seen:
            return None
        self._seen = stamp
        try:
            agents = load_agents(self._path, teams=teams)
        except ConfigError:
            # The sentence names agents and their addresses; `doctor` says it to whoever asks, the log does not.
            log.error("agents.toml was changed and cannot be read; the agents stay as they were")  # noqa: TRY400 - a traceback would name agents, too
            return None
        log.info("agents.toml was changed and is read", extra={"count": len(agents)})
        return agents
