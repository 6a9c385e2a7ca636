"""Calls that are agreed to and send RTP, for `mitschnitt bench calls --media-streams`: a process of its own.

    python -m mitschnitt.gateways.bench.agreed '{"recorder": ["127.0.0.1", 5060], ...}'   prints figures as JSON

Some stand from beginning to end; others come and go beside them, and their times are measured. Signalling and control
API as any client's; packets are sent by the C generator, which is told the ports through a shared file. The consent is
posted without the prompt having been played: a bench has no caller.
"""

from __future__ import annotations

import asyncio
import base64
import json
import mmap
import subprocess
import sys
import time
import uuid
from array import array
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from mitschnitt.errors import PeerError
from mitschnitt.gateways import cast, session_text, speech
from mitschnitt.gateways.control_client import ControlClient, read_token
from mitschnitt.gateways.session_text import Asked, Line, SessionNames
from mitschnitt.gateways.sip_client import Recorder, SipClient
from mitschnitt.wire.g711 import Law

HOST = "127.0.0.1"
MEDIA_PORT = 9  # discard, as the port that we send from; the recorder takes the first packet's, from our address
PARTIES = 2
OPEN_SECONDS = 30.0  # from the 200 until both lines are asked for
KEPT_SECONDS = 60.0  # from the BYE until the keeper says that the call is kept
LOOK_SECONDS = 0.05  # between two looks at that: times are so much too long at most
PACKETS_PER_SECOND = 50


@dataclass(frozen=True, slots=True)
class Told:
    """What to do. Times in seconds."""

    recorder: tuple[str, int]
    control: str
    token_file: str
    door: str  # the keeper's Unix socket
    generator: tuple[str, ...]  # its command up to the ports file
    ports_file: str
    standing: int  # calls from beginning to end
    set_up_rate: float  # of those, a second; and how fast they end
    rate: float  # calls a second that come and go beside them
    calls: int  # of those, in all
    hold: float
    burst: int


@dataclass(slots=True)
class Figures:
    """What came of it. Times in milliseconds, of the calls that come and go."""

    offered: int = 0
    refused: int = 0  # INVITEs with another answer than 200
    never_open: int = 0
    not_kept: int = 0
    answer_ms: list[float] = field(default_factory=list)  # INVITE to 200
    kept_ms: list[float] = field(default_factory=list)  # BYE until the keeper has both parties' files in its books
    late_ms: list[float] = field(default_factory=list)  # a call began so much after its time
    standing: int = 0  # of these, how many were kept
    generator: dict[str, Any] = field(default_factory=dict)


class AgreedCall:
    """One call; `ports` are the two places of the shared file that its streams are sent to."""

    def __init__(self, client: SipClient, ports: memoryview, number: int) -> None:
        self._client, self._ports = client, ports
        self._agent = cast.agent(number)
        self._names = SessionNames(
            _uuid(), f"{uuid.uuid4().hex};remote={uuid.uuid4().hex}", number, "127.0.0.1", Law.PCMA
        )
        speakers = (cast.caller(number), self._agent)
        self._lines = [Line(str(at + 1), MEDIA_PORT, who, _uuid(), _uuid()) for at, who in enumerate(speakers)]
        self._version = 0
        self._dialog = ""
        self.opened = asyncio.Event()
        self.call = ""

    async def agree(self, control: ControlClient) -> None:
        """Announces the call and posts that the caller was asked and agreed. Raises PeerError."""
        announced = await control.announce(
            {"sip_session_id": self._names.sip_session_id},
            queue="hotline", direction="inbound", agent=self._agent.aor, answer_by="post",
        )  # fmt: skip
        self.call, ask = announced.call, announced.ask
        if ask is None:
            raise PeerError("nobody is to be asked: the agent has no standing grant")
        length = speech.prompt(ask.prompt, ask.language).length_ms
        end = datetime.now(UTC)
        begin = end - timedelta(milliseconds=length)
        await control.asked(self.call, ask, begin=begin, end=end, played_ms=length, length_ms=length)
        await control.act(self.call, "digit", ask.yes, at=datetime.now(UTC), ask=ask)

    async def start(self) -> int:
        """INVITE; the final status."""
        self._dialog, status = await self._client.invite(self._offer(["sendonly"] * PARTIES), self.snapshot(), self)
        return status

    async def end(self) -> int:
        """BYE; sends nothing more. The status of its answer."""
        self._aim([])
        return await self._client.bye(self._dialog)

    def answered(self, sdp: bytes) -> None:
        """The recorder took our offer."""
        self._aim(session_text.read_description(sdp))

    def offered(self, sdp: bytes) -> bytes:
        """The recorder changes what it wants; our answer."""
        asked = session_text.read_description(sdp)
        self._aim(asked)
        return self._offer(session_text.answers_to(asked))

    def snapshot(self) -> bytes:
        """Who is on the line."""
        return session_text.metadata(self._names, self._lines, now=datetime.now(UTC))

    def ended(self, why: str) -> None:  # noqa: ARG002 - whoever waits for the call to be kept hears of it
        """The recorder ended the session."""
        self._aim([])

    def _aim(self, asked: list[Asked]) -> None:
        wanted = [line.port if line.wants_media else 0 for line in asked] or [0] * PARTIES
        for place, port in enumerate(wanted):
            self._ports[place] = port
        if all(wanted):
            self.opened.set()

    def _offer(self, directions: list[str]) -> bytes:
        self._version += 1
        return session_text.offer(self._names, self._lines, version=self._version, directions=directions)


def _uuid() -> str:
    return base64.b64encode(uuid.uuid4().bytes).decode()


class Load:
    """All calls of one run."""

    def __init__(self, told: Told, client: SipClient, control: ControlClient, door: httpx.AsyncClient) -> None:
        self._told, self._client, self._control, self._door = told, client, control, door
        self._places = told.standing + int(told.rate * (told.hold + KEPT_SECONDS)) + 1
        Path(told.ports_file).write_bytes(array("H", [0] * (PARTIES * self._places)).tobytes())
        with Path(told.ports_file).open("r+b") as file:
            self._ports = memoryview(mmap.mmap(file.fileno(), 0)).cast("H")
        self.figures = Figures()

    def _new(self, number: int) -> AgreedCall:
        passing = self._places - self._told.standing  # places that calls which come and go use in turn
        place = number if number < self._told.standing else number - (number - self._told.standing) // passing * passing
        return AgreedCall(self._client, self._ports[PARTIES * place : PARTIES * (place + 1)], number)

    async def run(self) -> Figures:
        """The whole load."""
        told, figures = self._told, self.figures
        standing = [self._new(number) for number in range(told.standing)]
        await self._at_rate([self._set_up(call) for call in standing], told.set_up_rate, [])
        packets = int(PACKETS_PER_SECOND * (told.calls / told.rate + told.hold + 1)) // told.burst * told.burst
        command = [*told.generator, told.ports_file, told.recorder[0], str(packets), str(told.burst)]
        sending = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
        try:
            coming = [self._come_and_go(self._new(told.standing + number)) for number in range(told.calls)]
            await self._at_rate(coming, told.rate, figures.late_ms)
            output, _ = await sending.communicate()
            figures.generator = json.loads(output)
        finally:
            if sending.returncode is None:
                sending.kill()
        await self._at_rate([self._tear_down(call) for call in standing], told.set_up_rate, [])
        return figures

    async def _tear_down(self, call: AgreedCall) -> None:
        await call.end()
        is_kept = await self._is_kept(call)
        self.figures.standing += is_kept

    @staticmethod
    async def _at_rate(coming: list[Any], rate: float, late_ms: list[float]) -> None:
        """Starts them evenly and waits for all."""
        loop, running = asyncio.get_running_loop(), []
        origin = loop.time()
        for number, one in enumerate(coming):
            due = origin + number / rate
            await asyncio.sleep(max(0.0, due - loop.time()))
            late_ms.append(1000 * (loop.time() - due))
            running.append(asyncio.ensure_future(one))
        await asyncio.gather(*running)

    async def _set_up(self, call: AgreedCall) -> float | None:
        """Milliseconds from INVITE to 200; None where the call did not come about."""
        await call.agree(self._control)
        begun = time.monotonic()
        if await call.start() != httpx.codes.OK:
            self.figures.refused += 1
            return None
        spent = 1000 * (time.monotonic() - begun)
        try:
            await asyncio.wait_for(call.opened.wait(), OPEN_SECONDS)
        except TimeoutError:
            self.figures.never_open += 1
        return spent

    async def _come_and_go(self, call: AgreedCall) -> None:
        self.figures.offered += 1
        spent = await self._set_up(call)
        if spent is None:
            return
        self.figures.answer_ms.append(spent)
        await asyncio.sleep(self._told.hold)
        begun = time.monotonic()
        await call.end()
        if await self._is_kept(call):
            self.figures.kept_ms.append(1000 * (time.monotonic() - begun))
        else:
            self.figures.not_kept += 1

    async def _is_kept(self, call: AgreedCall) -> bool:
        """Waits until the keeper says so: both parties' files were durable before it wrote that down."""
        deadline = time.monotonic() + KEPT_SECONDS
        while time.monotonic() < deadline:
            found = await self._door.get(f"/calls/{call.call}", params={"as": "officer"})
            if found.is_success and found.json()["state"] == "kept":
                return True
            await asyncio.sleep(LOOK_SECONDS)
        return False


async def _main(told: Told) -> Figures:
    control = ControlClient(told.control, read_token(Path(told.token_file)), new_key=lambda: uuid.uuid4().hex)
    client = SipClient(Recorder(*told.recorder, "UDP"), host=HOST)
    await client.open()
    transport = httpx.AsyncHTTPTransport(uds=told.door)
    try:
        async with httpx.AsyncClient(transport=transport, base_url="http://keeper", trust_env=False) as door:
            return await Load(told, client, control, door).run()
    finally:
        await control.close()
        await client.close()


def main(argument: str) -> int:
    """Runs one load; 0."""
    told = json.loads(argument)
    lists = {"recorder": tuple(told["recorder"]), "generator": tuple(told["generator"])}
    figures = asyncio.run(_main(Told(**{**told, **lists})))
    print(json.dumps({name: getattr(figures, name) for name in Figures.__slots__}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
