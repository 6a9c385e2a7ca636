"""One recording session of a call: its dialog's offer, our answer, its m-lines, and what it tells of who speaks.

Knows one SIP dialog and nobody's consent: which form is told, and when a line opens, the call's session says. Labels
mean nothing outside the branch that they came with (RFC 7866, 7.1.1).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import datetime
from typing import Any, Protocol

from mitschnitt.errors import PeerError
from mitschnitt.recorder.clock import nanoseconds
from mitschnitt.recorder.legs import Legs
from mitschnitt.recorder.media import Line, Media
from mitschnitt.wire.sdp import Description, Form, answer, reoffer
from mitschnitt.wire.sip.ladder import Ladder
from mitschnitt.wire.siprec import Binding, Metadata, MetadataBroken, Update, bind

LEAK_ALARM_PACKETS = 100  # two seconds of one stream: a client needs less to read a closed answer and obey


class Signalling(Protocol):
    """What a branch asks of its SIP dialog."""

    def offer(self, make_body: Callable[[], bytes]) -> None:
        """Send a re-INVITE as soon as the dialog is free; the body is made at that moment."""

    def hang_up(self) -> None:
        """BYE, after the offers that are under way."""

    @property
    def ladder(self) -> Ladder:
        """What went over the wire, and goes on doing so."""


class Branch:
    """See the module. `address` is where media is received, as the client must see it."""

    def __init__(
        self, media: Media, owners: dict[Line, Any], owner: object, signalling: Signalling, *, address: str
    ) -> None:
        self.legs = Legs(media, owners, owner)
        self.signalling = signalling
        self.metadata: Update | None = None
        self.answered = False  # our first 200 is out
        self.leaked_packets = 0
        self._address = address
        self._offer: Description | None = None
        self._told: Description | None = None
        self._sdp_session = secrets.randbits(31)

    def take_offer(self, offer: Description, *, at: datetime) -> bool:
        """The client's newest offer; False when the ports did not suffice.

        MalformedPacket, and nothing is changed, for an offer that drops m-lines.
        """
        complete = self.legs.follow(offer, at_ns=nanoseconds(at))
        self._offer = offer
        return complete

    def take_metadata(self, update: Update) -> None:
        """The client's newest word on who is on the line; what does not parse unbinds everybody."""
        known = self.metadata
        if isinstance(update, Metadata) and isinstance(known, Metadata):
            self.metadata = known.apply(update)
        elif isinstance(update, Metadata) and update.partial:
            self.metadata = MetadataBroken("a partial update before any snapshot (RFC 7866, 9.2)")
        else:
            self.metadata = update
        if isinstance(self.metadata, Metadata):
            self.legs.trust()

    @property
    def is_lost(self) -> bool:
        """Whether what the client told of the line cannot be used without the whole of it."""
        return isinstance(self.metadata, MetadataBroken)

    def binding(self) -> Binding:
        """Whose voice each recorded label carries, and everybody whom the metadata has on the line."""
        return bind(self.metadata, [leg.label for leg in self.legs if leg.line is not None])

    def body(self, form: Form) -> bytes:
        """The SDP answer in this form, whatever the offer was. PeerError without an offer."""
        if self._offer is None:
            raise PeerError("there is no offer to answer")
        self._told = answer(
            self._offer,
            self.legs.local_lines(len(self._offer.lines)),
            form,
            address=self._address,
            session=self._sdp_session,
            previous=self._told,
        )
        return bytes(self._told)

    def offer_body(self, form: Form) -> bytes:
        """Our own offer in this form. PeerError before the first answer."""
        if self._told is None:
            raise PeerError("nothing was answered yet, so nothing can be offered anew")
        lines = self.legs.local_lines(len(self._told.lines))
        self._told = reoffer(self._told, lines, form, address=self._address)
        return bytes(self._told)

    def moved(self) -> None:
        """The client has answered what we told it: the lines that it was told to leave are released."""
        self.legs.moved()

    def leak(self, packets: int) -> bool:
        """Packets came after the closed answer; whether that is now an alarm: more than a slow client's last second."""
        before, self.leaked_packets = self.leaked_packets, self.leaked_packets + packets
        return before < LEAK_ALARM_PACKETS <= self.leaked_packets
