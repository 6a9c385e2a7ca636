"""A test call that an operator announced: what its client does is noted, and told to the keeper in findings.

The gate knows nothing of it. What a client does when we ask it for something shows that we asked, so it is told of
one call only: whose metadata names the caller that the operator gave, that is, the tester. Of any other call from
that host only what its INVITE says is told, after a fixed time, whatever became of the call meanwhile.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Protocol

from mitschnitt.errors import PeerError
from mitschnitt.recorder.parties import user_of
from mitschnitt.wire.findings import Finding, findings_to_json
from mitschnitt.wire.sdp import Description, parse_sdp
from mitschnitt.wire.session_findings import Behaviour, announced, behaved, offered_events
from mitschnitt.wire.sip import events as sip
from mitschnitt.wire.sip.message import Request, Response
from mitschnitt.wire.sip.recording import read_body
from mitschnitt.wire.siprec import Metadata
from mitschnitt.wire.siprec_xml import read_metadata

TOLD_AFTER_SECONDS = 5.0  # of a call that is not the tester's: before anybody could have answered a question
MAX_WAIT_SECONDS = 600.0  # for a test call to begin
MAX_NOTED = 8  # different refusals, and different methods that were not answered, of one session
ORDINARY_STATUSES = (401, 407, 408, 481, 487, 491)  # of a dialog that lives or ends as the standard has it: no refusal

log = logging.getLogger("mitschnitt.recorder")


class Watched(Protocol):
    """What a trial asks of the session that it watches."""

    call: str

    @property
    def agents(self) -> str:
        """What the directory makes of the line: known, none, ambiguous, or "" when that is not known yet."""

    def behaviour(self) -> Behaviour:
        """What can be counted of it now."""


class Branched(Protocol):
    """A dialog; the session that it belongs to may become another one's."""

    @property
    def session(self) -> Watched:
        """As it is now."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Whose call is awaited."""

    token: str
    host: str
    caller: str  # user part of the tester's address, "" when none was given
    until: float  # on the loop's clock: also without a keeper nobody waits for ever


@dataclass(slots=True)
class _Trial:
    """The one session that is watched."""

    dialog: str
    token: str
    request: Request
    arrived: datetime
    watched: Branched
    is_testers: bool
    description: Description | None
    told_at: asyncio.TimerHandle | None = None
    acknowledged: bool = False
    refused: list[tuple[str, int]] = field(default_factory=list)
    unanswered: list[str] = field(default_factory=list)
    same_version: int = 0
    broken_contact: bool = False


class Trials:
    """At most one trial of a recorder. `send` takes a frame to the keeper."""

    def __init__(self, send: Callable[[Mapping[str, Any]], object]) -> None:
        self._send = send
        self._wanted: Wanted | None = None
        self._running: _Trial | None = None

    def watch(self, message: Mapping[str, Any]) -> None:
        """A `watch` frame: the next fitting session is the test call; one with an empty host ends the waiting."""
        until = asyncio.get_running_loop().time() + min(float(message["seconds"]), MAX_WAIT_SECONDS)
        wanted = Wanted(str(message["token"]), str(message["host"]), user_of(str(message["caller"])), until)
        self._wanted = wanted if wanted.host else None

    def began(self, event: sip.InviteReceived, watched: Branched, arrived: datetime) -> None:
        """A session began; it may be the one."""
        _unharmed(self._began, event, watched, arrived)

    def turned_away(self, event: sip.InviteReceived, arrived: datetime) -> None:
        """No session came of an INVITE; what it said is why, and is told at once."""
        _unharmed(self._turned_away, event, arrived)

    def saw(self, event: sip.SipEvent) -> None:
        """An event of any dialog; those of the tester's are noted."""
        _unharmed(self._saw, event)

    def over(self, dialog: str) -> None:
        """The session is about to end; its lines still stand."""
        _unharmed(self._over, dialog)

    def _began(self, event: sip.InviteReceived, watched: Branched, arrived: datetime) -> None:
        wanted = self._taken(event)
        if wanted is None:
            return
        is_testers = bool(wanted.caller) and wanted.caller in _callers(event.request)
        trial = _Trial(
            event.dialog, wanted.token, event.request, arrived, watched, is_testers, _description(event.request)
        )
        self._running = trial
        if not is_testers:
            trial.told_at = asyncio.get_running_loop().call_later(TOLD_AFTER_SECONDS, self._tell_announced, trial)

    def _turned_away(self, event: sip.InviteReceived, arrived: datetime) -> None:
        wanted = self._taken(event)
        if wanted is not None:
            found = [Finding("invite.refused"), *announced(event.request, arrived=arrived, agents="")]
            self._report(wanted.token, "", found)

    def _taken(self, event: sip.InviteReceived) -> Wanted | None:
        """Whose trial this INVITE is; None when it is nobody's. From then on no other is awaited."""
        wanted = self._wanted
        if wanted is None or asyncio.get_running_loop().time() >= wanted.until:
            return None
        callers = _callers(event.request)
        if not _same_host(wanted.host, event.source.host):
            return None
        if wanted.caller and callers and wanted.caller not in callers:
            return None  # somebody else's call
        self._wanted = None
        self._send({"type": "watched", "token": wanted.token})
        return wanted

    def _saw(self, event: sip.SipEvent) -> None:
        trial = self._running
        if trial is None or not trial.is_testers or getattr(event, "dialog", None) != trial.dialog:
            return
        if isinstance(event, sip.AckReceived):
            trial.acknowledged = True
        elif isinstance(event, sip.ResponseReceived):
            self._answered(trial, event.method, event.response)
        elif isinstance(event, sip.TransactionTimedOut):
            if event.method not in trial.unanswered and len(trial.unanswered) < MAX_NOTED:
                trial.unanswered.append(event.method)
        elif isinstance(event, sip.ReinviteReceived | sip.UpdateReceived):
            self._changed(trial, event.request)

    def _over(self, dialog: str) -> None:
        trial = self._running
        if trial is None or trial.dialog != dialog or not trial.is_testers:
            return
        found = self._announced(trial)
        told = replace(
            trial.watched.session.behaviour(),
            acknowledged=trial.acknowledged,
            refused=tuple(trial.refused),
            unanswered=tuple(trial.unanswered),
            same_version=trial.same_version,
            broken_contact=trial.broken_contact,
        )
        self._tell(trial, [*found, *behaved(told, offered_events(trial.request))])

    def _answered(self, trial: _Trial, method: str, response: Response) -> None:
        status = response.status
        if status >= 300 and status not in ORDINARY_STATUSES:
            if (method, status) not in trial.refused and len(trial.refused) < MAX_NOTED:
                trial.refused.append((method, status))
        elif 200 <= status < 300 and response.headers.get("Contact") is not None and response.contact is None:
            trial.broken_contact = True

    def _changed(self, trial: _Trial, request: Request) -> None:
        before, now = trial.description, _description(request)
        if now is None:
            return
        if before is not None and before.lines != now.lines and before.origin.version == now.origin.version:
            trial.same_version += 1
        trial.description = now

    def _announced(self, trial: _Trial) -> list[Finding]:
        return announced(trial.request, arrived=trial.arrived, agents=trial.watched.session.agents)

    def _tell_announced(self, trial: _Trial) -> None:
        self._tell(trial, self._announced(trial))

    def _tell(self, trial: _Trial, found: list[Finding]) -> None:
        self._running = None
        # The keeper writes down that this call was looked at, which is only so of the tester's.
        self._report(trial.token, trial.watched.session.call if trial.is_testers else "", found)

    def _report(self, token: str, call: str, found: list[Finding]) -> None:
        self._send({"type": "findings", "token": token, "call": call, "findings": findings_to_json(found)})


def _unharmed(work: Callable[..., None], *arguments: object) -> None:
    """Whatever goes wrong in here, the call that is watched goes on, and ends, as any other."""
    try:
        work(*arguments)
    except Exception:  # noqa: BLE001 - see above
        log.exception("a test call could not be judged")


def _callers(request: Request) -> frozenset[str]:
    """The users whom the metadata of an INVITE names; empty when it names nobody."""
    try:
        body = read_body(request)
    except PeerError:
        return frozenset()
    metadata = None if body.metadata is None else read_metadata(body.metadata, charset=body.charset)
    people = metadata.participants.values() if isinstance(metadata, Metadata) else ()
    return frozenset(user for who in people if (user := user_of(who.aor)))


def _description(request: Request) -> Description | None:
    try:
        sdp = read_body(request).sdp
        return None if sdp is None else parse_sdp(sdp)
    except PeerError:
        return None


def _same_host(one: str, other: str) -> bool:
    try:
        return ipaddress.ip_address(one) == ipaddress.ip_address(other)
    except ValueError:
        return False
