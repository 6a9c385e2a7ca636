"""What bindings rest on, in and out of the database: no name, number or address gets through."""

from __future__ import annotations

from typing import Any

import pytest

from mitschnitt.keeper.bindings import MAX_BINDINGS, binding_text, binding_told

ONE: dict[str, Any] = {"label": "1", "session": 0, "association": "participantstreamassoc", "cname": None}


def test_records_are_told_as_they_were_written() -> None:
    other = {**ONE, "session": 1, "association": "inline", "cname": True}
    assert binding_told(binding_text([ONE, other])) == [ONE, other]


def test_a_row_of_an_older_program_has_none() -> None:
    assert binding_told(None) == []


@pytest.mark.parametrize("data", [None, {}, "1", [1], [{}]])
def test_what_is_no_list_of_records_is_none(data: object) -> None:
    assert binding_told(binding_text(data)) == []


@pytest.mark.parametrize(
    "change",
    [
        {"label": 1},
        {"label": "x" * 33},
        {"label": "a b"},
        {"session": "0"},
        {"session": True},
        {"association": "hearsay"},
        {"cname": "anna@pc"},
    ],
)
def test_a_record_that_says_something_else_is_left_out(change: dict[str, Any]) -> None:
    assert binding_told(binding_text([{**ONE, **change}])) == []


def test_what_nobody_asked_for_is_left_out_of_a_record() -> None:
    assert binding_told(binding_text([{**ONE, "aor": "sip:anna@example.org"}])) == [ONE]


def test_the_newest_records_are_kept() -> None:
    many = [{**ONE, "session": number} for number in range(MAX_BINDINGS + 5)]
    assert binding_told(binding_text(many)) == many[5:]
