"""The policy that a verb of `policy` is given: a file, or the hash of one that the directory holds. Changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mitschnitt.core.criteria import compile_criteria
from mitschnitt.core.policy import Policy
from mitschnitt.core.policy_text import MAX_POLICY_BYTES, parse_policy
from mitschnitt.core.toml_lines import lines_of
from mitschnitt.errors import ConfigError
from mitschnitt.keeper.policy_files import PolicyFiles, zone_of


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
    return sound_policy(data, file=str(path))


def sound_policy(data: bytes, *, file: str = "policy") -> PolicyFile:
    """The policy in a file's bytes, if it reads, its criteria compile and its time zone exists; ConfigError if not."""
    policy, text = parse_policy(data, file=file), data.decode()
    compile_criteria(policy, file=file, lines=lines_of(text))
    zone_of(policy)
    return PolicyFile(text, policy)
