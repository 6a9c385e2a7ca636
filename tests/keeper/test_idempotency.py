"""Idempotency: the same request twice, the same key for two."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from mitschnitt.errors import NotAllowed, TooLarge
from mitschnitt.keeper.idempotency import REMEMBER, Answer, Answers, fingerprint

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
REQUEST = fingerprint("/v1/calls", b"{}")


def answer(at: datetime = NOW) -> Answer:
    return Answer(REQUEST, 201, {"call": "x"}, at)


def test_the_same_request_gets_the_same_answer() -> None:
    answers = Answers()
    assert answers.find("k", REQUEST, NOW) is None
    answers.keep("k", answer())
    assert answers.find("k", REQUEST, NOW) == answer()


def test_a_key_of_another_request_is_refused() -> None:
    answers = Answers()
    answers.keep("k", answer())
    for path, body in (("/v1/calls", b"{ }"), ("/v1/calls/x/acts", b"{}")):
        with pytest.raises(NotAllowed, match="request.key_reused"):
            answers.find("k", fingerprint(path, body), NOW)


def test_an_answer_is_forgotten_after_its_time() -> None:
    answers = Answers()
    answers.keep("k", answer())
    assert answers.find("k", REQUEST, NOW + REMEMBER) is not None
    assert answers.find("k", REQUEST, NOW + REMEMBER + timedelta(seconds=1)) is None


def test_the_oldest_answers_make_room() -> None:
    answers = Answers(limit=2)
    for key in "abc":
        answers.keep(key, answer())
    assert [answers.find(key, REQUEST, NOW) is None for key in "abc"] == [True, False, False]
    answers.keep("d", answer(NOW + REMEMBER + timedelta(seconds=1)))
    assert answers.find("c", REQUEST, NOW) is None


@pytest.mark.parametrize("key", ["", "k" * 201])
def test_a_key_that_is_none_is_refused(key: str) -> None:
    with pytest.raises(TooLarge, match="1 to 200 characters"):
        Answers().find(key, REQUEST, NOW)
