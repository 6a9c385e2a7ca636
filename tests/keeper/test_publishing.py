"""Lists are published beside the loop: nothing by a clock that is not trusted, and no failure ends the keeper."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import cast

import pytest
from sqlalchemy.exc import OperationalError

from mitschnitt.errors import NoSpace
from mitschnitt.keeper.draw_lists import DrawLists
from mitschnitt.keeper.publishing import Publishing

NOW = datetime(2026, 11, 27, 6, 0, tzinfo=UTC)


class Lists:
    """Remembers when it was asked; fails on order."""

    def __init__(self, *answers: list[str] | Exception) -> None:
        self._answers = list(answers)
        self.asked: list[datetime] = []

    def look(self, local: datetime) -> list[str]:
        self.asked.append(local)
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def publishing(lists: Lists, local: datetime | None = NOW) -> Publishing:
    return Publishing(cast(DrawLists, lists), lambda: local)


def test_days_that_are_over_are_published_at_the_local_time() -> None:
    lists = Lists(["2026-11-26"])
    assert publishing(lists).look() == ["2026-11-26"]
    assert lists.asked == [NOW]


def test_by_a_clock_that_is_not_trusted_nothing_is_published() -> None:
    lists = Lists()
    assert publishing(lists, None).look() == []
    assert lists.asked == []


def test_a_failure_is_said_once_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    locked = OperationalError("SELECT", {}, Exception("database is locked"))
    site = publishing(lists := Lists(locked, NoSpace("full"), OSError("gone"), ["2026-11-26"], NoSpace("full")))
    with caplog.at_level(logging.ERROR, "mitschnitt.keeper"):
        assert [site.look() for _ in range(4)] == [[], [], [], ["2026-11-26"]]
        assert len(caplog.records) == 1
        assert site.look() == []
        assert len(caplog.records) == 2
    assert len(lists.asked) == 5
