"""The life of a policy: proposed, signed by all that it names, activated for a later day, in force from its begin.

Decides on facts; reads no file, clock or signature. `policy/active` is lines of hash and first day, the newest last.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from mitschnitt.core.decision import Decision, Verdict
from mitschnitt.core.policy import SHA256_HEX
from mitschnitt.errors import ConfigError

MAX_ACTIVATIONS = 10_000  # a change a day for 27 years
MAX_ACTIVE_BYTES = 100 * MAX_ACTIVATIONS  # a line has 76
MAX_AHEAD = timedelta(days=366)  # further ahead is a slip of the pen: nobody signs for the year after next
MAX_SIGNED_AHEAD = timedelta(minutes=5)  # clocks of two machines differ; a signature from further ahead is none yet
DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
BEGINNING = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Activation:
    """One line of `policy/active`. Without a day it holds from the beginning, which only a trial may."""

    hash: str
    first: date | None


@dataclass(frozen=True, slots=True)
class Signature:
    """That a role signed a policy, by a signature that was checked against the enrolled key."""

    role: str
    policy: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Tenure:
    """A policy's hash with the moment from which it is in force, until a later one begins."""

    hash: str
    begins: datetime


@dataclass(frozen=True, slots=True)
class Served:
    """That the keeper served by this policy at this time, when nothing was wrong with policy or clock."""

    hash: str
    at: datetime


def parse_active(data: bytes) -> tuple[Activation, ...]:
    """The lines of `policy/active`, oldest first; ConfigError names the line that is none."""
    if len(data) > MAX_ACTIVE_BYTES:
        raise ConfigError(f"policy: `active` has {len(data)} bytes, at most {MAX_ACTIVE_BYTES} are read")
    lines = data.decode("ascii", errors="replace").splitlines()
    return tuple(_activation(number, line) for number, line in enumerate(lines, 1))


def _activation(number: int, line: str) -> Activation:
    digest, *more = line.split(" ")
    where = f"policy: `active`, line {number}"
    if not SHA256_HEX.fullmatch(digest) or len(more) > 1:
        raise ConfigError(f"{where} must hold 64 lower-case hex digits and a day, found {line[:80]!r}")
    if not more:
        return Activation(digest, None)
    try:
        if not DAY.fullmatch(more[0]):
            raise ValueError("no day")
        return Activation(digest, date.fromisoformat(more[0]))
    except ValueError as error:
        raise ConfigError(f"{where}: expected a day such as 2026-11-26, found {more[0][:40]!r}") from error


def active_text(activations: Iterable[Activation]) -> bytes:
    """The inverse of `parse_active`."""
    lines = (item.hash if item.first is None else f"{item.hash} {item.first}" for item in activations)
    return "".join(f"{line}\n" for line in lines).encode()


def in_force_at(tenures: Sequence[Tenure], now: datetime) -> Tenure | None:
    """The newest of these that has begun; they are in the order in which they were activated.

    So whoever activates anew takes back what was to come, from that day on; what has begun nobody takes back.
    """
    return next((tenure for tenure in reversed(tenures) if tenure.begins <= now), None)


def may_activate(first: date, today: date) -> Decision:
    """Whether a policy may be activated today for this first day; both are local to the policy's time zone.

    Never for a period that has begun (section 87(1) no. 6 BetrVG: agreed before it is done, not after).
    """
    if first <= today:
        return Decision(Verdict.REFUSE, "policy.day.begun")
    if first - today > MAX_AHEAD:
        return Decision(Verdict.REFUSE, "policy.day.far")
    return Decision(Verdict.OPEN, "policy.day.later")


def is_signed(
    policy: str, signed_by: Iterable[str], signatures: Iterable[Signature], *, begins: datetime, now: datetime
) -> Decision:
    """Whether all whom the policy names signed it, each before it begins. Nobody named is nobody signed."""
    known = {item.role: item for item in signatures if item.policy == policy}
    needed = tuple(signed_by)
    for role in needed:
        signature = known.get(role)
        if signature is None:
            return Decision(Verdict.REFUSE, "policy.signature.missing", role)
        if signature.at > now + MAX_SIGNED_AHEAD:
            return Decision(Verdict.REFUSE, "policy.signature.future", role)
        if signature.at >= begins:
            return Decision(Verdict.REFUSE, "policy.signature.late", role)
    if not needed:
        return Decision(Verdict.REFUSE, "policy.signature.missing")
    return Decision(Verdict.OPEN, "policy.signed")


def may_follow(served: Served, found: Tenure) -> Decision:
    """Whether `found`, that the files say is in force, may follow what was served.

    Only what has begun since: anything else was written into a period that had begun.
    """
    if found.hash == served.hash or found.begins > served.at:
        return Decision(Verdict.OPEN, "policy.in_force")
    return Decision(Verdict.REFUSE, "policy.changed")


def parse_served(data: bytes) -> Served:
    """What `served_text` wrote; ConfigError for anything else."""
    try:
        digest, told = data.decode("ascii").removesuffix("\n").split(" ")
        at = datetime.fromisoformat(told)
    except ValueError as error:
        raise ConfigError("policy: `served` must hold a hash and a time") from error
    if not SHA256_HEX.fullmatch(digest) or at.tzinfo is None:
        raise ConfigError("policy: `served` must hold 64 lower-case hex digits and a time with its zone")
    return Served(digest, at)


def served_text(served: Served) -> bytes:
    """One line: hash and time."""
    return f"{served.hash} {served.at.astimezone(UTC).isoformat()}\n".encode()
