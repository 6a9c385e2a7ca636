"""What can be counted of one call's lines while they stand, for a test call. Counts only; opens and changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from mitschnitt.recorder.branch import Branch
from mitschnitt.recorder.legs import Leg
from mitschnitt.recorder.media import Media, Track
from mitschnitt.wire.session_findings import Behaviour


def behaviour_of(
    media: Media, branches: Sequence[Branch], track_of: Callable[[Leg], Track | None], *, awaits_digits: bool
) -> Behaviour:
    """Open and silent lines, leaks, telephone events; None where nobody knows."""
    legs = [leg for branch in branches for leg in branch.legs]
    tracks = {leg.party: track_of(leg) for leg in legs if leg.kept}
    kept = [track for track in tracks.values() if track is not None]
    return Behaviour(
        open_lines=len(kept),
        silent_lines=sum(not media.has_media(track) for track in kept),
        leaked=sum(branch.leaked_packets for branch in branches),
        awaited_digits=awaits_digits,
        has_events=any(media.has_keys(leg.line) for leg in legs if leg.line is not None),
        has_rtcp=any_known(media.rtcp.has_heard(leg.line) for leg in legs if leg.line is not None),
    )


def any_known(found: Iterable[bool | None]) -> bool | None:
    """True as soon as one is; None when nobody knows."""
    known = [one for one in found if one is not None]
    return any(known) if known else None
