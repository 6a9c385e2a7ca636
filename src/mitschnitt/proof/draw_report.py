"""What a check of the draw found, proved and did not prove, in words; each from the file that it rests on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum


class Cheat(StrEnum):
    """The kinds of findings (docs/draw-lists.md says from which file each can be made)."""

    BROKEN = "broken"  # a list that is cut, unsorted or does not fit its own header
    DROPPED = "dropped"  # a call that was drawn for and is not there
    ADDED = "added"  # one that is there and was never drawn for
    GROUND = "ground"  # a draw_id that the day's key does not make, or a day's key that was not promised
    REDRAWN = "redrawn"  # two lists, a number twice, a beacon that is not the day's
    MISDRAWN = "misdrawn"  # what is said of draws is not what their tickets say
    POLICY = "policy"  # a policy that is not the one of the day, or not signed in time
    FAILURES = "failures"  # somebody's calls fail more often than chance allows
    FILTER = "filter"  # a call filtered out without a count, or a count without its filter
    CAP = "cap"  # a cap exceeded, or a call capped without need


class From(StrEnum):
    """Where a finding comes from."""

    PUBLIC = "from the public list"
    COUNCIL = "from the council's bundle"
    DAY = "from the day record"
    POLICY = "from the policy"
    SIGNATURES = "from the signatures"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it must be; `when` is a day or a week."""

    cheat: Cheat
    source: From
    when: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.when}: {self.cheat}: {self.sentence} ({self.source})"


@dataclass(slots=True)
class Report:
    """Gathers findings; sentences stand in it once, in order."""

    findings: list[Finding] = field(default_factory=list)
    claims: dict[str, tuple[Cheat, ...]] = field(default_factory=dict)  # sentence: findings that take it back
    unproved: list[str] = field(default_factory=list)

    def finds(self, cheat: Cheat, source: From, when: object, sentence: str) -> None:
        """Something is wrong."""
        self.findings.append(Finding(cheat, source, str(when), sentence))

    def proves(self, sentence: str, *cheats: Cheat) -> None:
        """Something was checked and holds, unless one of these cheats is found."""
        self.claims[sentence] = cheats

    @property
    def proved(self) -> list[str]:
        """What holds after all that was found; a broken list proves nothing."""
        found = self.cheats()
        return [sentence for sentence, cheats in self.claims.items() if not found.intersection((Cheat.BROKEN, *cheats))]

    def leaves_open(self, sentence: str) -> None:
        """Something was not or cannot be checked."""
        if sentence not in self.unproved:
            self.unproved.append(sentence)

    def cheats(self, sources: Iterable[From] = From) -> set[Cheat]:
        """The kinds of what was found from these files."""
        wanted = set(sources)
        return {finding.cheat for finding in self.findings if finding.source in wanted}
