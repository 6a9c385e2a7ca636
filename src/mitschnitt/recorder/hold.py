"""Agreed audio of the newest moments, unsealed, so that a withdrawal can still take it back.

    Batch --store--> blocks of memory: per track  u8 version | u8 flags | u16 runs | runs | payload
    tick older than the hold --oldest--> sealed by `media`, --forget--> zeroed

What lies here for a track is byte for byte the plaintext of its slice (`vault/artefact`), so sealing copies
nothing. Knows no keys, files or sockets. Whatever leaves the hold is zeroed, never merely forgotten.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mitschnitt.recorder.memory import PinnedBuffer
from mitschnitt.vault.artefact import DIGITS_PRESENT, SLICE_HEAD, SLICE_VERSION
from mitschnitt.wire import rtp

BLOCK_BYTES = 4 * 1024 * 1024  # holds several batches of any make; only touched pages cost memory
SPARE_NS = 60_000_000_000  # a block that nobody needed for so long goes back, so that one late moment does not cost
#                            memory for ever
PART = np.dtype([("slot", np.int32), ("block", np.int32), ("offset", np.int64), ("length", np.int64),
                 ("arrival_ns", np.uint64)])  # fmt: skip

_HEAD = np.dtype([("version", "u1"), ("flags", "u1"), ("runs", "<u2")])
_RUN_BYTES = rtp.RUN.itemsize

Parts = NDArray[Any]
Ints = NDArray[np.int64]


class Block:
    """One piece of the hold's memory."""

    def __init__(self) -> None:
        self.memory = PinnedBuffer(BLOCK_BYTES)
        self.bytes = self.memory.bytes
        self.view = self.memory.view
        self.used = 0

    def items(self, size: int) -> NDArray[Any]:
        """The block as items of `size` bytes that overlap, one per byte: whole items go anywhere at once."""
        return np.ndarray((BLOCK_BYTES - size + 1,), np.dtype((np.void, size)), self.bytes.data, 0, (1,))


@dataclass(eq=False)
class Tick:
    """What arrived in one drain of all lines."""

    at_ns: int
    blocks: list[Block] = field(default_factory=list)
    parts: Parts = field(default_factory=lambda: np.zeros(0, PART))
    fresh: list[Parts] = field(default_factory=list)  # not joined to `parts` yet
    by_slot: dict[int, list[int]] = field(default_factory=dict)  # part numbers, of the first `indexed` parts
    indexed: int = 0

    def all_parts(self) -> Parts:
        """The parts in order of arrival; changes to the array are changes to the tick."""
        if self.fresh:
            # Joined as bytes: numpy compares field by field, in Python, before it joins structured arrays.
            together = bytearray().join(part.tobytes() for part in (self.parts, *self.fresh))
            self.parts, self.fresh = np.frombuffer(together, PART), []
        return self.parts

    def numbers_of(self, slot: int) -> list[int]:
        """Numbers of one track's parts that are not wiped. Built when first asked: most ticks never are."""
        parts = self.all_parts()
        for number, owner in enumerate(parts["slot"][self.indexed :].tolist(), self.indexed):
            self.by_slot.setdefault(owner, []).append(number)
        self.indexed = int(parts.size)
        return [number for number in self.by_slot.get(slot, []) if parts["length"][number]]


@dataclass(frozen=True)
class Kept:
    """Rows of a batch that are kept, grouped by stream."""

    headers: rtp.Headers  # length 0 for telephone events
    rows: NDArray[np.intp] | None  # their places in the arena; None: all of it, in order
    is_event: NDArray[np.bool_] | None  # None: no row is one


class Hold:
    """The ticks that are not sealed yet, oldest first."""

    def __init__(self) -> None:
        self._ticks: deque[Tick] = deque()
        self._spare: list[Block] = []  # the warmest last
        self._unused = 0  # how many of them were never taken since `_looked_ns`
        self._looked_ns = 0

    def begin(self, at_ns: int) -> None:
        """What is stored from now on belongs to a tick of this time."""
        self._ticks.append(Tick(at_ns))
        if at_ns - self._looked_ns >= SPARE_NS:
            del self._spare[: self._unused]
            self._unused, self._looked_ns = len(self._spare), at_ns

    def newest_ns(self) -> int:
        """Time of the tick that takes what is stored now; 0 before the first."""
        return self._ticks[-1].at_ns if self._ticks else 0

    def oldest(self, *, not_after_ns: int) -> Tick | None:
        """The oldest tick if its time is not after that, else None; it stays until `forget`."""
        if self._ticks and self._ticks[0].at_ns <= not_after_ns:
            return self._ticks[0]
        return None

    def forget(self, tick: Tick) -> None:
        """Takes the memory of a tick back, and zeroes what was not wiped yet."""
        self._ticks.remove(tick)
        has_rest = bool(tick.all_parts()["length"].any())
        for block in tick.blocks:
            if has_rest:
                block.bytes[: block.used] = 0
            block.used = 0
            self._spare.append(block)

    def store(
        self, kept: Kept, slots: NDArray[np.int32], arena: NDArray[np.uint8], arrival_ns: int
    ) -> tuple[NDArray[Any], Ints]:
        """Copies the payload of the kept rows behind their runs; `slots` is the track's slot of each row.

        Returns the runs and the first row of each, for whoever counts what came.
        """
        headers = kept.headers
        found, first = rtp.runs(headers, arrival_ns)
        if kept.is_event is not None:
            found["flags"][kept.is_event[first]] |= rtp.EVENT_NOT_KEPT
        layout = _lay_out(headers.stream, found, first)
        block = self._block_for(layout.size)
        base = block.used
        block.used += layout.size
        heads = np.zeros(layout.begin.size, _HEAD)
        heads["version"], heads["runs"] = SLICE_VERSION, layout.runs
        if kept.is_event is not None:
            heads["flags"] = np.logical_or.reduceat(kept.is_event, layout.first_row) * DIGITS_PRESENT
        block.items(SLICE_HEAD.size)[base + layout.begin] = heads.view(np.dtype((np.void, SLICE_HEAD.size)))
        block.items(_RUN_BYTES)[base + layout.run_place] = found.view(np.dtype((np.void, _RUN_BYTES)))
        _copy_payload(block, base + layout.row_place, kept, arena)
        parts = np.zeros(layout.begin.size, PART)
        parts["slot"] = slots[layout.first_row]
        parts["block"] = len(self._ticks[-1].blocks) - 1
        parts["offset"] = base + layout.begin
        parts["length"] = layout.length
        parts["arrival_ns"] = arrival_ns
        self._ticks[-1].fresh.append(parts)
        return found, first

    def parts_of(self, slot: int) -> list[tuple[Tick, int]]:
        """Where the parts of one track lie, oldest first: (tick, number within `all_parts`)."""
        return [(tick, number) for tick in self._ticks for number in tick.numbers_of(slot)]

    def wipe(self, slot: int) -> int:
        """Zeroes everything of one track; how many bytes."""
        wiped = 0
        for tick, number in self.parts_of(slot):
            wiped += self.wipe_part(tick, number)
        return wiped

    def wipe_part(self, tick: Tick, number: int) -> int:
        """Zeroes one part, which counts as empty from then on; how many bytes."""
        part = tick.all_parts()[number]
        offset, length = int(part["offset"]), int(part["length"])
        tick.blocks[int(part["block"])].bytes[offset : offset + length] = 0
        part["length"] = 0
        return length

    def memory(self) -> list[Block]:
        """All blocks, in use or spare, for tests that search them and for figures."""
        return [block for tick in self._ticks for block in tick.blocks] + self._spare

    def wipe_sealed(self, tick: Tick, start: int, stop: int) -> None:
        """Zeroes the parts `start` to `stop - 1` of a tick, neighbours, after they were sealed."""
        parts = tick.all_parts()[start:stop]
        for number in set(parts["block"].tolist()):
            mine = parts[parts["block"] == number]
            # Parts lie in their block one behind the other, without anybody else's between them.
            end = int((mine["offset"] + mine["length"]).max())
            tick.blocks[number].bytes[int(mine["offset"].min()) : end] = 0
        parts["length"] = 0

    def _block_for(self, size: int) -> Block:
        """A block of the newest tick with room for `size` bytes."""
        blocks = self._ticks[-1].blocks
        if not blocks or blocks[-1].used + size > BLOCK_BYTES:
            blocks.append(self._spare.pop() if self._spare else Block())
            self._unused = min(self._unused, len(self._spare))
        return blocks[-1]


@dataclass(frozen=True)
class _Layout:
    """Where everything of a batch goes, in bytes from its beginning; one part per stream."""

    size: int
    first_row: Ints  # of each part
    runs: Ints  # of each part
    begin: Ints  # of each part
    length: Ints  # of each part
    run_place: Ints
    row_place: Ints


def _lay_out(stream: NDArray[np.int32], found: NDArray[Any], first: Ints) -> _Layout:
    """Counts by run, of which there are few: within one all payloads have one length."""
    lead = stream[first]
    opens = np.ones(first.size, np.bool_)
    np.not_equal(lead[1:], lead[:-1], out=opens[1:])
    first_run = np.flatnonzero(opens)  # a stream's first row always begins a run
    runs = rtp.lengths_of(first_run, first.size)
    count, length = found["count"].astype(np.int64), found["length"].astype(np.int64)
    octets = count * length
    heads = SLICE_HEAD.size + runs * _RUN_BYTES
    size = heads + np.add.reduceat(octets, first_run)
    begin = np.cumsum(size) - size
    number = np.arange(first.size) - np.repeat(first_run, runs)
    run_place = np.repeat(begin + SLICE_HEAD.size, runs) + number * _RUN_BYTES
    before = np.cumsum(octets) - octets  # payload bytes of the batch before each run
    payload = np.repeat(begin + heads - before[first_run], runs) + before
    row_place = np.repeat(payload - first * length, count)
    row_place += np.arange(stream.size) * (length[0] if (length == length[0]).all() else np.repeat(length, count))
    return _Layout(int(size.sum()), first[first_run], runs, begin, size, run_place, row_place)


def _copy_payload(block: Block, places: Ints, kept: Kept, arena: NDArray[np.uint8]) -> None:
    """Copies payloads to their places, all rows of one payload offset and length in one step."""
    headers = kept.headers
    offset, length = headers.offset, headers.length
    if (offset == offset[0]).all() and (length == length[0]).all():
        rows = slice(places.size) if kept.rows is None else kept.rows
        _copy_alike(block, places, arena, rows, int(offset[0]), int(length[0]))
        return
    kinds = offset.astype(np.int64) << 32 | length
    # No np.unique here: its first call imports a tenth of a second's worth of numpy, in the middle of a tick.
    for kind in set(kinds.tolist()):
        mine = np.flatnonzero(kinds == kind)
        _copy_alike(
            block, places[mine], arena, mine if kept.rows is None else kept.rows[mine], kind >> 32, kind & 0xFFFFFFFF
        )


def _copy_alike(
    block: Block, places: Ints, arena: NDArray[np.uint8], rows: NDArray[np.intp] | slice, offset: int, length: int
) -> None:
    """Copies the payloads of `rows`, all of one offset and length."""
    if length:
        payloads = arena[:, offset : offset + length].view(np.dtype((np.void, length)))[:, 0]
        block.items(length)[places] = payloads[rows]
