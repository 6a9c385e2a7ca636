"""Days and caps are renewed together; what fails is told once, and nobody is drawn by what cannot be read."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from keeper.drawing_site import announce, keeper_of, make_capped_site, today
from keeper.site_on_disk import running_keeper
from mitschnitt.config import Config
from mitschnitt.core.policy import Policy
from mitschnitt.errors import ConfigError, NoSpace
from mitschnitt.keeper.policies import Policies


def test_a_renewal_opens_the_day_and_is_news_once(tmp_path: Path) -> None:
    with keeper_of(make_capped_site(tmp_path)) as (keeper, _):
        drawing, now = keeper._drawing, datetime.now(UTC)
        assert drawing.days.today(now) is None
        assert [drawing.renew(keeper.view, now) for _ in range(2)] == [True, False]
        day = drawing.days.today(now)
        assert day is not None
        assert (day.day, day.policy_hash) == (today(), keeper.view.policy.hash)


def _first_answer(config: Config) -> Any:
    """What an announcement is told that waits at the door of a keeper which only just starts."""
    token = (config.directory / "secrets" / "control.token").read_text().strip()
    body = {"refs": [{"kind": "header", "value": "first"}]}
    with httpx.Client(trust_env=False, timeout=60, headers={"Authorization": f"Bearer {token}"}) as client:
        while True:
            with contextlib.suppress(httpx.ConnectError):
                return client.post(f"http://127.0.0.1:{config.control.port}/v1/calls", json=body).json()


@pytest.mark.thorough
def test_a_call_that_is_announced_while_the_keeper_starts_is_drawn_like_any_other(tmp_path: Path) -> None:
    config = make_capped_site(tmp_path, caps="", mode="announced")
    with ThreadPoolExecutor(1) as thread:
        told = thread.submit(_first_answer, config)
        with running_keeper(config):
            assert told.result(60)["ask"] is not None


def test_what_cannot_be_renewed_is_logged_once_and_raises_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(_now: datetime) -> list[str]:
        raise NoSpace("the database takes no more")

    with keeper_of(make_capped_site(tmp_path)) as (keeper, _):
        monkeypatch.setattr(keeper._drawing.days, "look_ahead", full)
        with caplog.at_level(logging.ERROR):
            assert [keeper._drawing.renew(keeper.view, datetime.now(UTC)) for _ in range(2)] == [False, False]
        assert len(caplog.records) == 1


def test_a_policy_that_cannot_be_read_draws_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_self: Policies, _day: date) -> Policy | None:
        raise ConfigError("policy: gone")

    with keeper_of(make_capped_site(tmp_path, caps="")) as (keeper, _):
        asyncio.run(keeper.renew_draw())
        assert asyncio.run(announce(keeper, 1, None))["ask"] is not None
        monkeypatch.setattr(Policies, "on", broken)
        asyncio.run(keeper.renew_draw())
        assert asyncio.run(announce(keeper, 2, None))["ask"] is None


def test_a_lost_secret_stops_the_start(tmp_path: Path) -> None:
    config = make_capped_site(tmp_path)
    with keeper_of(config) as (keeper, _):
        asyncio.run(keeper.renew_draw())
    (config.directory / "secrets" / "draw.key").unlink()
    with pytest.raises(ConfigError, match="days were drawn with it"), keeper_of(config):
        pass
