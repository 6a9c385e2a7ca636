"""A server that is opened again when its listening socket is lost, on real sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import pytest
import uvloop
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp

from mitschnitt.errors import ConfigError
from mitschnitt.keeper import serving
from mitschnitt.keeper.serving import serve_always

APP: ASGIApp = PlainTextResponse("here")


def bound(port: int = 0) -> socket.socket:
    """A listening socket of loopback."""
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", port))
    listening.listen()
    listening.setblocking(False)
    return listening


async def answers(port: int) -> bool:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    data = await reader.read()
    writer.close()
    return b"here" in data


async def until_it_answers(port: int) -> None:
    async with asyncio.timeout(60):
        while not await answers(port):
            await asyncio.sleep(0.02)


def play(monkeypatch: pytest.MonkeyPatch, bind: Callable[[int, list[int]], socket.socket]) -> list[int]:
    """The socket is lost once; how often a new one was asked for until it answered again."""
    monkeypatch.setattr(serving, "LOOK_SECONDS", 0.02)
    tries: list[int] = []

    async def scene() -> None:
        listening, stop = bound(), asyncio.Event()
        port: int = listening.getsockname()[1]
        task = asyncio.create_task(serve_always(APP, listening, lambda: bind(port, tries), stop))
        await until_it_answers(port)
        assert tries == []
        listening.shutdown(socket.SHUT_RDWR)
        await until_it_answers(port)
        stop.set()
        await task
        assert not await answers(port)

    uvloop.run(scene())
    return tries


def test_row_3_a_control_api_that_is_gone_is_opened_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def bind(port: int, tries: list[int]) -> socket.socket:
        tries.append(port)
        return bound(port)

    assert len(play(monkeypatch, bind)) == 1


def test_row_3_it_is_tried_until_the_port_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    def bind(port: int, tries: list[int]) -> socket.socket:
        tries.append(port)
        if len(tries) < 4:
            raise ConfigError("control: cannot listen")
        return bound(port)

    assert len(play(monkeypatch, bind)) == 4
