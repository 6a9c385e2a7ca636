"""Why a dialog ends, in the Reason header (RFC 3326): ours in neutral words, theirs read and bounded.

Holds the only sentences that a BYE or CANCEL of ours may carry. None of them may tell one decision of the gate
from another, or from a recorder that is stopped: `NORMAL` is for all of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mitschnitt.errors import PeerError
from mitschnitt.wire.sip.headers import is_token, parameter, parse_parameters
from mitschnitt.wire.sip.message import Headers

MAX_TEXT_CHARS = 128  # of a peer's text that are kept; the reason phrases of the standards have at most 40
MAX_PROTOCOL_CHARS = 32  # SIP, Q.850, RELEASE_CAUSE, X.int and the like have at most 13

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class EndReason:
    """One value of a Reason header. Its text is the peer's: show it to nobody outside, write it to no log."""

    protocol: str  # SIP, Q.850
    cause: int | None = None  # a status of SIP, a cause of Q.850; 0 to 999
    text: str = ""

    def __str__(self) -> str:
        cause = "" if self.cause is None else f";cause={self.cause}"
        escaped = self.text.replace("\\", "\\\\").replace('"', '\\"')
        return self.protocol + cause + (f';text="{escaped}"' if self.text else "")


# Every end that somebody decided: withdrawal, end of the recorder, wish of whoever drives the agent.
NORMAL = EndReason("Q.850", 16, "Normal call clearing")
# Ends that signalling itself brought about; the client sees their cause on the wire, so they may say it.
NOT_ACKNOWLEDGED = EndReason("SIP", 408, "ACK did not come")
EXPIRED = EndReason("SIP", 408, "Session timer expired")
UNANSWERED = EndReason("SIP", 408, "Request timeout")
OTHER_FORK = EndReason("SIP", 200, "Another answer was taken")
UNDECIDED = EndReason("SIP", 488, "The offer was not answered")


def reason_header(reason: EndReason) -> tuple[str, str]:
    """The header as it is sent."""
    return "Reason", str(reason)


def end_reason(headers: Headers) -> EndReason | None:
    """The first readable reason of a BYE, CANCEL or failure, bounded; None for none. Never raises."""
    try:
        values = headers.listed("Reason")
    except PeerError:
        return None
    return next((found for value in values if (found := _read(value)) is not None), None)


def _read(value: str) -> EndReason | None:
    protocol, _, rest = value.partition(";")
    protocol = protocol.strip()
    if not is_token(protocol) or len(protocol) > MAX_PROTOCOL_CHARS:
        return None
    try:
        parameters = parse_parameters(rest)
    except PeerError:
        return None
    cause = (parameter(parameters, "cause") or "").strip()
    text = _UNPRINTABLE.sub(" ", parameter(parameters, "text") or "")[:MAX_TEXT_CHARS]
    return EndReason(protocol, int(cause) if re.fullmatch(r"[0-9]{1,3}", cause) else None, text)
