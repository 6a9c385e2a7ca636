"""`/metrics`, `/healthz` and `/readyz` over HTTP/1.1: one small answer to a connection, then it is closed.

Runs on the loop of the process that it tells about, so whoever asks costs it little: few connections at a time,
short requests, no body is read. Changes nothing, and knows nothing of any call.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from mitschnitt.telemetry.metrics import Page

MAX_CONNECTIONS = 8  # at a time; a monitor and a probe use two
MAX_HEAD_BYTES = 4_096  # of a request; Prometheus sends 300
REQUEST_SECONDS = 5.0  # until a request is whole; who dribbles is cut off
JSON_TYPE = "application/json"
TEXT_TYPE = "text/plain; charset=utf-8"

log = logging.getLogger("mitschnitt.telemetry")


@dataclass(frozen=True, slots=True)
class Condition:
    """Why a process is not alive or not ready, by names that an operator may see; empty when all is well."""

    alive: Callable[[], Sequence[str]]
    ready: Callable[[], Sequence[str]]


class TelemetryServer:
    """Serves one page and one condition until stopped. `port` is the bound port, 0 while there is none."""

    def __init__(self, page: Page, condition: Condition) -> None:
        self._page = page
        self._condition = condition
        self._server: asyncio.Server | None = None
        self._open = 0
        self.port = 0

    async def start(self, host: str, port: int) -> None:
        """Listens. A port that cannot be had is a line in the log: nobody stops recording for want of a figure."""
        try:
            self._server = await asyncio.start_server(self._serve, host, port, limit=MAX_HEAD_BYTES)
        except OSError as error:
            told = {"port": port, "errno": error.errno}
            log.error("the port for metrics cannot be listened on; nothing is told there", extra=told)
            return
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Listens no more."""
        if self._server is not None:
            self._server.close()
            self._server, self.port = None, 0

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            if self._open > MAX_CONNECTIONS:
                writer.write(_answer(HTTPStatus.SERVICE_UNAVAILABLE, b"too many connections\n", TEXT_TYPE))
            else:
                writer.write(await self._answer_to(reader))
            async with asyncio.timeout(REQUEST_SECONDS):
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except (OSError, TimeoutError):
            writer.transport.abort()
        finally:
            self._open -= 1
            writer.close()

    async def _answer_to(self, reader: asyncio.StreamReader) -> bytes:
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            return _answer(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, b"", TEXT_TYPE)
        except asyncio.IncompleteReadError:
            return b""
        lines = head.decode("latin-1").split("\r\n")
        words = lines[0].split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            return _answer(HTTPStatus.BAD_REQUEST, b"", TEXT_TYPE)
        method, target, _ = words
        if method not in ("GET", "HEAD"):
            return _answer(HTTPStatus.METHOD_NOT_ALLOWED, b"", TEXT_TYPE, allow=True)
        answer = self._page_at(target.partition("?")[0], _header(lines[1:], "accept"))
        return answer.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if method == "HEAD" else answer

    def _page_at(self, path: str, accept: str) -> bytes:
        if path == "/metrics":
            return _answer(HTTPStatus.OK, *self._page.text(accept))
        if path == "/healthz":
            return _condition("alive", self._condition.alive())
        if path == "/readyz":
            return _condition("ready", self._condition.ready())
        return _answer(HTTPStatus.NOT_FOUND, b"", TEXT_TYPE)


def _condition(what: str, reasons: Sequence[str]) -> bytes:
    status = HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK
    body = json.dumps({what: not reasons, "reasons": list(reasons)}).encode() + b"\n"
    return _answer(status, body, JSON_TYPE)


def _header(lines: Sequence[str], wanted: str) -> str:
    """The values of a header, joined as RFC 9110 (5.2) joins them."""
    pairs = (line.partition(":") for line in lines)
    return ", ".join(value.strip() for name, _, value in pairs if name.strip().lower() == wanted)


def _answer(status: HTTPStatus, body: bytes, content_type: str, *, allow: bool = False) -> bytes:
    head = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
        "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
        *(["Allow: GET, HEAD"] if allow else []),
        "Connection: close",
    ]
    return "\r\n".join([*head, "", ""]).encode() + body
