"""Log lines: only what the allow-list knows."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

import pytest

from mitschnitt.log import ALLOWED_FIELDS, JsonLines, log_to_stderr


def line(**fields: Any) -> dict[str, Any]:
    record = logging.makeLogRecord({"name": "mitschnitt.keeper", "levelno": 20, "levelname": "INFO", **fields})
    parsed: dict[str, Any] = json.loads(JsonLines("keeper").format(record))
    return parsed


def test_a_line_is_a_sentence_with_allowed_fields() -> None:
    told = line(msg="recovered calls", count=3, recorder=1)
    assert (told["event"], told["count"], told["recorder"]) == ("recovered calls", 3, 1)
    assert (told["level"], told["part"]) == ("info", "keeper")


def test_numbers_names_and_rules_have_no_field() -> None:
    told = line(msg="act", caller="sip:+491234567@x", rule="consent.caller.refused", call="0" * 26, digit="2")
    assert not {"caller", "rule", "call", "digit"} & told.keys()
    assert not {"caller", "rule", "call", "digit", "agent", "party"} & ALLOWED_FIELDS


def test_arguments_are_not_merged_into_the_sentence() -> None:
    assert line(msg="from %s", args=("sip:+491234567@x",))["event"] == "from %s"


def test_an_exception_shows_its_type_and_place_but_not_its_text() -> None:
    try:
        raise ValueError("+491234567")
    except ValueError:
        told = line(msg="failed", exc_info=sys.exc_info())
    assert told["error"] == "ValueError"
    assert "test_an_exception" in told["place"]
    assert "+49" not in json.dumps(told)


def test_a_message_that_is_no_text_shows_its_type_only() -> None:
    assert line(msg=ValueError("+491234567"))["event"] == "ValueError"


def test_the_process_logs_json_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        log_to_stderr("keeper")
        logging.getLogger("mitschnitt.keeper").info("keeper is ready", extra={"version": 1})
        told = json.loads(capsys.readouterr().err)
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    assert told["event"] == "keeper is ready"
    assert logging.getLogger("uvicorn.access").disabled
