"""Answers to OPTIONS, explained: files by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mitschnitt.wire.findings import findings_from_json, findings_to_json
from mitschnitt.wire.sip.message import Headers, Response, parse_message
from mitschnitt.wire.sip.options import read_options

VECTORS = Path(__file__).parents[2] / "vectors" / "options"
EXPECTED: dict[str, list[str]] = json.loads((VECTORS / "expected.json").read_text(encoding="utf-8"))


def answer(name: str) -> Response:
    message = parse_message((VECTORS / f"{name}.sip").read_bytes())
    assert isinstance(message, Response)
    return message


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_an_answer_is_explained_header_by_header(name: str) -> None:
    found = read_options(answer(name), ms=12)
    assert [finding.code for finding in found] == EXPECTED[name]
    assert findings_from_json(findings_to_json(found)) == found


def test_it_says_how_fast_the_answer_was_and_what_it_comes_from() -> None:
    sentences = [finding.sentence for finding in read_options(answer("rich"), ms=12)]
    assert sentences[:2] == ["answered 200 in 12 ms", "says it is Border-Example/7.4 (build 12)"]


def test_a_product_with_signs_of_its_own_is_told_in_ours() -> None:
    headers = Headers.of([("Server", "\x85évil\udcff" * 40)])
    product = read_options(Response(headers, b"", 200), ms=1)[1]
    assert set(str(product.values["product"])) <= set(".vil")
    assert findings_from_json(findings_to_json([product])) == [product]
