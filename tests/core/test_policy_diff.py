"""What changes between two policies: every key that applies to somebody is told, under those whom it concerns."""

from __future__ import annotations

import json

import pytest

from mitschnitt.core.policy_diff import Change, Concern, differences
from mitschnitt.core.policy_text import parse_policy
from source import ROOT

EXAMPLE = (ROOT / "docs" / "policy.example.toml").read_text(encoding="utf-8")
POLICY = parse_policy(EXAMPLE.encode())


def changes(old: str, new: str, *, times: int = 1) -> tuple[Change, ...]:
    assert old in EXAMPLE, old
    return differences(POLICY, parse_policy(EXAMPLE.replace(old, new, times).encode()))


def test_a_policy_is_like_itself() -> None:
    assert differences(POLICY, POLICY) == ()


def test_remarks_and_order_of_keys_apply_to_nobody() -> None:
    assert changes("# A policy", "# The policy") == ()
    assert changes("people = 5\ncalls = 20\n", "calls = 20\npeople = 5\n") == ()


SENTENCES = json.loads((ROOT / "tests" / "vectors" / "policy" / "diff.json").read_text(encoding="utf-8"))["changes"]


@pytest.mark.parametrize("case", SENTENCES, ids=lambda case: case["sentence"][:60])
def test_a_change_is_told_in_words_to_those_whom_it_concerns(case: dict[str, str]) -> None:
    told = [(change.concern.value, change.sentence) for change in changes(case["old"], case["new"])]
    assert told == [(case["concerns"], case["sentence"])]


def test_an_order_is_a_fact_because_the_first_that_holds_counts() -> None:
    first, second = EXAMPLE.index("[[exclusion]]"), EXAMPLE.rindex("[[exclusion]]")
    end = EXAMPLE.index("[caps]")
    swapped = EXAMPLE[:first] + EXAMPLE[second:end] + EXAMPLE[first:second] + EXAMPLE[end:]
    told = differences(POLICY, parse_policy(swapped.encode()))
    assert [change.sentence for change in told] == [
        "exclusions are tried in the order calls that go out, works council's line "
        "(was works council's line, calls that go out)"
    ]


def test_a_purpose_that_comes_is_new_in_all_that_it_means() -> None:
    new = '[[purpose]]\nid = "dispute"\nretention = "P90D"\nnotice = "n"\n'
    told = differences(POLICY, parse_policy((EXAMPLE + new).encode()))
    assert [(change.concern, change.key, change.sentence.rpartition("(")[2]) for change in told] == [
        (Concern.CALLERS, "purpose.dispute.caller", "new)"),
        (Concern.CALLERS, "purpose.dispute.third", "new)"),
        (Concern.AGENTS, "purpose.dispute.agent", "new)"),
        (Concern.AGENTS, "purpose.dispute.notice", "new)"),
        (Concern.LISTENERS, "purpose.dispute.roles", "new)"),
        (Concern.KEPT, "purpose.dispute.retention", "new)"),
    ]


ELSE = '"Something else"'
OTHERS = {
    "when": '"hour < 4"',
    "retention": '"P1D"',
    "length_ms": "1234",
    "sha256": f'"{"c" * 64}"',
    "rate": "0.5",
    "roles": '["agent"]',
    "signed_by": '["operator"]',
    "languages": '["de", "en", "fr"]',
    "teams": '["x"]',
    "beacon": '"drand"',
    "mode": '"asserted"',
    "withdraw": '"*7"',
    "pause": '"*7"',
    "yes": '"5"',
    "no": '"6"',
    "hand_picked": "false",
    "window_s": "3",
    "timezone": '"Europe/Rome"',
    "parent": '"south"',
    "agent_share": "0.9",
    "share": "0.9",
    "agent_week": "77",
    "people": "77",
    "calls": "77",
    **dict.fromkeys(("caller", "agent", "third"), '"contract"'),
}
FIXED = (
    "records =",
    "purpose =",
    'id = "training"',
    'name = "all"',
    'name = "ask-training"',
    "language =",
    'parent = "all"',
)
LINES = [
    (number, line.partition(" = ")[0])
    for number, line in enumerate(EXAMPLE.splitlines())
    if " = " in line and not line.startswith(FIXED)  # other lines speak of these; they have cases of their own above
]


@pytest.mark.parametrize("number, key", LINES)
def test_no_line_of_a_policy_changes_in_silence(number: int, key: str) -> None:
    lines = EXAMPLE.splitlines()
    lines[number] = f"{key} = {OTHERS.get(key, ELSE)}"
    assert differences(POLICY, parse_policy("\n".join(lines).encode())) != ()
