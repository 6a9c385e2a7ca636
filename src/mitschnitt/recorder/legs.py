"""The m-lines of a session and the RTP lines behind them: gated, kept, or left and soon released.

Knows ports, filters and tracks, and nobody's consent: the session says who is bound where and when a line opens.
Every line that is taken here is released here, once. Shutting never fails and never stops half-way.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mitschnitt.errors import MalformedPacket
from mitschnitt.recorder.media import Line, Media, Track
from mitschnitt.recorder.ports import NoPortLeft
from mitschnitt.recorder.rtcp import Peer
from mitschnitt.vault.artefact import Coded
from mitschnitt.wire.codecs import format_of, is_heard
from mitschnitt.wire.sdp import REFUSED, Codec, Description, Form, LocalLine, MediaLine, destination, refusal

LAST_PORT = 65_535  # of UDP

log = logging.getLogger("mitschnitt.recorder")


@dataclass(slots=True)
class Leg:
    """One m-line of the session: whose voice it should carry, and where we receive it."""

    label: str = ""
    codecs: Mapping[int, Coded] = field(default_factory=dict)  # by payload type
    event_types: Mapping[int, int] = field(default_factory=dict)  # payload type: clock in Hz
    line: Line | None = None  # none for an m-line that is refused
    former: list[Line] = field(default_factory=list)  # released once the client has moved
    party: str = ""
    kept: bool = False  # packets go into the party's track
    cname: bool | None = None  # whether RTCP's CNAME confirmed whose voice it is; None: nothing was heard of it
    peer: Peer | None = None  # where the client's side is, if we may send there
    is_muxed: bool = False  # RTCP comes on the RTP port
    doubt: str = ""  # rule by which its stream contradicts what signalling says of it


class Legs:
    """All m-lines of one session, in their order. `owners` says whose line a line is, for whoever hears from it."""

    def __init__(self, media: Media, owners: dict[Line, Any], owner: object) -> None:
        self._media = media
        self._owners = owners
        self._owner = owner
        self._legs: list[Leg] = []
        self._leaving: set[Line] = set()  # left, and the newest description says so
        self._gone: dict[Line, Leg] = {}  # released at the end; keys pressed just before are still on their way

    def __iter__(self) -> Iterator[Leg]:
        return iter(self._legs)

    def belong_to(self, owner: object) -> None:
        """Whoever hears from these lines finds another owner from now on: the call that they turned out to be of."""
        mine = [line for line, known in self._owners.items() if known is self._owner]
        self._owner = owner
        for line in mine:
            if self.leg_of(line) is not None:
                self._owners[line] = owner

    @property
    def labels(self) -> list[str | None]:
        """The label of each m-line that we take, None for one that is refused."""
        return [leg.label if leg.line is not None else None for leg in self._legs]

    def leg_of(self, line: Line) -> Leg | None:
        """Whose line this is, or was a moment ago."""
        found = (leg for leg in self._legs if leg.line == line or line in leg.former)
        return next(found, self._gone.get(line))

    def shut_ones(self) -> list[Leg]:
        """M-lines that we take and do not keep."""
        return [leg for leg in self._legs if leg.line is not None and not leg.kept]

    # -- what the client offers ------------------------------------------------------------------

    def follow(self, offer: Description, *, at_ns: int) -> bool:
        """Fits to the client's newest offer; False when an m-line found no port and must be refused.

        New m-lines get a gated line, refused ones lose theirs. What changes its codecs is shut, for its packets
        would be read by the old ones. MalformedPacket, and nothing is changed, for fewer m-lines than before.
        """
        if len(offer.lines) < len(self._legs):
            raise MalformedPacket(f"an offer keeps its m-lines: {len(self._legs)} before, {len(offer.lines)} now")
        complete = True
        for number, media in enumerate(offer.lines):
            if number == len(self._legs):
                self._legs.append(Leg())
            leg = self._legs[number]
            usable = refusal(offer, number) is None
            if leg.line is not None and (not usable or _meaning(leg) != _meaning_of(media)):
                self._shut_leg(leg, at_ns)
            leg.label = media.label or ""
            leg.codecs, leg.event_types = _meaning_of(media)
            leg.peer, leg.is_muxed = self._peer_of(media), media.rtcp_mux
            if usable and leg.line is None:
                leg.line = self._new_line()
                complete = complete and leg.line is not None
            elif not usable and leg.line is not None:
                self._release(leg.line)
                leg.line = None
            if leg.line is not None:
                self._media.aim(leg.line, leg.peer)
        return complete

    def local_lines(self, count: int, *, form: Form) -> list[LocalLine]:
        """Our side of the first `count` m-lines. To write it is to tell the client which ports to leave.

        In the open form an m-line that is not kept stays closed: another recording session carries its party.
        """
        self._leaving = {line for leg in self._legs for line in leg.former}
        return [replace(_local_line(leg), is_shut=form is Form.OPEN and not leg.kept) for leg in self._legs[:count]]

    def moved(self) -> None:
        """The client has answered the newest description: the lines that it left are released."""
        for leg in self._legs:
            for line in [line for line in leg.former if line in self._leaving]:
                leg.former.remove(line)
                self._release(line)
        self._leaving.clear()

    # -- gating ----------------------------------------------------------------------------------

    def bind(self, parties: Sequence[str], *, at_ns: int) -> None:
        """Whose voice each m-line carries from now on, "" for nobody's; another voice must not end in a track."""
        for leg, party in zip(self._legs, parties, strict=True):
            if leg.kept and party != leg.party:
                self._shut_leg(leg, at_ns)
            if party != leg.party:
                leg.cname = None  # it was said of somebody else
            leg.party = party

    def trust(self, labels: Collection[str] | None = None) -> None:
        """Signalling has said anew whose voices these are, None for all: what a stream made doubtful before is over."""
        for leg in [leg for leg in self._legs if labels is None or leg.label in labels]:
            leg.doubt, leg.cname = "", leg.cname or None
            if leg.line is not None:
                self._media.trust(leg.line)

    def listen(self) -> None:
        """Digits pass the filters of all gated lines; audio does not."""
        for leg in self.shut_ones():
            if leg.line is not None:
                self._media.listen(leg.line, leg.event_types)

    def renew(self, legs: Sequence[Leg]) -> None:
        """A fresh line for each of these: what still comes to the old ones stays behind their filters.

        Raises NoPortLeft, and nothing is changed then.
        """
        fresh: list[Line] = []
        for _ in legs:
            line = self._new_line(fresh=True)
            if line is None:
                for taken in fresh:
                    self._release(taken)
                raise NoPortLeft(f"{len(legs)} fresh RTP ports are needed to open, {len(fresh)} are free")
            fresh.append(line)
        for leg, line in zip(legs, fresh, strict=True):
            if leg.line is not None:
                leg.former.append(leg.line)
                self._media.follow(leg.line, line)
            self._media.aim(line, leg.peer)
            leg.line = line

    def keep(self, leg: Leg, track: Track) -> None:
        """The leg's line is open from now on, into this track. After VaultError or OSError it must be shut."""
        if leg.line is not None:
            leg.kept = True  # first: whatever fails below, a shut will find it
            self._media.listen(leg.line, leg.event_types)
            self._media.keep(leg.line, track)

    def shut(self, *, at_ns: int) -> None:
        """Filters back on all lines, and of what was kept everything since then, at least the newest 1.5 s, goes."""
        for leg in self._legs:
            self._shut_leg(leg, at_ns)

    def _shut_leg(self, leg: Leg, at_ns: int) -> None:
        leg.kept = False
        for line in list(leg.former):
            if not self._shut_line(line, at_ns):
                leg.former.remove(line)
        if leg.line is not None and not self._shut_line(leg.line, at_ns):
            leg.line = None

    def _shut_line(self, line: Line, at_ns: int) -> bool:
        """Whether the line is still there, gated: one that cannot be shut in order loses its socket."""
        try:
            self._media.shut(line, since_ns=at_ns)
            self._media.listen(line, {})
        except Exception:  # noqa: BLE001 - whatever happened here, the other lines must be shut too
            log.exception("a line could not be shut in order; it is closed")
            self._release(line)
            return False
        return True

    # -- lines -----------------------------------------------------------------------------------

    def release_all(self) -> None:
        """The session is over: every line is released, and still known to be ours until `forget`."""
        for leg in self._legs:
            lines = [*leg.former, *((leg.line,) if leg.line is not None else ())]
            leg.former.clear()
            leg.line, leg.kept = None, False
            for line in lines:
                self._release(line)
                self._gone[line] = leg
                self._owners.setdefault(line, self._owner)

    def forget(self) -> None:
        """Nothing that was heard on a released line can still be on its way."""
        for line in self._gone:
            self._disown(line)
        self._gone.clear()

    def _peer_of(self, media: MediaLine) -> Peer | None:
        """Where the client says that its side of an m-line is; None when that is no address to send to."""
        address = rtcp_address = destination(media.address, self._media.lines.address)
        if media.rtcp_address is not None and not media.rtcp_mux:
            rtcp_address = destination(media.rtcp_address, self._media.lines.address)
        rtcp_port = media.port if media.rtcp_mux else media.rtcp_port or media.port + 1
        if address is None or rtcp_address is None or rtcp_port > LAST_PORT:
            return None
        return Peer(address, media.port, rtcp_address, rtcp_port, media.rtcp_mux)

    def _new_line(self, *, fresh: bool = False) -> Line | None:
        """A gated line, or None when there is no port, socket or filter for one; `fresh`: it is opened next."""
        try:
            line = self._media.fresh_line() if fresh else self._media.line()
        except (NoPortLeft, OSError):
            return None
        self._owners[line] = self._owner
        return line

    def _release(self, line: Line) -> None:
        self._disown(line)
        try:
            self._media.release(line)
        except Exception:  # noqa: BLE001 - the other lines must be released too
            log.exception("a line could not be released")

    def _disown(self, line: Line) -> None:
        if self._owners.get(line) is self._owner:  # a new session may have an equal line by now
            del self._owners[line]


def _local_line(leg: Leg) -> LocalLine:
    if leg.line is None:
        return REFUSED
    return LocalLine(leg.line.port, leg.line.port if leg.is_muxed else None)


def _meaning(leg: Leg) -> tuple[Mapping[int, Coded], Mapping[int, int]]:
    return leg.codecs, leg.event_types


def _meaning_of(media: MediaLine) -> tuple[Mapping[int, Coded], Mapping[int, int]]:
    """(codecs, telephone events) by payload type, with their RTP clocks in Hz."""
    named = [codec for codec in media.codecs if codec.name and not codec.is_events and is_heard(codec.name)]
    return {codec.payload_type: _coded(codec) for codec in named}, media.event_types


def _coded(codec: Codec) -> Coded:
    """What is kept of a codec's description: enough to decode it, and no more."""
    form = format_of(codec.name, codec.channels, codec.fmtp)
    return (codec.name, codec.clock, *form) if form else (codec.name, codec.clock)
