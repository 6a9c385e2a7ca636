"""Two stamped streams beside a sipp, in a thread of their own: what a client really sends, wherever it is aimed."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from types import TracebackType

from journeys.running import Site
from journeys.sipp_run import HOST
from mitschnitt.gateways.rtp_sender import TICK_SECONDS, Aim, RtpStream, StreamReport, StreamSetup
from mitschnitt.gateways.stamp import find_stamps
from mitschnitt.wire.g711 import Law
from played import played

FIRST_STREAM = 7_000  # of stamps; the simulated centre counts from zero
SPEAK_SECONDS = 60.0  # until so many packets are out, on a busy machine
PAYLOAD_TYPES = {Law.PCMU: 0, Law.PCMA: 8}  # RFC 3551, table 4
_numbers = iter(range(FIRST_STREAM, 1 << 31))


class Voices:
    """One stream for each line of a call; both with the same SSRC if asked."""

    def __init__(self, lines: int = 2, *, same_ssrc: bool = False, law: Law = Law.PCMA, host: str = HOST) -> None:
        self.host = host
        self.streams = []
        for place in range(lines):
            number = next(_numbers)
            ssrc = 4_711 if same_ssrc else number * 10
            setup = StreamSetup(
                number, str(place), ssrc, 100 * place, 1_000 * place, law, PAYLOAD_TYPES[law], stamped=True
            )
            self.streams.append(RtpStream(setup, address=host))
        self.reports: list[StreamReport] = []
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run)

    @property
    def given(self) -> dict[str, str]:
        """The holes of a scenario: the ports that these streams send from."""
        return {f"port{place}": str(stream.port) for place, stream in enumerate(self.streams)}

    def __enter__(self) -> Voices:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, what: BaseException | None, at: TracebackType | None) -> None:
        self._done.set()
        self._thread.join()
        self.reports = [stream.close() for stream in self.streams]

    def aim(self, ports: Iterable[int]) -> None:
        """From now on, each stream to its port."""
        with self._lock:
            for stream, port in zip(self.streams, ports, strict=True):
                stream.aim(Aim(self.host, port, allowed=True))

    def counters(self) -> list[int]:
        """How many packets each stream has sent."""
        with self._lock:
            return [stream.counter for stream in self.streams]

    def speak(self, packets: int) -> None:
        """Until each stream has sent so many more."""
        goal = [counter + packets for counter in self.counters()]
        deadline = time.monotonic() + SPEAK_SECONDS
        while any(has < wants for has, wants in zip(self.counters(), goal, strict=True)):
            assert time.monotonic() < deadline, f"sent {self.counters()} of {goal}"
            time.sleep(TICK_SECONDS)

    def _run(self) -> None:
        due = time.monotonic()
        while not self._done.is_set():
            with self._lock:
                for stream in self.streams:
                    stream.tick(time.time_ns())
            due += TICK_SECONDS
            time.sleep(max(0.0, due - time.monotonic()))


def heard(site: Site, call: str, *, by: str = "role") -> dict[str, dict[int, set[int]]]:
    """What the door plays of a kept call: role (or what else tells parties apart) to stream to counters."""
    found: dict[str, dict[int, set[int]]] = {}
    for party in played(site.door, call):
        streams = found.setdefault(str(getattr(party, by)), {})
        for _, stream, counter in find_stamps(party.payload):
            streams.setdefault(int(stream), set()).add(int(counter))
    return found
