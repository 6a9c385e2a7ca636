"""RTCP of the lines that are kept: sockets beside them, what clients report, and our reports to them.

    kept line --open--> socket on the odd port (or mux) --turn, once a second--> read, compare CNAMEs, report

A gated line has no RTCP socket: nothing of it is read, and nothing sent but a keep-alive that the operator asked for.
Sends to signalled addresses only, and never RTP. A CNAME is hashed as it is read; its text goes nowhere.
"""

from __future__ import annotations

import hashlib
import secrets
import select
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

from mitschnitt.errors import PeerError
from mitschnitt.recorder import filters, ports
from mitschnitt.recorder.lines import GATED, Line, Lines
from mitschnitt.recorder.reception import SECOND_NS, Reception
from mitschnitt.recorder.report_log import ntp_to_ns
from mitschnitt.vault.artefact import Report
from mitschnitt.wire import rtcp
from mitschnitt.wire.rtcp import Compound, ReceiverReport, SenderReport, SourceName

TURN_NS = 1_000_000_000  # between two looks at all RTCP sockets; a report is due every 2.5 to 7.5 s
MISSED_NS = 10_000_000_000  # without a report of the client: twice the interval that RFC 3550, 6.2 knows
RECEIVE_BUFFER_BYTES = 8 * 1024  # per socket; the kernel doubles it: a dozen reports, where one comes in 5 s
SOCKET_BUDGET = 8  # datagrams read of one socket in one turn; what a flood brings beyond, the kernel drops
CHUNK = 256  # sockets or reports after which the loop may do something else
MAX_NAMES = 8  # SSRCs of one line whose CNAME is remembered; a client has one or two
CNAME_BYTES = 12  # of randomness in ours (RFC 7022, 4.2: 96 bits)
DIGEST_BYTES = 16  # of a CNAME, under a key of this process
GOLDEN_RATIO = 0.6180339887
MAX_SOCKETS = 1 << 16  # without a limit on open files that says otherwise

CNAME_CHANGED = "binding.cname"

OnDoubt = Callable[[Line, str, int], None]
OnNamed = Callable[[Line], None]
OnReport = Callable[[Line, Report], None]


@dataclass(frozen=True, slots=True)
class Peer:
    """Where a client's side of a line is, as it signalled: its literal address, and its ports."""

    address: str
    rtp_port: int
    rtcp_address: str
    rtcp_port: int
    is_muxed: bool = False  # RTCP runs over the RTP ports (RFC 5761)


@dataclass
class RtcpCounts:
    """Counters since the start; datagrams unless named otherwise."""

    received: int = 0
    refused: int = 0  # not RTCP, or at odds with its own lengths
    strange: int = 0  # from another address than the signalled one; not read
    sent: int = 0
    unsent: int = 0  # the system refused to send
    keepalives: int = 0
    unbound: int = 0  # lines that work without RTCP: no odd port, no socket
    goodbyes: int = 0  # sources that said they end
    source_changes: int = 0  # new SSRCs on open lines


@dataclass
class _Names:
    """What the sources of one line were called; goes along when the line is renewed."""

    heard: dict[int, bytes] = field(default_factory=dict)  # SSRC -> hash of its CNAME, oldest first
    accepted: bytes = b""  # of the source that was first named since signalling said whose voice it is
    is_doubted: bool = False
    unnamed: dict[int, int] = field(default_factory=dict)  # SSRC that took over without a name -> since when, ns


@dataclass
class _Control:
    """RTCP of one open line."""

    line: Line
    peer: Peer
    sock: socket.socket | None  # None when muxed
    ssrc: int  # ours
    due_ns: int  # when we report next
    opened_ns: int
    has_heard: bool = False  # an RTCP packet of the client came
    newest_sr: tuple[int, int, int] = (-1, 0, 0)  # SSRC, middle of its NTP time, arrival in ns
    told_ns: int = -1  # arrival of the newest packet that was reported


class Rtcp:
    """See the module. `tell` takes what is to be called back once no packet is in the arena."""

    def __init__(
        self,
        lines: Lines,
        reception: Reception,
        *,
        clock: Callable[[], int],
        tell: Callable[[Callable[[], None]], None],
        on_doubt: OnDoubt,
        on_named: OnNamed,
        on_report: OnReport,
        keepalive_ns: int = 0,
        max_sockets: int = MAX_SOCKETS,
    ) -> None:
        self.counts = RtcpCounts()
        self._lines, self._reception = lines, reception
        self._clock, self._tell = clock, tell
        self._on_doubt, self._on_named, self._on_report = on_doubt, on_named, on_report
        self._keepalive_ns, self._max_sockets = keepalive_ns, max_sockets
        self._poll = select.epoll()
        self._peers: dict[int, Peer] = {}  # by line number; gated lines too
        self._names: dict[int, _Names] = {}
        self._controls: dict[int, _Control] = {}
        self._by_descriptor: dict[int, _Control] = {}
        self._alive_ns: dict[int, int] = {}  # newest keep-alive
        self._next_turn_ns = 0
        self._cname = secrets.token_urlsafe(CNAME_BYTES).encode()
        self._key = secrets.token_bytes(DIGEST_BYTES)
        self._luck = secrets.randbits(32) / (1 << 32)

    # -- lines -----------------------------------------------------------------------------------

    def aim(self, line: Line, peer: Peer | None) -> None:
        """Where the client of a line is now, by signalling; None when it gave no address to send to."""
        if self._peers.get(line.number) == peer:
            return
        self.close(line)
        if peer is None:
            self._peers.pop(line.number, None)
        else:
            self._peers[line.number] = peer
        if self._lines.slot(line) != GATED:
            self.open(line)

    def follow(self, old: Line, new: Line) -> None:
        """The client moves from one line to another: its source names move along."""
        if old.number in self._names:
            self._names[new.number] = self._names[old.number]

    def peer(self, line: Line) -> Peer | None:
        """Where its client is."""
        return self._peers.get(line.number)

    def trust(self, line: Line) -> None:
        """Signalling has said anew whose voice this is: what the source was called before binds no longer."""
        if line.number in self._names:
            self._names[line.number] = _Names(dict(self._names[line.number].heard))

    def open(self, line: Line) -> None:
        """The line is kept from now on. Without the odd port it works all the same, without RTCP."""
        peer = self._peers.get(line.number)
        if peer is None or line.number in self._controls:
            return
        sock = None if peer.is_muxed else self._bind(line)
        if sock is None and not peer.is_muxed:
            self.counts.unbound += 1
            return
        now_ns = self._clock()
        due_ns = now_ns + self._interval_ns(first=True)
        control = _Control(line, peer, sock, secrets.randbits(32), due_ns, now_ns)
        self._controls[line.number] = control
        if sock is not None:
            self._by_descriptor[sock.fileno()] = control

    def close(self, line: Line) -> None:
        """The line is gated: its RTCP socket goes, with whatever is queued there."""
        control = self._controls.pop(line.number, None)
        if control is not None and control.sock is not None:
            del self._by_descriptor[control.sock.fileno()]
            control.sock.close()  # epoll forgets a descriptor that is closed

    def forget(self, line: Line) -> None:
        """The line is released."""
        self.close(line)
        for known in (self._peers, self._names, self._alive_ns):
            known.pop(line.number, None)

    def has_heard(self, line: Line) -> bool | None:
        """Whether RTCP of the client came to a kept line; None while it is too early to miss it."""
        control = self._controls.get(line.number)
        if control is None or control.has_heard:
            return None if control is None else True
        return None if self._clock() - control.opened_ns < MISSED_NS else False

    def close_all(self) -> None:
        """At the end of the process."""
        for control in list(self._controls.values()):
            self.close(control.line)
        self._poll.close()

    @property
    def sockets(self) -> int:
        """Open RTCP sockets."""
        return len(self._by_descriptor)

    def is_muxed(self, number: int) -> bool:
        """Whether RTCP comes on the RTP port of this open line."""
        control = self._controls.get(number)
        return control is not None and control.sock is None

    def _bind(self, line: Line) -> socket.socket | None:
        if len(self._by_descriptor) >= self._max_sockets:
            return None
        try:
            sock = ports.open_socket(
                self._lines.address, line.port + 1, filters.rtcp_filter(), receive_buffer_bytes=RECEIVE_BUFFER_BYTES
            )
        except OSError:
            return None
        try:
            self._poll.register(sock.fileno(), select.EPOLLIN)
        except OSError:
            sock.close()
            return None
        return sock

    # -- time ------------------------------------------------------------------------------------

    def turn(self, now_ns: int) -> Iterator[None]:
        """About once a second, whenever called: reads what came, reports what is due. `now_ns` is for the pace."""
        if now_ns < self._next_turn_ns:
            return
        self._next_turn_ns = now_ns + TURN_NS
        now_ns = self._clock()
        # One system call for all sockets: most have nothing.
        ready = self._poll.poll(0, max(1, len(self._by_descriptor))) if self._by_descriptor else []
        for done, (descriptor, _) in enumerate(ready, 1):
            self._read(descriptor, now_ns)
            if done % CHUNK == 0:
                yield
        due = [control for control in self._controls.values() if control.due_ns <= now_ns]
        for done, control in enumerate(due, 1):
            if self._controls.get(control.line.number) is control:
                self._report(control, now_ns)
            if done % CHUNK == 0:
                yield
        if self._keepalive_ns:
            self._keep_alive(now_ns)

    def _interval_ns(self, *, first: bool) -> int:
        # Reports are to be spread, not unguessable: steps of the golden ratio fall evenly, without a system call.
        self._luck = (self._luck + GOLDEN_RATIO) % 1.0
        return int(rtcp.report_interval(self._luck, first=first) * SECOND_NS)

    # -- receiving -------------------------------------------------------------------------------

    def _read(self, descriptor: int, now_ns: int) -> None:
        control = self._by_descriptor.get(descriptor)
        for _ in range(SOCKET_BUDGET):
            if control is None or control.sock is None:
                return
            try:
                data, source = control.sock.recvfrom(rtcp.MAX_BYTES + 1)
            except OSError:
                return  # empty, or closed meanwhile
            if source[:2] != (control.peer.rtcp_address, control.peer.rtcp_port):
                self.counts.strange += 1
                continue
            self._take(control, data, now_ns)

    def take(self, number: int, data: bytes) -> None:
        """RTCP that came on the RTP port of a muxed line."""
        if self.is_muxed(number):
            self._take(self._controls[number], data, self._clock())

    def _take(self, control: _Control, data: bytes, now_ns: int) -> None:
        try:
            found = rtcp.parse(data)
        except PeerError:
            self.counts.refused += 1
            return
        self.counts.received += 1
        self.counts.goodbyes += len(found.goodbyes)  # a source that ends is not the end of the call
        control.has_heard = True
        for report in found.reports:
            if isinstance(report, SenderReport):
                control.newest_sr = (report.ssrc, report.last_sr, now_ns)
                self._on_report(control.line, Report(now_ns, report.ssrc, ntp_to_ns(report.ntp), report.rtp_time))
        if found.names:
            self._remember(control.line.number, found)
            self._compare(control.line)

    # -- names of sources ------------------------------------------------------------------------

    def _remember(self, number: int, found: Compound) -> None:
        names = self._names.setdefault(number, _Names())
        for name in found.names:
            names.heard.pop(name.ssrc, None)
            names.heard[name.ssrc] = hashlib.blake2b(name.cname, digest_size=DIGEST_BYTES, key=self._key).digest()
            if len(names.heard) > MAX_NAMES:
                del names.heard[next(iter(names.heard))]

    def changed(self, numbers: list[int]) -> None:
        """These lines have a new SSRC."""
        self.counts.source_changes += len(numbers)
        for number in numbers:
            names, source = self._names.get(number), self._reception.source(number)
            if names is not None and source is not None and source.ssrc not in names.heard:
                # Its name may come when the line is another one already, after a pause.
                names.unnamed.setdefault(source.ssrc, source.since_ns)
                if len(names.unnamed) > MAX_NAMES:
                    del names.unnamed[next(iter(names.unnamed))]
            self._compare(self._lines.state_at(number).line)

    def _compare(self, line: Line) -> None:
        """The CNAME explains a new SSRC, or does not; where none is known, nothing is concluded."""
        names, source = self._names.get(line.number), self._reception.source(line.number)
        if names is None or names.is_doubted:
            return
        sources = dict(names.unnamed)
        if source is not None:
            sources.setdefault(source.ssrc, source.since_ns)
        for ssrc, since_ns in sources.items():
            name = names.heard.get(ssrc)
            if name is None:
                continue
            names.unnamed.pop(ssrc, None)
            if not names.accepted:
                names.accepted = name
                self._tell(partial(self._on_named, line))
            elif names.accepted != name:
                names.is_doubted = True
                self._tell(partial(self._on_doubt, line, CNAME_CHANGED, since_ns))
                return

    # -- sending ---------------------------------------------------------------------------------

    def _report(self, control: _Control, now_ns: int) -> None:
        """RR and our CNAME. Nothing before the client's first packet: until then it may not know this line."""
        number = control.line.number
        arrived_ns = self._reception.heard_ns(number)
        if not (arrived_ns or control.has_heard or self._keepalive_ns):
            return
        control.due_ns = now_ns + self._interval_ns(first=False)
        source, blocks = self._reception.source(number), []
        if source is not None and arrived_ns != control.told_ns:
            if source.ssrc == control.ssrc:
                control.ssrc ^= 1 + secrets.randbits(31)  # a collision: ours is the one that moves (RFC 3550, 8.2)
            ssrc, middle, came_ns = control.newest_sr
            is_his = ssrc == source.ssrc
            delay = min((now_ns - came_ns) * rtcp.LSR_UNITS // SECOND_NS, 0xFFFFFFFF) if is_his else 0
            block = self._reception.block(number, last_sr=middle if is_his else 0, delay=max(0, delay))
            blocks = [block] if block is not None else []
            control.told_ns = arrived_ns
        data = rtcp.compound(ReceiverReport(control.ssrc, tuple(blocks)), SourceName(control.ssrc, self._cname))
        sock = control.sock or self._lines.state_at(number).sock
        if self._send(sock, data, control.peer.rtcp_address, control.peer.rtcp_port):
            self.counts.sent += 1

    def _keep_alive(self, now_ns: int) -> None:
        """An empty datagram from each RTP port to which nothing came for so long (RFC 6263, 4.1)."""
        for number, peer in self._peers.items():
            newest = self._alive_ns.get(number, 0)
            if number in self._controls:
                newest = max(newest, self._reception.heard_ns(number))
            if now_ns - newest >= self._keepalive_ns:
                self._alive_ns[number] = now_ns
                if self._send(self._lines.state_at(number).sock, b"", peer.address, peer.rtp_port):
                    self.counts.keepalives += 1

    def _send(self, sock: socket.socket, data: bytes, address: str, port: int) -> bool:
        try:
            sock.sendto(data, (address, port))
        except OSError:
            self.counts.unsent += 1
            return False
        return True
