"""Logging for people who run mitschnitt: JSON lines on stderr, from an allow-list of fields.

What a log line says is a fixed sentence plus numbers about the machine. A caller's number, a name, a digit, a
call or the rule of a decision has no field here, so it cannot be written by mistake: arguments are not merged
into the sentence, and an exception shows its type and place only.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from datetime import UTC, datetime

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
    }
)


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


def log_to_stderr(part: str) -> None:
    """From now on everything that is logged in this process goes to stderr as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(part))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    # A web server's access lines carry call ids; nobody needs them.
    logging.getLogger("uvicorn.access").disabled = True
    for talkative in ("uvicorn.error", "alembic"):
        logging.getLogger(talkative).setLevel(logging.WARNING)
