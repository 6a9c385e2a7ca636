"""The session timer of one dialog (RFC 4028): who refreshes, how often, and when the session is over.

TABLE holds every legal move, as in `transaction`; the picture in docs is drawn from it. `SessionTimer` looks up and
keeps deadlines; it sends nothing. The functions below read and write the headers that both sides agree by.
Deviations from the standard stand in DEVIATIONS beside their row.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from mitschnitt.errors import PeerError
from mitschnitt.wire.sip.headers import parameter, parse_parameters
from mitschnitt.wire.sip.message import Headers

TIMER_TAG = "timer"  # the option tag (RFC 4028, 7.1)
LEAST_SECONDS = 90  # no session interval is shorter (RFC 4028, 5)
LONGEST_SECONDS = 86_400  # a peer that asks for more than a day is given a day: a dead session must end once
LAST_MARGIN_SECONDS = 32.0  # the BYE leaves so long before the end, or a third of the interval (RFC 4028, 10)
AGAIN_SECONDS = 10.0  # after a refresh that was refused for now: 491, 500, 503
MAX_RAISES = 3  # 422s followed in one dialog; proxies on a real path add one each, a peer that plays does not stop


class SessionState(StrEnum):
    """Where the session timer of a dialog stands."""

    OFF = "off"
    THEIRS = "theirs"
    OURS = "ours"
    ASKED = "asked"
    RAISED = "raised"
    OFFERED = "offered"
    OVER = "over"


class SessionInput(StrEnum):
    """What happens to a session timer, apart from its clocks."""

    WE_REFRESH = "we refresh"
    THEY_REFRESH = "they refresh"
    NO_TIMER = "no timer agreed"
    NOT_ALLOWED = "405 or 501"
    TOO_SMALL = "422"
    REFUSED = "other refusal"
    LOST = "no answer"
    CLOSED = "BYE sent"


class SessionClock(StrEnum):
    """The deadlines of a session timer; as input: it is due; as action: start it."""

    HALF = "half time"
    LATE = "overdue"
    AGAIN = "10 s later"
    LAST = "last moment"


class SessionAction(StrEnum):
    """What the owner of the session timer does now."""

    UPDATE = "send UPDATE"  # without a body
    OFFER = "want re-INVITE"  # the owner of the session makes it, in the form of this moment
    END = "end session"  # BYE, and tell


SessionEvent = SessionInput | SessionClock
SessionMove = tuple[SessionState, tuple[SessionAction | SessionClock, ...]]

_ST, _IN, _CL, _DO = SessionState, SessionInput, SessionClock, SessionAction
_OURS: SessionMove = (_ST.OURS, (_CL.HALF, _CL.LAST))
_THEIRS: SessionMove = (_ST.THEIRS, (_CL.LATE, _CL.LAST))
_OFF: SessionMove = (_ST.OFF, ())
_ENDED: SessionMove = (_ST.OVER, (_DO.END,))

TABLE: Mapping[tuple[SessionState, SessionEvent], SessionMove] = {
    (_ST.OFF, _IN.WE_REFRESH): _OURS,
    (_ST.OFF, _IN.THEY_REFRESH): _THEIRS,
    (_ST.OFF, _IN.CLOSED): (_ST.OVER, ()),
    (_ST.THEIRS, _IN.WE_REFRESH): _OURS,
    (_ST.THEIRS, _IN.THEY_REFRESH): _THEIRS,
    (_ST.THEIRS, _IN.NO_TIMER): _OFF,
    (_ST.THEIRS, _CL.LATE): (_ST.ASKED, (_DO.UPDATE,)),
    (_ST.THEIRS, _CL.LAST): _ENDED,
    (_ST.THEIRS, _IN.CLOSED): (_ST.OVER, ()),
    (_ST.OURS, _CL.HALF): (_ST.ASKED, (_DO.UPDATE,)),
    (_ST.OURS, _CL.AGAIN): (_ST.ASKED, (_DO.UPDATE,)),
    (_ST.OURS, _IN.WE_REFRESH): _OURS,
    (_ST.OURS, _IN.THEY_REFRESH): _THEIRS,
    (_ST.OURS, _IN.NO_TIMER): _OFF,
    (_ST.OURS, _CL.LAST): _ENDED,
    (_ST.OURS, _IN.CLOSED): (_ST.OVER, ()),
    (_ST.ASKED, _IN.WE_REFRESH): _OURS,
    (_ST.ASKED, _IN.THEY_REFRESH): _THEIRS,
    (_ST.ASKED, _IN.NO_TIMER): _OFF,
    (_ST.ASKED, _IN.NOT_ALLOWED): (_ST.OFFERED, (_DO.OFFER,)),
    (_ST.ASKED, _IN.TOO_SMALL): (_ST.RAISED, (_DO.UPDATE,)),
    (_ST.ASKED, _IN.REFUSED): (_ST.OURS, (_CL.AGAIN,)),
    (_ST.ASKED, _IN.LOST): _ENDED,
    (_ST.ASKED, _CL.LAST): _ENDED,
    (_ST.ASKED, _IN.CLOSED): (_ST.OVER, ()),
    (_ST.RAISED, _IN.WE_REFRESH): _OURS,
    (_ST.RAISED, _IN.THEY_REFRESH): _THEIRS,
    (_ST.RAISED, _IN.NO_TIMER): _OFF,
    (_ST.RAISED, _IN.NOT_ALLOWED): (_ST.OFFERED, (_DO.OFFER,)),
    (_ST.RAISED, _IN.TOO_SMALL): (_ST.OURS, (_CL.AGAIN,)),
    (_ST.RAISED, _IN.REFUSED): (_ST.OURS, (_CL.AGAIN,)),
    (_ST.RAISED, _IN.LOST): _ENDED,
    (_ST.RAISED, _CL.LAST): _ENDED,
    (_ST.RAISED, _IN.CLOSED): (_ST.OVER, ()),
    (_ST.OFFERED, _IN.WE_REFRESH): _OURS,
    (_ST.OFFERED, _IN.THEY_REFRESH): _THEIRS,
    (_ST.OFFERED, _IN.NO_TIMER): _OFF,
    (_ST.OFFERED, _CL.LAST): _ENDED,
    (_ST.OFFERED, _IN.CLOSED): (_ST.OVER, ()),
}

DEVIATIONS: Mapping[tuple[SessionState, SessionEvent], str] = {
    (_ST.THEIRS, _CL.LATE): (
        "RFC 4028, 10 waits for the end; a client that claims `timer` and never refreshes would lose its call, so we "
        "ask, and refresh from then on"
    ),
    (_ST.OURS, _CL.LAST): "RFC 4028, 10 lets a refresher wait for the very end; one rule for both sides is enough",
    (_ST.ASKED, _IN.NOT_ALLOWED): "UPDATE first whatever Allow says: clients leave Allow out and answer UPDATE",
    (_ST.RAISED, _IN.TOO_SMALL): "a second 422 in a row waits, so that two agents cannot drive each other",
}


@dataclass(frozen=True, slots=True)
class Terms:
    """What one side says in Session-Expires: seconds, and who refreshes as seen from the request (uac, uas, "")."""

    seconds: int
    refresher: str = ""

    def __str__(self) -> str:
        return f"{self.seconds};refresher={self.refresher}" if self.refresher else str(self.seconds)


@dataclass(slots=True)
class SessionTimer:
    """The timer of one dialog. `feed` moves it; deadlines are the owner's to watch."""

    state: SessionState = SessionState.OFF
    seconds: int = 0  # agreed interval; 0 before anything was agreed
    least: int = 0  # largest Min-SE that a 422 told us, 0 for none; said in every request from then on
    raises: int = 0  # 422s that were followed
    transaction: str = ""  # our refresh under way, "" for none
    deadlines: dict[SessionClock, float] = field(default_factory=dict)

    @property
    def runs(self) -> bool:
        """Whether the session ends by itself unless somebody refreshes it."""
        return self.state not in (SessionState.OFF, SessionState.OVER)

    def feed(self, event: SessionEvent, now: float) -> tuple[SessionAction, ...]:
        """What to do about it; () where the table has no such move."""
        if isinstance(event, SessionClock):
            self.deadlines.pop(event, None)
        move = TABLE.get((self.state, event))
        if move is None:
            return ()
        self.state, doing = move
        for clock in [clock for clock in self.deadlines if (self.state, clock) not in TABLE]:
            del self.deadlines[clock]
        for item in doing:
            if isinstance(item, SessionClock):
                self.deadlines[item] = now + self._duration(item)
        return tuple(item for item in doing if isinstance(item, SessionAction))

    def agree(self, terms: Terms | None, *, ours: bool, now: float) -> tuple[SessionAction, ...]:
        """A 2xx to INVITE or UPDATE went by, `ours`: we refresh from now on; None: without a timer."""
        self.transaction = ""
        self.deadlines.clear()  # they counted from what was agreed before
        if terms is None:
            return self.feed(SessionInput.NO_TIMER, now)
        self.seconds = min(max(terms.seconds, LEAST_SECONDS), LONGEST_SECONDS)
        return self.feed(SessionInput.WE_REFRESH if ours else SessionInput.THEY_REFRESH, now)

    def raise_to(self, least: int | None) -> bool:
        """A 422 asks for a longer interval; whether that is worth another try."""
        if least is None or self.raises >= MAX_RAISES or least <= max(self.seconds, self.least):
            return False
        self.least, self.raises = least, self.raises + 1
        return True

    def _duration(self, clock: SessionClock) -> float:
        if clock is SessionClock.HALF:
            return self.seconds / 2
        if clock is SessionClock.AGAIN:
            return AGAIN_SECONDS
        last = self.seconds - min(LAST_MARGIN_SECONDS, self.seconds / 3)
        return last if clock is SessionClock.LAST else (self.seconds / 2 + last) / 2


# --- what the headers say ------------------------------------------------------------------------------


def session_expires(headers: Headers) -> Terms | None:
    """Session-Expires; None when absent or unreadable, which is the same: no timer is asked for."""
    value = headers.get("Session-Expires")
    if value is None:
        return None
    seconds, _, rest = value.partition(";")
    try:
        refresher = (parameter(parse_parameters(rest), "refresher") or "").lower()
    except PeerError:
        return None
    number = _seconds(seconds)
    return None if number is None else Terms(number, refresher if refresher in ("uac", "uas") else "")


def min_se(headers: Headers) -> int | None:
    """Min-SE in seconds, at most LONGEST_SECONDS; None when absent or unreadable."""
    found = _seconds((headers.get("Min-SE") or "").partition(";")[0])
    return None if found is None else min(found, LONGEST_SECONDS)


def _seconds(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[ \t]*[0-9]{1,10}[ \t]*", text) else None


def supports_timer(headers: Headers) -> bool:
    """Whether whoever wrote these headers can refresh."""
    return TIMER_TAG in headers.tokens("Supported") | headers.tokens("Require")


def too_small(headers: Headers, *, least: int) -> bool:
    """Whether a request is to be answered 422 (RFC 4028, 9): only who can refresh understands that."""
    terms = session_expires(headers)
    return terms is not None and supports_timer(headers) and terms.seconds < least


def answer_terms(headers: Headers, *, wanted: int) -> Terms | None:
    """What our 2xx says to this request (RFC 4028, 9, table 2); None: nothing, and there is no timer.

    `wanted` is our own interval in seconds: a longer one is shortened to it, but not below the request's Min-SE.
    Who can refresh does, unless it asked us to; for who cannot, we do what a proxy on the way asked for.
    """
    asked, able = session_expires(headers), supports_timer(headers)
    if asked is None:
        return Terms(max(wanted, min_se(headers) or 0), "uac") if able else None
    if asked.seconds < LEAST_SECONDS:
        return None  # 422 would not be understood, more must not be said, and less no standard allows
    seconds = min(asked.seconds, max(wanted, min_se(headers) or 0))
    return Terms(seconds, (asked.refresher or "uac") if able else "uas")


def terms_headers(terms: Terms) -> tuple[tuple[str, str], ...]:
    """The headers of a 2xx of ours with these terms."""
    required = (("Require", TIMER_TAG),) if terms.refresher == "uac" else ()
    return (("Session-Expires", str(terms)), *required)


def request_headers(timer: SessionTimer, *, wanted: int) -> tuple[tuple[str, str], ...]:
    """What an INVITE or UPDATE of ours says (RFC 4028, 7.1 and 7.4): the roles stay as they are.

    `wanted` is our own interval in seconds, for the INVITE that begins a session.
    """
    seconds = max(timer.seconds or wanted, timer.least)
    refresher = ""
    if timer.runs:
        refresher = "uas" if timer.state is SessionState.THEIRS else "uac"
    raised = (("Min-SE", str(timer.least)),) if timer.least else ()
    return (("Session-Expires", str(Terms(seconds, refresher))), *raised)
