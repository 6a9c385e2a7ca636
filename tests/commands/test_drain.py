"""`serve --drain` asks the keeper, waits until nobody holds the directory, and says so."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from mitschnitt.commands import drain
from mitschnitt.commands.door_client import NotReachable
from mitschnitt.errors import ConfigError
from mitschnitt.supervisor import one_serve_only


class PlayedDoor:
    """Says what the keeper would; then it is gone."""

    def __init__(self, *told: dict[str, Any]) -> None:
        self.asked: list[tuple[str, Any]] = []
        self._told: Iterator[dict[str, Any]] = iter(told)

    def post(self, path: str, body: Any) -> Any:
        self.asked.append((path, body))
        return self._next()

    def get(self, path: str) -> Any:
        self.asked.append((path, None))
        return self._next()

    def _next(self) -> dict[str, Any]:
        for told in self._told:
            return told
        raise NotReachable("no keeper answers")


@pytest.fixture(name="site")
def directory(tmp_path: Path) -> Path:
    (tmp_path / "config.toml").write_text("", encoding="utf-8")
    (tmp_path / "run").mkdir()
    return tmp_path


def told(running: int) -> dict[str, Any]:
    return {"draining": True, "running": running, "left_s": 900}


def test_it_waits_for_the_calls_and_then_for_the_processes(
    site: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    door = PlayedDoor(told(2), told(1), told(0))
    monkeypatch.setattr(drain, "Door", lambda _: door)
    naps: list[float] = []
    with ExitStack() as serving:
        serving.enter_context(one_serve_only(site / "run" / "serve.lock"))

        def sleep(seconds: float) -> None:
            naps.append(seconds)
            if len(naps) == 6:
                serving.close()

        assert drain.run(site, within="15m", as_json=False, sleep=sleep) == 0
    assert door.asked == [("/drain", {"role": "operator", "within_s": 900}), *[("/drain", None)] * 3]
    assert len(naps) == 6
    assert capsys.readouterr().out == "drained: `mitschnitt serve` has ended\n"


def test_without_a_time_calls_may_last_as_long_as_any_call(
    site: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    door = PlayedDoor(told(0))
    monkeypatch.setattr(drain, "Door", lambda _: door)
    assert drain.run(site, within="", as_json=True, sleep=lambda _: None) == 0
    assert door.asked[0][1]["within_s"] == 86_400
    assert json.loads(capsys.readouterr().out) == {"ended": True}


def test_where_nobody_serves_there_is_nothing_to_drain(site: Path) -> None:
    with pytest.raises(NotReachable, match="is `mitschnitt serve` running"):
        drain.run(site, within="", as_json=False)


@pytest.mark.parametrize("text, seconds", [("0s", 0), ("90s", 90), ("15m", 900), ("24h", 86_400)])
def test_a_time_has_its_unit(text: str, seconds: int) -> None:
    assert drain.seconds(text) == seconds


@pytest.mark.parametrize("text", ["15", "m", "1d", "-1s", "25h", "15 m", "1e3s"])
def test_what_is_no_time_is_wrong_usage(text: str) -> None:
    with pytest.raises(ConfigError, match="--within"):
        drain.seconds(text)
