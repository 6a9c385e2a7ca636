"""G.711 against tables written by another program and against the formula of the recommendation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from mitschnitt.wire import g711
from mitschnitt.wire.g711 import Law

VECTORS = Path(__file__).parent.parent / "vectors" / "g711"
EVERY_CODE = bytes(range(256))
EVERY_SAMPLE: npt.NDArray[np.int16] = np.arange(-32768, 32768).astype(np.int16)


def table(law: Law) -> list[int]:
    lines = (VECTORS / f"{law.lower()}-decode.txt").read_text().splitlines()
    return [int(word) for line in lines if not line.startswith("#") for word in line.split()]


def a_law_by_formula(code: int) -> int:
    bits = code ^ 0x55
    segment, step = bits >> 4 & 7, bits & 15
    magnitude = 2 * step + 1 if segment == 0 else (2 * step + 33) << (segment - 1)  # 13-bit numbers, times 2
    return 8 * (magnitude if bits & 0x80 else -magnitude)


def mu_law_by_formula(code: int) -> int:
    bits = ~code & 0xFF
    magnitude = ((2 * (bits & 15) + 33) << (bits >> 4 & 7)) - 33  # 14-bit numbers
    return 4 * (-magnitude if bits & 0x80 else magnitude)


@pytest.mark.parametrize("law", list(Law))
def test_every_code_decodes_to_what_another_program_says(law: Law) -> None:
    assert g711.decode(EVERY_CODE, law).tolist() == table(law)


def test_every_code_decodes_to_the_formula_of_the_recommendation() -> None:
    assert g711.decode(EVERY_CODE, Law.PCMA).tolist() == [a_law_by_formula(code) for code in range(256)]
    assert g711.decode(EVERY_CODE, Law.PCMU).tolist() == [mu_law_by_formula(code) for code in range(256)]


@pytest.mark.parametrize("law", list(Law))
def test_decoded_codes_encode_to_themselves_but_for_the_two_zeros_of_mu_law(law: Law) -> None:
    again = g711.encode(g711.decode(EVERY_CODE, law), law)
    differing = [code for code in range(256) if again[code] != code]
    assert differing == ([] if law is Law.PCMA else [0x7F])  # minus zero becomes plus zero


@pytest.mark.parametrize("law", list(Law))
def test_no_sample_moves_by_more_than_half_an_interval(law: Law) -> None:
    clipped = np.clip(EVERY_SAMPLE.astype(int), -32_256, 32_256)
    moved = np.abs(g711.decode(g711.encode(EVERY_SAMPLE, law), law).astype(int) - clipped)
    assert (moved <= np.maximum(16, (np.abs(clipped) + 132) / 32)).all()


@pytest.mark.parametrize("law", list(Law))
def test_encoding_never_falls_when_the_sample_rises(law: Law) -> None:
    decoded = g711.decode(g711.encode(EVERY_SAMPLE, law), law).astype(int)
    assert (np.diff(decoded) >= 0).all()


def test_known_samples_have_the_codes_that_every_telephone_sends() -> None:
    silence = np.zeros(1, np.int16)
    assert g711.encode(silence, Law.PCMA) == b"\xd5"
    assert g711.encode(silence, Law.PCMU) == b"\xff"
    assert g711.silence(Law.PCMA) == 0xD5
    loudest: npt.NDArray[np.int16] = np.array([32767, -32768], np.int16)
    assert g711.encode(loudest, Law.PCMA) == b"\xaa\x2a"
    assert g711.encode(loudest, Law.PCMU) == b"\x80\x00"


def test_arrays_and_memory_views_are_taken_as_they_are() -> None:
    codes = np.frombuffer(EVERY_CODE, np.uint8)
    assert (g711.decode(codes, Law.PCMA) == g711.decode(memoryview(EVERY_CODE), Law.PCMA)).all()
    assert g711.decode(b"", Law.PCMA).size == 0
