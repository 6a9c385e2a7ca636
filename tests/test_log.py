"""Log lines: only what the allow-list knows."""

from __future__ import annotations

import io
import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from mitschnitt.log import (
    AGAIN_SECONDS,
    ALLOWED_FIELDS,
    MAX_SENTENCES,
    MOST_SAID,
    JsonLines,
    Lines,
    is_journal,
    log_to_stderr,
)


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


class Written:
    """Lines as a process writes them, at times that the test gives."""

    def __init__(self, *, numbered: bool = False) -> None:
        self._stream = io.StringIO()
        self.lines = Lines(self._stream, JsonLines("keeper"), numbered=numbered)

    def say(self, sentence: str, seconds: float, level: int = logging.WARNING, **fields: Any) -> None:
        record = {"msg": sentence, "levelno": level, "levelname": logging.getLevelName(level), "created": seconds}
        self.lines.handle(logging.makeLogRecord({"name": "mitschnitt.keeper", **record, **fields}))

    def told(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._stream.getvalue().splitlines()]

    def text(self) -> str:
        return self._stream.getvalue()


def test_a_flood_of_one_sentence_is_said_some_times_and_then_counted() -> None:
    written = Written()
    for number in range(1_000):
        written.say("leak", number / 1_000)
    assert [line["event"] for line in written.told()] == ["leak"] * MOST_SAID
    written.say("ready", AGAIN_SECONDS + 1, logging.INFO)
    last, ready = written.told()[MOST_SAID:]
    assert (last["event"], last["again"], last["level"]) == ("leak", 1_000 - MOST_SAID, "warning")
    assert ready["event"] == "ready"
    assert "again" not in ready


def test_a_flood_hides_no_other_sentence() -> None:
    written = Written()
    for _ in range(50):
        written.say("leak", 1.0)
    written.say("leak", 1.0, logging.ERROR)
    written.say("the disk takes no more; a call is closed", 1.0, logging.ERROR)
    assert [line["level"] for line in written.told()[MOST_SAID:]] == ["error", "error"]


def test_after_a_while_a_sentence_is_said_again() -> None:
    written = Written()
    for second in range(3):
        for _ in range(MOST_SAID):
            written.say("leak", 100.0 + second * AGAIN_SECONDS)
    assert len(written.told()) == 3 * MOST_SAID


def test_a_clock_that_was_set_back_holds_nothing_back_for_long() -> None:
    written = Written()
    for _ in range(MOST_SAID + 5):
        written.say("leak", 1_000.0)
    written.say("leak", 10.0)
    assert [line.get("again") for line in written.told()] == [None] * MOST_SAID + [5, None]


def test_what_was_held_back_is_told_at_the_end() -> None:
    written = Written()
    for _ in range(MOST_SAID + 3):
        written.say("leak", 1.0)
    written.lines.close()
    assert written.told()[-1]["again"] == 3


def test_ever_new_sentences_do_not_fill_the_memory() -> None:
    written = Written()
    for number in range(MAX_SENTENCES * 3):
        written.say(f"sentence {number}", 1.0)
    assert len(written.lines._said) == MAX_SENTENCES


def test_each_line_begins_with_its_priority_where_journald_reads() -> None:
    written = Written(numbered=True)
    for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL):
        written.say("x", 1.0, level)
    assert [line[:4] for line in written.text().splitlines()] == ["<7>{", "<6>{", "<4>{", "<3>{", "<2>{"]


def test_journald_is_known_by_the_stream_that_it_reads(tmp_path: Path) -> None:
    with (tmp_path / "stream").open("w") as stream:
        found = os.fstat(stream.fileno())
        assert is_journal(stream, {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"})
        assert not is_journal(stream, {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino + 1}"})
        assert not is_journal(stream, {})
    assert not is_journal(io.StringIO(), {"JOURNAL_STREAM": "1:2"})
