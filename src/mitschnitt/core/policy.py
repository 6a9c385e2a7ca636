"""The published policy: which purpose, who is asked how, for how long it is kept. One TOML file, named by its hash.

Reads text, decides nothing about a single call. An unknown key is an error: a typing mistake must not open a gate.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

from mitschnitt.core.purpose import Purpose
from mitschnitt.errors import ConfigError

MAX_POLICY_BYTES = 256 * 1024  # far above any policy that a person can read
MAX_WINDOW = timedelta(seconds=12)  # an answer later than this is no answer to the question
SHA256_HEX = re.compile(r"[0-9a-f]{64}")
SEQUENCE = re.compile(r"\*[0-9]{1,3}")  # never a single digit: those are answers
DURATION_DAYS = re.compile(r"P([0-9]{1,4})D")

KNOWN_KEYS: Mapping[str, frozenset[str]] = {
    "": frozenset({"name", "language", "purpose", "asking", "prompt"}),
    "purpose": frozenset({"id", "rate", "retention"}),
    "asking": frozenset({"mode", "window_s", "yes", "no", "withdraw", "pause"}),
    "prompt": frozenset({"name", "language", "sha256", "length_ms"}),
}


class Asking(StrEnum):
    """Who tells us that the question was asked."""

    ANNOUNCED = "announced"  # the IVR posts call, prompt and end of prompt
    ASSERTED = "asserted"  # the policy asserts prompt and window; the receipt says so


@dataclass(frozen=True, slots=True)
class Prompt:
    """One recorded question; `sha256` is that of its audio file."""

    name: str
    language: str
    sha256: str
    length_ms: int


@dataclass(frozen=True, slots=True)
class Policy:
    """What applies to every call of its period; calls keep its `hash` (SHA-256 of the file, hex)."""

    hash: str
    name: str
    language: str
    purpose: Purpose
    rate: float  # share of calls that are drawn, 0..1
    retention: timedelta
    asking: Asking
    window: timedelta
    yes: str
    no: str
    withdraw: str
    pause: str
    prompts: tuple[Prompt, ...]

    def knows_prompt(self, name: str, sha256: str, length_ms: int) -> bool:
        """Whether exactly this prompt, whole, is one of ours: a shorter stand-in is none."""
        return any(
            prompt.name == name and prompt.sha256 == sha256 and prompt.length_ms <= length_ms + SLACK_MS
            for prompt in self.prompts
        )

    def prompt_for(self, language: str) -> Prompt:
        """The prompt in this language, or in the policy's own."""
        by_language = {prompt.language: prompt for prompt in self.prompts}
        return by_language.get(language, by_language.get(self.language, self.prompts[0]))


SLACK_MS = 40  # two packets: what an IVR's own rounding of a prompt's length may differ


def _check_keys(table: Mapping[str, Any], section: str) -> None:
    unknown = sorted(set(table) - KNOWN_KEYS[section])
    if unknown:
        known = ", ".join(sorted(KNOWN_KEYS[section]))
        raise ConfigError(f"policy: unknown key `{unknown[0]}` in [{section or 'top level'}]; known are {known}")


def _need(table: Mapping[str, Any], section: str, key: str, kind: type) -> Any:
    value = table.get(key)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ConfigError(f"policy: [{section or 'top level'}] needs `{key}` as {kind.__name__}, found {value!r}")
    return value


def _digit(asking: Mapping[str, Any], key: str) -> str:
    value: str = _need(asking, "asking", key, str)
    if len(value) != 1 or value not in "0123456789":
        raise ConfigError(f"policy: [asking] `{key}` must be one digit, found {value!r}")
    return value


def _sequence(asking: Mapping[str, Any], key: str) -> str:
    value: str = _need(asking, "asking", key, str)
    if not SEQUENCE.fullmatch(value):
        raise ConfigError(f"policy: [asking] `{key}` must be * and 1 to 3 digits, found {value!r}")
    return value


def _prompt(table: Any) -> Prompt:
    if not isinstance(table, dict):
        raise ConfigError(f"policy: [[prompt]] must be a section, found {table!r}")
    _check_keys(table, "prompt")
    sha256 = _need(table, "prompt", "sha256", str)
    if not SHA256_HEX.fullmatch(sha256):
        raise ConfigError("policy: [[prompt]] `sha256` must be 64 lower-case hex digits of the audio file")
    length = _need(table, "prompt", "length_ms", int)
    if not 1_000 <= length <= 120_000:
        raise ConfigError(f"policy: [[prompt]] `length_ms` must be 1000 to 120000, found {length}")
    return Prompt(_need(table, "prompt", "name", str), _need(table, "prompt", "language", str), sha256, length)


def parse_policy(data: bytes) -> Policy:
    """The policy in a file's bytes; ConfigError says what was found and what was expected."""
    if len(data) > MAX_POLICY_BYTES:
        raise ConfigError(f"policy: {len(data)} bytes, at most {MAX_POLICY_BYTES} are read")
    try:
        top = tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"policy: not TOML: {error}") from error
    _check_keys(top, "")
    purpose = _need(top, "", "purpose", dict)
    asking = _need(top, "", "asking", dict)
    _check_keys(purpose, "purpose")
    _check_keys(asking, "asking")
    prompts = tuple(_prompt(table) for table in _need(top, "", "prompt", list))
    if not prompts:
        raise ConfigError("policy: at least one [[prompt]] is needed; without a question nobody can agree")
    return _assemble(hashlib.sha256(data).hexdigest(), top, purpose, asking, prompts)


def _assemble(
    digest: str,
    top: Mapping[str, Any],
    purpose: Mapping[str, Any],
    asking: Mapping[str, Any],
    prompts: tuple[Prompt, ...],
) -> Policy:
    rate = float(_need(purpose, "purpose", "rate", float))
    if rate != 1.0:
        raise ConfigError(f"policy: [purpose] `rate` must be 1.0, found {rate}; other rates need the draw")
    retention = DURATION_DAYS.fullmatch(_need(purpose, "purpose", "retention", str))
    if retention is None or int(retention[1]) < 1:
        raise ConfigError("policy: [purpose] `retention` must be whole days such as P30D")
    window_s = _need(asking, "asking", "window_s", int)
    if not 1 <= window_s <= MAX_WINDOW.seconds:
        raise ConfigError(f"policy: [asking] `window_s` must be 1 to {MAX_WINDOW.seconds}, found {window_s}")
    mode = _need(asking, "asking", "mode", str)
    if mode not in set(Asking):
        raise ConfigError(f"policy: [asking] `mode` must be one of {', '.join(Asking)}, found {mode!r}")
    yes, no = _digit(asking, "yes"), _digit(asking, "no")
    withdraw, pause = _sequence(asking, "withdraw"), _sequence(asking, "pause")
    if yes == no:
        raise ConfigError(f"policy: [asking] yes and no must differ, both are {yes}")
    if withdraw.startswith(pause) or pause.startswith(withdraw):
        raise ConfigError(f"policy: [asking] withdraw {withdraw} and pause {pause}: neither may begin the other")
    return Policy(
        hash=digest,
        name=_need(top, "", "name", str),
        language=_need(top, "", "language", str),
        purpose=Purpose(_need(purpose, "purpose", "id", str)),
        rate=rate,
        retention=timedelta(days=int(retention[1])),
        asking=Asking(mode),
        window=timedelta(seconds=window_s),
        yes=yes,
        no=no,
        withdraw=withdraw,
        pause=pause,
        prompts=prompts,
    )
