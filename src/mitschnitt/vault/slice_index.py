"""What lies in the media journal of a recorder that ended: every segment is read once, for all its calls.

Knows frames, not keys: what it gives is sealed. Of a slice that lies there twice (it was copied forward) one copy is
given; what was taken back is not given, and neither is what the disk cannot read.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mitschnitt.vault import slices
from mitschnitt.vault.slice_files import frames, read_what_can_be, segments
from mitschnitt.vault.slices import SealedSlice

_PLACE = np.dtype(
    [
        ("call", "V16"),
        ("party", "<u2"),
        ("track", "<u2"),
        ("slice", "<u4"),
        ("segment", "<u4"),  # place in the list of files
        ("offset", "<u8"),  # from the beginning of the file
        ("length", "<u4"),
    ]
)

Places = NDArray[np.void]


class SliceIndex:
    """Where the slices of all calls in `directory` lie: 40 bytes of memory each.

    `before` leaves out segments from that number on (a writer's own). A torn frame ends its segment; slices of it
    that are whole are still given, their tags tell. Damaged frames inside a segment are passed over.
    """

    def __init__(self, directory: Path, *, before: int | None = None) -> None:
        self._paths = [path for number, path in segments(directory) if before is None or number < before]
        self._revoked: dict[bytes, set[tuple[int, int, int]]] = {}
        found = [places for number, path in enumerate(self._paths) for places in self._read(number, path)]
        together = np.frombuffer(b"".join(places.tobytes() for places in found), _PLACE)
        # By call only, so that those of one call stay in the order in which they were written.
        halves = np.frombuffer(together["call"].tobytes(), ">u8").reshape(-1, 2)
        order = np.lexsort((halves[:, 1], halves[:, 0]))
        self._places = together[order]
        changes = np.flatnonzero((halves[order][1:] != halves[order][:-1]).any(axis=1)) + 1
        edges = [0, *changes.tolist(), together.size] if together.size else []
        calls = self._places["call"]
        self._calls = {
            calls[start].tobytes(): slice(start, stop) for start, stop in zip(edges[:-1], edges[1:], strict=True)
        }

    def calls(self) -> set[bytes]:
        """The ids of all calls with slices here."""
        return set(self._calls)

    def of_call(self, call_id: bytes) -> Iterator[SealedSlice]:
        """All slices of one call, in the order in which they lie there."""
        return self._given(call_id, self._places[self._calls.get(call_id, slice(0))])

    def of_party(self, call_id: bytes, party: int) -> Iterator[SealedSlice]:
        """The slices of one party, in order of arrival."""
        mine = self._places[self._calls.get(call_id, slice(0))]
        mine = mine[mine["party"] == party]
        return self._given(call_id, mine[np.lexsort((mine["slice"], mine["track"]))])

    def _read(self, number: int, path: Path) -> Iterator[Places]:
        size = path.stat().st_size
        for start, index in frames(path):
            for call, *taken in slices.all_revoked(index):
                party, track, first, count = taken
                gone = self._revoked.setdefault(call, set())
                gone.update((party, track, one) for one in range(first, first + count))
            rows = index[index["length"] > 0]
            places = np.zeros(rows.size, _PLACE)
            for name in ("call", "party", "track", "slice", "length"):
                places[name] = rows[name]
            places["segment"] = number
            places["offset"] = start + rows["offset"].astype(np.uint64)
            yield places[places["offset"] + places["length"] <= size]

    def _given(self, call_id: bytes, places: Places) -> Iterator[SealedSlice]:
        done = set(self._revoked.get(call_id, ()))
        opened = -1
        file = None
        try:
            for row in places:
                where = (int(row["party"]), int(row["track"]), int(row["slice"]))
                if where in done:
                    continue
                if file is None or opened != int(row["segment"]):
                    if file is not None:
                        file.close()
                    opened = int(row["segment"])
                    file = self._paths[opened].open("rb")
                data = read_what_can_be(file.fileno(), int(row["length"]), int(row["offset"]))
                if len(data) == row["length"]:
                    done.add(where)
                    yield SealedSlice(call_id, *where, data)
        finally:
            if file is not None:
                file.close()


def scan(directory: Path, call_id: bytes, *, before: int | None = None) -> Iterator[SealedSlice]:
    """The slices of one call, by segment and frame, without those that were taken back; see `SliceIndex`."""
    return SliceIndex(directory, before=before).of_call(call_id)


def calls(directory: Path, *, before: int | None = None) -> set[bytes]:
    """The ids of all calls with slices in this directory."""
    return SliceIndex(directory, before=before).calls()
