"""Logging for people who run mitschnitt: JSON lines on stderr, from an allow-list of fields.

What a log line says is a fixed sentence plus numbers about the machine. A caller's number, a name, a digit, a
call or the rule of a decision has no field here, so it cannot be written by mistake: arguments are not merged
into the sentence, and an exception shows its type and place only.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import sys
import traceback
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TextIO

ALLOWED_FIELDS = frozenset(
    {
        "recorder",  # number of a recorder process
        "count",  # how many of whatever the sentence speaks of
        "seconds",  # how long it took
        "epoch",  # erasure batch of the key tree
        "version",  # of the view or the database
        "seq",  # position in a journal
        "port",
        "errno",
        "signal",
        "mode",  # of a file, octal
        "again",  # how often the sentence was held back since it was said last
        "code",  # with which a process ended
        "policy",  # first digits of a policy's hash, which is public
        "which",  # of our own processes: keeper, recorder-1, ...
    }
)

AGAIN_SECONDS = 10.0  # in which the same sentence is said MOST_SAID times at most
MOST_SAID = 10
MAX_SENTENCES = 256  # whose repetitions are counted: the sentences are fixed, there are some hundred
# syslog's numbers for our levels, highest first
PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))


class JsonLines(logging.Formatter):
    """One JSON object per line: at, level, part, event, and fields of the allow-list."""

    def __init__(self, part: str) -> None:
        super().__init__()
        self._part = part

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its line break."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line: dict[str, object] = {
            "at": at,
            "level": record.levelname.lower(),
            "part": self._part,
            "logger": record.name,
            "event": record.msg if isinstance(record.msg, str) else type(record.msg).__name__,
        }
        given = vars(record)
        line.update({name: given[name] for name in sorted(ALLOWED_FIELDS & given.keys())})
        if record.exc_info and record.exc_info[0] is not None:
            line["error"] = record.exc_info[0].__name__
            frames = traceback.extract_tb(record.exc_info[2])
            line["place"] = " < ".join(f"{frame.name}:{frame.lineno}" for frame in reversed(frames[-4:]))
        return json.dumps(line, ensure_ascii=False)


class Lines(logging.StreamHandler[TextIO]):
    """Writes lines, but the same sentence only MOST_SAID times in AGAIN_SECONDS: a flood must not fill a disk.

    How often it was held back stands in `again` of a line that follows once the time is over.
    """

    def __init__(self, stream: TextIO, formatter: logging.Formatter, *, numbered: bool = False) -> None:
        """`numbered`: each line begins with the priority that journald reads (sd-daemon(3))."""
        super().__init__(stream)
        self.setFormatter(formatter)
        self._numbered = numbered
        self._said: OrderedDict[tuple[str, int, str, str], _Repeats] = OrderedDict()

    def emit(self, record: logging.LogRecord) -> None:
        """One line, or none, and what is due of sentences that were held back before."""
        self._tell_held(record.created)
        error = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else ""
        key = (record.name, record.levelno, str(record.msg), error)
        said = self._said.setdefault(key, _Repeats(record.created))
        said.times += 1
        if said.times <= MOST_SAID:
            super().emit(record)
        else:
            said.last = record
        while len(self._said) > MAX_SENTENCES:
            self._said.popitem(last=False)

    def _tell_held(self, now: float) -> None:
        for key, said in list(self._said.items()):
            if 0 <= now - said.since < AGAIN_SECONDS:
                break  # they stand in the order in which they began
            del self._said[key]
            if said.last is not None:
                said.last.again = said.times - MOST_SAID
                super().emit(said.last)

    def close(self) -> None:
        """Tells what was held back."""
        with contextlib.suppress(ValueError):  # of a stream that is closed already
            self._tell_held(math.inf)
        super().close()

    def format(self, record: logging.LogRecord) -> str:
        """The line; journald takes its priority off again."""
        priority = next((number for least, number in PRIORITIES if record.levelno >= least), 7)
        return f"<{priority}>{super().format(record)}" if self._numbered else super().format(record)


@dataclass(slots=True)
class _Repeats:
    since: float  # seconds since 1970
    times: int = 0
    last: logging.LogRecord | None = None  # that was held back


def is_journal(stream: TextIO, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether journald reads this stream (systemd.exec(5), JOURNAL_STREAM)."""
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return environment.get("JOURNAL_STREAM", "") == f"{found.st_dev}:{found.st_ino}"


def log_to_stderr(part: str) -> None:
    """From now on everything that is logged in this process goes to stderr as JSON lines."""
    root = logging.getLogger()
    root.handlers[:] = [Lines(sys.stderr, JsonLines(part), numbered=is_journal(sys.stderr))]
    root.setLevel(logging.INFO)
    # A web server's access lines carry call ids; nobody needs them.
    logging.getLogger("uvicorn.access").disabled = True
    for talkative in ("uvicorn.error", "alembic"):
        logging.getLogger(talkative).setLevel(logging.WARNING)
