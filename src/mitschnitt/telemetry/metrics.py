"""Figures of one process as Prometheus reads them: a table of what there is, and the page that shows it.

Label values come from closed sets, and whatever depends on whether a gate was open is told in batches of calls
only (docs/decisions/0020-operations.md). Reads no clock but the one that it is given; holds nothing of any call.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

PREFIX = "mitschnitt_"
LEAST_CALLS = 20  # ended calls that a batch of figures covers at least: nobody finds one call in the difference
LEAST_OUTCOMES = 100  # the same for kept and not kept: a shift of one agent must not be a figure of theirs
FRESH_SECONDS = 1.0  # a page is made anew after this long; who asks more often gets the same one
OPENMETRICS = "application/openmetrics-text;version=1.0.0"
OTHER = "other"  # in place of a label value that is not in the closed set


class Kind(StrEnum):
    """What a figure does over time."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Told(StrEnum):
    """When a change of a figure is told."""

    AT_ONCE = "at once"
    IN_BATCHES = "in batches"


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of a table. `name` without prefix, and without the `_total` of a counter."""

    name: str
    kind: Kind
    help: str
    label: str = ""
    values: tuple[str, ...] = ()  # all that the label may say; others are told as `other`
    told: Told = Told.AT_ONCE
    least: int = LEAST_CALLS  # of ended calls in a batch

    @property
    def sample(self) -> str:
        """The name that a query uses."""
        return f"{PREFIX}{self.name}{'_total' if self.kind is Kind.COUNTER else ''}"


class Buckets:
    """How often something took how long: a histogram that costs one search in a short list."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        """`bounds` in seconds, rising; what is longer than the last falls into a bucket of its own."""
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.total = 0.0

    def add(self, seconds: float) -> None:
        """It happened once more, and took so long."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.total += seconds

    def copy(self) -> Buckets:
        """As it is now, whatever is added later."""
        twin = Buckets(self.bounds)
        twin.counts, twin.total = list(self.counts), self.total
        return twin

    def cumulative(self) -> list[tuple[str, float]]:
        """(upper bound, how often it took at most so long), as the text format wants it."""
        names = [*(str(float(bound)) for bound in self.bounds), "+Inf"]
        return list(zip(names, map(float, accumulate(self.counts)), strict=True))


Reading = Mapping[str, "float | Mapping[str, float] | Buckets"]


class Page(Collector):
    """The figures of a table in a registry of its own; nothing of it is global to the process.

    `read` gives each figure's value by its name, `ended` how many calls have ended. Made before the first call:
    what is told in batches begins with what it read then.
    """

    def __init__(
        self,
        table: Iterable[Figure],
        read: Callable[[], Reading],
        *,
        ended: Callable[[], int],
        clock: Callable[[], float],
    ) -> None:
        self._table = tuple(table)
        self._read = read
        self._ended = ended
        self._clock = clock
        self._made: dict[str, tuple[float, bytes]] = {}
        first = _kept(read())
        self._batches = {figure.name: (ended(), first.get(figure.name)) for figure in self._batched()}
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def _batched(self) -> list[Figure]:
        return [figure for figure in self._table if figure.told is Told.IN_BATCHES]

    def describe(self) -> Iterable[Metric]:
        """Nothing beforehand: what there is, is collected."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Every figure that has a value."""
        reading, ended = _kept(self._read()), self._ended()
        for figure in self._batched():
            since, _ = self._batches[figure.name]
            if ended - since >= figure.least:
                self._batches[figure.name] = (ended, reading.get(figure.name))
        for figure in self._table:
            value = self._batches[figure.name][1] if figure.name in self._batches else reading.get(figure.name)
            if value is not None:
                yield _family(figure, value)

    def text(self, accept: str) -> tuple[bytes, str]:
        """The page in the format that an Accept header asks for, and its content type."""
        # The library reads versions and escapings out of the header as they come; two forms are enough for anybody.
        encode, content_type = choose_encoder(OPENMETRICS if OPENMETRICS.partition(";")[0] in accept else "")
        now = self._clock()
        made_at, text = self._made.get(content_type, (now - FRESH_SECONDS, b""))
        if now - made_at >= FRESH_SECONDS:
            text = encode(self._registry)
            self._made[content_type] = (now, text)
        return text, content_type


def _kept(reading: Reading) -> dict[str, float | Mapping[str, float] | Buckets]:
    """A reading that no later count changes."""
    return {
        name: value.copy() if isinstance(value, Buckets) else dict(value) if isinstance(value, Mapping) else value
        for name, value in reading.items()
    }


def _family(figure: Figure, value: float | Mapping[str, float] | Buckets) -> Metric:
    name, said = PREFIX + figure.name, figure.help
    if isinstance(value, Buckets):
        return HistogramMetricFamily(name, said, buckets=value.cumulative(), sum_value=value.total)
    kind = CounterMetricFamily if figure.kind is Kind.COUNTER else GaugeMetricFamily
    if not isinstance(value, Mapping):
        return kind(name, said, value=float(value))
    family = kind(name, said, labels=[figure.label])
    for label, amount in _closed(figure, value).items():
        family.add_metric([label], amount)
    return family


def _closed(figure: Figure, value: Mapping[str, float]) -> dict[str, float]:
    """Every value of the closed set, and `other` for the rest if there is any."""
    shown = {label: float(value.get(label, 0)) for label in figure.values}
    rest = sum(float(amount) for label, amount in value.items() if label not in shown)
    return {**shown, OTHER: shown.get(OTHER, 0.0) + rest} if rest else shown
