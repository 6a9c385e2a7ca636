"""The published policy: which purposes, which calls are drawn, who is asked how, for how long it is kept.

Shapes only: `policy_text` reads them, and what is decided about a single call is decided elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from fractions import Fraction

from mitschnitt.core.durations import Duration
from mitschnitt.core.purpose import Purpose

SHA256_HEX = re.compile(r"[0-9a-f]{64}")
SLACK_MS = 40  # two packets: what an IVR's own rounding of a prompt's length may differ
PARTIES = ("caller", "agent", "third")  # whoever is on a line: each needs a basis of its own


class Asking(StrEnum):
    """Who tells us that the question was asked."""

    ANNOUNCED = "announced"  # the IVR posts call, prompt and end of prompt
    ASSERTED = "asserted"  # the policy asserts prompt and window; the receipt says so


class Basis(StrEnum):
    """Why a party's words may be used at all (Art. 6(1) GDPR). Only the first of them is a yes."""

    CONSENT = "consent"  # (a); of agents with section 26(2) BDSG
    LEGAL_OBLIGATION = "legal_obligation"  # (c): WpHG section 83, FinVermV section 18a
    LEGITIMATE_INTEREST = "legitimate_interest"  # (f)
    CONTRACT = "contract"  # (b)


class BeaconKind(StrEnum):
    """What fixes the draw of a day, so that nobody could choose its result."""

    NONE = "none"  # nothing is drawn: every rate is 1
    COMMIT = "commit"  # values that operator, works council and officer committed to
    DRAND = "drand"  # a round of the public randomness beacon


@dataclass(frozen=True, slots=True)
class Prompt:
    """One recorded question; `sha256` is that of its audio file."""

    name: str
    language: str
    sha256: str
    length_ms: int
    purpose: Purpose  # what it asks for: one thing at a time (Art. 7(2) GDPR)


@dataclass(frozen=True, slots=True)
class PurposeRule:
    """What holds for one purpose."""

    id: Purpose
    records: bool  # true for exactly one: the purpose that audio is kept for
    retention: Duration
    basis: Mapping[str, Basis]  # by party: caller, agent, third
    notice: str  # version of the notice in text form to agents (section 26(2) BDSG); "" = none
    agreement: str  # works agreement: a limit, never instead of the grant (Art. 88 GDPR); "" = none
    roles: frozenset[str]  # who may hear it


@dataclass(frozen=True, slots=True)
class Stratum:
    """Calls that are drawn at one rate. Its place in the policy is its number in lists and tables."""

    name: str
    when: str  # CEL; the first that holds is the call's
    rate: Fraction  # share of its calls that are drawn, exact, 0..1
    hand_picked: bool = False  # not at random: capped, announced, outside all statistics
    announced: str = ""  # where and how those concerned were told of the hand-picking


@dataclass(frozen=True, slots=True)
class Exclusion:
    """Calls that are never drawn; they are counted under its name."""

    name: str
    when: str  # CEL


@dataclass(frozen=True, slots=True)
class Caps:
    """How much may be drawn at most; None is no cap."""

    agent_week: int | None = None  # draws per agent and ISO week
    agent_share: Fraction | None = None  # of the calls of one agent
    share: Fraction | None = None  # of all calls


@dataclass(frozen=True, slots=True)
class Group:
    """Teams that figures are told of together."""

    name: str
    teams: tuple[str, ...]
    parent: str = ""  # the group that it is told with when it is too small; "" = none


@dataclass(frozen=True, slots=True)
class Cells:
    """Which figures may exist: of groups in which at least so many people took at least so many calls."""

    people: int = 5
    calls: int = 20
    groups: tuple[Group, ...] = ()

    @property
    def teams(self) -> frozenset[str]:
        """All teams that are in a group."""
        return frozenset(team for group in self.groups for team in group.teams)


@dataclass(frozen=True, slots=True)
class Queue:
    """For whom calls of one queue are taken. A client company sees cells only (Art. 26, 28 GDPR)."""

    id: str
    client: str = ""
    contact: str = ""
    region: str = ""


@dataclass(frozen=True, slots=True)
class Company:
    """Controller or processor, as Art. 13(1) GDPR has it told to those concerned."""

    name: str
    address: str = ""
    contact: str = ""
    officer_contact: str = ""


@dataclass(frozen=True, slots=True)
class Policy:
    """What applies to every call of its period; calls keep its `hash` (SHA-256 of the file, hex).

    `purpose` is the one that audio is kept for; `purposes` are all there are.
    """

    hash: str
    name: str
    language: str
    languages: tuple[str, ...]
    timezone: str  # IANA name: in it days begin and hours are told
    signed_by: tuple[str, ...]  # whose signatures it needs to come into force; never empty
    controller: Company
    processor: Company | None
    purposes: Mapping[Purpose, PurposeRule]
    purpose: Purpose
    beacon: BeaconKind
    strata: tuple[Stratum, ...]
    exclusions: tuple[Exclusion, ...]
    caps: Caps
    queues: tuple[Queue, ...]
    cells: Cells
    asking: Asking
    window: timedelta
    yes: str
    no: str
    withdraw: str
    pause: str
    prompts: tuple[Prompt, ...]

    @property
    def retention(self) -> Duration:
        """How long recordings are kept; `due_at` says until when."""
        return self.purposes[self.purpose].retention

    def due_at(self, kept_at: datetime) -> datetime:
        """When what was kept at this time must be gone."""
        return self.retention.after(kept_at)

    def knows_prompt(self, name: str, sha256: str, length_ms: int, *, purpose: Purpose | None = None) -> bool:
        """Whether exactly this prompt, whole, asks for the purpose (that of recordings if none is named).

        A shorter stand-in is none, and neither is a question after something else.
        """
        wanted = self.purpose if purpose is None else purpose
        return any(
            prompt.name == name
            and prompt.sha256 == sha256
            and prompt.length_ms <= length_ms + SLACK_MS
            and prompt.purpose == wanted
            for prompt in self.prompts
        )

    def prompt_for(self, language: str) -> Prompt:
        """The question after the recording in this language, or in the policy's own."""
        own = [prompt for prompt in self.prompts if prompt.purpose == self.purpose]
        by_language = {prompt.language: prompt for prompt in own}
        return by_language.get(language, by_language.get(self.language, own[0]))
