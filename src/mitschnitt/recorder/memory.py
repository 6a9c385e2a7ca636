"""Memory for agreed audio that is not sealed yet: kept out of swap and core dumps where the system lets us.

Only allocates; what lies in it is wiped by those who put it there.
"""

from __future__ import annotations

import ctypes
import mmap

import numpy as np
from numpy.typing import NDArray

MLOCK_ONFAULT = 1  # sys/mman.h: lock pages as they are touched, so that unused room costs no memory

_LIBC = ctypes.CDLL(None, use_errno=True)


class PinnedBuffer:
    """`size` zero bytes as one numpy array that never moves."""

    def __init__(self, size: int) -> None:
        self._map = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.bytes: NDArray[np.uint8] = np.frombuffer(self._map, np.uint8)
        self._map.madvise(mmap.MADV_DONTDUMP)
        self.is_locked = _lock(self.address, size)  # False: swap may see it; `doctor` asks for swap off

    @property
    def address(self) -> int:
        """Where the first byte lies."""
        return self.bytes.ctypes.data

    @property
    def view(self) -> memoryview:
        """The bytes as a writable memoryview."""
        return self.bytes.data


def _lock(address: int, size: int) -> bool:
    """Whether the system keeps these pages out of swap (fails above RLIMIT_MEMLOCK)."""
    try:
        lock = _LIBC.mlock2
    except AttributeError:  # a C library older than glibc 2.27
        return False
    return bool(lock(ctypes.c_void_p(address), ctypes.c_size_t(size), MLOCK_ONFAULT) == 0)
