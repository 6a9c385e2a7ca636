"""Names, limits and base times of one user agent. Values only."""

from __future__ import annotations

from dataclasses import dataclass, field

from mitschnitt.wire.sip.message import Headers
from mitschnitt.wire.sip.session_timer import LEAST_SECONDS, TIMER_TAG
from mitschnitt.wire.sip.transaction import Durations

# Known but perhaps not allowed: 405; anything else: 501 (RFC 3261, 8.2.1 and 21.5.2).
METHODS = frozenset({"INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "UPDATE", "PRACK", "INFO"}) | frozenset(
    {"REGISTER", "SUBSCRIBE", "NOTIFY", "REFER", "MESSAGE", "PUBLISH"}
)

SRS_FEATURE = "+sip.srs"  # in every Contact of a recorder (RFC 7866, 6.2)
SRC_FEATURE = "+sip.src"  # in every Contact of a recording client (RFC 7866, 6.1)

BODY_TYPES = (
    "application/sdp",
    "application/rs-metadata+xml",
    "application/rs-metadata",  # as RFC 7866 spelled it before RFC 9806
    "multipart/mixed",
)


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """One user agent. `feature` makes it a recorder (SRS_FEATURE) or a recording client (SRC_FEATURE)."""

    host: str = "127.0.0.1"  # as peers reach us, for Contact and Via
    port: int = 5060
    user: str = ""  # user part of our Contact
    feature: str = SRS_FEATURE
    product: str = "mitschnitt"
    allow: tuple[str, ...] = ("INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "UPDATE", "INFO")
    understood: frozenset[str] = frozenset({"siprec", TIMER_TAG})  # option tags we take in Require
    body_types: tuple[str, ...] = BODY_TYPES
    durations: Durations = field(default_factory=Durations)
    max_dialogs: int = 10_000  # about 6 kB each; one recorder core carries 4,000 calls
    max_dialogs_per_source: int = 5_000  # from one address: one SBC may fill a core, not two
    max_half_open: int = 2_000  # sessions whose 200 waits for its ACK: each holds ports; 10 s of 200 calls/s
    max_half_open_per_source: int = 1_000  # so that one source cannot take the places of all others
    calls_per_second: int = 400  # new sessions, in the long run and at once: a core sets up about that many
    calls_per_second_per_source: int = 300  # so that one source in a loop leaves a quarter to the others
    max_transactions: int = 40_000  # 5 kB each; 200 calls/s leave 12,800, for each waits 32 s for copies
    session_expires_s: int = 600  # our session interval; a peer that died without a word is noticed a little earlier
    min_se_s: int = LEAST_SECONDS  # shorter intervals are refused with 422: each refresh costs two messages
    retry_after_s: int = 10  # told when full: SBCs fail over at once and come back after it
    retry_spread_s: int = 5  # up to so much more, so that those who were refused together do not come back together

    @property
    def accept(self) -> str:
        """The value of Accept."""
        return ", ".join(self.body_types)

    @property
    def allow_headers(self) -> Headers:
        """What a 405 says."""
        return Headers.of([("Allow", ", ".join(self.allow))])

    @property
    def capability_headers(self) -> Headers:
        """What every request and 2xx that makes or changes a session says."""
        return self.allow_headers.plus(("Supported", ", ".join(sorted(self.understood))))

    @property
    def options_headers(self) -> Headers:
        """What the 200 to OPTIONS says."""
        return self.capability_headers.plus(("Accept", self.accept))

    def retry_after(self, dice: float) -> tuple[str, str]:
        """The header of a 503; `dice` in [0, 1) spreads it."""
        return "Retry-After", str(self.retry_after_s + int(dice * (self.retry_spread_s + 1)))

    def takes(self, content_type: str) -> bool:
        """Whether a body of this type is read; no type at all is taken for SDP, as old clients mean it."""
        main = content_type.partition(";")[0].strip().lower()
        return not main or main in self.body_types or main.startswith("multipart/")
