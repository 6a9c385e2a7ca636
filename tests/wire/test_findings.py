"""Findings: the catalogue holds together, and nothing but counts and plain words gets through."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitschnitt.errors import MalformedPacket
from mitschnitt.wire.findings import (
    CATALOGUE,
    MAX_FINDINGS,
    Finding,
    Severity,
    findings_from_json,
    findings_to_json,
)

VECTORS = Path(__file__).parents[1] / "vectors" / "findings"
REFUSED: dict[str, Any] = json.loads((VECTORS / "refused.json").read_text(encoding="utf-8"))


def sample(code: str) -> Finding:
    return Finding(code, {name: "UPDATE" if name == "method" else 7 for name in CATALOGUE[code].values})


@pytest.mark.parametrize("code", sorted(CATALOGUE))
def test_a_finding_says_itself_and_what_to_do_about_it(code: str) -> None:
    finding = sample(code)
    assert "{" not in finding.sentence + finding.todo
    assert finding.todo or finding.severity is Severity.FINE
    assert findings_from_json(json.loads(json.dumps(findings_to_json([finding])))) == [finding]


def test_no_finding_speaks_of_consent() -> None:
    words = ("agree", "consent", "refused by", "withdr", "kept since")
    told = [f"{meaning.sentence} {meaning.todo}" for meaning in CATALOGUE.values()]
    assert [text for text in told if any(word in text for word in words)] == []


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_is_no_list_of_findings_is_refused(name: str) -> None:
    with pytest.raises(MalformedPacket, match=r"findings?"):
        findings_from_json(REFUSED[name])


def test_more_findings_than_a_session_can_have_are_refused_and_not_sent() -> None:
    many = [sample("ack.missing")] * (MAX_FINDINGS + 1)
    assert len(findings_to_json(many)) == MAX_FINDINGS
    with pytest.raises(MalformedPacket, match="at most 32"):
        findings_from_json([*findings_to_json(many), *findings_to_json(many)])


@given(st.recursive(st.none() | st.integers() | st.text(max_size=4), lambda s: st.lists(s) | st.dictionaries(st.sampled_from(["code", "values"]), s), max_leaves=8))  # fmt: skip # noqa: E501
def test_any_value_is_findings_or_a_malformed_packet(value: Any) -> None:
    try:
        found = findings_from_json(value)
    except MalformedPacket:
        return
    assert all(finding.code in CATALOGUE for finding in found)
