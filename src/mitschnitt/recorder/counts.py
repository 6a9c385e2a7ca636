"""What a recorder's media plane counts since its start, and what the kernel and the lines tell of loss.

Only counts and compares: whom it concerns is told by the media plane. No counter knows a call or a party.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from mitschnitt.recorder.lines import Line, Lines
from mitschnitt.recorder.reception import Loss, Reception
from mitschnitt.recorder.ring import Ring

LOSS_ALARM_SHARE = 0.02  # of a line's packets; more is heard as gaps, and somebody should look at the path
LOSS_ALARM_PACKETS = 500  # least that a line must have expected before its share says anything: 10 s
RING = -1  # in place of a line's number


@dataclass
class MediaCounts:
    """Counters since the start; packets unless named otherwise."""

    received: int = 0
    kept: int = 0
    kept_octets: int = 0
    events: int = 0
    leaked: int = 0  # on gated lines, cut to 12 bytes by the kernel
    strange: int = 0  # payload type not negotiated
    injected: int = 0  # from other sources than the line's client; cut to a byte, and not looked at
    refused: dict[str, int] = field(default_factory=dict)  # not RTP, by reason
    kernel_drops: int = 0  # receive buffers that ran over; read every 10 s and at release
    lost: int = 0  # by the sequence numbers of lines that are no longer open
    late: int = 0  # of the same lines: more than 200 ms behind their newest packet when they came
    duplicates: int = 0  # of the same lines
    mixed: int = 0  # lines whose packets named several contributing sources
    late_ticks: int = 0  # that began a whole tick or more after their time
    wiped_octets: int = 0
    no_space: int = 0  # writes and syncs of journal or sealed files that a disk refused
    unfit: int = 0  # lines that went from the packet ring back to their sockets: too long packets, or too many
    odd: dict[str, int] = field(default_factory=dict)  # packets in or before the ring that are no sound datagrams
    strays: int = 0  # packets in the ring whose line was shut while they came


class Watch:
    """Leaks, losses and kernel drops of all lines, each told once."""

    def __init__(self, lines: Lines, reception: Reception, counts: MediaCounts) -> None:
        self._lines, self._reception, self._counts = lines, reception, counts
        self._lossy: set[int] = set()  # open lines whose loss was told
        self._leaks: dict[int, int] = {}  # since they were told last, by line
        self._drops: dict[int, int] = {}  # of each socket, when it was asked last

    def leaked(self, number: int, packets: int) -> None:
        """Packets came to a gated line."""
        self._leaks[number] = self._leaks.get(number, 0) + packets

    def leaks(self) -> Iterator[tuple[Line, int]]:
        """Lines to which packets leaked since last asked, and how many."""
        if not self._leaks:
            return
        leaks, self._leaks = self._leaks, {}
        for state in self._lines:
            if count := leaks.get(state.line.number, 0):
                self._counts.leaked += count
                yield state.line, count

    def losses(self) -> Iterator[tuple[Line, Loss]]:
        """Open lines that lose much, each once while it is open."""
        watched = [number for number in self._lines.open_numbers() if number not in self._lossy]
        for number in self._reception.lossy(watched, share=LOSS_ALARM_SHARE, least=LOSS_ALARM_PACKETS):
            self._lossy.add(number)
            yield self._lines.state_at(number).line, self._reception.loss(number)

    def read_drops(self) -> int:
        """Packets that the kernel dropped at our sockets since the start, asked now."""
        for state in self._lines:
            self._read_drops_of(state.line)
        if self._lines.mapped is not None:
            self._read_ring(self._lines.mapped.ring)
        return self._counts.kernel_drops

    def closes(self, line: Line) -> None:
        """The line is shut: its loss may be told anew when it opens again."""
        self._lossy.discard(line.number)

    def forget(self, line: Line) -> None:
        """The line is released; its socket is still open."""
        self._read_drops_of(line)
        self._drops.pop(line.number, None)
        self._leaks.pop(line.number, None)

    def _read_drops_of(self, line: Line) -> None:
        sock = self._lines.state(line).sock
        if sock.fileno() >= 0:
            self._count_drops(line.number, self._lines.kernel_drops(self._lines.state(line)))

    def _read_ring(self, ring: Ring) -> None:
        self._count_drops(RING, ring.drops())
        self._counts.odd, self._counts.strays = {**ring.odd(), **ring.refused}, ring.strays
        ring.follow_interface()

    def _count_drops(self, number: int, drops: int) -> None:
        self._counts.kernel_drops += max(0, drops - self._drops.get(number, 0))  # a deafened socket begins anew
        self._drops[number] = drops
