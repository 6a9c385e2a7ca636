"""What speaks against a policy: each rule finds the policy that was made for it, at its place, and not the good one."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from mitschnitt.core.policy_check import NORMS, RULES, Finding, check_policy
from mitschnitt.core.policy_text import parse_policy
from mitschnitt.core.toml_lines import lines_of
from source import ROOT

EXAMPLE = (ROOT / "docs" / "policy.example.toml").read_text(encoding="utf-8")


def found(text: str) -> tuple[Finding, ...]:
    return check_policy(parse_policy(text.encode()))


def changed(*changes: tuple[str, str]) -> str:
    text = EXAMPLE
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new, 1)
    return text


def test_nothing_speaks_against_the_example() -> None:
    assert found(EXAMPLE) == ()


OWN_PURPOSE = '[[purpose]]\nid = "{}"\nretention = "{}"\ncaller = "{}"\nagent = "{}"\nthird = "{}"\nroles = {}\n'
OBLIGED = OWN_PURPOSE.format("orders", "P5Y", *["legal_obligation"] * 3, "[]")
ASK_ORDERS = (
    f'[[prompt]]\nname = "{{}}"\nlanguage = "de"\nsha256 = "{"e" * 64}"\nlength_ms = 3000\npurpose = "orders"\n'
)
# Each case is made to break exactly one rule; where it stands is the path of a key in the text.
CASES: list[tuple[str, str, tuple[str | int, ...], str]] = [
    ("policy.signed_by", changed(('["officer", "council"]', '["officer"]')), ("signed_by",), "without council"),
    ("policy.signed_by", changed(('["officer", "council"]', '["council"]')), ("signed_by",), "without officer"),
    (
        "policy.consent.not_asked",
        EXAMPLE
        + OWN_PURPOSE.format("dispute", "P90D", "consent", "legal_obligation", "consent", "[]").replace(
            'agent = "legal_obligation"', 'agent = "consent"\nnotice = "n"'
        ),
        ("purpose", 1),
        "caller and third must consent",
    ),
    (
        "policy.consent.language",
        changed(('["de", "en"]', '["de", "en", "fr"]')),
        ("purpose", 0),
        "nobody is asked in fr",
    ),
    ("policy.consent.asserted", changed(('"announced"', '"asserted"')), ("asking", "mode"), "only asserts it"),
    (
        "policy.basis.interest",
        changed(('caller = "consent"', 'caller = "legitimate_interest"')),
        ("purpose", 0, "caller"),
        "carries no recording for training",
    ),
    (
        "policy.basis.interest",
        EXAMPLE + OWN_PURPOSE.format("quality", "P30D", *["legitimate_interest"] * 3, "[]"),
        ("purpose", 1, "caller"),
        "quality: legitimate interest",
    ),
    (
        "policy.basis.balance",
        EXAMPLE + OWN_PURPOSE.format("live_listening", "P1D", *["legitimate_interest"] * 3, "[]"),
        ("purpose", 1, "caller"),
        "the balance with the caller's interests",
    ),
    (
        "policy.basis.contract",
        changed(('caller = "consent"', 'caller = "contract"')),
        ("purpose", 0, "caller"),
        "a clause in the caller's contract",
    ),
    ("policy.agent.notice", changed(('notice = "notice-2026-1"\n', "")), ("purpose", 0), "no `notice` is named"),
    (
        "policy.agent.agreement",
        EXAMPLE + OWN_PURPOSE.format("survey", "P30D", *["legitimate_interest"] * 3, "[]") + 'agreement = "BV 7"\n',
        ("purpose", 1, "agreement"),
        "does not agree for them",
    ),
    (
        "policy.retention.long",
        changed(('"P30D"', '"P31D"')),
        ("purpose", 0, "retention"),
        "P31D is longer than the usual P30D",
    ),
    ("policy.retention.long", changed(('"P30D"', '"P6M"')), ("purpose", 0, "retention"), "longer than the usual"),
    ("policy.retention.too_long", changed(('"P30D"', '"P7M"')), ("purpose", 0, "retention"), "P6M .*CNIL"),
    ("policy.retention.too_long", EXAMPLE + OBLIGED.replace("P5Y", "P12Y"), ("purpose", 1, "retention"), "P11Y .*WpHG"),
    ("policy.cells", changed(("people = 5", "people = 4")), ("cells", "people"), "of 4 people"),
    ("policy.cells", changed(("calls = 20", "calls = 19")), ("cells", "calls"), "of 19 calls"),
    ("policy.forbidden.emotion", changed(('"rest"', '"stress tests"')), ("stratum", 2, "name"), "`stress`"),
    ("policy.forbidden.emotion", changed(('"true"', "\"queue == 'emotion'\"")), ("stratum", 2, "when"), "`emotion`"),
    (
        "policy.forbidden.emotion",
        changed(('"notice-2026-1"', '"customer_sentiment 1"')),
        ("purpose", 0, "notice"),
        "`sent",
    ),
    ("policy.forbidden.biometrics", changed(('"rest"', '"voice print"')), ("stratum", 2, "name"), "`voice print`"),
    ("policy.forbidden.ranking", changed(('"rest"', '"agent_ranking"')), ("stratum", 2, "name"), "`ranking`"),
    (
        "policy.obligation.heard",
        EXAMPLE + OBLIGED.replace("[]", '["coach"]'),
        ("purpose", 1, "roles"),
        "orders: coach would hear it",
    ),
    (
        "policy.obligation.drawn",
        EXAMPLE + OBLIGED.replace('"orders"', '"coaching_orders"'),
        ("purpose", 1, "id"),
        "no law demands recordings for training",
    ),
    (
        "policy.obligation.drawn",
        EXAMPLE + OBLIGED.replace('third = "legal_obligation"', 'third = "legitimate_interest"'),
        ("purpose", 1),
        "demanded of caller and agent and not of all",
    ),
    (
        "policy.obligation.drawn",
        changed(('"rest"', '"Orders by phone"')) + OBLIGED,
        ("stratum", 2, "name"),
        "is no stratum of the draw",
    ),
    (
        "policy.obligation.asked",
        EXAMPLE + OBLIGED + ASK_ORDERS.format("orders"),
        ("prompt", 2, "purpose"),
        "tell, not ask",
    ),
    ("policy.draw.hand_picked", changed(('announced = "notice board, 2026-01-15"\n', "")), ("stratum", 0), "must be"),
    ("policy.draw.hand_picked", changed(("agent_week = 2\n", "")), ("stratum", 0), "need a cap"),
    (
        "policy.draw.nothing",
        changed(("rate = 0.10", "rate = 0"), ("rate = 0.02", "rate = 0"), ("rate = 1", "rate = 0")),
        ("stratum",),
        "nobody is ever asked",
    ),
    (
        "policy.draw.nothing",
        changed(('"tenure_days >= 0 && tenure_days < 90"', '" true "')),
        ("stratum", 2),
        "no call reaches it",
    ),
    (
        "policy.processor.none",
        changed(('[processor]\nname = "Muster Call Centre GmbH"\n', "")),
        ("queue", 0, "client"),
        "no .processor. is named",
    ),
    (
        "policy.controller.contact",
        changed(('contact = "service@bank.example"\n', "")),
        ("controller",),
        "contact; not named",
    ),
    (
        "policy.roles.hears_nothing",
        changed(('["coach"', '["council", "coach"')),
        ("purpose", 0, "roles"),
        "council hear nothing",
    ),
    ("policy.roles.nobody", changed(('roles = ["coach", "officer"]\n', "")), ("purpose", 0), "nobody may hear it"),
]


@pytest.mark.parametrize("rule, text, where, sentence", CASES, ids=[f"{case[0]} {n}" for n, case in enumerate(CASES)])
def test_a_rule_finds_what_it_is_made_for_at_its_place(
    rule: str, text: str, where: tuple[str | int, ...], sentence: str
) -> None:
    findings = [item for item in found(text) if item.rule == rule and item.where == where]
    assert [item for item in findings if re.search(sentence, item.sentence)], found(text)
    assert where in lines_of(text)


def test_recording_everything_without_a_cap_is_warned_of_twice() -> None:
    caps = EXAMPLE[EXAMPLE.index("[caps]") : EXAMPLE.index("[[queue]]")]
    findings = found(changed((caps, ""), ("rate = 0.02", "rate = 1"), ("hand_picked = true\n", "")))
    assert {item.rule for item in findings} == {"policy.caps.none", "policy.draw.everything"}
    assert not any(item.is_error for item in findings)


def test_a_share_of_all_is_no_cap() -> None:
    findings = found(changed(("agent_week = 2\n", ""), ("agent_share = 0.05\nshare = 0.05\n", "share = 1\n")))
    assert "policy.caps.none" in {item.rule for item in findings}


def test_what_a_law_demands_is_not_what_is_drawn() -> None:
    findings = found(
        changed(
            ('caller = "consent"', 'caller = "legal_obligation"'),
            ('agent = "consent"', 'agent = "legal_obligation"'),
            ('third = "consent"', 'third = "legal_obligation"'),
        )
    )
    told = {(item.rule, item.where) for item in findings if item.is_error}
    assert ("policy.obligation.drawn", ("purpose", 0, "records")) in told
    assert ("policy.obligation.drawn", ("purpose", 0, "id")) in told
    assert ("policy.obligation.heard", ("purpose", 0, "roles")) in told
    assert ("policy.obligation.asked", ("prompt", 0, "purpose")) in told


def test_an_obligation_that_keeps_to_itself_is_none_of_our_findings() -> None:
    assert found(EXAMPLE + OBLIGED) == ()


def test_a_question_of_the_same_name_is_shared() -> None:
    text = EXAMPLE + OBLIGED + ASK_ORDERS.format("ask-training").replace('"de"', '"fr"')
    findings = found(text.replace('["de", "en"]', '["de", "en", "fr"]'))
    assert ("policy.obligation.asked", "orders shares the question ask-training with another purpose") in {
        (item.rule, item.sentence) for item in findings
    }


@pytest.mark.parametrize("word", ["Frank", "Abstimmung", "distress call", "Franking machine", "prank calls"])
def test_words_that_only_look_alike_are_left_alone(word: str) -> None:
    assert found(changed(('"rest"', f'"{word}"'))) == ()


def test_every_rule_has_its_case_its_article_and_a_name_of_its_own() -> None:
    tried = {case[0] for case in CASES} | {"policy.caps.none", "policy.draw.everything"}
    assert tried == {rule.name for rule in RULES}
    assert [rule.name for rule in RULES if not re.search(r"Art\. \d|section \d", rule.article)] == []
    assert [name for name, times in Counter(rule.name for rule in RULES).items() if times > 1] == []


def test_no_norm_warns_above_what_it_refuses() -> None:
    assert [kind for kind, norm in NORMS.items() if norm.usual.most_days >= norm.most.most_days] == []
