"""What is told to systemd, over a real datagram socket; and that nobody to tell stops nothing."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from mitschnitt.notify import VARIABLE, hearing, notify, watchdog_seconds


def test_without_anybody_who_listens_nothing_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert not notify(READY=1)
    monkeypatch.setenv(VARIABLE, str(tmp_path / "nobody.sock"))
    assert not notify(READY=1)


@pytest.mark.parametrize("name", ["path", "abstract"])
def test_a_message_is_one_datagram_of_lines(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    place = str(tmp_path / "notify.sock") if name == "path" else f"@mitschnitt-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(place.replace("@", "\0"))
        systemd.settimeout(60)
        monkeypatch.setenv(VARIABLE, place)
        assert notify(READY=1, STATUS="2 recorders")
        assert systemd.recv(100) == b"READY=1\nSTATUS=2 recorders"


def test_a_listener_that_does_not_read_holds_nobody_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    place = tmp_path / "notify.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(place))
        monkeypatch.setenv(VARIABLE, str(place))
        assert not all(notify(STATUS="x" * 1_000) for _ in range(10_000))


@pytest.mark.parametrize(
    "environment, seconds",
    [
        ({}, None),
        ({"WATCHDOG_USEC": "20000000"}, 20.0),
        ({"WATCHDOG_USEC": "20000000", "WATCHDOG_PID": str(os.getpid())}, 20.0),
        ({"WATCHDOG_USEC": "20000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdogs_wish_is_read(environment: Mapping[str, str], seconds: float | None) -> None:
    assert watchdog_seconds(environment) == seconds


def told(path: Path, tell: Callable[[], object]) -> list[Mapping[str, str]]:
    heard: list[Mapping[str, str]] = []

    async def listen() -> None:
        with hearing(path, heard.append):
            tell()
            async with asyncio.timeout(60):
                while not heard:
                    await asyncio.sleep(0.001)

    asyncio.run(listen())
    return heard


def test_parts_are_heard_by_the_same_datagrams(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    place = tmp_path / "notify.sock"
    monkeypatch.setenv(VARIABLE, str(place))
    assert told(place, lambda: notify(READY=1, X_PART="recorder-1")) == [{"READY": "1", "X_PART": "recorder-1"}]


def test_the_socket_of_an_earlier_life_is_replaced(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    place = tmp_path / "notify.sock"
    (tmp_path / "notify.new").write_text("half made")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as earlier:
        earlier.bind(str(place))
    monkeypatch.setenv(VARIABLE, str(place))
    assert told(place, lambda: notify(READY=1)) == [{"READY": "1"}]


def test_what_is_no_message_is_passed_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    place = tmp_path / "notify.sock"

    def tell() -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as anybody:
            anybody.sendto(b"\xff\nREADY=1=2\n\n=", str(place))

    assert told(place, tell) == [{"READY": "1=2", "": ""}]
