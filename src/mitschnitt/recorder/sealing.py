"""The end of a kept call: each party's files are written, tried again while the disk refuses, and journalled.

Decides nothing. A withdrawal that comes meanwhile empties `tracks`; then nothing more is journalled here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from mitschnitt.errors import NoSpace
from mitschnitt.recorder.clock import SteadyClock
from mitschnitt.recorder.ledger import Ledger
from mitschnitt.recorder.media import Media, Track
from mitschnitt.vault.finish import SealedParty

SEAL_AGAIN_SECONDS = 5.0  # after the disk refused a finished file: until then the journal keeps it
LAST_KEYS_SECONDS = 0.3  # keys pressed just before the end come with the next drain; one may withdraw

log = logging.getLogger("mitschnitt.recorder")


@dataclass(frozen=True, slots=True)
class Sealing:
    """One call's files; `finish` seals the hold of a track at once and writes its files in a thread."""

    media: Media
    ledger: Ledger
    clock: SteadyClock
    call: str
    tracks: dict[int, Track]
    finish: Callable[[Track], asyncio.Future[SealedParty]]

    def start(self) -> asyncio.Task[bool]:
        """Seals what is held of all parties now; the task ends with `run`."""
        first = {number: self.finish(track) for number, track in self.tracks.items()}
        return asyncio.get_running_loop().create_task(self._run(first))

    async def _run(self, first: Mapping[int, asyncio.Future[SealedParty]]) -> bool:
        """Whether all files were written and journalled; False when the call was withdrawn meanwhile."""
        await asyncio.sleep(LAST_KEYS_SECONDS)
        tried = await asyncio.gather(*(self._sealed(number, attempt) for number, attempt in first.items()))
        if not all(sealed is not None and sealed.party in self.tracks for sealed in tried):
            return False
        for sealed in tried:
            if sealed is not None:
                settled = partial(settle, self.media, self.tracks[sealed.party])
                self.ledger.sealed(self.call, _told(sealed), at=self.clock.now(), then=settled)
        return True

    async def _sealed(self, number: int, attempt: asyncio.Future[SealedParty]) -> SealedParty | None:
        """The party's files, None when its track was dropped meanwhile. Raises what trying again does not mend."""
        while True:
            try:
                return await attempt
            except NoSpace:
                log.error("the disk takes no more; a call that has ended is not sealed yet, its journal keeps it")
                await asyncio.sleep(SEAL_AGAIN_SECONDS)  # the journal keeps the slices until it works
            except Exception:
                if number in self.tracks:
                    raise  # recovery will try from the journal
                return None  # the thread lost its track under its hands
            track = self.tracks.get(number)
            if track is None:
                return None
            attempt = self.finish(track)


def settle(media: Media, track: Track) -> None:
    """The track's files are durable and reported. Once: its place may be another's by now."""
    if track.leaf_key:
        media.settled(track)


def drop(media: Media, track: Track) -> None:
    """The track is not to be kept: hold, key and index go. Once, as `settle`."""
    if track.leaf_key:
        media.drop(track)


def _told(sealed: SealedParty) -> dict[str, Any]:
    """A finished party as the journal tells it (design section 11)."""
    return {
        "party": sealed.party,
        "media": {"name": sealed.media_name, "size": sealed.media_size, "sha256": sealed.media_sha256},
        "timeline": {"name": sealed.timeline_name, "size": sealed.timeline_size, "sha256": sealed.timeline_sha256},
        "reason": sealed.reason,
        "started_at": sealed.started_at,
        "ended_at": sealed.ended_at,
    }
