"""The parties of a call as they lie in time, counted from one origin; and what became of their packets.

Timelines in, places out; it opens nothing and knows no call by name.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mitschnitt.errors import Damaged, PeerError
from mitschnitt.keeper.laid_out import LaidOut
from mitschnitt.vault.artefact import parse_timeline, reports_of
from mitschnitt.wire.codecs import codings
from mitschnitt.wire.completeness import statement
from mitschnitt.wire.folded import Folded
from mitschnitt.wire.timeline import fold, lined_up


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
    folded = [_laid(one) for one in timelines]
    rows = lined_up([one.rows for one in folded])
    placed = [replace(one, rows=moved) for one, moved in zip(folded, rows, strict=True)]
    return {one.party: _voice(one, places) for one, places in zip(timelines, placed, strict=True)}


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


def _laid(timeline: OpenedTimeline) -> Folded:
    with _damaged(timeline):
        parsed = parse_timeline(timeline.plain)
        codecs = codings(parsed.header["codecs"], parsed.header.get("formats", {}))
        return fold(parsed.runs, codecs, reports=reports_of(parsed.header))


def _voice(timeline: OpenedTimeline, folded: Folded) -> LaidOutVoice:
    codecs = tuple(zip(folded.rows.codecs, folded.packets(), strict=True))
    return LaidOutVoice(timeline.role, timeline.reason, LaidOut(timeline.party, folded), codecs)
