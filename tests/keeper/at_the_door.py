"""An application asked without a socket, for tests that are not asynchronous."""

from __future__ import annotations

import asyncio

import httpx
from starlette.types import ASGIApp


class Within(httpx.BaseTransport):
    """Hands each request to the application, in a loop of its own."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        async def ask() -> httpx.Response:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(self._app), base_url="http://keeper") as client:
                return await client.request(
                    request.method, str(request.url), content=request.content, headers=request.headers
                )

        answer = asyncio.run(ask())
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)


def client_of(app: ASGIApp) -> httpx.Client:
    """A client whose every request the application answers."""
    return httpx.Client(transport=Within(app), base_url="http://keeper")
