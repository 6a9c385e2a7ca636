"""Test calls that an operator announced: one at a time, each for a while, and what recorders found of its client.

Knows hosts and findings; of the call itself only that one came. Findings are read strictly: counts and plain words.
"""

from __future__ import annotations

import ipaddress
import math
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from mitschnitt.errors import MalformedPacket, NotAllowed
from mitschnitt.keeper.permission import require_trial
from mitschnitt.wire.findings import Finding, findings_from_json

MAX_WAIT = timedelta(seconds=600)  # for a test call to begin: somebody dials while the command waits
MAX_CALL = timedelta(seconds=900)  # of a test call; what it shows is told at its end
KEPT_FOR = timedelta(seconds=600)  # how long findings can be asked for after the end
MAX_CALLER_CHARS = 128  # of the tester's address
TOKEN_BYTES = 8  # of a trial's name


@dataclass(slots=True)
class _Trial:
    host: str
    caller: str
    until: datetime  # in the state that it is in
    state: str = "awaited"  # -> running -> told; or over
    token: str = field(default_factory=lambda: secrets.token_hex(TOKEN_BYTES))
    recorder: int = 0  # that has the call
    findings: list[Finding] = field(default_factory=list)


class Trials:
    """See the module. `tell` reaches every recorder."""

    def __init__(self, tell: Callable[[Mapping[str, Any]], None]) -> None:
        self._tell = tell
        self._trial: _Trial | None = None

    def begin(self, role: str, *, host: str, caller: str, wait: timedelta, now: datetime) -> dict[str, Any]:
        """A test call will come from this host; its token. NotAllowed for other roles, or while one is under way."""
        require_trial(role)
        try:
            address = str(ipaddress.ip_address(host))
        except ValueError:
            raise MalformedPacket("the host of a test call must be an IP address") from None
        if len(caller) > MAX_CALLER_CHARS or wait > MAX_WAIT:
            raise MalformedPacket(f"a test call is awaited for at most {MAX_WAIT.seconds} s")
        self._expire(now)
        if self._trial is not None and self._trial.state in ("awaited", "running"):
            raise NotAllowed("trial.busy", "another test call is under way; there is one at a time")
        self._trial = _Trial(address, caller, now + wait)
        self._tell(self._watch(self._trial, now))
        return {"token": self._trial.token}

    def look(self, role: str, token: str, now: datetime) -> dict[str, Any]:
        """How far it is, and what was found. NotAllowed for other roles and other tokens."""
        require_trial(role)
        self._expire(now)
        trial = self._trial
        if trial is None or not secrets.compare_digest(token.encode(), trial.token.encode()):
            raise NotAllowed("trial.unknown", "there is no such test call of yours")
        return {
            "state": trial.state,
            "findings": [
                {"code": one.code, "severity": one.severity.value, "sentence": one.sentence, "todo": one.todo}
                for one in trial.findings
            ],
        }

    def stop(self, role: str, token: str, now: datetime) -> None:
        """Nobody waits for it any more."""
        self.look(role, token, now)
        if self._trial is not None:
            self._end(self._trial, now)

    def taken(self, recorder: int, token: str, now: datetime) -> None:
        """A recorder has the call; the others need not look for it."""
        trial = self._trial
        if trial is not None and trial.token == token and trial.state == "awaited":
            trial.state, trial.recorder, trial.until = "running", recorder, now + MAX_CALL
            self._tell(self._unwatch(trial))

    def expects(self, recorder: int, message: Mapping[str, Any]) -> bool:
        """Whether findings of this trial are still to come, from this recorder."""
        trial = self._trial
        running = trial is not None and (trial.state, trial.recorder) == ("running", recorder)
        return running and trial is not None and trial.token == message.get("token")

    def told(self, recorder: int, message: Mapping[str, Any], now: datetime) -> None:
        """What the recorder of the call found. MalformedPacket for what is no list of findings."""
        found = findings_from_json(message.get("findings"))
        if self._trial is not None and self.expects(recorder, message):
            trial = self._trial
            trial.state, trial.findings, trial.until = "told", found, now + KEPT_FOR

    def greeting(self, now: datetime) -> list[Mapping[str, Any]]:
        """What a recorder must hear that connects while a call is awaited."""
        self._expire(now)
        waits = self._trial is not None and self._trial.state == "awaited"
        return [self._watch(self._trial, now)] if self._trial is not None and waits else []

    def _expire(self, now: datetime) -> None:
        trial = self._trial
        if trial is not None and now >= trial.until:
            self._end(trial, now)

    def _end(self, trial: _Trial, now: datetime) -> None:
        if trial.state == "awaited":
            self._tell(self._unwatch(trial))
        if trial.state in ("awaited", "running"):
            trial.state, trial.until = "over", now + KEPT_FOR
        elif now >= trial.until:
            self._trial = None

    def _watch(self, trial: _Trial, now: datetime) -> dict[str, Any]:
        seconds = max(math.ceil((trial.until - now).total_seconds()), 0)
        told = {"type": "watch", "token": trial.token, "host": trial.host, "caller": trial.caller}
        return {**told, "seconds": seconds}

    def _unwatch(self, trial: _Trial) -> dict[str, Any]:
        return {"type": "watch", "token": trial.token, "host": "", "caller": "", "seconds": 0}
