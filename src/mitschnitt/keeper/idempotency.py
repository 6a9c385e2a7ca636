"""The same request twice gets the same answer once: what `Idempotency-Key` promises to whoever posts.

In memory only, like the announced calls that it protects. No clock: `now` is an argument.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from mitschnitt.errors import NotAllowed, TooLarge

REMEMBER = timedelta(minutes=10)  # far longer than any client tries again
MAX_KEY_CHARS = 200  # a UUID has 36
MAX_ANSWERS = 100_000  # some hundred calls a second for ten minutes; beyond it the oldest goes


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered to a request."""

    request: bytes  # SHA-256 of method, path and body
    status: int
    body: Any
    at: datetime


def fingerprint(path: str, body: bytes) -> bytes:
    """What makes two requests the same."""
    return hashlib.sha256(path.encode() + b"\0" + body).digest()


class Answers:
    """Answers by key."""

    def __init__(self, *, limit: int = MAX_ANSWERS) -> None:
        self._limit = limit
        self._answers: OrderedDict[str, Answer] = OrderedDict()

    def find(self, key: str, request: bytes, now: datetime) -> Answer | None:
        """The answer that this key already got.

        NotAllowed(`request.key_reused`) when it was given to another request, TooLarge for a key that is none.
        """
        if not 1 <= len(key) <= MAX_KEY_CHARS:
            raise TooLarge(f"an Idempotency-Key has 1 to {MAX_KEY_CHARS} characters, found {len(key)}")
        known = self._answers.get(key)
        if known is None or now - known.at > REMEMBER:
            return None
        if known.request != request:
            raise NotAllowed("request.key_reused", "this Idempotency-Key was used for another request")
        return known

    def keep(self, key: str, answer: Answer) -> None:
        """Remember an answer; the oldest go first."""
        self._answers[key] = answer
        self._answers.move_to_end(key)
        while len(self._answers) > self._limit or answer.at - next(iter(self._answers.values())).at > REMEMBER:
            self._answers.popitem(last=False)
