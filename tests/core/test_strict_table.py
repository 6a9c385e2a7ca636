"""A table that is read strictly: what it tells of a key that is wrong."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from typing import Any

import pytest

from mitschnitt.core.strict_table import StrictTable
from mitschnitt.errors import ConfigError


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


def table(**values: Any) -> StrictTable:
    return StrictTable("policy", (), values, {("rate",): 7})


def test_an_error_names_file_line_heading_and_nearest_key() -> None:
    with pytest.raises(ConfigError) as told:
        table(rate=1).only(["rat", "share"])
    assert str(told.value) == (
        "policy: line 7: [top level] has the unknown key `rate`; nearest is `rat`; known are rat, share"
    )


def test_where_no_line_is_known_none_is_told() -> None:
    with pytest.raises(ConfigError) as told:
        table(zzz=1).only(["rate"])
    assert str(told.value) == "policy: [top level] has the unknown key `zzz`; known are rate"


def test_headings_are_those_of_the_file() -> None:
    top = StrictTable("policy", (), {"caps": {"a": 1}, "stratum": [{"a": 1}, {"a": 1}]}, {})
    assert top.section("caps", ["a"]).heading == "[caps]"
    assert [item.heading for item in top.sections("stratum", ["a"], most=2)] == ["[[stratum]] 1", "[[stratum]] 2"]


@pytest.mark.parametrize("value, expected", [(1, 1), (0, 0), (Decimal("0.1"), Fraction(1, 10)), (Decimal("1.0"), 1)])
def test_a_share_is_exactly_what_is_written(value: object, expected: Fraction) -> None:
    assert table(rate=value).share("rate") == expected


def test_what_may_be_missing_has_its_default() -> None:
    nothing = table()
    assert nothing.text("a", "b") == "b"
    assert nothing.texts("a", ("b",)) == ("b",)
    assert nothing.whole("a", low=1, high=2, default=2) == 2
    assert nothing.choice("a", Colour, Colour.BLUE) is Colour.BLUE
    assert nothing.flag("a") is False
    assert nothing.section("a", [], optional=True).values == {}
    assert nothing.sections("a", [], most=1) == []


@pytest.mark.parametrize(
    "value, sentence",
    [
        (None, "needs `k` as text"),
        (True, "needs `k` as text, found True"),
        ("", "1 to 1000 characters, found 0"),
        ("  ", "1 to 1000 characters"),
        ("x" * 1001, "1 to 1000 characters, found 1001"),
        ({}, "needs `k` as text, found a section"),
        ([], "needs `k` as text, found a list"),
    ],
)
def test_a_text_that_is_none_is_refused(value: object, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        table(k=value).text("k")


def test_a_word_of_no_enumeration_is_refused() -> None:
    with pytest.raises(ConfigError, match="must be one of red, blue, found 'green'"):
        table(k="green").choice("k", Colour)
