"""What a process that holds keys or sound asks of the kernel: no core dump, no debugger of the same user, no swap.

Tries, and says what it got; `doctor` and the start-up line show it. Never raises: a machine that refuses one of
these still records, and says so.
"""

from __future__ import annotations

import ctypes
import resource
from dataclasses import dataclass
from pathlib import Path

PR_SET_DUMPABLE = 4  # linux/prctl.h
PR_GET_DUMPABLE = 3
MCL_CURRENT, MCL_FUTURE, MCL_ONFAULT = (
    1,
    2,
    4,
)  # asm-generic/mman.h; ONFAULT: pages when touched, not stacks whole
CAP_IPC_LOCK_BIT = 1 << 14  # linux/capability.h


@dataclass(frozen=True, slots=True)
class Hardening:
    """What was achieved."""

    no_core: bool  # RLIMIT_CORE is 0
    not_dumpable: bool  # PR_SET_DUMPABLE 0: no ptrace and no /proc/PID/mem for the same user
    memory_locked: bool  # mlockall: nothing of this process reaches a swap device
    swap_off: bool  # the machine has no swap at all


def swap_is_off(swaps: str) -> bool:
    """Whether the text of /proc/swaps lists no device."""
    return len([line for line in swaps.splitlines() if line.strip()]) <= 1


def _may_lock_all() -> bool:
    # With a small limit mlockall succeeds now and every later allocation fails: worse than not locking.
    if resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] == resource.RLIM_INFINITY:
        return True
    for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) & CAP_IPC_LOCK_BIT)
    return False


def harden() -> Hardening:
    """Ask for all of it, for the rest of this process's life."""
    libc = ctypes.CDLL(None, use_errno=True)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    not_dumpable = libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0
    try:
        locked = _may_lock_all() and libc.mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) == 0
        no_swap = swap_is_off(Path("/proc/swaps").read_text(encoding="ascii", errors="replace"))
    except OSError:
        locked = no_swap = False  # without /proc we cannot know; claim nothing
    return Hardening(
        no_core=resource.getrlimit(resource.RLIMIT_CORE) == (0, 0),
        not_dumpable=not_dumpable,
        memory_locked=bool(locked),
        swap_off=no_swap,
    )
