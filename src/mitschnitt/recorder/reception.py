"""How much of what clients sent arrived, and from which source: a table by line, counted by the batch.

    runs of a batch --count--> highest sequence, received, expected, jitter, epochs --block--> report block

By line, never by SSRC: real clients give both lines of a call the same one. Looks at headers only, calls nobody back,
and no Python statement is executed per packet.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mitschnitt.recorder.ports import Stream
from mitschnitt.vault.artefact import PathCounts
from mitschnitt.wire.rtcp import ReportBlock, fraction_lost
from mitschnitt.wire.rtp import MAX_DROPOUT, MAX_MISORDER

FIRST_LINES = 256  # rows of the table at the start; they double
MAX_TRANSIT_SECONDS = 5  # a larger step between two drains is a new clock of the sender's, not jitter
JITTER_SHARE = 1 / 16  # of one measurement in the mean (RFC 3550, A.8)
LATE_MS = 200  # behind the newest packet when it came: a listener's buffer would have given it up
FULL = np.uint64(0xFFFF_FFFF_FFFF_FFFF)  # window of a line of whose newest 64 packets none is missing
MAX_TURNS = 64  # runs of one line in a batch that are looked behind; a tick's honest packets make far fewer
SECOND_NS = 1_000_000_000

_LINE = np.dtype(
    [
        ("ssrc", np.uint32),
        ("seen", np.bool_),  # a packet came since the line was opened
        ("mixed", np.bool_),  # its packets name several contributing sources
        ("epochs", np.int32),
        ("base", np.int64),  # first sequence number of the epoch; the next two have the wraps since then counted on
        ("last", np.int64),  # of the newest packet
        ("highest", np.int64),
        ("received", np.int64),  # in this epoch
        ("former_expected", np.int64),  # in the epochs before
        ("former_received", np.int64),
        ("told_expected", np.int64),  # of this epoch, when the newest report was made
        ("told_received", np.int64),
        ("clock", np.int64),  # RTP clock in Hz
        ("timed", np.bool_),  # `transit` is known
        ("transit", np.int64),  # arrival minus RTP time of the newest packet of a drain, in RTP units
        ("jitter", np.float64),  # RTP units
        ("since_ns", np.int64),  # arrival of the first packet of this SSRC
        ("heard_ns", np.int64),  # arrival of the newest packet
        ("top", np.int64),  # `highest`, as it is between two runs of a batch
        ("top_time", np.uint32),  # RTP time of that packet
        ("window", np.uint64),  # which of it and the 63 numbers below came; bit 0 is the highest
        ("late", np.int64),
        ("duplicates", np.int64),
        ("csrc", np.int64),  # the one contributing source so far; -1: none
    ]
)

_ROW = np.dtype((np.void, _LINE.itemsize))
_COLUMNS = _LINE.names or ()

Ints = NDArray[np.int64]
Numbers = NDArray[np.int32]  # of lines
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Loss:
    """Packets of one line: how many its sequence numbers count, and how many came; duplicates count as come."""

    expected: int = 0
    received: int = 0

    @property
    def lost(self) -> int:
        """Packets that did not come; duplicates can hide some of them."""
        return max(0, self.expected - self.received)

    @property
    def share(self) -> float:
        """Of what was expected, 0 to 1."""
        return self.lost / self.expected if self.expected else 0.0

    def __add__(self, other: Loss) -> Loss:
        """Both together."""
        return Loss(self.expected + other.expected, self.received + other.received)


@dataclass(frozen=True, slots=True)
class Source:
    """Who sends to a line at the moment."""

    ssrc: int
    since_ns: int  # arrival of its first packet, ns since 1970


class Reception:
    """See the module."""

    def __init__(self) -> None:
        self._table: NDArray[Any] = np.zeros(FIRST_LINES, _LINE)

    def begin(self, line: int, clock: int) -> None:
        """A line is opened; `clock` is the RTP clock of its codec in Hz. Nothing of before counts."""
        while line >= self._table.size:
            grown = np.zeros(2 * self._table.size, _LINE)
            grown[: self._table.size] = self._table
            self._table = grown
        self._table[line] = 0
        self._table["clock"][line], self._table["csrc"][line] = clock, -1

    # -- counting --------------------------------------------------------------------------------

    def count(self, line: Numbers, runs: NDArray[Any], arrival_ns: int) -> list[int]:
        """Counts the runs of a batch, grouped by line in order of arrival; the lines whose SSRC changed."""
        if not line.size:
            return []
        table = self._table
        seq, count = runs["seq"].astype(np.int64), runs["count"].astype(np.int64)
        opens = np.ones(line.size, np.bool_)
        opens[1:] = line[1:] != line[:-1]
        first = line[opens]
        before, source = np.empty_like(seq), np.empty(line.size, np.uint32)
        before[1:], source[1:] = (seq + count - 1)[:-1], runs["ssrc"][:-1]
        before[opens], source[opens] = table["last"][first], table["ssrc"][first]
        moved = ((seq - before + 0x8000) & 0xFFFF) - 0x8000
        fresh = opens & ~table["seen"][line]
        changes = (runs["ssrc"] != source) | fresh
        breaks = changes | (moved > MAX_DROPOUT) | (moved < -MAX_MISORDER)
        changed: list[int] = []
        if opens.all() and not breaks.any():
            if (moved == 1).all() and self._count_plain(line, runs, count, arrival_ns):
                return changed
            end = table["last"][line] + moved + count - 1
            table["top"][line] = table["highest"][line]
            self._look_behind(line, runs, end, count, breaks)
            table["last"][line] = end
            table["highest"][line] = np.maximum(table["highest"][line], end)
            table["received"][line] += count
        else:
            changed = sorted(set(line[changes & ~fresh].tolist()))
            table["since_ns"][line[changes]] = arrival_ns
            table["timed"][line[breaks]] = False
            self._count_stretches(line, runs, seq, count, moved, breaks, opens)
        closes = np.append(opens[1:], True)
        rows = self._fetch(line[closes])
        self._measure(rows, runs[closes], arrival_ns)
        self._put(line[closes], rows)
        return changed

    def _count_plain(self, line: Numbers, runs: NDArray[Any], count: Ints, arrival_ns: int) -> bool:
        """Counts one run of each line that goes on where the last one ended; False where something is missing before.

        That is nearly every batch, so whole rows are fetched once and put back once.
        """
        rows = self._fetch(line)
        if not (rows["window"] == FULL).all():
            return False
        rows["last"] += count
        np.maximum(rows["highest"], rows["last"], out=rows["highest"])
        rows["received"] += count
        rows["top"], rows["top_time"] = rows["last"], _last_time(runs, count)
        self._measure(rows, runs, arrival_ns)
        self._put(line, rows)
        return True

    def _fetch(self, line: Numbers) -> NDArray[Any]:
        """Copies of whole rows. Moved as bytes: numpy moves structured rows field by field, ten times as slowly."""
        return self._table.view(_ROW)[line].view(_LINE)

    def _put(self, line: Numbers, rows: NDArray[Any]) -> None:
        self._table.view(_ROW)[line] = rows.view(_ROW)

    def _count_stretches(
        self, line: Numbers, runs: NDArray[Any], seq: Ints, count: Ints, moved: Ints, breaks: Flags, opens: Flags
    ) -> None:
        """Counts runs in stretches, which begin with a line (`opens`) or with an epoch (`breaks`)."""
        table, ssrc = self._table, runs["ssrc"]
        starts = np.flatnonzero(opens | breaks)
        walked = moved.copy()
        walked[1:] += count[:-1] - 1
        walked = np.cumsum(walked)
        stretch, is_new = line[starts], breaks[starts]
        origin = np.where(is_new, seq[starts], table["last"][stretch] + moved[starts])
        end = walked + np.repeat(origin - walked[starts], np.diff(starts, append=line.size)) + count - 1
        table["top"][line] = table["highest"][line]
        self._look_behind_by_turns(line, runs, end, count, breaks, opens)
        highest, received = np.maximum.reduceat(end, starts), np.add.reduceat(count, starts)
        last = end[np.append(starts[1:], line.size) - 1]
        on, rest = stretch[~is_new], ~is_new
        table["last"][on] = last[rest]
        table["highest"][on] = np.maximum(table["highest"][on], highest[rest])
        table["received"][on] += received[rest]
        new = np.flatnonzero(is_new)
        if not new.size:
            return
        lines = stretch[new]
        ends = np.append(lines[1:] != lines[:-1], True)  # the epoch that the line is in from now on
        over = lines[np.append(True, lines[1:] != lines[:-1])]
        over = over[table["seen"][over]]
        table["former_expected"][over] += table["highest"][over] - table["base"][over] + 1
        table["former_received"][over] += table["received"][over]
        short = new[~ends]  # epochs that began and ended within the batch
        np.add.at(table["former_expected"], stretch[short], highest[short] - origin[short] + 1)
        np.add.at(table["former_received"], stretch[short], received[short])
        np.add.at(table["epochs"], lines, 1)
        now, lines = new[ends], lines[ends]
        table["seen"][lines], table["ssrc"][lines] = True, ssrc[starts[now]]
        table["base"][lines], table["last"][lines] = origin[now], last[now]
        table["highest"][lines], table["received"][lines] = highest[now], received[now]
        for column in ("told_expected", "told_received", "jitter"):
            table[column][lines] = 0

    def _look_behind_by_turns(
        self, line: Numbers, runs: NDArray[Any], end: Ints, count: Ints, fresh: Flags, opens: Flags
    ) -> None:
        """The first run of each line, then the second of each that has one, and so on, at most MAX_TURNS times.

        Of a line with more runs the rest is counted all the same, but not told late or twice: a sender that makes a run
        of each packet must not hold up all others.
        """
        starts = np.flatnonzero(opens)
        turn = np.arange(line.size) - np.repeat(starts, np.diff(starts, append=line.size))
        for number in range(min(int(turn.max()) + 1, MAX_TURNS)):
            now = np.flatnonzero(turn == number)
            self._look_behind(line[now], runs[now], end[now], count[now], fresh[now])
        self._table["window"][line[turn >= MAX_TURNS]] = 0  # what came is not known any more

    def _look_behind(self, line: Numbers, runs: NDArray[Any], end: Ints, count: Ints, fresh: Flags) -> None:
        """Counts what came twice, and what came late; each line once. `end` counts on within its epoch.

        A window as for replay in RFC 4303, 3.4.3: what lies further back than 64 numbers is late, and not known twice.
        """
        table = self._table
        start = end - count + 1
        top = np.where(fresh, start - 1, table["top"][line])
        window = np.where(fresh, np.uint64(0), table["window"][line])
        new_top = np.maximum(top, end)
        mine = _shifted(_ones(count), new_top - end)
        window = _shifted(window, new_top - top)
        if (behind := np.flatnonzero(start <= top)).size:
            twice, who = window[behind] & mine[behind], line[behind]
            gone = (table["top_time"][who] - runs["rtp_time"][behind]).view(np.int32).astype(np.int64)
            over = gone - table["clock"][who] * LATE_MS // 1000
            step = np.maximum(runs["step"][behind].astype(np.int64), 1)
            late = np.clip((over + step - 1) // step, 0, count[behind])  # so many at its beginning
            which = _shifted(_ones(late), new_top[behind] - start[behind] + 1 - late)
            table["duplicates"][who] += np.bitwise_count(twice)
            table["late"][who] += late - np.bitwise_count(twice & which)
        leads = end > top
        table["top_time"][line] = np.where(leads, _last_time(runs, count), table["top_time"][line])
        table["top"][line], table["window"][line] = new_top, window | mine

    @staticmethod
    def _measure(rows: NDArray[Any], newest: NDArray[Any], arrival_ns: int) -> None:
        """Jitter (RFC 3550, A.8), measured once per drain: when single packets came, the drain does not know.

        Compares the newest packet's RTP time with the drain's. It is up to one packet time old by then, so only
        what exceeds that counts: jitter below the spacing of packets is not seen.
        """
        rows["heard_ns"] = arrival_ns
        clock = rows["clock"]
        step, behind = newest["step"].astype(np.int64), newest["count"].astype(np.int64) - 1
        seconds, rest = divmod(arrival_ns, SECOND_NS)
        arrival = seconds * clock + rest * clock // SECOND_NS
        transit = arrival - newest["rtp_time"] - step * behind
        moved = np.abs(((transit - rows["transit"] + 0x8000_0000) & 0xFFFF_FFFF) - 0x8000_0000)
        usable = rows["timed"] & (moved < MAX_TRANSIT_SECONDS * clock) & (step < clock)
        seen = np.maximum(moved - step, 0)
        jitter = rows["jitter"]
        rows["jitter"] = np.where(usable, jitter + (seen - jitter) * JITTER_SHARE, jitter)
        rows["transit"], rows["timed"] = transit, True

    def count_idle(self, line: Numbers, ssrc: NDArray[np.uint32]) -> None:
        """Packets of open lines that carry nothing to keep, but did come: no payload, or a type not negotiated."""
        mine = line[self._table["seen"][line] & (self._table["ssrc"][line] == ssrc)]
        np.add.at(self._table["received"], mine, 1)

    def mix(self, line: Numbers, contributors: NDArray[np.uint8], first: NDArray[np.uint32]) -> list[int]:
        """Lines that these packets show to be mixed, each named once; each row has `contributors` CSRCs, 1 or more.

        Two in one packet are a mix (RFC 3550, 7.1), and so is one that another takes the place of: a mixer names
        who is heard at the moment. A translator's stream keeps the one it has.
        """
        table, source = self._table, first.astype(np.int64)
        opens = np.append(True, line[1:] != line[:-1])
        before = np.empty_like(source)
        before[1:] = source[:-1]
        known = table["csrc"][line[opens]]
        before[opens] = np.where(known < 0, source[opens], known)
        table["csrc"][line] = source  # of several rows the last one stays
        several = line[(contributors > 1) | (source != before)]
        found = sorted(set(several[~table["mixed"][several]].tolist()))
        table["mixed"][found] = True
        return found

    # -- telling ---------------------------------------------------------------------------------

    def source(self, line: int) -> Source | None:
        """Who sends to this line; None before the first packet."""
        row = self._row(line)
        return Source(row["ssrc"], row["since_ns"]) if row["seen"] else None

    def newest(self, line: int) -> Stream | None:
        """Where the line's stream is; None before the first packet."""
        row = self._row(line)
        return Stream(row["ssrc"], row["highest"] & 0xFFFF) if row["seen"] else None

    def heard_ns(self, line: int) -> int:
        """When the newest packet of an open line arrived, ns since 1970; 0 when none did."""
        return int(self._table["heard_ns"][line])

    def epochs(self, line: int) -> int:
        """How many sources, or restarts of one, the line has had since it was opened."""
        return int(self._table["epochs"][line])

    def loss(self, line: int) -> Loss:
        """Everything since the line was opened, all epochs together."""
        row = self._row(line)
        now = row["highest"] - row["base"] + 1 if row["seen"] else 0
        return Loss(row["former_expected"] + now, row["former_received"] + row["received"])

    def path(self, line: int) -> PathCounts:
        """The same with all that is counted on the way."""
        loss = self.loss(line)
        row = self._row(line)
        return PathCounts(loss.expected, loss.received, row["late"], row["duplicates"])

    def lossy(self, lines: Iterable[int], *, share: float, least: int) -> list[int]:
        """Of these lines those that lost more than `share` of at least `least` packets."""
        found = ((line, self.loss(line)) for line in lines)
        return [line for line, loss in found if loss.expected >= least and loss.share > share]

    def block(self, line: int, *, last_sr: int = 0, delay: int = 0) -> ReportBlock | None:
        """What a report says of the line's source now; None before its first packet. The next one goes on from here.

        Loss is that of the present epoch (RFC 3550, A.3). `last_sr` and `delay` as in the block.
        """
        row = self._row(line)
        if not row["seen"]:
            return None
        expected, received = row["highest"] - row["base"] + 1, row["received"]
        share = fraction_lost(expected - row["told_expected"], received - row["told_received"])
        self._table["told_expected"][line], self._table["told_received"][line] = expected, received
        highest, jitter = row["highest"] & 0xFFFFFFFF, min(int(row["jitter"]), 0xFFFFFFFF)
        return ReportBlock(row["ssrc"], share, expected - received, highest, jitter, last_sr, delay)

    def _row(self, line: int) -> dict[str, Any]:
        return dict(zip(_COLUMNS, self._table[line].item(), strict=True))


def _last_time(runs: NDArray[Any], count: Ints) -> NDArray[np.uint32]:
    """RTP time of the last packet of each run."""
    found: NDArray[np.uint32] = runs["rtp_time"] + runs["step"] * (count - 1).astype(np.uint32)
    return found


def _ones(count: Ints) -> NDArray[np.uint64]:
    """That many of the lowest bits, at most all 64."""
    return _shifted(np.full(count.shape, 1, np.uint64), count) - np.uint64(1)


def _shifted(bits: NDArray[np.uint64], by: Ints) -> NDArray[np.uint64]:
    """Shifted up; from 64 on nothing is left, which the processor does not know."""
    found: NDArray[np.uint64] = np.where(by < 64, bits << np.minimum(by, 63).astype(np.uint64), np.uint64(0))
    return found
