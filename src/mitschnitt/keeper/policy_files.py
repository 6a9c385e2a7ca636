"""Policies on disk: each under the hash of its text, what roles signed beside it, and which one begins when.

Reads and writes files; what may be activated or is in force others decide. A text is never changed: its name would be
wrong, and whoever reads it says so.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from mitschnitt.core.criteria import compile_criteria
from mitschnitt.core.policy import SHA256_HEX, Policy
from mitschnitt.core.policy_life import (
    BEGINNING,
    MAX_ACTIVE_BYTES,
    Activation,
    Tenure,
    active_text,
    parse_active,
)
from mitschnitt.core.policy_text import MAX_POLICY_BYTES, parse_policy
from mitschnitt.core.toml_lines import lines_of
from mitschnitt.errors import ConfigError, NoSpace
from mitschnitt.keeper.kek import replace_file

MIN_PREFIX = 8  # hex digits by which a person may name a policy
FURTHEST_EAST = timedelta(hours=14)  # where days begin first (Pacific/Kiritimati)
MAX_POLICIES = 10_000  # files that are looked through for a prefix


class PolicyText(NamedTuple):
    """A policy and the text that it was read from."""

    policy: Policy
    text: bytes


def zone_of(policy: Policy) -> ZoneInfo:
    """The time zone in which the policy's days begin; ConfigError when this machine does not know it."""
    try:
        return ZoneInfo(policy.timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ConfigError(f"policy: this machine knows no time zone {policy.timezone!r}; install tzdata") from error


def sound_policy(text: bytes, *, file: str = "policy") -> PolicyText:
    """The policy of this text, if it reads, its criteria compile and its time zone exists; ConfigError if not."""
    found = PolicyText(parse_policy(text, file=file), text)
    refuse_unsound(found, file=file)
    return found


def refuse_unsound(found: PolicyText, *, file: str) -> None:
    """ConfigError says what of a policy that reads nobody could carry out, with file and line where there is one."""
    compile_criteria(found.policy, file=file, lines=lines_of(found.text.decode()))
    zone_of(found.policy)


def begin_of(policy: Policy, first: date | None) -> datetime:
    """Local midnight at which a day of the policy begins, in UTC; None is the beginning of time."""
    return BEGINNING if first is None else datetime.combine(first, time.min, zone_of(policy)).astimezone(UTC)


def earliest_begin(line: Activation) -> datetime:
    """Before this no day of this name begins anywhere: what can be said of a policy whose text was not read."""
    return BEGINNING if line.first is None else datetime.combine(line.first, time.min, UTC) - FURTHEST_EAST


def today_of(policy: Policy, now: datetime) -> date:
    """The day that it is now in the policy's time zone."""
    return now.astimezone(zone_of(policy)).date()


class PolicyFiles:
    """`DIR/policy`. Raises ConfigError for what cannot be read, NoSpace for what cannot be written."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "policy"

    def text_path(self, digest: str) -> Path:
        """Where a policy lies."""
        return self.directory / f"{digest}.toml"

    def signature_path(self, digest: str, role: str) -> Path:
        """Where a role's signature on it lies."""
        return self.directory / f"{digest}.{role}.json"

    @property
    def active_path(self) -> Path:
        """Which policy begins when."""
        return self.directory / "active"

    def read(self, digest: str) -> PolicyText:
        """The policy of this hash."""
        text = _read(self.text_path(digest), MAX_POLICY_BYTES)
        found = hashlib.sha256(text).hexdigest()
        if found != digest:
            raise ConfigError(
                f"policy: {digest[:8]}….toml was changed; its text has the hash {found[:8]}…; "
                "`mitschnitt policy propose FILE` with the text that was signed puts it back"
            )
        return PolicyText(parse_policy(text), text)

    def named(self, name: str) -> PolicyText:
        """The policy of this hash, or the only one whose hash begins so."""
        if SHA256_HEX.fullmatch(name):
            return self.read(name)
        if len(name) < MIN_PREFIX or not set(name) <= set("0123456789abcdef"):
            raise ConfigError(f"policy: a hash has 64 lower-case hex digits, its first {MIN_PREFIX} do; found {name!r}")
        found = [digest for digest in self.known() if digest.startswith(name)]
        if len(found) != 1:
            what = "no policy" if not found else f"{len(found)} policies"
            raise ConfigError(f"policy: {what} of {self.directory} begin with {name}")
        return self.read(found[0])

    def known(self) -> list[str]:
        """The hashes of all policies that lie here."""
        names = [path.stem for path in self.directory.glob("*.toml")] if self.directory.is_dir() else []
        return sorted(name for name in names if SHA256_HEX.fullmatch(name))[:MAX_POLICIES]

    def write(self, text: bytes) -> str:
        """Keep a policy's text under its hash; the hash. Nothing happens when it lies there already."""
        digest = hashlib.sha256(text).hexdigest()
        with contextlib.suppress(ConfigError):
            if self.read(digest).text == text:
                return digest
        self._replace(self.text_path(digest), text)
        return digest

    def activations(self) -> tuple[Activation, ...]:
        """The lines of `active`, oldest first; none where nothing was ever activated."""
        if not os.path.lexists(self.active_path):
            return ()
        return parse_active(_read(self.active_path, MAX_ACTIVE_BYTES))

    def activate(self, activations: Iterable[Activation]) -> None:
        """Write `active`; a crash leaves the old one or the new."""
        self._replace(self.active_path, active_text(activations))

    def write_signature(self, digest: str, role: str, data: bytes) -> None:
        """Keep a role's signed act."""
        self._replace(self.signature_path(digest, role), data)

    def tenure(self, activation: Activation) -> Tenure:
        """From when on an activated policy is in force."""
        return Tenure(activation.hash, begin_of(self.read(activation.hash).policy, activation.first))

    def _replace(self, path: Path, data: bytes) -> None:
        try:
            replace_file(path, data)
        except OSError as error:
            raise NoSpace(f"policy: cannot write {path}: {error.strerror}") from error


def _read(path: Path, most: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(most + 1)
    except OSError as error:
        raise ConfigError(f"policy: cannot read {path}: {error.strerror}") from error
