"""The receipt code: known answers, what a mistyped one is told, and that no error repeats a symbol."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitschnitt.core.call import CROCKFORD
from mitschnitt.core.receipt_code import CODE_BITS, CODE_SYMBOLS, is_sayable, read_code, write_code
from mitschnitt.errors import MalformedPacket

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "receipt" / "codes.json").read_text(encoding="utf-8"))
NUMBERS = st.integers(0, (1 << CODE_BITS) - 1).filter(is_sayable)


@pytest.mark.parametrize("vector", VECTORS["codes"])
def test_known_codes(vector: dict[str, str]) -> None:
    assert write_code(int(vector["number"])) == vector["code"]
    assert read_code(vector["code"]) == vector["code"].replace("-", "")[:CODE_SYMBOLS]


@pytest.mark.parametrize("number", [-1, 1 << CODE_BITS, 32, 36])
def test_a_number_that_makes_no_sayable_code_is_refused(number: int) -> None:
    with pytest.raises(ValueError, match="letter or digit"):
        write_code(number)


@given(NUMBERS)
def test_a_code_is_read_as_people_type_it(number: int) -> None:
    code = write_code(number)
    symbols = read_code(code)
    typed = code.lower().replace("-", "  ").replace("0", "o").replace("1", "l")
    assert read_code(typed) == symbols == read_code(f" {code} ")
    assert len(symbols) == CODE_SYMBOLS


@given(NUMBERS, st.integers(0, CODE_SYMBOLS), st.sampled_from(CROCKFORD))
def test_one_wrong_symbol_is_always_found(number: int, place: int, symbol: str) -> None:
    symbols = write_code(number).replace("-", "")
    wrong = symbols[:place] + symbol + symbols[place + 1 :]
    if wrong == symbols:
        assert read_code(wrong) == symbols[:-1]
    else:
        with pytest.raises(MalformedPacket, match="mistyped"):
            read_code(wrong)


@given(NUMBERS, st.integers(0, CODE_SYMBOLS - 2))
def test_two_symbols_that_changed_places_are_always_found(number: int, place: int) -> None:
    symbols = write_code(number).replace("-", "")
    swapped = symbols[:place] + symbols[place + 1] + symbols[place] + symbols[place + 2 :]
    if swapped != symbols:
        with pytest.raises(MalformedPacket, match="mistyped"):
            read_code(swapped)


@given(st.text(max_size=200))
def test_any_text_is_a_code_or_an_error_of_ours(text: str) -> None:
    try:
        symbols = read_code(text)
    except MalformedPacket:
        symbols = ""
    assert len(symbols) in (0, CODE_SYMBOLS)


@pytest.mark.parametrize("text", ["", "GEHEIM", "GEHEIM" * 40, "ZZZZZ-ZZZZZ-ZZZZZ-ZZZZZ-C"])
def test_no_error_repeats_what_was_typed(text: str) -> None:
    with pytest.raises(MalformedPacket, match="receipt code") as refused:
        read_code(text)
    assert not any(part and part in str(refused.value) for part in ("GEHEIM", "ZZZZZ"))
