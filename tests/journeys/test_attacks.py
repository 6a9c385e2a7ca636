"""A whole site under attack: sessions that are never acknowledged, until no port is left, and senders that dribble.

Calls that run do not notice, memory is bounded, and afterwards everything is as it was.
"""

from __future__ import annotations

import contextlib
import re
import socket
import time
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from journeys.running import Site, bound_udp_ports, report_rows, running_site

pytestmark = [pytest.mark.journey, pytest.mark.timeout(240)]

SESSIONS = 10_000  # that begin and are never acknowledged
SOURCES = ("127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5")
BURST = 50  # of each source, then a breath: the kernel must not be what drops them
DRIBBLING = 150  # connections that send a byte now and then
MEMORY_MIB = 100  # that a recorder may grow by: 500 half-open sessions with two sockets each, and what it remembers
#                   of those refused; a session for each of the 10,000 would take several times that
GIVE_UP_SECONDS = 75  # 64 * T1 = 32 s without an ACK, then the ports are free again
INVITE = """INVITE sip:recorder@{there} SIP/2.0\r
Via: SIP/2.0/UDP {here};branch=z9hG4bK-{number}\r
From: <sip:sbc@{here}>;tag=f{number}\r
To: <sip:recorder@{there}>\r
Call-ID: half-open-{number}@{here}\r
CSeq: 1 INVITE\r
Max-Forwards: 70\r
Contact: <sip:sbc@{here}>;+sip.src\r
Require: siprec\r
Content-Type: application/sdp\r
Content-Length: {length}\r
\r
{body}"""
SDP = """v=0\r
o=sbc 1 1 IN IP4 192.0.2.1\r
s=-\r
c=IN IP4 192.0.2.1\r
t=0 0\r
m=audio 9 RTP/AVP 8 101\r
a=label:0\r
a=rtpmap:101 telephone-event/8000\r
a=sendonly\r
m=audio 9 RTP/AVP 8 101\r
a=label:1\r
a=rtpmap:101 telephone-event/8000\r
a=sendonly\r
"""


def resident_mib(pid: int) -> float:
    """Resident memory of a process at this moment."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


class Flood:
    """Sends INVITEs from several addresses, and acknowledges nothing."""

    def __init__(self, port: int) -> None:
        self.answers: Counter[str] = Counter()  # by status, copies included
        self.decided: dict[str, str] = {}  # final status of each session
        self.without_time = 0  # 503s that name no time to come again
        self._port = port
        self._sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in SOURCES]
        for sock, source in zip(self._sockets, SOURCES, strict=True):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
            sock.bind((source, 0))
            sock.setblocking(False)

    def send(self) -> None:
        """All of them, a burst of each source at a time."""
        for first in range(0, SESSIONS, BURST * len(SOURCES)):
            for place, sock in enumerate(self._sockets):
                for number in range(first + place * BURST, first + (place + 1) * BURST):
                    here, there = ":".join(map(str, sock.getsockname())), f"127.0.0.1:{self._port}"
                    text = INVITE.format(here=here, there=there, number=number, length=len(SDP), body=SDP)
                    sock.sendto(text.encode(), ("127.0.0.1", self._port))
            time.sleep(0.1)
            self.read()

    def read(self) -> None:
        """Whatever came back so far."""
        for sock in self._sockets:
            with contextlib.suppress(BlockingIOError):
                while True:
                    self._take(sock.recv(65_535))

    def _take(self, data: bytes) -> None:
        found = re.match(rb"SIP/2\.0 (\d{3})", data)
        call = re.search(rb"^Call-ID: (\S+)", data, re.MULTILINE)
        if found and call and found[1] != b"100":
            status = found[1].decode()
            self.answers[status] += 1
            self.decided.setdefault(call[1].decode(), status)
            self.without_time += status == "503" and b"\r\nRetry-After: " not in data

    def close(self) -> None:
        """No more."""
        for sock in self._sockets:
            sock.close()


@contextlib.contextmanager
def dribbling(port: int) -> Iterator[list[socket.socket]]:
    """Connections that begin a message and do not end it."""
    with contextlib.ExitStack() as stack:
        found = []
        for _ in range(DRIBBLING):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", port), source_address=("127.0.0.6", 0)))
            sock.sendall(b"INVITE sip:recorder@127.0.0.1 SIP/2.0\r\nVia: ")
            found.append(sock)
        yield found


def is_closed(sock: socket.socket) -> bool:
    """Whether the other side has ended the connection."""
    sock.settimeout(0.01)
    try:
        return sock.recv(1) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


def held_ports(site: Site) -> set[int]:
    """RTP ports of the site that are bound."""
    rtp = tomllib.loads((site.demo.directory / "config.toml").read_text(encoding="utf-8"))["rtp"]
    return bound_udp_ports() & set(range(rtp["first_port"], rtp["last_port"] + 1))


def wait_until_free(site: Site) -> None:
    """Until no RTP port of the site is bound."""
    deadline = time.monotonic() + GIVE_UP_SECONDS
    while left := len(held_ports(site)):
        assert time.monotonic() < deadline, f"{left} ports are still held"
        time.sleep(0.5)


def kept(site: Site, report: Path) -> list[str]:
    """What became of the centre's calls."""
    rows = report_rows(report)
    assert [row["errors"] for row in rows if row.get("errors")] == []
    return [site.wait_outcome(str(row["control"])) for row in rows]


def test_ten_thousand_sessions_that_nobody_acknowledges_disturb_no_running_call_and_leave_nothing(
    tmp_path: Path,
) -> None:
    with running_site(tmp_path) as site:
        memory = resident_mib(site.pid("recorder-1"))
        report = tmp_path / "running.jsonl"
        calls = ("--calls", "2", "--rate", "10", "--mix", "agreed_by_act=1", "--seed", "7", "--report", str(report))
        centre = site.centre(*calls)
        for line in centre.stdout or ():
            if '"open_labels": ["' in line:
                break
        flood = Flood(site.demo.sip_port)
        try:
            with dribbling(site.demo.sip_port) as connections:
                flood.send()
                grown = resident_mib(site.pid("recorder-1")) - memory
                centre.communicate(timeout=90)
                assert centre.returncode == 0
                assert kept(site, report) == ["kept", "kept"]
                wait_until_free(site)
                assert all(is_closed(sock) for sock in connections)
            flood.read()
        finally:
            flood.close()
        assert set(flood.decided.values()) == {"200", "503"}, flood.answers
        assert flood.without_time == 0
        taken = Counter(flood.decided.values())["200"]
        assert 0 < taken < 1_000
        assert grown < MEMORY_MIB
        print(f"{taken} of {SESSIONS} half-open sessions were taken, the recorder grew by {grown:.0f} MiB")
        after = tmp_path / "after.jsonl"
        again = site.centre(*calls[:-4], "--seed", "8", "--report", str(after))
        again.communicate(timeout=90)
        assert kept(site, after) == ["kept", "kept"]
        log = site.log.read_text(encoding="utf-8")
        assert "Traceback" not in log
        assert log.count('"event": "ready"') == 1, "the recorder was started again"
