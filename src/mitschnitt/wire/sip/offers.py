"""One offer at a time: what carries one, which of two must wait, and for how long (RFC 3261, 14; RFC 3311, 5).

Pure questions and arithmetic: randomness is an argument, nothing is sent or remembered here.
"""

from __future__ import annotations

import re

from mitschnitt.wire.sip.dialog import Content, Dialog
from mitschnitt.wire.sip.message import Request, Response

# An offer may be the one that closes the gate's form: it waits no longer than this, whatever the peer asks for.
# A peer that asks for more is asked again too early, and says so again.
MAX_WAIT_SECONDS = 10.0
MIN_WAIT_SECONDS = 0.5  # T1: a peer that says "at once" for ever costs two messages a second
Refusal = tuple[int, str, tuple[tuple[str, str], ...]]  # status, cause, headers

BUSY = frozenset({480, 486, 500, 503, 504, 600, 603})  # with Retry-After: later, not never (RFC 3261, 20.33)


def carries_sdp(message: Request | Response | Content) -> bool:
    """Whether the body is, or holds a part of, application/sdp."""
    if not message.body:
        return False
    main = message.content_type.partition(";")[0].strip().lower()
    if main.startswith("multipart/"):
        return b"application/sdp" in message.body.lower()
    return main in ("", "application/sdp")


def collision(dialog: Dialog, request: Request, *, dice: float) -> Refusal | None:
    """Why this re-INVITE or UPDATE of the peer must wait (RFC 3261, 14.2; RFC 3311, 5.2); None: it need not.

    Any re-INVITE offers or asks for an offer; an UPDATE only with SDP.
    """
    if request.method != "INVITE" and not carries_sdp(request):
        return None
    if dialog.offers_out:
        return 491, "offer.glare", ()
    if dialog.invite_in or dialog.update_in:
        return 500, "offer.pending", (("Retry-After", str(1 + int(9 * dice))),)
    return None


def retry_after(response: Response) -> float | None:
    """Seconds of Retry-After, None when absent or no number; comment and parameters are not read."""
    found = re.match(r"\s*([0-9]{1,10})\s*(?:[(;].*)?$", response.headers.get("Retry-After") or "")
    return float(found.group(1)) if found else None


def offer_wait(response: Response, *, owner: bool, dice: float) -> float | None:
    """Seconds until a refused offer may go again, None when it may not.

    After 491 it is 2.1 to 4 s for the `owner` of the Call-ID, else 0 to 2 s (RFC 3261, 14.1); `dice` is in [0, 1).
    """
    if response.status == 491:
        return 2.1 + 1.9 * dice if owner else 2.0 * dice
    told = retry_after(response) if response.status in BUSY else None
    return None if told is None else min(max(told, MIN_WAIT_SECONDS), MAX_WAIT_SECONDS)
