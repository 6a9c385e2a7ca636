"""How many in which time: token buckets, one for all and one per source, in bounded memory.

Pure: time is an argument, in seconds of one clock. A bucket is one number, the time at which it will be full
again; so a source of which nothing is to be remembered costs nothing.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from dataclasses import dataclass

MAX_SOURCES = 10_000  # sources with a bucket of their own, 250 bytes each; the others share one
IPV6_SITE_BITS = 64  # an IPv6 host has 2^64 addresses to choose from: its network is what counts
LONG_AGO = float("-inf")  # full since ever
ROUNDING = 1e-9  # seconds: sums of 1/rate must not cost the last token of a burst


@dataclass(frozen=True, slots=True)
class Rate:
    """`per_second` in the long run, `burst` at once: in t seconds never more than per_second * t + burst."""

    per_second: float
    burst: int

    def taken(self, full_at: float, now: float) -> float | None:
        """When the bucket is full again after one more token was taken now; None when it has none."""
        after = max(full_at, now) + 1 / self.per_second
        return after if after - now <= self.burst / self.per_second + ROUNDING else None


class TokenBucket:
    """One bucket, full at first."""

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._full_at = LONG_AGO

    def has(self, now: float) -> bool:
        """Whether a token is there; takes none."""
        return self._rate.taken(self._full_at, now) is not None

    def take(self, now: float) -> bool:
        """Takes a token; False when there is none."""
        after = self._rate.taken(self._full_at, now)
        if after is None:
            return False
        self._full_at = after
        return True


class SourceBuckets:
    """A bucket per source for the `most` newest; the sources beyond them share one, so that memory is bounded."""

    def __init__(self, rate: Rate, most: int = MAX_SOURCES) -> None:
        self._rate = rate
        self._most = most
        self._full_at: OrderedDict[str, float] = OrderedDict()
        self._others = TokenBucket(rate)

    def __len__(self) -> int:
        return len(self._full_at)

    def has(self, source: str, now: float) -> bool:
        """Whether this source has a token; takes none and remembers nothing."""
        if source in self._full_at:
            return self._rate.taken(self._full_at[source], now) is not None
        return self._has_room(now) or self._others.has(now)

    def take(self, source: str, now: float) -> bool:
        """Takes a token of this source; False when it has none."""
        if source not in self._full_at and not self._has_room(now):
            return self._others.take(now)
        after = self._rate.taken(self._full_at.get(source, LONG_AGO), now)
        if after is None:
            return False
        self._full_at[source] = after
        self._full_at.move_to_end(source)
        return True

    def _has_room(self, now: float) -> bool:
        """Drops the oldest buckets that are full again: they say no more than no bucket at all."""
        while self._full_at:
            oldest, full_at = next(iter(self._full_at.items()))
            if full_at > now:
                break
            del self._full_at[oldest]
        return len(self._full_at) < self._most


def source_of(host: str) -> str:
    """Who counts as one source: an IPv4 address, the /64 of an IPv6 address; any other text is itself."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host.lower()
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    site = int(address) >> (128 - IPV6_SITE_BITS) << (128 - IPV6_SITE_BITS)
    return f"{ipaddress.IPv6Address(site)}/{IPV6_SITE_BITS}"
