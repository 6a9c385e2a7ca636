"""What changes from one policy to another, in words, sorted by whom it concerns. Judges nothing.

Every fact of a policy is one line here; two policies differ where their lines do.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction

from mitschnitt.core.policy import Company, Policy


class Concern(StrEnum):
    """Whom or what a change concerns, in the order in which it is told."""

    CALLERS = "callers and third parties"
    AGENTS = "agents"
    LISTENERS = "who listens"
    DRAWN = "what is drawn"
    KEPT = "how long"
    FIGURES = "figures"
    ANSWERS = "who answers for it"


@dataclass(frozen=True, slots=True)
class Line:
    """One fact of a policy: what is said of a key, and what holds of it."""

    concern: Concern
    key: str
    says: str
    value: str


@dataclass(frozen=True, slots=True)
class Change:
    """One fact that is not the same in both; "" stands for a fact that one of them does not have."""

    concern: Concern
    key: str
    says: str
    was: str
    becomes: str

    @property
    def sentence(self) -> str:
        """What changes, as a person reads it."""
        if not self.becomes:
            return f"no longer: {self.says} {self.was}"
        return f"{self.says} {self.becomes} ({f'was {self.was}' if self.was else 'new'})"


def differences(old: Policy, new: Policy) -> tuple[Change, ...]:
    """All facts that differ, by concern, and within it in the order of the new policy's file."""
    before, after = ({line.key: line for line in _lines(policy)} for policy in (old, new))
    changes = [
        Change(line.concern, key, line.says, before[key].value if key in before else "", line.value)
        for key, line in after.items()
        if key not in before or before[key].value != line.value
    ]
    changes += [
        Change(line.concern, key, line.says, line.value, "") for key, line in before.items() if key not in after
    ]
    order = list(Concern)
    return tuple(sorted(changes, key=lambda change: order.index(change.concern)))


def _percent(share: Fraction) -> str:
    return f"{(Decimal(share.numerator) / Decimal(share.denominator) * 100).normalize():f} %"


def _lines(policy: Policy) -> Iterator[Line]:
    yield from _of_purposes(policy)
    yield from _of_asking(policy)
    yield from _of_draw(policy)
    yield from _of_caps(policy)
    yield from _of_figures(policy)
    yield from _of_who_answers(policy)


def _of_purposes(policy: Policy) -> Iterator[Line]:
    yield Line(Concern.DRAWN, "purpose.records", "calls are recorded for", policy.purpose)
    for rule in policy.purposes.values():
        name = f"purpose.{rule.id}"
        words = {party: basis.value.replace("_", " ") for party, basis in rule.basis.items()}
        yield Line(Concern.CALLERS, f"{name}.caller", f"{rule.id}: for the caller it rests on", words["caller"])
        yield Line(Concern.CALLERS, f"{name}.third", f"{rule.id}: for third parties it rests on", words["third"])
        yield Line(Concern.AGENTS, f"{name}.agent", f"{rule.id}: for the agent it rests on", words["agent"])
        if rule.notice:
            says = f"{rule.id}: agents agree after the notice"
            yield Line(Concern.AGENTS, f"{name}.notice", says, rule.notice)
        if rule.agreement:
            yield Line(Concern.AGENTS, f"{name}.agreement", f"{rule.id}: is limited by", rule.agreement)
        heard = ", ".join(sorted(rule.roles)) or "nobody"
        yield Line(Concern.LISTENERS, f"{name}.roles", f"{rule.id}: may be heard by", heard)
        yield Line(Concern.KEPT, f"{name}.retention", f"{rule.id}: is kept for", str(rule.retention))


def _of_asking(policy: Policy) -> Iterator[Line]:
    concern = Concern.CALLERS
    yield Line(concern, "language", "who speaks none of its languages is asked in", policy.language)
    yield Line(concern, "languages", "its languages are", ", ".join(policy.languages))
    yield Line(concern, "asking.mode", "that the question was put is", policy.asking.value)
    yield Line(concern, "asking.window_s", "an answer counts for", f"{policy.window.seconds} s")
    yield Line(concern, "asking.yes", "the key for yes is", policy.yes)
    yield Line(concern, "asking.no", "the key for no is", policy.no)
    yield Line(concern, "asking.withdraw", "consent is withdrawn by", policy.withdraw)
    yield Line(concern, "asking.pause", "the recording is paused by", policy.pause)
    for prompt in policy.prompts:
        key = f"prompt.{prompt.name}.{prompt.language}"
        says = f"the question {prompt.name} ({prompt.language}) is"
        yield Line(concern, key, says, f"{prompt.sha256[:16]}…, {prompt.length_ms / 1000:g} s, for {prompt.purpose}")


def _of_draw(policy: Policy) -> Iterator[Line]:
    concern = Concern.DRAWN
    yield Line(concern, "timezone", "days begin at midnight of", policy.timezone)
    yield Line(concern, "draw.beacon", "the draw of a day is fixed by", policy.beacon.value)
    yield Line(concern, "stratum", "strata are tried in the order", ", ".join(item.name for item in policy.strata))
    for stratum in policy.strata:
        key, name = f"stratum.{stratum.name}", f"stratum {stratum.name}:"
        yield Line(concern, f"{key}.when", f"{name} holds for calls with", stratum.when)
        yield Line(concern, f"{key}.rate", f"{name} of its calls are drawn", _percent(stratum.rate))
        picked = "by hand" if stratum.hand_picked else "at random"
        yield Line(concern, f"{key}.hand_picked", f"{name} its calls are picked", picked)
        if stratum.announced:
            yield Line(concern, f"{key}.announced", f"{name} it is announced:", stratum.announced)
    names = ", ".join(item.name for item in policy.exclusions) or "none"
    yield Line(concern, "exclusion", "exclusions are tried in the order", names)
    for item in policy.exclusions:
        yield Line(concern, f"exclusion.{item.name}.when", f"never drawn as {item.name} are calls with", item.when)


def _of_caps(policy: Policy) -> Iterator[Line]:
    caps = policy.caps
    if caps.agent_week is not None:
        yield Line(Concern.AGENTS, "caps.agent_week", "draws per agent and week are at most", str(caps.agent_week))
    if caps.agent_share is not None:
        share = _percent(caps.agent_share)
        yield Line(Concern.AGENTS, "caps.agent_share", "of an agent's calls are drawn at most", share)
    if caps.share is not None:
        yield Line(Concern.DRAWN, "caps.share", "of all calls are drawn at most", _percent(caps.share))


def _of_figures(policy: Policy) -> Iterator[Line]:
    cells = policy.cells
    yield Line(Concern.FIGURES, "cells.people", "a figure tells of at least so many people:", str(cells.people))
    yield Line(Concern.FIGURES, "cells.calls", "a figure tells of at least so many calls:", str(cells.calls))
    for group in cells.groups:
        value = f"{', '.join(group.teams) or 'no team'}, told with {group.parent or 'none'} when too small"
        yield Line(Concern.FIGURES, f"group.{group.name}", f"group {group.name} is", value)


def _of_who_answers(policy: Policy) -> Iterator[Line]:
    concern = Concern.ANSWERS
    yield Line(concern, "name", "the policy is called", policy.name)
    yield Line(concern, "signed_by", "it is in force when signed by", ", ".join(policy.signed_by))
    yield from _of_company("controller", policy.controller)
    if policy.processor is not None:
        yield from _of_company("processor", policy.processor)
    for queue in policy.queues:
        parts = (("client", queue.client), ("contact", queue.contact), ("region", queue.region))
        value = ", ".join(f"{name} {text}" for name, text in parts if text) or "our own"
        yield Line(concern, f"queue.{queue.id}", f"queue {queue.id} is", value)


def _of_company(role: str, company: Company) -> Iterator[Line]:
    for key in ("name", "address", "contact", "officer_contact"):
        if text := getattr(company, key):
            yield Line(Concern.ANSWERS, f"{role}.{key}", f"{role}: {key.replace('_', ' ')} is", text)
