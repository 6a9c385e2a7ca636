"""What is kept of one call: its key, each party's track, its pauses, and at its end the files.

Decides nothing and opens no line: the session says when. Once `close` has spoken, nothing is journalled of the call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any

import numpy as np

from mitschnitt.core.call import decode_call_id
from mitschnitt.core.consent import Act
from mitschnitt.core.decision import Decision
from mitschnitt.recorder.clock import SteadyClock, moment, nanoseconds, rfc3339
from mitschnitt.recorder.leaps import run_on
from mitschnitt.recorder.ledger import Ledger
from mitschnitt.recorder.link import LeasedKey
from mitschnitt.recorder.media import Media, Track
from mitschnitt.recorder.pages import Page, Readers
from mitschnitt.recorder.sealing import Sealing, drop
from mitschnitt.vault.artefact import Coded
from mitschnitt.vault.finish import SealedParty
from mitschnitt.vault.keytree import leaf_key

MAX_TOLD_ACTS = 8  # in a decision, so that it stays below its fixed size
MAX_BINDINGS = 32  # of one party that are told: a client that renames its m-lines for ever is not followed


class Recording:
    """See the module. Tracks are by the party's number, its leaf in the key tree."""

    def __init__(self, media: Media, ledger: Ledger, clock: SteadyClock) -> None:
        self._media = media
        self._ledger = ledger
        self._clock = clock
        self._call = ""
        self._pauses: list[tuple[str, str]] = []
        self._paused_at = ""
        self._started_at = ""
        self._began_ns = 0  # stamp of the first media; 0 before
        self.key: LeasedKey | None = None
        self.tracks: dict[int, Track] = {}
        self._rests_on: dict[int, list[dict[str, Any]]] = {}  # why this is the voice of each party
        self.is_closed = False
        self.readers = Readers()

    def begin(self, call: str, key: LeasedKey, refs: Sequence[Mapping[str, str]], *, policy: str) -> None:
        """The call uses this key from now on, and this policy; the keeper will hear of it whatever becomes of us."""
        self._call, self.key = call, key
        pages = self.readers.at_arrival()
        self._ledger.arrived(call, key, {"refs": list(refs)}, pages, policy=policy, at=self._clock.now())

    def goes_on(self, at: datetime) -> None:
        """Media is kept from now on; a pause is over."""
        self._began_ns = self._began_ns or nanoseconds(at)
        now = self._told(at)
        self._started_at = self._started_at or now
        if self._paused_at:
            self._pauses.append((self._paused_at, now))
            self._paused_at = ""

    def pauses(self, since: datetime) -> None:
        """Nothing is kept since then, and may be again."""
        self._paused_at = self._told(since)

    def _told(self, at: datetime) -> str:
        """A time within the recording, which runs as the monotonic clock does."""
        leaps = self._clock.leaps_since(self._began_ns) if self._began_ns else []
        return rfc3339(moment(int(run_on(np.array([nanoseconds(at)], np.int64), leaps)[0])) if leaps else at)

    def track(self, number: int, role: str, codecs: Mapping[int, Coded], binding: dict[str, Any]) -> Track | None:
        """Where this party is kept, None without a key; a new track is journalled first, for recovery needs it.

        `binding` is what it rests on that this is the party's voice; it is journalled when it is another than before,
        and so are codecs that were not there before. A number that was used keeps its meaning.
        """
        if self.key is None:
            return None
        track, known = self.tracks.get(number), self._rests_on.setdefault(number, [])
        merged = {**codecs, **track.codecs} if track is not None else dict(codecs)
        is_new = binding not in known and len(known) < MAX_BINDINGS
        if is_new:
            known.append(binding)
        if track is None or is_new or merged.keys() != track.codecs.keys():
            self._ledger.track(self._call, number, role, merged, known, at=self._clock.now())
        if track is None:
            leaf = leaf_key(self.key.node, number)
            track = self._media.track(
                call_id=decode_call_id(self._call), party=number, leaf_key=leaf, codecs=dict(codecs)
            )
            self.tracks[number] = track
        track.codecs = merged
        return track

    def shred(self) -> None:
        """The keeper punctures the key, and nobody here has it any more."""
        if self._call and not self.is_closed:
            self._ledger.shred(self._call, at=self._clock.now())
        self.forget_keys()

    def forget_keys(self) -> None:
        """Key, tracks and all that they hold go."""
        tracks, self.key = list(self.tracks.values()), None
        self.tracks.clear()
        for track in tracks:
            drop(self._media, track)

    def seal(self, reason: str) -> asyncio.Task[bool]:
        """Writes the files of all tracks; the task says whether they stand, and nobody withdrew meanwhile.

        What is held is sealed when this returns: `has_media` then tells of all that came.
        """
        sealing = Sealing(
            self._media, self._ledger, self._clock, self._call, self.tracks, lambda track: self._finish(track, reason)
        )
        return sealing.start()

    @property
    def has_media(self) -> bool:
        """Whether a single packet of anybody is kept."""
        return any(track.starts for track in self.tracks.values())

    def sealed(self) -> None:
        """All files stand and are journalled: the key is not needed here any more."""
        self.tracks.clear()
        self.key = None

    def close(
        self,
        decision: Mapping[str, Any],
        officer_key: bytes,
        ladders: Sequence[Any],
        pages: Sequence[Page] = (),
        also: Sequence[str] = (),
        *,
        names: Mapping[int, str] = MappingProxyType({}),
    ) -> bool:
        """The last word on the call, which is journalled if it had a key; False when it was said before.

        `ladders` are those of its dialogs and `pages` those of its persons, handed on unread; `also` are the
        purposes beside the first that everybody agreed to, `names` pseudonyms of its agents by party.
        """
        if self.is_closed:
            return False
        self.is_closed = True
        if self._call:
            told = {"call": self._call, **decision}
            kept, now = str(decision["outcome"]), self._clock.now()
            self._ledger.closed(
                self._call, told, officer_key, kept=kept, ladders=ladders, pages=pages, also=also, names=names, at=now
            )
        return True

    def _finish(self, track: Track, reason: str) -> asyncio.Future[SealedParty]:
        now = self._told(self._clock.now())
        open_pause = [(self._paused_at, now)] if self._paused_at else []
        return self._media.finish(
            track,
            reason=reason,
            started_at=self._started_at,
            ended_at=now,
            pauses=[*self._pauses, *open_pause],
            jumps=self._clock.jumped_since(self._began_ns),
            leaps=self._clock.leaps_since(self._began_ns),
        )


def told_decision(outcome: str, decision: Decision, acts: Sequence[Act], *, policy: str) -> dict[str, Any]:
    """What the officer reads of a call: {outcome, rule, party, policy, acts}, of the acts the newest ones."""
    told = [
        {"party": act.party, "kind": act.kind.value, "value": act.value, "at": rfc3339(act.at)}
        for act in acts[-MAX_TOLD_ACTS:]
    ]
    return {
        "outcome": outcome,
        "rule": decision.rule,
        "party": decision.party,
        "policy": policy,
        "acts": told,
    }
