"""What a UserAgent reports: facts in the past tense, in the order in which they happened."""

from __future__ import annotations

from dataclasses import dataclass

from mitschnitt.wire.sip.hop import Source
from mitschnitt.wire.sip.message import Request, Response
from mitschnitt.wire.sip.reasons import EndReason


@dataclass(frozen=True, slots=True)
class InviteReceived:
    """A new session is asked for; 100 is sent already, the final answer is yours (`respond`)."""

    dialog: str
    transaction: str
    request: Request
    source: Source


@dataclass(frozen=True, slots=True)
class ReinviteReceived:
    """The peer offers anew within a dialog; 100 is sent already, the final answer is yours."""

    dialog: str
    transaction: str
    request: Request


@dataclass(frozen=True, slots=True)
class UpdateReceived:
    """An UPDATE with metadata, an offer or nothing; answer it at once."""

    dialog: str
    transaction: str
    request: Request


@dataclass(frozen=True, slots=True)
class AckReceived:
    """Our 200 to an INVITE arrived: the session or its change is confirmed."""

    dialog: str
    request: Request


@dataclass(frozen=True, slots=True)
class ByeReceived:
    """The peer ended the dialog; 200 is sent, the dialog is gone."""

    dialog: str
    request: Request
    reason: EndReason | None = None  # as the peer states it


@dataclass(frozen=True, slots=True)
class CancelReceived:
    """The peer gave up before our final answer; 200 and 487 are sent.

    A new dialog is gone; where a re-INVITE was given up (`ends` is False) the session stays as it was before it.
    """

    dialog: str
    transaction: str
    ends: bool = True
    reason: EndReason | None = None  # as the peer states it


@dataclass(frozen=True, slots=True)
class InfoReceived:
    """An INFO came in a dialog; 200 is sent. What it said is not read: it may be a key that a caller pressed."""

    dialog: str


@dataclass(frozen=True, slots=True)
class OptionsReceived:
    """Somebody asked for signs of life; 200 is sent. `dialog` is None outside one."""

    dialog: str | None
    source: Source


@dataclass(frozen=True, slots=True)
class ResponseReceived:
    """An answer to a request of ours; 2xx to an INVITE is acknowledged already. Copies are not reported."""

    dialog: str | None
    transaction: str
    method: str
    response: Response
    retry_due: bool = False  # an offer that must wait: RetryDue follows


@dataclass(frozen=True, slots=True)
class OfferReceived:
    """The 2xx to an INVITE of ours without an offer brings the peer's: answer it with `acknowledge`, within seconds.

    Later than `endpoint.ANSWER_SECONDS` a bare ACK and a BYE are sent instead.
    """

    dialog: str
    transaction: str
    response: Response


@dataclass(frozen=True, slots=True)
class TransactionTimedOut:
    """No final answer to a request of ours came, or it could not be delivered (`undeliverable`)."""

    dialog: str | None
    transaction: str
    method: str
    undeliverable: bool


@dataclass(frozen=True, slots=True)
class DialogTimedOut:
    """A 200 of ours was never acknowledged within 64 * T1; a BYE is on its way (RFC 3261, 13.3.1.4)."""

    dialog: str


@dataclass(frozen=True, slots=True)
class ByeRefused:
    """The peer refuses our BYE (OpenSIPS: 405): expect its media to go on, and no BYE of its own.

    The dialog stays known until `forget`, so that a late BYE is still answered.
    """

    dialog: str
    status: int


@dataclass(frozen=True, slots=True)
class DialogEnded:
    """The dialog is gone: our BYE was answered or timed out, or the peer no longer knows it (481)."""

    dialog: str
    status: int  # of the answer that told; 408 for none


@dataclass(frozen=True, slots=True)
class RetryDue:
    """An offer that had to wait (491, or another INVITE under way) can be sent now, in today's form."""

    dialog: str


@dataclass(frozen=True, slots=True)
class RefreshDue:
    """The session must be refreshed and the peer takes no UPDATE: offer anew, in the form of this moment (RFC 4028)."""

    dialog: str


@dataclass(frozen=True, slots=True)
class SessionExpired:
    """Nobody refreshed the session in time (RFC 4028, 10); a BYE is on its way."""

    dialog: str


@dataclass(frozen=True, slots=True)
class MessageRefused:
    """A message was answered with an error or dropped without reaching a session; `why` names the cause."""

    source: Source
    why: str
    status: int  # 0: dropped without an answer


SipEvent = (
    InviteReceived
    | ReinviteReceived
    | UpdateReceived
    | AckReceived
    | ByeReceived
    | CancelReceived
    | InfoReceived
    | OptionsReceived
    | ResponseReceived
    | OfferReceived
    | TransactionTimedOut
    | DialogTimedOut
    | ByeRefused
    | DialogEnded
    | RetryDue
    | RefreshDue
    | SessionExpired
    | MessageRefused
)
