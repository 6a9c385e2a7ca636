"""What speaks against a policy, with the article behind it: a table of rules, each of which looks at the whole policy.

Refuses nothing by itself and opens no file. A policy without findings is not lawful for that alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from mitschnitt.core.durations import Duration
from mitschnitt.core.policy import PARTIES, Asking, Basis, Exclusion, Policy, PurposeRule, Stratum
from mitschnitt.core.toml_lines import Path

Found = Iterator[tuple[Path, str]]

LEAST_PEOPLE, LEAST_CALLS = 5, 20  # of a cell: fewer can be told from each other
TRAINING_WORDS = re.compile(r"training|coaching|schulung|quality|qualit(ä|ae)t")
CONCERNED = frozenset({"caller", "agent", "officer"})  # who hears an obliged recording for its own sake
NEVER_HEARS = frozenset({"operator", "council"})


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that speaks against a policy."""

    rule: str
    article: str  # what it rests on
    where: Path
    sentence: str
    is_error: bool  # otherwise a warning: lawful only for reasons that the policy does not show


@dataclass(frozen=True, slots=True)
class Norm:
    """How long recordings of one kind are kept at most, by whom it is said."""

    usual: Duration  # above it: a warning
    most: Duration  # above it: an error
    article: str


# Retention norms found in law and supervisory practice. Where several fit a purpose, the shortest counts.
NORMS = {
    "training": Norm(Duration(days=30), Duration(months=6), "CNIL: 6 months; CNPD 629/2010: 30 days"),
    "dispute": Norm(Duration(days=90), Duration(years=3), "CNPD 629/2010: 90 days; section 195 BGB"),
    "obligation": Norm(Duration(years=7), Duration(years=11), "section 83(8) WpHG; section 23 FinVermV"),
    "live_listening": Norm(Duration(days=1), Duration(days=30), "Art. 5(1)(c) GDPR: listening leaves nothing behind"),
    "other": Norm(Duration(months=6), Duration(years=1), "CNIL: 6 months, evaluations 1 year"),
}


def _kind(rule: PurposeRule) -> str:
    if Basis.LEGAL_OBLIGATION in rule.basis.values():
        return "obligation"
    if rule.records or TRAINING_WORDS.search(rule.id) or rule.id == "transcript":
        return "training"
    return rule.id if rule.id in NORMS else "other"


def _purposes(policy: Policy) -> Iterator[tuple[int, PurposeRule]]:
    return enumerate(policy.purposes.values())


def _parties(rule: PurposeRule, *bases: Basis) -> list[str]:
    return [party for party in PARTIES if rule.basis[party] in bases]


def _not_asked(policy: Policy) -> Found:
    asked = {prompt.purpose for prompt in policy.prompts}
    for number, rule in _purposes(policy):
        parties = [party for party in _parties(rule, Basis.CONSENT) if party != "agent"]
        if parties and rule.id not in asked:
            who = " and ".join(parties)
            yield ("purpose", number), f"{rule.id}: {who} must consent, and no [[prompt]] asks for it"


def _languages(policy: Policy) -> Found:
    for number, rule in _purposes(policy):
        spoken = {prompt.language for prompt in policy.prompts if prompt.purpose == rule.id}
        missing = [language for language in policy.languages if language not in spoken]
        if spoken and missing:
            yield ("purpose", number), f"{rule.id}: nobody is asked in {', '.join(missing)}, which `languages` names"


def _asserted(policy: Policy) -> Found:
    if policy.asking is Asking.ASSERTED:
        yield ("asking", "mode"), "nobody says of a call that the question was played; the policy only asserts it"


def _interest(policy: Policy) -> Found:
    for number, rule in _purposes(policy):
        for party in _parties(rule, Basis.LEGITIMATE_INTEREST):
            if _kind(rule) == "training":
                yield ("purpose", number, party), f"{rule.id}: legitimate interest carries no recording for training"


def _balance(policy: Policy) -> Found:
    for number, rule in _purposes(policy):
        for party in _parties(rule, Basis.LEGITIMATE_INTEREST):
            if _kind(rule) != "training":
                yield ("purpose", number, party), f"{rule.id}: the balance with the {party}'s interests must be shown"


def _contract(policy: Policy) -> Found:
    for number, rule in _purposes(policy):
        for party in _parties(rule, Basis.CONTRACT):
            yield (
                ("purpose", number, party),
                f"{rule.id}: a clause in the {party}'s contract is a notice, never a grant",
            )


def _notice(policy: Policy) -> Found:
    for number, rule in _purposes(policy):
        if rule.basis["agent"] is Basis.CONSENT and not rule.notice:
            yield (
                ("purpose", number),
                f"{rule.id}: agents consent after a notice in text form, and no `notice` is named",
            )


def _agreement(policy: Policy) -> Found:
    for number, rule in _purposes(policy):
        if rule.agreement and rule.basis["agent"] in (Basis.LEGITIMATE_INTEREST, Basis.CONTRACT):
            where = ("purpose", number, "agreement")
            yield where, f"{rule.id}: a works agreement limits what agents agree to, it does not agree for them"


def _kept_long(policy: Policy) -> Iterator[tuple[Path, str, Norm, Duration]]:
    for number, rule in _purposes(policy):
        norm = NORMS[_kind(rule)]
        yield ("purpose", number, "retention"), f"{rule.id}: {rule.retention} is longer than", norm, rule.retention


def _unusually_long(policy: Policy) -> Found:
    for where, sentence, norm, span in _kept_long(policy):
        if norm.usual.most_days < span.most_days <= norm.most.most_days:
            yield where, f"{sentence} the usual {norm.usual} ({norm.article})"


def _too_long(policy: Policy) -> Found:
    for where, sentence, norm, span in _kept_long(policy):
        if span.most_days > norm.most.most_days:
            yield where, f"{sentence} the longest that is known to have been taken, {norm.most} ({norm.article})"


def _cells(policy: Policy) -> Found:
    if policy.cells.people < LEAST_PEOPLE:
        yield (
            ("cells", "people"),
            f"figures of {policy.cells.people} people tell of single ones; at least {LEAST_PEOPLE}",
        )
    if policy.cells.calls < LEAST_CALLS:
        yield ("cells", "calls"), f"figures of {policy.cells.calls} calls tell of single ones; at least {LEAST_CALLS}"


def _criteria(section: str, items: Sequence[Stratum | Exclusion]) -> Iterator[tuple[Path, str]]:
    for number, item in enumerate(items):
        yield (section, number, "name"), item.name
        yield (section, number, "when"), item.when


def _words(policy: Policy) -> Iterator[tuple[Path, str]]:
    for number, rule in _purposes(policy):
        yield ("purpose", number, "id"), rule.id
        yield from ((("purpose", number, "roles"), role) for role in sorted(rule.roles))
        yield from ((("purpose", number, "notice"), text) for text in (rule.notice, rule.agreement))
    yield from _criteria("stratum", policy.strata)
    yield from _criteria("exclusion", policy.exclusions)
    yield from ((("prompt", number, "name"), prompt.name) for number, prompt in enumerate(policy.prompts))
    yield from ((("queue", number, "id"), queue.id) for number, queue in enumerate(policy.queues))
    yield from ((("group", number, "name"), group.name) for number, group in enumerate(policy.cells.groups))
    yield ("name",), policy.name


def _speaks_of(words: str) -> Callable[[Policy], Found]:
    forbidden = re.compile(rf"(?<![^\W_])(?:{words})", re.IGNORECASE)

    def look(policy: Policy) -> Found:
        for where, text in _words(policy):
            if match := forbidden.search(text):
                yield where, f"`{match[0]}` has no place in a policy"

    return look


def _obliged(policy: Policy) -> Iterator[tuple[int, PurposeRule]]:
    return ((number, rule) for number, rule in _purposes(policy) if Basis.LEGAL_OBLIGATION in rule.basis.values())


def _obligation_heard(policy: Policy) -> Found:
    for number, rule in _obliged(policy):
        others = {role for other in policy.purposes.values() if _kind(other) == "training" for role in other.roles}
        shared = sorted((rule.roles & (others | {"coach"})) - CONCERNED)
        if shared:
            yield ("purpose", number, "roles"), f"{rule.id}: {', '.join(shared)} would hear it and what is for training"


def _obligation_drawn(policy: Policy) -> Found:
    for number, rule in _obliged(policy):
        parties = _parties(rule, Basis.LEGAL_OBLIGATION)
        if rule.records:
            yield (
                ("purpose", number, "records"),
                f"{rule.id}: what a law demands is not drawn, and lies in another store",
            )
        if TRAINING_WORDS.search(rule.id):
            yield ("purpose", number, "id"), f"{rule.id}: no law demands recordings for training"
        if len(parties) < len(PARTIES):
            yield (
                ("purpose", number),
                f"{rule.id}: demanded of {' and '.join(parties)} and not of all; one purpose each",
            )
        for place, stratum in enumerate(policy.strata):
            if rule.id in stratum.name.lower():
                yield ("stratum", place, "name"), f"{rule.id}: what a law demands is no stratum of the draw"


def _obligation_asked(policy: Policy) -> Found:
    for _, rule in _obliged(policy):
        names = {prompt.name for prompt in policy.prompts if prompt.purpose != rule.id}
        for number, prompt in enumerate(policy.prompts):
            if prompt.purpose == rule.id and prompt.name in names:
                yield ("prompt", number, "name"), f"{rule.id} shares the question {prompt.name} with another purpose"
            elif prompt.purpose == rule.id:
                yield (
                    ("prompt", number, "purpose"),
                    f"{rule.id}: nobody can say no to what a law demands; tell, not ask",
                )


def _is_capped(policy: Policy) -> bool:
    caps = policy.caps
    shares = [share for share in (caps.agent_share, caps.share) if share is not None]
    return caps.agent_week is not None or any(share < 1 for share in shares)


def _everything(policy: Policy) -> Found:
    for number, stratum in enumerate(policy.strata):
        if stratum.rate == 1 and not _is_capped(policy):
            yield (
                ("stratum", number, "rate"),
                f"{stratum.name}: every call is asked for; recording everything at work is unlawful",
            )


def _no_caps(policy: Policy) -> Found:
    if not _is_capped(policy):
        yield ("caps",), "no cap limits how much of anybody's work is recorded"


def _hand_picked(policy: Policy) -> Found:
    for number, stratum in enumerate(policy.strata):
        if stratum.hand_picked and not stratum.announced:
            yield ("stratum", number), f"{stratum.name}: hand-picked calls must be `announced` to those concerned"
        if stratum.hand_picked and policy.caps.agent_week is None:
            yield ("stratum", number), f"{stratum.name}: hand-picked calls need a cap, [caps] `agent_week`"


def _nothing_drawn(policy: Policy) -> Found:
    if not any(stratum.rate for stratum in policy.strata):
        yield ("stratum",), "no stratum has a rate above 0: nobody is ever asked"
    seen = False
    for number, stratum in enumerate(policy.strata):
        if seen:
            yield ("stratum", number), f"{stratum.name}: no call reaches it, the stratum above holds for all"
        seen = seen or stratum.when.strip() == "true"


def _processor(policy: Policy) -> Found:
    for number, queue in enumerate(policy.queues):
        if queue.client and policy.processor is None:
            yield (
                ("queue", number, "client"),
                f"{queue.id}: calls are taken for {queue.client}, and no [processor] is named",
            )


def _signers(policy: Policy) -> Found:
    missing = [role for role in ("officer", "council") if role not in policy.signed_by]
    if missing:
        yield ("signed_by",), f"would come into force without {' and '.join(missing)}"


def _contacts(policy: Policy) -> Found:
    names = ("address", "contact", "officer_contact")
    missing = [name for name in names if not getattr(policy.controller, name)]
    if missing:
        yield ("controller",), f"those concerned are told of the controller's {', '.join(missing)}; not named"


def _hearers(policy: Policy) -> Found:
    for number, rule in _purposes(policy):
        if wrong := sorted(rule.roles & NEVER_HEARS):
            yield ("purpose", number, "roles"), f"{rule.id}: {' and '.join(wrong)} hear nothing"


def _unheard(policy: Policy) -> Found:
    for number, rule in _purposes(policy):
        if rule.records and not rule.roles:
            yield ("purpose", number), f"{rule.id}: it is recorded, and nobody may hear it"


@dataclass(frozen=True, slots=True)
class _Rule:
    name: str
    article: str
    look: Callable[[Policy], Found]
    is_error: bool = True


RULES = (
    _Rule("policy.signed_by", "section 87(1) no. 6 BetrVG; Art. 38(1), 39(1)(b) GDPR", _signers),
    _Rule("policy.consent.not_asked", "Art. 4(11), 6(1)(a), 7(1) GDPR; DSK 23.03.2018", _not_asked),
    _Rule("policy.consent.language", "Art. 7(2), 12(1) GDPR", _languages, is_error=False),
    _Rule("policy.consent.asserted", "Art. 7(1) GDPR", _asserted, is_error=False),
    _Rule("policy.basis.interest", "Art. 6(1)(f) GDPR; DSK 23.03.2018; Saxony 2022", _interest),
    _Rule("policy.basis.balance", "Art. 6(1)(f), 13(1)(d), 21(1) GDPR", _balance, is_error=False),
    _Rule("policy.basis.contract", "Art. 7(2), 7(4) GDPR, recital 43", _contract),
    _Rule("policy.agent.notice", "section 26(2) BDSG", _notice),
    _Rule("policy.agent.agreement", "Art. 88 GDPR; CJEU C-65/23", _agreement),
    _Rule("policy.retention.long", "Art. 5(1)(e) GDPR", _unusually_long, is_error=False),
    _Rule("policy.retention.too_long", "Art. 5(1)(e) GDPR", _too_long),
    _Rule("policy.cells", "Art. 25(1) GDPR, recital 26", _cells),
    _Rule(
        "policy.forbidden.emotion",
        "Art. 5(1)(f) AI Act",
        _speaks_of(r"emotion|emotional|gefühl|sentiment|stimmung|mood|stress"),
    ),
    _Rule(
        "policy.forbidden.biometrics",
        "Art. 9(1) GDPR; DSK 23.03.2018",
        _speaks_of(r"biometr|voice_?-?\s?(print|biometr)|stimmabdruck|stimmprofil|speaker_?-?\s?(id|recogn|verif)"),
    ),
    _Rule(
        "policy.forbidden.ranking",
        "Art. 22(1), 88(2) GDPR; section 75(2) BetrVG",
        _speaks_of(r"rank(?![a-z])|ranks(?![a-z])|ranking|rangliste|rangfolge|leader_?board|bestenliste"),
    ),
    _Rule("policy.obligation.heard", "section 83(9) WpHG; section 18a(5) FinVermV", _obligation_heard),
    _Rule("policy.obligation.drawn", "section 83(9) WpHG; section 18a(5) FinVermV", _obligation_drawn),
    _Rule("policy.obligation.asked", "section 83(9) WpHG; section 18a(5) FinVermV", _obligation_asked),
    _Rule("policy.draw.everything", "BAG 25.04.2017, 1 ABR 46/15; section 75(2) BetrVG", _everything, is_error=False),
    _Rule("policy.caps.none", "Art. 5(1)(c) GDPR; BAG 25.04.2017, 1 ABR 46/15", _no_caps, is_error=False),
    _Rule("policy.draw.hand_picked", "section 87(1) no. 6 BetrVG; Art. 5(1)(a) GDPR", _hand_picked),
    _Rule("policy.draw.nothing", "Art. 5(1)(a) GDPR", _nothing_drawn, is_error=False),
    _Rule("policy.processor.none", "Art. 28(3) GDPR", _processor, is_error=False),
    _Rule("policy.controller.contact", "Art. 13(1)(a), 13(1)(b) GDPR", _contacts, is_error=False),
    _Rule("policy.roles.hears_nothing", "Art. 25(2), 32(1) GDPR", _hearers),
    _Rule("policy.roles.nobody", "Art. 5(1)(c) GDPR", _unheard, is_error=False),
)


def check_policy(policy: Policy) -> tuple[Finding, ...]:
    """All that speaks against the policy, in the order of the rules."""
    return tuple(
        Finding(rule.name, rule.article, where, sentence, rule.is_error)
        for rule in RULES
        for where, sentence in rule.look(policy)
    )
