"""One recording session of a call: its dialog's offer, our answer, its m-lines, and what it tells of who speaks.

Knows one SIP dialog and nobody's consent: which form is told, and when a line opens, the call's session says. Labels
mean nothing outside the branch that they came with (RFC 7866, 7.1.1).
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from datetime import datetime
from typing import Any, Protocol

from mitschnitt.errors import PeerError
from mitschnitt.recorder.clock import nanoseconds
from mitschnitt.recorder.legs import Leg, Legs
from mitschnitt.recorder.media import Line, Media
from mitschnitt.recorder.parties import Participant
from mitschnitt.wire.sdp import Description, Form, MediaLine, answer, reoffer
from mitschnitt.wire.sip.ladder import Ladder
from mitschnitt.wire.siprec import Metadata, MetadataBroken, Unbound, Update, bind

# A label that may be journalled as it stands. What could be a number or an address is told by its place instead.
PLAIN_LABEL = re.compile(r"(?!.*[0-9]{10})[A-Za-z0-9_.-]{1,32}")
LEAK_ALARM_PACKETS = 100  # two seconds of one stream: a client needs less to read a closed answer and obey


class Signalling(Protocol):
    """What a branch asks of its SIP dialog."""

    def offer(self, make_body: Callable[[], bytes]) -> None:
        """Send a re-INVITE as soon as the dialog is free; the body is made at that moment, and empty sends nothing."""

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
        self.number = 0  # which recording session of its call, by order of appearance
        self.legs = Legs(media, owners, owner)
        self.signalling = signalling
        self.metadata: Update | None = None
        self.answered = False  # our first 200 is out
        self.leaked_packets = 0
        self._address = address
        self.told_form: Form | None = None
        self._binding = bind(None, [])
        self._offer: Description | None = None
        self._told: Description | None = None
        self._agreed: tuple[MediaLine, ...] | None = None  # what holds between the client and us
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
            self.metadata = known.apply(update).bounded()
        elif isinstance(update, Metadata) and update.partial:
            self.metadata = MetadataBroken("a partial update before any snapshot (RFC 7866, 9.2)")
        else:
            self.metadata = update
        if isinstance(self.metadata, Metadata) and isinstance(update, Metadata):
            if update.partial:
                self.legs.trust(self.metadata.told_anew(update))
            else:
                self.legs.trust(update.told_differently(known) if isinstance(known, Metadata) else None)

    @property
    def is_lost(self) -> bool:
        """Whether what the client told of the line cannot be used without the whole of it."""
        return isinstance(self.metadata, MetadataBroken)

    def bind(self) -> str:
        """Reads anew whose voice each m-line carries; the rule by which not all are certain, "" when they are."""
        self._binding = bind(self.metadata, [leg.label for leg in self.legs if leg.line is not None])
        if self._binding.certain:
            return ""
        return min(self._binding.reasons, default=Unbound.MISSING).value

    @property
    def participants(self) -> list[Participant]:
        """Everybody whom the metadata has on the line, with or without a stream."""
        return [Participant(who.id, who.aor, self.number) for who in self._binding.participants]

    @property
    def speakers(self) -> list[Participant | None]:
        """Whose voice each m-line carries, None for nobody's."""
        labels = self._binding.labels
        found = [labels.get(label) if label is not None else None for label in self.legs.labels]
        return [
            None if who is None or isinstance(who, Unbound) else Participant(who.id, who.aor, self.number)
            for who in found
        ]

    def rests_on(self, leg: Leg) -> dict[str, Any]:
        """What it rests on that this m-line is its party's voice, for the journal: no name, number or address."""
        place = next(number for number, other in enumerate(self.legs) if other is leg)
        association = self._binding.rests_on.get(leg.label)
        return {
            "label": leg.label if PLAIN_LABEL.fullmatch(leg.label) else f"#{place}",
            "session": self.number,
            "association": association.value if association is not None else "",
            "cname": leg.cname,
        }

    def body(self, form: Form) -> bytes:
        """The SDP answer in this form, whatever the offer was. PeerError without an offer."""
        self.told_form = form
        if self._offer is None:
            raise PeerError("there is no offer to answer")
        self._told = answer(
            self._offer,
            self.legs.local_lines(len(self._offer.lines), form=form),
            form,
            address=self._address,
            session=self._sdp_session,
            previous=self._told,
        )
        return bytes(self._told)

    def offer_body(self, form: Form, *, again: bool = False) -> bytes:
        """Our own offer in this form; empty when just that is agreed already. PeerError before the first answer.

        Nothing is said twice, unless to refresh (`again`; RFC 4028, 7.4): whoever watches the wire would learn
        from it when a question was answered with no.
        """
        if self._told is None:
            raise PeerError("nothing was answered yet, so nothing can be offered anew")
        self.told_form = form
        lines = self.legs.local_lines(len(self._told.lines), form=form)
        offered = reoffer(self._told, lines, form, address=self._address)
        if offered.lines == self._agreed and not again:
            return b""
        self._told = offered
        return bytes(offered)

    def agreed(self) -> None:
        """What was told last holds: it answered the client, or the client has answered it."""
        self._agreed = self._told.lines if self._told is not None else None

    def moved(self) -> None:
        """The client has answered what we told it: the lines that it was told to leave are released."""
        self.legs.moved()

    def leak(self, packets: int) -> bool:
        """Packets came after the closed answer; whether that is now an alarm: more than a slow client's last second."""
        before, self.leaked_packets = self.leaked_packets, self.leaked_packets + packets
        return before < LEAK_ALARM_PACKETS <= self.leaked_packets
