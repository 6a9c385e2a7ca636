"""Which policy is in force at a moment, as files and signatures say; and policies by hash, for their calls.

Checks every signature whenever it is asked, not only when a policy was activated. Remembers what it read of texts
only, for their names prove them; holds no clock.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
from datetime import date, datetime
from pathlib import Path
from typing import NamedTuple

from mitschnitt.config import Config
from mitschnitt.core.decision import Decision, Verdict
from mitschnitt.core.policy import SHA256_HEX, Policy
from mitschnitt.core.policy_life import Activation, Tenure, in_force_at, is_signed, may_activate
from mitschnitt.errors import ConfigError, NotAllowed
from mitschnitt.keeper.policy_files import (
    PolicyFiles,
    PolicyText,
    begin_of,
    earliest_begin,
    refuse_unsound,
    today_of,
)
from mitschnitt.keeper.signatures import Signatures

MAX_REMEMBERED = 64  # texts of policies; calls of more than these run at no time
SENTENCES = {
    "policy.signature.missing": "has not signed it",
    "policy.signature.late": "signed it only after it began",
    "policy.signature.future": "signed it at a time that has not come yet",
}


class Named(NamedTuple):
    """A policy that `active` names. `fault`: what is wrong with its text; it may then begin later than it says here."""

    tenure: Tenure
    fault: str = ""


class Policies:
    """See the module. `allow_unsigned` is the switch for trials: no signature is asked for."""

    def __init__(self, directory: Path, *, allow_unsigned: bool = False) -> None:
        self.files = PolicyFiles(directory)
        self.signatures = Signatures(directory)
        self.allow_unsigned = allow_unsigned
        self._known: dict[str, Policy] = {}
        self._sound: set[str] = set()  # which of them compile; asked for each day ahead, once a second
        self._lock = threading.Lock()

    @classmethod
    def of(cls, config: Config) -> Policies:
        """Those of a site, with the switch that stands in its configuration."""
        return cls(config.directory, allow_unsigned=config.gate.allow_unsigned_policy)

    def tenure_at(self, now: datetime) -> Tenure | None:
        """Which policy `active` names for this moment, unchecked; None before the first begins.

        ConfigError when that hangs on a text that is gone or was changed.
        """
        found = self.named_at(now)
        if found is not None and found.fault:
            raise ConfigError(found.fault)
        return None if found is None else found.tenure

    def named_at(self, now: datetime) -> Named | None:
        """The same, whether or not its text can be read: one that cannot be may have begun."""
        # From the newest on: texts of policies that ended long ago need not be there.
        named = (self._named(line) for line in reversed(self.files.activations()))
        return next((item for item in named if in_force_at([item.tenure], now) is not None), None)

    def coming(self, now: datetime) -> tuple[Named, ...]:
        """What was activated after the policy that is in force at this moment and is still to begin, newest first."""
        named = (self._named(line) for line in reversed(self.files.activations()))
        return tuple(itertools.takewhile(lambda item: item.tenure.begins > now, named))

    def _named(self, line: Activation) -> Named:
        try:
            policy = self.files.read(line.hash).policy
            tenure = Tenure(line.hash, begin_of(policy, line.first))
        except ConfigError as error:
            # What was read once tells its time zone still; without it the day may begin where days begin first.
            known, begins = self._known.get(line.hash), earliest_begin(line)
            with contextlib.suppress(ConfigError):
                begins = begins if known is None else begin_of(known, line.first)
            return Named(Tenure(line.hash, begins), str(error))
        self._remember(policy)
        return Named(tenure)

    def in_force(self, now: datetime) -> PolicyText:
        """The policy that is in force at this moment, and its text.

        NotAllowed with `policy.none` where none is, and with `policy.signature*` when a signature is missing, late
        or does not check; ConfigError when a file is missing or was changed.
        """
        tenure = self.tenure_at(now)
        if tenure is None:
            raise NotAllowed("policy.none", "no policy is in force")
        return self.checked(tenure, now)

    def checked(self, tenure: Tenure, now: datetime) -> PolicyText:
        """The policy of this tenure, if it may be in force; raises as `in_force`."""
        found = self.sound(tenure.hash)
        self._remember(found.policy)
        if not self.allow_unsigned:
            refuse_unsigned(found.policy, self._signed(found.policy, tenure.begins, now))
        return found

    def sound(self, digest: str) -> PolicyText:
        """The policy of this hash, if it can be carried out; ConfigError says why not."""
        found = self.files.read(digest)
        refuse_unsound(found, file=str(self.files.text_path(digest)))
        return found

    def on(self, day: date) -> Policy | None:
        """The policy that is to be in force on a day of its own time zone, as it stands now; None where none is.

        ConfigError, as `in_force`, for one that cannot be carried out: what never comes into force opens no day.
        """
        for line in reversed(self.files.activations()):
            if line.first is None or line.first <= day:
                return self._carried_out(line.hash)
        return None

    def _carried_out(self, digest: str) -> Policy:
        if digest in self._sound and digest in self._known:
            return self._known[digest]
        policy = self.sound(digest).policy
        self._remember(policy)
        with self._lock:
            self._sound = {*(self._sound & self._known.keys()), digest}
        return policy

    def get(self, digest: str) -> Policy:
        """The policy of this hash, whether in force, over or to come; ConfigError when it is not here."""
        known = self._known.get(digest)
        if known is None and not SHA256_HEX.fullmatch(digest):
            raise ConfigError(f"policy: a hash has 64 lower-case hex digits, found {digest[:80]!r}")
        if known is None:
            known = self.files.read(digest).policy
            self._remember(known)
        return known

    def _remember(self, policy: Policy) -> None:
        with self._lock:  # each recorder's journal is applied in a thread of its own
            self._known.pop(policy.hash, None)
            self._known[policy.hash] = policy
            while len(self._known) > MAX_REMEMBERED:
                del self._known[next(iter(self._known))]

    def activate(self, policy: Policy, first: date | None, *, now: datetime) -> Activation:
        """Let a policy be in force from a day on; nothing is changed when refused, as `may_be_activated` refuses."""
        line = self.may_be_activated(policy, first, now=now)
        lines = self.files.activations()
        if not lines or lines[-1] != line:
            self.files.activate((*lines, line))
        return line

    def may_be_activated(self, policy: Policy, first: date | None, *, now: datetime) -> Activation:
        """The line that `activate` would write for this first day, tomorrow unless another is named. Writes nothing.

        NotAllowed with `policy.day.*` for a day that has begun or is too far, and as `in_force` about signatures;
        ConfigError for a policy that cannot be carried out.
        """
        self.sound(policy.hash)
        today = today_of(policy, now)
        day = first if first is not None else date.fromordinal(today.toordinal() + 1)
        decision = may_activate(day, today)
        if decision.verdict is not Verdict.OPEN:
            raise NotAllowed(decision.rule, f"a policy begins on a later day than today ({today}), found {day}")
        refuse_unsigned(policy, self._signed(policy, begin_of(policy, day), now))
        return Activation(policy.hash, day)

    def _signed(self, policy: Policy, begins: datetime, now: datetime) -> Decision:
        return is_signed(policy.hash, policy.signed_by, self.signatures.all_of(policy), begins=begins, now=now)


def refuse_unsigned(policy: Policy, decision: Decision) -> None:
    """NotAllowed with the rule of a decision that does not open."""
    if decision.verdict is not Verdict.OPEN:
        who = decision.party or "nobody"
        raise NotAllowed(decision.rule, f"policy {policy.hash[:8]}…: {who} {SENTENCES[decision.rule]}")
