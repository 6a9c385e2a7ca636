"""The policy that a verb of `policy` is given: a file, or the hash of one that the directory holds. Changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mitschnitt.core.policy import Policy
from mitschnitt.core.policy_text import MAX_POLICY_BYTES
from mitschnitt.errors import ConfigError
from mitschnitt.keeper.policy_files import PolicyFiles, sound_policy


@dataclass(frozen=True, slots=True)
class PolicyFile:
    """A policy that reads, compiles and names a time zone that this machine knows."""

    text: str
    policy: Policy


def read_policy(name: str, directory: Path) -> PolicyFile:
    """The policy of this name; ConfigError says what is wrong with it, with file and line where there is one."""
    path = Path(name)
    if not path.exists() and set(name) <= set("0123456789abcdef"):
        path = PolicyFiles(directory).text_path(PolicyFiles(directory).named(name).policy.hash)
    try:
        with path.open("rb") as source:
            data = source.read(MAX_POLICY_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"policy: cannot read {path}: {error.strerror}") from error
    found = sound_policy(data, file=str(path))
    return PolicyFile(found.text.decode(), found.policy)
