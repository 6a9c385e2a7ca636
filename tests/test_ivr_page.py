"""docs/ivr.md is what the control API takes and answers: each example is read by the API's own models."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from pydantic import BaseModel

from mitschnitt.gateways.speech import prompt
from mitschnitt.keeper.control import ActBody, AskedBody, CallAnswer, CallBody, PartyBody
from source import ROOT
from test_silence import control, routes

PAGE = (ROOT / "docs" / "ivr.md").read_text(encoding="utf-8")
EXAMPLES: list[dict[str, Any]] = [json.loads(text) for text in re.findall(r"```json\n(.*?)```", PAGE, flags=re.DOTALL)]
MODELS = (CallBody, CallAnswer, AskedBody, ActBody, PartyBody)


@pytest.mark.parametrize("example, model", list(zip(EXAMPLES, MODELS, strict=True)))
def test_an_example_is_what_the_api_reads_or_says(example: dict[str, Any], model: type[BaseModel]) -> None:
    read = model.model_validate(example).model_dump(by_alias=True, exclude_unset=True)
    assert read == example


def test_the_questions_of_the_examples_are_those_that_are_shipped() -> None:
    told = EXAMPLES[1]
    for ask in (told["ask"], *told["further"]):
        shipped = prompt(ask["prompt"], ask["language"])
        assert (ask["sha256"], ask["length_ms"]) == (shipped.sha256, shipped.length_ms)


def test_every_route_of_the_api_is_on_the_page() -> None:
    posts = [route for route in routes(control()) if route.startswith("POST ")]
    assert posts
    assert [route for route in posts if f"`{route}`" not in PAGE] == []
