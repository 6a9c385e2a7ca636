"""One recording session as a client lives it: lines, streams, and sending exactly what the recorder asks for.

It decides nothing about consent: the recorder's description says which stream goes where, and an obedient
client sends nothing else. `Obedience.LEAKS` plays a client that sends in spite of a closed answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from mitschnitt.errors import MalformedPacket, PeerError
from mitschnitt.gateways import session_text
from mitschnitt.gateways.rtp_sender import Aim, RtpSender, RtpStream, StreamReport
from mitschnitt.gateways.session_text import UNSPECIFIED, Asked, Line, SessionNames


class Obedience(StrEnum):
    """Whether the client does what a closed answer says."""

    OBEYS = "obeys"
    LEAKS = "leaks"


class SessionListener(Protocol):
    """What the recorder does within a session. Called at once, in the order of its messages: an answer that
    were taken up later could undo an offer that came right behind it.
    """

    def answered(self, sdp: bytes) -> None:
        """It took our offer; this is what it asks for."""

    def offered(self, sdp: bytes) -> bytes:
        """It changes the session; our description is its answer."""

    def snapshot(self) -> bytes:
        """It wants to know again who is on the line: complete metadata (RFC 7866, section 9.2)."""

    def ended(self, why: str) -> None:
        """It ended the session, or the session is lost."""


class SessionClient(Protocol):
    """The SIP side of a client: one dialog per session."""

    async def invite(self, sdp: bytes, metadata: bytes, listener: SessionListener) -> tuple[str, int]:
        """Starts a session; its dialog and the final status, 408 when none came."""

    async def reoffer(self, dialog: str, sdp: bytes, metadata: bytes) -> int:
        """Changes a session; the final status."""

    async def bye(self, dialog: str) -> int:
        """Ends a session; the status of the answer, 408 when none came."""


@dataclass(frozen=True)
class Change:
    """From when on which labels were asked for, and by whose offer."""

    at: datetime
    by: str  # "answer" to our offer, "offer" of the recorder, or why the session ended
    open_labels: tuple[str, ...]


class RecordingSession:
    """Lines and their streams, in step with what the recorder last said."""

    def __init__(
        self,
        names: SessionNames,
        client: SessionClient,
        sender: RtpSender,
        *,
        recorder_host: str,
        obedience: Obedience,
        now: Callable[[], datetime],
        on_change: Callable[[Change], None],
    ) -> None:
        self._names, self._client, self._sender = names, client, sender
        self._recorder_host, self._obedience = recorder_host, obedience
        self._now, self._on_change = now, on_change
        self._lines: list[Line] = []
        self._agreed = 0  # of the lines; a new one counts once the recorder has taken our offer of it
        self.streams: dict[str, RtpStream] = {}
        self._dialog: str | None = None
        self._over = False
        self._version = 0
        self.status = 0  # of the answer to the INVITE
        self.changes: list[Change] = []

    def add(self, line: Line, stream: RtpStream) -> None:
        """One more line; the recorder hears of it by `start` or `reoffer`."""
        self._lines.append(line)
        self.streams[line.label] = stream
        self._sender.add(stream)

    async def start(self) -> int:
        """Sends the INVITE; the status of the final answer."""
        dialog, self.status = await self._client.invite(self._offer(), self.snapshot(), self)
        if self.status < 300 and not self._over:
            self._dialog = dialog
        return self.status

    async def reoffer(self) -> int:
        """Offers the lines as they are now, with a new snapshot of who is on them; the status."""
        if self._dialog is None:
            return 0
        return await self._client.reoffer(self._dialog, self._offer(), self.snapshot())

    def answered(self, sdp: bytes) -> None:
        """Aims the streams by an answer; whatever is no clear request closes."""
        try:
            asked = session_text.read_description(sdp)
        except PeerError:
            asked = []
        self._agreed = len(self._lines)
        self._aim([*asked, *silent_for(self._lines[len(asked) :])], by="answer")

    def offered(self, sdp: bytes) -> bytes:
        """Aims the streams as the recorder wants them now; our answer. Raises MalformedPacket."""
        asked = session_text.read_description(sdp)
        if len(asked) != self._agreed:
            raise MalformedPacket(f"an offer of {len(asked)} lines; this session has {self._agreed}")
        self._aim(asked, by="offer")
        return self._description(session_text.answers_to(asked))

    def ended(self, why: str) -> None:
        """Sends nothing more."""
        self._dialog, self._over = None, True
        self._note(why, silent_for(self._lines))
        for stream in self.streams.values():
            stream.aim(None)

    async def hang_up(self) -> list[StreamReport]:
        """Ends the session, if it still stands, and its streams; what they sent."""
        dialog, self._dialog = self._dialog, None
        for stream in self.streams.values():
            stream.aim(None)
        if dialog is not None:
            status = await self._client.bye(dialog)
            self._note(f"our BYE, {status}", silent_for(self._lines))
        return [self._sender.remove(stream) for stream in self.streams.values()]

    def counters(self) -> dict[str, int]:
        """Audio packets sent so far, by label."""
        return {label: stream.counter for label, stream in self.streams.items()}

    def _aim(self, asked: Sequence[Asked], *, by: str) -> None:
        for line, wanted in zip(self._lines, asked, strict=False):
            self.streams[line.label].aim(self._aim_of(wanted))
        self._note(by, asked)

    def _aim_of(self, asked: Asked) -> Aim | None:
        if asked.wants_media:
            return Aim(asked.host, asked.port, allowed=True)
        if self._obedience is Obedience.LEAKS and asked.port:
            host = self._recorder_host if asked.host == UNSPECIFIED else asked.host
            return Aim(host, asked.port, allowed=False)
        return None

    def _note(self, by: str, asked: Sequence[Asked]) -> None:
        pairs = zip(self._lines, asked, strict=False)
        labels = tuple(line.label for line, wanted in pairs if wanted.wants_media)
        change = Change(self._now(), by, labels)
        self.changes.append(change)
        self._on_change(change)

    def _offer(self) -> bytes:
        return self._description(["sendonly"] * len(self._lines))

    def _description(self, directions: Sequence[str]) -> bytes:
        self._version += 1
        lines = self._lines[: len(directions)]
        return session_text.offer(self._names, lines, version=self._version, directions=directions)

    def snapshot(self) -> bytes:
        """Who is on the line now, complete."""
        return session_text.metadata(self._names, self._lines, now=self._now())


def silent_for(lines: Sequence[Line]) -> list[Asked]:
    """What no answer at all asks of these lines: nothing."""
    return [Asked(UNSPECIFIED, 0, "inactive") for _ in lines]
