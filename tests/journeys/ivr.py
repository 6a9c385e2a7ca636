"""Whoever speaks to the caller: announces calls to a running site, says what was asked, posts what was pressed."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from journeys.running import Site
from mitschnitt.gateways import cast
from mitschnitt.gateways.control_client import Ask, ControlClient, read_token
from mitschnitt.gateways.speech import prompt

YES, NO = "1", "2"  # of the policy that `init` writes

T = TypeVar("T")


@dataclass(frozen=True)
class Ringing:
    """A call: its name at the recorder, by what the INVITE will name it, and the question."""

    call: str  # "" when it is not announced
    session: str
    ask: Ask | None


class Ivr:
    """One gateway; every request is made and over at once."""

    def __init__(self, site: Site) -> None:
        self._url = f"http://127.0.0.1:{site.demo.control_port}"
        self._token = read_token(site.demo.directory / "secrets" / "control.token")

    def announce(self, *, answer_by: str = "post", asked: bool = True) -> Ringing:
        """A call for Jens Albers; the question has been put whole just now, or will be when it is answered."""
        session = uuid.uuid4().hex

        async def work(client: ControlClient) -> Ringing:
            told = await client.announce(
                {"sip_session_id": session},
                queue="hotline",
                direction="inbound",
                agent=cast.AGENTS_WITH_GRANT[0].aor,
                answer_by=answer_by,
            )
            assert told.ask is not None, "everybody is asked by this policy"
            return Ringing(told.call, session, told.ask)

        ringing = self._run(work)
        if asked:
            self.ask(ringing)
        return ringing

    def ask(self, ringing: Ringing) -> None:
        """The question has been put whole just now."""

        async def work(client: ControlClient) -> None:
            assert ringing.ask is not None, "nobody announced this call"
            length_ms = prompt(ringing.ask.prompt, ringing.ask.language).length_ms
            end = datetime.now(UTC)
            begin = end - timedelta(milliseconds=length_ms)
            await client.asked(
                ringing.call, ringing.ask, begin=begin, end=end, played_ms=length_ms, length_ms=length_ms
            )

        self._run(work)

    def press(self, ringing: Ringing, digit: str) -> None:
        """The caller answers now."""

        async def work(client: ControlClient) -> None:
            await client.act(ringing.call, "digit", digit, at=datetime.now(UTC), ask=ringing.ask)

        self._run(work)

    def withdraw(self, ringing: Ringing) -> None:
        """The caller takes back what was agreed."""

        async def work(client: ControlClient) -> None:
            await client.act(ringing.call, "withdraw", "", at=datetime.now(UTC), ask=None)

        self._run(work)

    def _run(self, work: Callable[[ControlClient], Awaitable[T]]) -> T:
        async def run() -> T:
            client = ControlClient(self._url, self._token, new_key=lambda: uuid.uuid4().hex)
            try:
                return await work(client)
            finally:
                await client.close()

        return asyncio.run(run())
