"""The load of `mitschnitt bench calls`: recording clients that set calls up and tear them down over UDP.

    python -m mitschnitt.gateways.bench.callers '{"target": ["127.0.0.1", 5060], ...}'   prints figures as JSON

Its messages are text of its own: it shares no line with the SIP core that it measures. It resends as RFC 3261
asks, answers what the other side sends within a call, and counts; it judges nothing.
"""

from __future__ import annotations

import asyncio
import json
import re
import resource
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from enum import StrEnum

import uvloop

T1, T2 = 0.5, 4.0  # seconds: first and longest pause between resends (RFC 3261, 17.1.1.1)
PATIENCE = 64 * T1  # seconds that anything unanswered is waited for
BUFFER_BYTES = 4 * 1_048_576  # of the socket: answers that we drop would look like a recorder that resends
MEDIA_PORT = 9  # discard: no media is sent, so no port of ours need exist
SETTLE_SECONDS = 0.5  # after a wave's last answer, for what nobody expects

_HEAD = re.compile(rb"^(?:SIP/2\.0 (\d{3})|([A-Z]+) )")
_CSEQ = re.compile(rb"^CSeq:\s*(\d+)\s+(\w+)", re.MULTILINE | re.IGNORECASE)
_CALL_ID = re.compile(rb"^Call-ID:\s*(\d+)-", re.MULTILINE | re.IGNORECASE)
_TO = re.compile(rb"^To:[^\r\n]*?;tag=([^;\r\n]+)", re.MULTILINE | re.IGNORECASE)
_COPIED = re.compile(rb"^(?:Via|From|To|Call-ID|CSeq):[^\r\n]*\r\n", re.MULTILINE | re.IGNORECASE)

_LINE = """m=audio {port} RTP/AVP 8 101\r
a=label:{label}\r
a=rtpmap:8 PCMA/8000\r
a=rtpmap:101 telephone-event/8000\r
a=sendonly\r
"""
_METADATA = """<?xml version="1.0" encoding="UTF-8"?>
<recording xmlns="urn:ietf:params:xml:ns:recording:1">
<datamode>complete</datamode>
<session session_id="cz1"><sipSessionID>{name}</sipSessionID></session>
<participant participant_id="cDA="><nameID aor="sip:guest@198.51.100.7"></nameID></participant>
<participant participant_id="cDE="><nameID aor="sip:desk@198.51.100.8"></nameID></participant>
<stream stream_id="czA=" session_id="cz1"><label>0</label></stream>
<stream stream_id="czE=" session_id="cz1"><label>1</label></stream>
<participantstreamassoc participant_id="cDA="><send>czA=</send><recv>czE=</recv></participantstreamassoc>
<participantstreamassoc participant_id="cDE="><send>czE=</send><recv>czA=</recv></participantstreamassoc>
</recording>
"""


class Profile(StrEnum):
    """How calls are offered."""

    STEADY = "steady"  # so many a second, each held for a time
    WAVES = "waves"  # more at once than there is room for, held, ended, again


@dataclass(frozen=True, slots=True)
class Load:
    """What to do. Times in seconds."""

    target: tuple[str, int]
    host: str = "127.0.0.1"  # our own address: what a limit per source counts by
    profile: Profile = Profile.STEADY
    rate: float = 200.0  # calls that begin per second
    calls: int = 12_000  # in all, or in one wave
    hold: float = 5.0  # from the 200 to the BYE; in a wave, from its last answer on
    seconds: float = 0.0  # of waves: no new one begins later


@dataclass(slots=True)
class Figures:
    """What came back. Times in milliseconds."""

    offered: int = 0
    statuses: Counter[int] = field(default_factory=Counter)  # final answers to INVITE; 0: none came
    retry_after: int = 0  # 503s that named a time to come again
    answer_ms: list[float] = field(default_factory=list)  # INVITE to its 200
    shed_ms: list[float] = field(default_factory=list)  # INVITE to its 503
    late_ms: list[float] = field(default_factory=list)  # a call began so much after its time
    resends: int = 0  # copies of ours that were needed
    ended: int = 0  # BYEs with their 200
    refreshed: int = 0  # UPDATEs in the middle of a call with their 200
    unasked: Counter[str] = field(default_factory=Counter)  # requests of the other side within calls
    waves: list[tuple[int, int]] = field(default_factory=list)  # (taken, shed) of each
    cpu_s: float = 0.0
    wall_s: float = 0.0


@dataclass(slots=True)
class Call:
    """One call as its client knows it."""

    number: int
    began: float
    to: bytes = b""  # `;tag=...` once an answer brought it
    status: int = 0
    waiting: dict[str, asyncio.TimerHandle] = field(default_factory=dict)  # method: next resend


class Callers(asyncio.DatagramProtocol):
    """All calls of one address."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.figures = Figures()
        self._calls: dict[int, Call] = {}
        self._transport: asyncio.DatagramTransport | None = None
        self._port = 0
        self._idle = asyncio.Event()
        self._unanswered = 0
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # uvloop's is asyncio's by behaviour, not by class
        self._port = transport.get_extra_info("sockname")[1]

    # -- sending ---------------------------------------------------------------------------------

    def _send(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.sendto(data, self.load.target)

    def _request(self, call: Call, method: str, number: int, rest: bytes = b"Content-Length: 0\r\n\r\n") -> bytes:
        host, there = f"{self.load.host}:{self._port}", f"{self.load.target[0]}:{self.load.target[1]}"
        # The ACK to a failure belongs to its INVITE's transaction, the ACK to a 200 to none.
        kin = "INVITE" if method == "ACK" and call.status >= 300 else method
        head = (
            f"{method} sip:recorder@{there} SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP {host};branch=z9hG4bK-{call.number}-{number}-{kin}\r\n"
            f"From: <sip:sbc@{host}>;tag=f{call.number}\r\nTo: <sip:recorder@{there}>"
        )
        tail = f"\r\nCall-ID: {call.number}-{self._port}@{host}\r\nCSeq: {number} {method}\r\nMax-Forwards: 70\r\n"
        return head.encode() + call.to + tail.encode() + rest

    def _invite(self, call: Call) -> bytes:
        contact = f"Contact: <sip:sbc@{self.load.host}:{self._port}>;+sip.src\r\nRequire: siprec\r\n"
        sdp = f"v=0\r\no=sbc {call.number} 1 IN IP4 {self.load.host}\r\ns=-\r\nc=IN IP4 {self.load.host}\r\nt=0 0\r\n"
        sdp += _LINE.format(port=MEDIA_PORT, label=0) + _LINE.format(port=MEDIA_PORT, label=1)
        metadata = _METADATA.format(name=f"{call.number}-{self._port}")
        body = (
            f"--part\r\nContent-Type: application/sdp\r\n\r\n{sdp}\r\n--part\r\nContent-Type: "
            "application/rs-metadata+xml\r\nContent-Disposition: recording-session\r\n\r\n"
            f"{metadata}\r\n--part--\r\n"
        ).encode()
        rest = f"{contact}Content-Type: multipart/mixed;boundary=part\r\nContent-Length: {len(body)}\r\n\r\n"
        return self._request(call, "INVITE", 1, rest.encode() + body)

    def _ask(self, call: Call, method: str, data: bytes, give_up: Callable[[], None]) -> None:
        """Sends, and again until `_answered`: after T1, doubled up to T2, for 64 * T1."""
        began = self._loop.time()

        def again(pause: float) -> None:
            if self._loop.time() - began >= PATIENCE:
                call.waiting.pop(method, None)
                give_up()
                return
            self.figures.resends += 1
            self._send(data)
            call.waiting[method] = self._loop.call_later(pause, again, min(2 * pause, T2))

        self._send(data)
        call.waiting[method] = self._loop.call_later(T1, again, 2 * T1)

    @staticmethod
    def _answered(call: Call, method: str) -> bool:
        waiting = call.waiting.pop(method, None)
        if waiting is not None:
            waiting.cancel()
        return waiting is not None

    def begin(self) -> Call:
        """One more call."""
        call = Call(self.figures.offered, self._loop.time())
        self.figures.offered += 1
        self._calls[call.number] = call
        self._unanswered += 1
        self._ask(call, "INVITE", self._invite(call), lambda: self._final(call, 0))
        return call

    def refresh(self, call: Call) -> None:
        """A sign of life within a call."""
        self._ask(call, "UPDATE", self._request(call, "UPDATE", 2), lambda: None)

    def end(self, call: Call) -> None:
        """BYE."""
        self._ask(call, "BYE", self._request(call, "BYE", 3), lambda: self._gone(call))

    # -- receiving -------------------------------------------------------------------------------

    def datagram_received(self, data: bytes, _addr: object) -> None:
        head, cseq, name = _HEAD.match(data), _CSEQ.search(data), _CALL_ID.search(data)
        call = self._calls.get(int(name[1])) if name else None
        if head is None or cseq is None or call is None:
            return
        if head[1] is None:
            self._take_request(head[2].decode(), data)
        elif cseq[2] == b"INVITE":
            self._take_answer(call, int(head[1]), data)
        elif int(head[1]) == 200 and self._answered(call, cseq[2].decode()):
            if cseq[2] == b"BYE":
                self.figures.ended += 1
                self._gone(call)
            else:
                self.figures.refreshed += 1

    def _take_request(self, method: str, data: bytes) -> None:
        if method == "ACK":
            return
        self.figures.unasked[method] += 1
        copied = b"".join(_COPIED.findall(data))
        self._send(b"SIP/2.0 200 OK\r\n" + copied + b"Content-Length: 0\r\n\r\n")

    def _take_answer(self, call: Call, status: int, data: bytes) -> None:
        if status < 200:
            self._answered(call, "INVITE")
            return
        tag = _TO.search(data)
        if not call.status:
            call.status = status
            call.to = b";tag=" + tag[1] if tag else b""
            self._answered(call, "INVITE")
            self.figures.retry_after += status == 503 and b"\r\nRetry-After:" in data
            self._send(self._request(call, "ACK", 1))
            self._final(call, status)
        else:
            self._send(self._request(call, "ACK", 1))

    def _final(self, call: Call, status: int) -> None:
        spent = 1000 * (self._loop.time() - call.began)
        self.figures.statuses[status] += 1
        if status == 200:
            self.figures.answer_ms.append(spent)
            if self.load.profile is Profile.STEADY:
                self._loop.call_later(self.load.hold, self.end, call)
        else:
            if status == 503:
                self.figures.shed_ms.append(spent)
            # Copies of the failure may still come and want their ACK.
            self._loop.call_later(T2, self._gone, call)
        self._unanswered -= 1
        self._tell()

    def _gone(self, call: Call) -> None:
        self._calls.pop(call.number, None)
        self._tell()

    def _tell(self) -> None:
        if not self._calls or (self.load.profile is Profile.WAVES and not self._unanswered):
            self._idle.set()

    # -- profiles --------------------------------------------------------------------------------

    async def run(self) -> Figures:
        """The whole load; ends when nothing waits any more."""
        spent, began = time.process_time(), time.monotonic()
        if self.load.profile is Profile.STEADY:
            await self._steady(self.load.calls)
            await self._wait_idle()
        else:
            while time.monotonic() - began < self.load.seconds or not self.figures.waves:
                await self._wave()
        self.figures.cpu_s, self.figures.wall_s = time.process_time() - spent, time.monotonic() - began
        return self.figures

    async def _steady(self, calls: int) -> list[Call]:
        origin, begun = self._loop.time(), []
        for number in range(calls):
            due = origin + number / self.load.rate
            if (wait := due - self._loop.time()) > 0:
                await asyncio.sleep(wait)
            self.figures.late_ms.append(1000 * (self._loop.time() - due))
            begun.append(self.begin())
        return begun

    async def _wait_idle(self) -> None:
        self._idle.clear()
        self._tell()
        await self._idle.wait()

    async def _wave(self) -> None:
        """Offer, hold what was taken, refresh it once, end it; the next begins when the last BYE is answered."""
        calls = await self._steady(self.load.calls)
        await self._wait_idle()
        taken = [call for call in calls if call.status == 200]
        self.figures.waves.append((len(taken), sum(call.status == 503 for call in calls)))
        await asyncio.sleep(self.load.hold / 2)
        for call in taken:
            self.refresh(call)
        await asyncio.sleep(max(SETTLE_SECONDS, self.load.hold / 2))
        for call in taken:
            self.end(call)
        while any(call.number in self._calls for call in taken):
            await asyncio.sleep(0.01)


async def _main(load: Load) -> Figures:
    loop = asyncio.get_running_loop()
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
    sock.bind((load.host, 0))
    transport, callers = await loop.create_datagram_endpoint(lambda: Callers(load), sock=sock)
    try:
        return await callers.run()
    finally:
        transport.close()


def main(argument: str) -> int:
    """Runs one load; 0."""
    told = json.loads(argument)
    load = Load(**{**told, "target": tuple(told["target"]), "profile": Profile(told.get("profile", "steady"))})
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        figures = runner.run(_main(load))
    told = {item.name: getattr(figures, item.name) for item in fields(figures)}  # asdict cannot copy a Counter
    print(json.dumps({**told, "rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
