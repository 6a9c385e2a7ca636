"""Which calls are laid out at the moment: bounded in rows and in time, and forgotten at once when a call is erased.

It remembers where packets lie and what became of them, never audio and never a key.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from mitschnitt.keeper.laid_out_voices import Voices

MAX_ROWS = 750_000  # in all, 66 MB: 15 calls of an hour over a poor network; what rested longest goes first
REST_SECONDS = 600.0  # nobody asked for so long: forgotten


class LaidOutCalls:
    """Remembers by call id; any thread. `elapsed` counts seconds steadily."""

    def __init__(self, elapsed: Callable[[], float]) -> None:
        self._elapsed = elapsed
        self._lock = threading.Lock()
        self._calls: dict[str, tuple[float, Voices]] = {}  # the one that rested longest comes first

    def find(self, call_id: str) -> Voices | None:
        """What is remembered; None when it must be laid out (again)."""
        with self._lock:
            self._forget_those_that_rest()
            found = self._calls.pop(call_id, None)
            if found is None:
                return None
            self._calls[call_id] = (self._elapsed(), found[1])
            return found[1]

    def remember(self, call_id: str, voices: Voices) -> None:
        """From now on; others make room. The newest stays however long it is."""
        with self._lock:
            self._forget_those_that_rest()
            self._calls.pop(call_id, None)
            self._calls[call_id] = (self._elapsed(), voices)
            sizes = {name: _rows(voices) for name, (_, voices) in self._calls.items()}
            total = sum(sizes.values())
            for name in list(self._calls)[:-1]:
                if total <= MAX_ROWS:
                    break
                total -= sizes[name]
                del self._calls[name]

    def forget(self, call_id: str) -> None:
        """It was erased."""
        with self._lock:
            self._calls.pop(call_id, None)

    def _forget_those_that_rest(self) -> None:
        over = self._elapsed() - REST_SECONDS
        self._calls = {name: one for name, one in self._calls.items() if one[0] >= over}


def _rows(voices: Voices) -> int:
    return sum(int(voice.places.folded.count.size) for voice in voices.values())
