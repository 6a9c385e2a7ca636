"""Play-backs: opened once, with one access that is durable before the first byte; then any stretch, in any order.

Every stretch asks again whether it may be heard, so an erasure or the end of retention stops the next one. No audio
is remembered, and what a call's layout says is forgotten with its key.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mitschnitt.core.access import ROLES, unknown_role
from mitschnitt.core.call import decode_call_id
from mitschnitt.errors import Damaged, KeyGone, MalformedPacket, NotAllowed, TooLarge, VaultError
from mitschnitt.keeper.apply import Holdings
from mitschnitt.keeper.laid_out_calls import REST_SECONDS, LaidOutCalls
from mitschnitt.keeper.laid_out_voices import LaidOutVoice, OpenedTimeline, Voices, laid_out_voices, stated
from mitschnitt.keeper.records import Records
from mitschnitt.vault.derive import Kind

MAX_PLAYBACKS = 256  # open at once; the one that rested longest is over then
MAX_STRETCH_NS = 120 * 1_000_000_000  # who plays asks for what comes next
MAX_BEFORE = 100  # packets ahead of a stretch: decoders that remember need a few
TOKEN_BYTES = 16  # of a play-back's name


@dataclass(slots=True)
class _Playback:
    call_id: str
    role: str
    purpose: str
    used_at: float


class Playbacks:
    """Methods block; the door runs them in threads. `elapsed` counts seconds steadily."""

    def __init__(self, holdings: Holdings, records: Records, *, elapsed: Callable[[], float] = time.monotonic) -> None:
        self._holdings = holdings
        self._records = records
        self._elapsed = elapsed
        self._lock = threading.Lock()
        self._open: dict[str, _Playback] = {}
        self._laid_out = LaidOutCalls(elapsed)
        holdings.gone.append(self.forget)

    def open(self, call_id: str, *, purpose: str, role: str, now: datetime) -> dict[str, Any]:
        """A play-back's name and what there is to hear: its length, its parties and their codings.

        NotAllowed with the rule; KeyGone, VaultError; Damaged says whose timeline it is.
        """
        index, rule = self._records.permitted(call_id, purpose=purpose, role=role, now=now)
        # The row is durable before the first byte is opened: nobody hears anything unseen.
        self._records.note_access(call_id, role=role, purpose=purpose, rule=rule, now=now)
        voices = self._voices(call_id, index)
        token = secrets.token_urlsafe(TOKEN_BYTES)
        with self._lock:
            self._end_those_that_rest()
            by_rest = sorted(self._open, key=lambda name: self._open[name].used_at)
            for oldest in by_rest[: max(len(by_rest) - MAX_PLAYBACKS + 1, 0)]:
                del self._open[oldest]
            self._open[token] = _Playback(call_id, role, purpose, self._elapsed())
        return {
            "playback": token,
            "call": call_id,
            "duration_ns": max((voice.places.end_ns for voice in voices.values()), default=0),
            "parties": [_told(party, voice) for party, voice in voices.items()],
        }

    def stretch(
        self, token: str, role: str, span: tuple[int, int], *, parties: Sequence[int], before: int, now: datetime
    ) -> bytes:
        """Packets of the parties between two times in ns after the origin, as `wire/stretch` packs them.

        NotAllowed when the play-back is over, another role's, or may not go on; KeyGone; TooLarge; Damaged says whose
        media it is.
        """
        playback, index = self._permitted(token, role, now)
        start_ns, stop_ns = span
        if stop_ns - start_ns > MAX_STRETCH_NS or before > MAX_BEFORE:
            raise TooLarge(f"a stretch lasts at most {MAX_STRETCH_NS} ns, with {MAX_BEFORE} packets before it")
        call_id = playback.call_id
        voices = self._voices(call_id, index)
        unknown = [party for party in parties if party not in voices]
        if unknown:
            raise MalformedPacket(f"this play-back has the parties {sorted(voices)}, not {unknown}")
        with self._erased_means_gone(index):
            packed = [self._packed(call_id, index, party, voices, span, before) for party in parties]
        return b"".join(packed)

    def _packed(
        self, call_id: str, index: int, party: int, voices: Voices, span: tuple[int, int], before: int
    ) -> bytes:
        raw, vault, voice = decode_call_id(call_id), self._holdings.vault, voices[party]

        def fetch(start: int, stop: int) -> bytes:
            return vault.read(raw, index, party, Kind.MEDIA, start, stop)

        try:
            return voice.places.packed(fetch, *span, before=before)
        except Damaged as error:
            raise Damaged(f"media of party {party} ({voice.role}): {error}") from error

    @contextlib.contextmanager
    def _erased_means_gone(self, index: int) -> Iterator[None]:
        """KeyGone for whatever a reader finds of a call that is being erased: files go after their key."""
        try:
            yield
        except VaultError as error:
            if self._holdings.keyring.derives(index):
                raise
            raise KeyGone("this recording was erased a moment ago") from error

    def completeness(self, token: str, role: str, *, now: datetime) -> dict[str, Any]:
        """What became of the packets of each party, by its number. NotAllowed, KeyGone, Damaged as for a stretch."""
        playback, index = self._permitted(token, role, now)
        with self._erased_means_gone(index):
            return {str(one.party): stated(one) for one in self._timelines(playback.call_id, index)}

    def close(self, token: str, role: str) -> None:
        """Nobody plays it any more; also when its recording may not be heard any more. NotAllowed as for a stretch."""
        self._find(token, role)
        with self._lock:
            self._open.pop(token, None)

    def _permitted(self, token: str, role: str, now: datetime) -> tuple[_Playback, int]:
        """The play-back of this name and its call's place in the key tree, if it may go on now."""
        playback = self._find(token, role)
        index, _ = self._records.permitted(playback.call_id, purpose=playback.purpose, role=role, now=now)
        return playback, index

    def forget(self, call_id: str) -> None:
        """The call was erased: its play-backs are over, and nothing of it is remembered."""
        with self._lock:
            self._open = {token: one for token, one in self._open.items() if one.call_id != call_id}
        self._laid_out.forget(call_id)

    def _find(self, token: str, role: str) -> _Playback:
        """The play-back that this role opened. Another role's is none: a name alone opens nothing."""
        if role not in ROLES:
            raise NotAllowed("access.role.unknown", unknown_role(role))
        with self._lock:
            self._end_those_that_rest()
            playback = self._open.get(token)
            if playback is None or playback.role != role:
                raise NotAllowed("playback.over", "there is no such play-back, or it rested for too long")
            playback.used_at = self._elapsed()
            return playback

    def _end_those_that_rest(self) -> None:
        over = self._elapsed() - REST_SECONDS
        self._open = {token: one for token, one in self._open.items() if one.used_at >= over}

    # -- where a call's packets lie ----------------------------------------------------------------

    def _voices(self, call_id: str, index: int) -> Voices:
        """Remembered or laid out now. KeyGone when the call was erased meanwhile."""
        voices = self._laid_out.find(call_id)
        if voices is None:
            with self._erased_means_gone(index):
                voices = self._lay_out(call_id, index)
            self._laid_out.remember(call_id, voices)
        # An erasure may have come in between: either it found what is remembered, or we find its puncture.
        if not self._holdings.keyring.derives(index):
            self._laid_out.forget(call_id)
            raise KeyGone("this recording was erased a moment ago")
        return voices

    def _lay_out(self, call_id: str, index: int) -> Voices:
        return laid_out_voices(self._timelines(call_id, index))

    def _timelines(self, call_id: str, index: int) -> list[OpenedTimeline]:
        rows = [row for row in self._records.parties(call_id) if row.timeline is not None]
        return [
            OpenedTimeline(row.party, row.role, row.reason or "", self._timeline(call_id, index, row.party))
            for row in rows
        ]

    def _timeline(self, call_id: str, index: int, party: int) -> bytes:
        raw, vault = decode_call_id(call_id), self._holdings.vault
        try:
            return vault.read(raw, index, party, Kind.TIMELINE, 0, vault.size(raw, party, Kind.TIMELINE))
        except Damaged as error:
            raise Damaged(f"timeline of party {party}: {error}") from error


def _told(party: int, voice: LaidOutVoice) -> dict[str, Any]:
    return {
        "party": party,
        "role": voice.role,
        "reason": voice.reason,
        "codecs": [list(pair) for pair in voice.codecs],
    }
