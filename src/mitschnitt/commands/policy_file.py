"""The policy that a verb of `policy` is given: a file, or the hash of one that the directory holds. Changes nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from mitschnitt.core.criteria import compile_criteria
from mitschnitt.core.policy import Policy
from mitschnitt.core.policy_text import parse_policy
from mitschnitt.core.toml_lines import lines_of
from mitschnitt.errors import ConfigError

HASH = re.compile(r"[0-9a-f]{8,64}")  # whole, or the beginning that we print


@dataclass(frozen=True, slots=True)
class PolicyFile:
    """A policy that reads, compiles and names a time zone that exists."""

    name: str  # as it was asked for
    text: str
    policy: Policy


def read_policy(name: str, directory: Path) -> PolicyFile:
    """The policy of this name; ConfigError says what is wrong with it, with file and line where there is one."""
    path = _path(name, directory)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"policy: cannot read {path}: {error.strerror}") from error
    policy = parse_policy(data, file=str(path))
    text = data.decode()
    compile_criteria(policy, file=str(path), lines=lines_of(text))
    try:
        ZoneInfo(policy.timezone)
    except (ZoneInfoNotFoundError, OSError, ValueError) as error:
        raise ConfigError(
            f"{path}: `timezone` must be one that this machine knows, such as Europe/Berlin; found {policy.timezone}"
        ) from error
    return PolicyFile(name, text, policy)


def _path(name: str, directory: Path) -> Path:
    path = Path(name)
    if path.exists() or not HASH.fullmatch(name):
        return path
    found = sorted((directory / "policy").glob(f"{name}*.toml"))
    if len(found) != 1:
        raise ConfigError(
            f"policy: expected a file or the hash of one policy in {directory}, found {len(found)} of {name}"
        )
    return found[0]
