"""Redundant audio (RFC 2198): where the primary block of each packet lies. All packets at once; nothing is copied.

Only what a packet was sent for is read. The copies of earlier packets behind it are passed over: they would bring
back what was not agreed to, and keys that are never kept.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Bytes2 = npt.NDArray[np.uint8]  # (n, slot): one datagram per row
Ints = npt.NDArray[np.int32]

NAME = "RED"  # encoding name, upper case
FOLLOWED = 0x80  # bit of a block header: another header comes after it
HEADER_BYTES = 4  # of a redundant block's header; the primary's has one
MAX_BLOCKS = 8  # redundant blocks of a packet; senders use one or two


def primaries(rows: Bytes2, offset: Ints, length: Ints) -> tuple[npt.NDArray[np.uint8], Ints, Ints]:
    """(payload type, where it begins, bytes) of the primary block of each row; 0 bytes where there is none.

    `offset` and `length` say where each row's RTP payload lies, within the row.
    """
    kind, end = np.zeros(len(rows), np.uint8), offset + length
    at, redundant, begin = offset.copy(), np.zeros(len(rows), np.int32), end.copy()
    unread = np.arange(len(rows))
    for _ in range(MAX_BLOCKS + 1):
        unread = unread[at[unread] < end[unread]]
        first = rows[unread, at[unread]]
        done = unread[first < FOLLOWED]
        kind[done] = first[first < FOLLOWED]
        begin[done] = at[done] + 1 + redundant[done]
        unread = unread[first >= FOLLOWED]
        unread = unread[at[unread] + HEADER_BYTES <= end[unread]]
        place = at[unread]
        redundant[unread] += (rows[unread, place + 2].astype(np.int32) & 3) << 8 | rows[unread, place + 3]
        at[unread] += HEADER_BYTES
    return kind, begin, np.maximum(end - begin, 0)
