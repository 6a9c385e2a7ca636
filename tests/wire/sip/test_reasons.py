"""Reason headers: ours say nothing that the gate keeps quiet, theirs are read and bounded (RFC 3326)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitschnitt.wire.sip import reasons
from mitschnitt.wire.sip.message import Headers
from mitschnitt.wire.sip.reasons import MAX_TEXT_CHARS, NORMAL, EndReason, end_reason, reason_header

OURS = [value for value in vars(reasons).values() if isinstance(value, EndReason)]
TELLING = ("consent", "refus", "withdr", "record", "draw", "agree", "policy", "kept", "party", "ask")


def read(*values: str) -> EndReason | None:
    return end_reason(Headers.of([("Reason", value) for value in values]))


@pytest.mark.parametrize("reason", OURS, ids=lambda reason: reason.text)
def test_no_reason_of_ours_tells_what_the_gate_decided_and_each_is_read_back(reason: EndReason) -> None:
    assert len(OURS) == 6
    assert not any(word in reason.text.lower() for word in TELLING)
    assert read(reason_header(reason)[1]) == reason


@pytest.mark.parametrize(
    "value, found",
    [
        ('SIP;cause=200;text="Call completed elsewhere"', EndReason("SIP", 200, "Call completed elsewhere")),
        (' Q.850 ; cause=16 ;text="a, b; \\"c\\""', EndReason("Q.850", 16, 'a, b; "c"')),
        ("RELEASE_CAUSE;cause=1", EndReason("RELEASE_CAUSE", 1)),
        ("SIP", EndReason("SIP")),
        ("SIP;cause=many;text=x", EndReason("SIP", None, "x")),
        ("SIP;cause=2000", EndReason("SIP")),
        ("", None),
        (";cause=16", None),
        ("two words;cause=16", None),
        ("X" * 40 + ";cause=1", None),
        ("SIP;" + ";".join(f"a{number}" for number in range(70)), None),
    ],
)
def test_a_reason_of_a_peer_is_read_or_left_out(value: str, found: EndReason | None) -> None:
    assert read(value) == found


def test_the_first_that_can_be_read_counts() -> None:
    assert read("<>, Q.850;cause=31", "SIP;cause=200") == EndReason("Q.850", 31)
    assert read() is None
    assert read(",".join(["x y"] * 70)) is None


def test_a_text_is_bounded_and_harmless() -> None:
    found = read(f'SIP;text="{"x" * 500}"')
    assert found is not None
    assert found.text == "x" * MAX_TEXT_CHARS
    odd = read('SIP;text="a\tb"')
    assert odd is not None
    assert odd.text == "a b"


@given(st.text(max_size=60))
def test_nothing_that_a_peer_writes_makes_it_raise(value: str) -> None:
    found = read(value)
    assert found is None or found.protocol
    assert str(NORMAL) == 'Q.850;cause=16;text="Normal call clearing"'
