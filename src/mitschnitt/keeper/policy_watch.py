"""The policy of a running keeper: it changes when a signed one begins, and at no other moment.

What is wrong on disk never puts another policy in force, nor the old one out of the calls that run by it: the policy in
memory stays, and `closed` says by which rule nobody new is asked. Decides nothing about a call.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

from mitschnitt.config import Config
from mitschnitt.core.decision import Verdict
from mitschnitt.core.policy_life import BEGINNING, Served, Tenure, may_follow, parse_served, served_text
from mitschnitt.errors import ConfigError, NotAllowed
from mitschnitt.keeper.kek import replace_file
from mitschnitt.keeper.next_step import next_step
from mitschnitt.keeper.policies import Named, Policies
from mitschnitt.keeper.policy_files import PolicyText
from mitschnitt.keeper.role_keys import public_path
from mitschnitt.keeper.time_watch import TimeWatch

LOOK_EVERY = timedelta(seconds=1)  # between two looks at the files
NOTE_EVERY = timedelta(hours=1)  # how old the note may be; policies begin at midnights, so none is missed within it
MAX_SERVED_BYTES = 200  # hash and time
Stamp = tuple[int, int, int] | None

# What the log says of each rule that closes; fixed sentences, for the log takes no others.
CLOCK = "the clock is not to be trusted: no policy changes, and nobody new is asked until it is right"
SAYS = {
    "policy.none": "no policy is in force: nobody is asked before one is",
    "policy.changed": "another policy was put in the place of the one in force: nobody new is asked, calls keep theirs",
    "policy.broken": "the text of the policy to be in force is gone, cannot be carried out, or has not the hash by "
    "which its file is named: nobody new is asked",
}
ACTIVE = "`policy/active` cannot be read, or has a line that is no hash with a day: nobody new is asked"
COMING = (
    "the text of a policy to come is gone, or has not the hash by which its file is named: nobody is asked from its "
    "day on, unless `policy propose` puts back what was signed"
)
UNSIGNED = "a signature of the policy in force is gone or no longer checks: nobody new is asked, calls keep theirs"

log = logging.getLogger("mitschnitt.keeper")


class PolicyWatch:
    """`clock` says whether a wall time is to be trusted with days.

    ConfigError when there is nothing to start with: no policy, one that is not signed, or one that was put in the place
    of another while it was in force.
    """

    def __init__(self, policies: Policies, directory: Path, *, now: datetime, clock: TimeWatch) -> None:
        self.policies = policies
        self._directory = directory
        self.clock = clock
        self._looked_at = now
        self._noted_at: datetime | None = None
        self._stamps: list[Stamp] = []
        self._next: datetime | None = None  # when the next policy begins
        self._coming_texts: list[Path] = []
        self._culprit = ""  # hash of the policy that is broken, "" where `active` is
        self._broken: set[str] = set()  # policies to come that the log was told of
        self.closed = ""  # the rule by which nobody new is asked, "" while a policy is in force as it must be
        self.current: PolicyText
        self._served: Served  # what was in order last
        self._start(now)
        self._mark(now)

    # -- the start -------------------------------------------------------------------------------

    def _start(self, now: datetime) -> None:
        served = None if self.policies.allow_unsigned else read_served(self._directory)
        tenure = self.policies.tenure_at(now)
        rule = self.clock.look(now)
        if rule:
            # By a wrong clock no other policy comes into force than the one that was when the clock was right.
            first = tenure or self._first(now)
            self._hold(first.hash if served is None else served.hash, rule)
            self._served = served or Served(first.hash, BEGINNING)
        elif tenure is None:
            first = self._first(now)
            self._hold(first.hash, "policy.none")
            self._served = Served(first.hash, now)
        else:
            self._take_up(served or Served(tenure.hash, now), tenure, now)

    def _take_up(self, served: Served, tenure: Tenure, now: datetime) -> None:
        if may_follow(served, tenure).verdict is not Verdict.OPEN:
            raise ConfigError(
                f"policy: {served.hash[:8]}… was in force when this site was served last, and {tenure.hash[:8]}… took "
                "its place within the period; put `active` back, and activate the other for a later day"
            )
        try:
            self.current = self.policies.checked(tenure, now)
        except NotAllowed as error:
            raise ConfigError(f"{error}; {next_step(self.policies, self._directory, now=now)}") from error
        self._served = Served(tenure.hash, now)

    def _first(self, now: datetime) -> Tenure:
        """The policy that begins next. ConfigError when none ever will."""
        coming = self._coming(now)
        if coming is None:
            raise ConfigError(f"policy: none is active; {next_step(self.policies, self._directory, now=now)}")
        return coming

    def _hold(self, digest: str, rule: str) -> None:
        self.current, self.closed = self.policies.sound(digest), rule

    def _coming(self, now: datetime) -> Tenure | None:
        later = [coming.tenure for coming in self.policies.coming(now)]
        return min(later, key=lambda tenure: tenure.begins, default=None)

    def say(self) -> None:
        """Tell the log how it stands."""
        if self.closed == "policy.broken":
            self._say_broken()
        elif self.closed:
            log.error(CLOCK if self.closed.startswith("clock.") else SAYS.get(self.closed, UNSIGNED))
        else:
            log.info("the policy is in force", extra={"policy": self.current.policy.hash[:8]})

    def _say_broken(self) -> None:
        """Which file it is: `active`, or a text, whose name begins with these digits."""
        if self._culprit:
            log.error(SAYS["policy.broken"], extra={"policy": self._culprit[:8]})
        else:
            log.error(ACTIVE)

    # -- while it runs ---------------------------------------------------------------------------

    def look(self, now: datetime) -> bool:
        """Whether policy or `closed` are others than before. Cheap: most looks compare times of files."""
        rule = self.clock.look(now)
        if rule:
            return self._close(rule)
        due = self._next is not None and now >= self._next
        if not due and abs(now - self._looked_at) < LOOK_EVERY and not self.closed.startswith("clock."):
            return False
        self._looked_at = now
        if not due and not self.closed and self._stamped() == self._stamps:
            self._served = Served(self.current.policy.hash, now)
            self._note(now)
            return False
        return self._read(now)

    def _read(self, now: datetime) -> bool:
        try:
            tenure = self.policies.tenure_at(now)
            if tenure is None:
                raise NotAllowed("policy.none", "no policy is in force")
            decision = may_follow(self._served, tenure)
            if decision.verdict is not Verdict.OPEN and not self.policies.allow_unsigned:
                raise NotAllowed(decision.rule, "another policy was put in the place of the one that is in force")
            found = self.policies.checked(tenure, now)
        except NotAllowed as error:
            return self._close(error.rule)
        except ConfigError:
            self._culprit = self._named(now)
            return self._close("policy.broken")
        finally:
            self._mark(now)
        news = bool(self.closed) or found.policy.hash != self.current.policy.hash
        if found.policy.hash != self.current.policy.hash:
            log.info("another policy is in force", extra={"policy": found.policy.hash[:8]})
        if self.closed:
            log.warning("the policy is in force as it must be; people are asked again")
        self.current, self.closed = found, ""
        self._served, self._noted_at = Served(tenure.hash, now), None
        self._note(now)
        return news

    def _named(self, now: datetime) -> str:
        with contextlib.suppress(ConfigError):
            named = self.policies.named_at(now)
            return "" if named is None else named.tenure.hash
        return ""

    def _close(self, rule: str) -> bool:
        before, self.closed = self.closed, rule
        if before != rule:
            self.say()
        return before != rule

    # -- files -----------------------------------------------------------------------------------

    def _mark(self, now: datetime) -> None:
        """Remember how the files look, and when the next policy begins; say which of those to come are broken."""
        coming: tuple[Named, ...] = ()
        with contextlib.suppress(ConfigError):  # `active` itself, of which whoever reads it says so
            coming = self.policies.coming(now)
        self._coming_texts = [self.policies.files.text_path(item.tenure.hash) for item in coming]
        self._stamps = self._stamped()
        self._next = min((item.tenure.begins for item in coming), default=None)
        broken = {item.tenure.hash for item in coming if item.fault}
        for digest in sorted(broken - self._broken):
            log.error(COMING, extra={"policy": digest[:8]})
        self._broken = broken

    def _stamped(self) -> list[Stamp]:
        return [_stamp(path) for path in self._concerned()]

    def _concerned(self) -> Iterator[Path]:
        files, policy = self.policies.files, self.current.policy
        yield files.active_path
        yield files.text_path(policy.hash)
        yield from self._coming_texts
        for role in policy.signed_by:
            yield files.signature_path(policy.hash, role)
            yield public_path(self._directory, role)

    def _note(self, now: datetime) -> None:
        if self.closed or self.policies.allow_unsigned:
            return
        if self._noted_at is not None and abs(now - self._noted_at) < NOTE_EVERY:
            return
        try:
            replace_file(_served_path(self._directory), served_text(self._served))
        except OSError as error:
            log.warning("it could not be noted which policy is in force", extra={"errno": error.errno})
        self._noted_at = now


def _served_path(directory: Path) -> Path:
    return directory / "policy" / "served"


def read_served(directory: Path) -> Served | None:
    """By which policy this site was served last, and when; None when it never was. ConfigError for a broken note."""
    path = _served_path(directory)
    if not os.path.lexists(path):
        return None
    try:
        with path.open("rb") as file:
            return parse_served(file.read(MAX_SERVED_BYTES))
    except OSError as error:
        raise ConfigError(f"policy: cannot read {path}: {error.strerror}") from error


def watch_of(config: Config, *, now: datetime, monotonic: Callable[[], float]) -> PolicyWatch:
    """A site's policy, by a clock that is held against the time at which it was served last."""
    served = read_served(config.directory)
    clock = TimeWatch(None if served is None else served.at, monotonic)
    return PolicyWatch(Policies.of(config), config.directory, now=now, clock=clock)


def _stamp(path: Path) -> Stamp:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
