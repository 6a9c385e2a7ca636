"""What no log may say: numbers, names, addresses, call ids, rules. Every line of the whole suite is looked at.

`conftest` shows it each record as a process would write it; the journeys show it what `serve` wrote.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterable

import world
from mitschnitt.gateways import cast
from mitschnitt.log import JsonLines

CALLS_OF_THE_CAST = 100  # of the simulated centre's callers; their numbers and names repeat


def _known() -> list[str]:
    speakers = [
        *cast.AGENTS_WITH_GRANT,
        cast.AGENT_WITHOUT_GRANT,
        cast.AGENT_EXPIRED_GRANT,
        cast.THIRD,
        *map(cast.caller, range(CALLS_OF_THE_CAST)),
    ]
    names = [person.name for person in world.EVERYBODY] + [speaker.name for speaker in speakers]
    addresses = [person.aor for person in world.EVERYBODY] + [speaker.aor for speaker in speakers]
    users = [address.removeprefix("sip:").partition("@")[0].lstrip("+") for address in addresses]
    return sorted({*names, *users, *(user.partition(".")[2] for user in users if "." in user)})


PATTERNS = {
    "somebody of the cast": re.compile("|".join(map(re.escape, _known())), re.IGNORECASE),
    "an address": re.compile(r"\b(?:sips?|tel):\S|\w@\w", re.IGNORECASE),
    "a telephone number": re.compile(r"(?<![\w.])\+?[0-9][0-9 ()/-]{6,}[0-9](?![\w.])"),
    "a call id": re.compile(r"(?<![0-9A-Za-z])[0-9A-HJKMNP-TV-Z]{26}(?![0-9A-Za-z])"),
    "a rule": re.compile(r"\b(?:consent|draw|act|parties|binding|agent)\.[a-z_]+"),
    "a digit somebody pressed": re.compile(r"(?<![\w.])[*#][0-9*#]|\b(?:digit|key) [0-9*#](?![0-9])"),
}
# Fields that only machines fill: a time stamp is no telephone number, a line of a source file no digit.
OF_MACHINES = ("at", "place", "logger", "seq", "version", "epoch", "count", "seconds", "port", "errno", "again")


def leaks_in(line: str) -> list[str]:
    """What a line of a log says that it may not; the line is JSON, or what a process printed."""
    try:
        told = json.loads(re.sub(r"^<[0-7]>", "", line))
    except ValueError:
        told = line
    if isinstance(told, dict):
        told = " ".join(str(value) for name, value in told.items() if name not in OF_MACHINES)
    return [f"{what}: {found[0]!r}" for what, pattern in PATTERNS.items() if (found := pattern.search(str(told)))]


def leaks_in_text(text: str) -> list[str]:
    """The same of many lines, each with what it says."""
    return [f"{leak} in {line[:200]!r}" for line in text.splitlines() for leak in leaks_in(line)]


class Watch:
    """Looks at every record that is logged in this process; `found` is what must not have been said."""

    def __init__(self) -> None:
        self.seen = 0
        self.found: list[str] = []
        self._lines = JsonLines("test")
        self._handle: Callable[[logging.Logger, logging.LogRecord], None] = logging.Logger.handle

    def begin(self) -> None:
        """From now on, also for loggers without a handler."""
        watch = self

        def handle(logger: logging.Logger, record: logging.LogRecord) -> None:
            watch.look(record)
            watch._handle(logger, record)

        # Here, so that it holds whatever handlers a test sets up or takes away.
        setattr(logging.Logger, "handle", handle)  # noqa: B010 - mypy refuses to see a method exchanged
        logging.getLogger("mitschnitt").setLevel(logging.INFO)  # as in production

    def look(self, record: logging.LogRecord) -> None:
        """One record, as a process would write it."""
        if record.name.startswith("mitschnitt"):
            self.seen += 1
            self.found += leaks_in_text(self._lines.format(record))

    def take(self) -> Iterable[str]:
        """What was found since this was last asked."""
        found, self.found = self.found, []
        return found


WATCH = Watch()
