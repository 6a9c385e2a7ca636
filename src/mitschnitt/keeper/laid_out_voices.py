"""The parties of a call as they lie in time, counted from one origin; and what became of their packets.

Timelines in, places out; it opens nothing and knows no call by name.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mitschnitt.errors import Damaged, PeerError
from mitschnitt.keeper.laid_out import LaidOut, laid_out
from mitschnitt.vault.artefact import parse_timeline, reports_of
from mitschnitt.wire.codecs import codings
from mitschnitt.wire.completeness import statement
from mitschnitt.wire.timeline import Layout, lay_out, lined_up


@dataclass(frozen=True)
class LaidOutVoice:
    """One party: where it lies, and in which codings."""

    role: str
    reason: str  # how its recording ended
    places: LaidOut
    codecs: tuple[tuple[str, int], ...]  # codings as rows count them, and packets of each


Voices = Mapping[int, LaidOutVoice]  # by party number


@dataclass(frozen=True)
class OpenedTimeline:
    """A party's timeline as it lies in the vault, opened."""

    party: int
    role: str
    reason: str
    plain: bytes


def laid_out_voices(timelines: Sequence[OpenedTimeline]) -> Voices:
    """The parties of a call on one axis, from the first packet of any of them. Damaged says whose timeline is none."""
    layouts = lined_up([_laid(one) for one in timelines])
    return {one.party: _voice(one, layout) for one, layout in zip(timelines, layouts, strict=True)}


def stated(timeline: OpenedTimeline) -> dict[str, Any]:
    """What is to be said of how complete a party's recording is. Damaged when its timeline is none."""
    with _damaged(timeline):
        parsed = parse_timeline(timeline.plain)
        return {**statement(parsed.runs, parsed.header).as_dict(), "reason": timeline.reason}


@contextlib.contextmanager
def _damaged(timeline: OpenedTimeline) -> Iterator[None]:
    try:
        yield
    except (Damaged, PeerError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Damaged(f"timeline of party {timeline.party} ({timeline.role}): {error}") from error


def _laid(timeline: OpenedTimeline) -> Layout:
    with _damaged(timeline):
        parsed = parse_timeline(timeline.plain)
        codecs = codings(parsed.header["codecs"], parsed.header.get("formats", {}))
        return lay_out(parsed.runs, codecs, reports=reports_of(parsed.header))


def _voice(timeline: OpenedTimeline, layout: Layout) -> LaidOutVoice:
    places = laid_out(
        timeline.party,
        first=layout.first,
        span=layout.span,
        length=layout.length,
        codec=layout.codec,
        epoch=layout.epoch,
        offset=layout.offset,
    )
    packets = np.bincount(layout.codec, minlength=len(layout.codecs)).tolist()
    codecs = tuple(zip(layout.codecs, packets, strict=True))
    return LaidOutVoice(timeline.role, timeline.reason, places, codecs)
