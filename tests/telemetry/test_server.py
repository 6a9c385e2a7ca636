"""Health and figures over HTTP: small answers, and nobody can make them dear."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable

import httpx
import pytest

from mitschnitt.telemetry import server as module
from mitschnitt.telemetry.metrics import Figure, Kind, Page
from mitschnitt.telemetry.server import MAX_CONNECTIONS, MAX_HEAD_BYTES, Condition, TelemetryServer

PATIENCE_SECONDS = 60.0


def run(
    scene: Callable[[TelemetryServer], Awaitable[None]], *, alive: tuple[str, ...] = (), ready: tuple[str, ...] = ()
) -> None:
    async def play() -> None:
        table = (Figure("recorder_calls", Kind.GAUGE, "calls that run"),)
        page = Page(table, lambda: {"recorder_calls": 7}, ended=lambda: 0, clock=lambda: 0.0)
        server = TelemetryServer(page, Condition(lambda: alive, lambda: ready))
        await server.start("127.0.0.1", 0)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await scene(server)
        finally:
            await server.stop()

    asyncio.run(play())


async def get(server: TelemetryServer, path: str, method: str = "GET") -> httpx.Response:
    async with httpx.AsyncClient() as client:
        return await client.request(method, f"http://127.0.0.1:{server.port}{path}")


async def raw(server: TelemetryServer, sent: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(sent)
    answer = await reader.read()
    writer.close()
    return answer


def test_figures_are_served_as_text_or_openmetrics() -> None:
    async def scene(server: TelemetryServer) -> None:
        answer = await get(server, "/metrics")
        assert answer.status_code == 200
        assert "mitschnitt_recorder_calls 7.0\n" in answer.text
        headers = b"accept: text/html\r\nACCEPT: application/openmetrics-text; version=1.0.0\r\n\r\n"
        asked = b"GET /metrics HTTP/1.1\r\n" + headers
        assert b"application/openmetrics-text" in await raw(server, asked)
        odd = b"GET /metrics HTTP/1.1\r\nAccept: application/openmetrics-text; version=x.y\r\n\r\n"
        assert (await raw(server, odd)).startswith(b"HTTP/1.1 200 OK\r\n")

    run(scene)


def test_a_process_that_is_well_is_alive_and_ready() -> None:
    async def scene(server: TelemetryServer) -> None:
        health, ready = await get(server, "/healthz"), await get(server, "/readyz?verbose")
        assert (health.status_code, health.json()) == (200, {"alive": True, "reasons": []})
        assert (ready.status_code, ready.json()) == (200, {"ready": True, "reasons": []})

    run(scene)


def test_what_is_wrong_is_said_by_name() -> None:
    async def scene(server: TelemetryServer) -> None:
        health, ready = await get(server, "/healthz"), await get(server, "/readyz")
        assert (health.status_code, health.json()["reasons"]) == (503, ["media_stalled"])
        assert (ready.status_code, ready.json()["reasons"]) == (503, ["view_stale", "draining"])

    run(scene, alive=("media_stalled",), ready=("view_stale", "draining"))


def test_head_has_the_same_headers_and_no_body() -> None:
    async def scene(server: TelemetryServer) -> None:
        answer = await raw(server, b"HEAD /readyz HTTP/1.1\r\n\r\n")
        assert b"Content-Length: 31\r\n" in answer
        assert answer.endswith(b"\r\n\r\n")
        assert len((await get(server, "/readyz")).content) == 31

    run(scene)


@pytest.mark.parametrize(
    "sent, status",
    [
        (b"POST /metrics HTTP/1.1\r\n\r\n", b"405"),
        (b"GET /calls HTTP/1.1\r\n\r\n", b"404"),
        (b"GET / HTTP/1.1\r\n\r\n", b"404"),
        (b"GET /metrics\r\n\r\n", b"400"),
        (b"\x16\x03\x01\x02\x00\r\n\r\n", b"400"),
        (b"GET /metrics HTTP/2.0\r\n\r\n", b"400"),
        (b"GET /metrics HTTP/1.1\r\nX: " + b"a" * MAX_HEAD_BYTES + b"\r\n\r\n", b"431"),
    ],
)
def test_what_is_no_question_gets_a_short_answer(sent: bytes, status: bytes) -> None:
    async def scene(server: TelemetryServer) -> None:
        assert (await raw(server, sent)).split(b" ")[1] == status
        assert (await get(server, "/healthz")).status_code == 200

    run(scene)


def test_who_never_finishes_a_question_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REQUEST_SECONDS", 0.05)

    async def scene(server: TelemetryServer) -> None:
        assert await raw(server, b"GET /metrics HTTP/1.1\r\n") == b""

    run(scene)


def test_idle_connections_take_no_more_than_their_share() -> None:
    async def scene(server: TelemetryServer) -> None:
        idle = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(MAX_CONNECTIONS)]
        assert (await raw(server, b"")).split(b" ")[1] == b"503"
        for _, writer in idle:
            writer.close()
        while (await get(server, "/healthz")).status_code != 200:
            await asyncio.sleep(0.01)

    run(scene)


def test_a_port_that_is_taken_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def scene(server: TelemetryServer) -> None:
        page = Page((), dict, ended=lambda: 0, clock=lambda: 0.0)
        second = TelemetryServer(page, Condition(lambda: (), lambda: ()))
        with caplog.at_level(logging.ERROR):
            await second.start("127.0.0.1", server.port)
        assert second.port == 0
        assert "cannot be listened on" in caplog.text
        await second.stop()
        assert json.loads((await get(server, "/healthz")).content)["alive"]

    run(scene)
