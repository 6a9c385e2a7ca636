"""Whether there is room for one more session: per second, in total, per source, and of those that hang half open.

Only an INVITE that begins a session is looked at: what belongs to a running dialog never comes here. Pure, with
bounded tables. Says no by the name of the limit.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable

from mitschnitt.wire.sip.config import AgentConfig
from mitschnitt.wire.sip.dialog import Dialog
from mitschnitt.wire.sip.rates import Rate, SourceBuckets, TokenBucket, source_of

MAX_REFUSED = 16_384  # refused INVITEs whose copies are known, 200 bytes each: 500 a second for 32 s


class Admission:
    """Counts dialogs by source and decides about new ones."""

    def __init__(self, config: AgentConfig) -> None:
        self._config = config
        self.room: Callable[[], bool] = lambda: True  # what the owner of the sessions says
        self.draining = False  # nobody new is let in any more; OPTIONS say so too
        self._total = TokenBucket(Rate(config.calls_per_second, config.calls_per_second))
        one = config.calls_per_second_per_source
        self._each = SourceBuckets(Rate(one, one))
        self._dialogs = 0
        self._by_source: Counter[str] = Counter()
        self._half_open: dict[str, str] = {}  # dialogs whose first INVITE is not acknowledged, with their source
        self._half_open_by_source: Counter[str] = Counter()
        self._refused: OrderedDict[str, tuple[str, float]] = OrderedDict()

    @property
    def held(self) -> tuple[int, int, int]:
        """(half-open dialogs, sources with a bucket, refused INVITEs remembered) held now."""
        return len(self._half_open), len(self._each), len(self._refused)

    def refusal(self, name: str, host: str, now: float) -> str | None:
        """The limit that stands against a new session; None when it is let in, and counted by the rates.

        `name` is the same for every copy of one INVITE, and for no other.
        """
        why = self._limit(source_of(host), now)
        if why:
            self.remember(name, why, now)
        return why

    def remember(self, name: str, why: str, now: float) -> None:
        """This INVITE is refused, and so are its copies for as long as a client sends any."""
        self._refused[name] = (why, now + self._config.durations.patience)
        self._refused.move_to_end(name)
        while len(self._refused) > MAX_REFUSED or next(iter(self._refused.values()))[1] <= now:
            self._refused.popitem(last=False)

    def refused_before(self, name: str, now: float) -> str | None:
        """Why the first copy of this INVITE was refused, None when it was not.

        A copy is refused like the first: a client that has read our 503 must not become a session after all.
        """
        known = self._refused.get(name)
        return known[0] if known and now < known[1] else None

    def _limit(self, source: str, now: float) -> str | None:
        config = self._config
        counts = (
            (self._dialogs, config.max_dialogs, "limit.dialogs"),
            (self._by_source[source], config.max_dialogs_per_source, "limit.dialogs_per_source"),
            (len(self._half_open), config.max_half_open, "limit.half_open"),
            (self._half_open_by_source[source], config.max_half_open_per_source, "limit.half_open_per_source"),
        )
        if self.draining:
            return "draining"
        if not self.room():
            return "limit.calls"
        over = next((why for count, most, why in counts if count >= most), None)
        if over:
            return over
        if not self._total.has(now):
            return "limit.rate"
        if not self._each.take(source, now):
            return "limit.rate_per_source"
        self._total.take(now)
        return None

    def opened(self, dialog: Dialog) -> None:
        """A dialog begins; ours and theirs count."""
        source = source_of(dialog.source)
        self._dialogs += 1
        self._by_source[source] += 1
        if not dialog.caller:
            self._half_open[dialog.id] = source
            self._half_open_by_source[source] += 1

    def acknowledged(self, dialog: Dialog) -> None:
        """The peer has acknowledged our 2xx: it is there, and its address is its own."""
        source = self._half_open.pop(dialog.id, None)
        if source is not None:
            _less(self._half_open_by_source, source)

    def closed(self, dialog: Dialog) -> None:
        """A dialog is gone."""
        self.acknowledged(dialog)
        self._dialogs -= 1
        _less(self._by_source, source_of(dialog.source))


def _less(counter: Counter[str], source: str) -> None:
    counter[source] -= 1
    if counter[source] <= 0:
        del counter[source]  # sources that are gone must not fill the memory
