"""`mitschnitt` behind the walls of packaging/systemd/mitschnitt.service, as far as a process can build them itself.

System calls, address families, write-and-execute memory and new privileges are refused as the unit says; run as
`python -m as_a_service serve --dir DIR`. File system and users are systemd's and not shown here.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import re
import runpy
import struct
import subprocess
import sys
from pathlib import Path

UNIT = Path(__file__).parents[2] / "packaging" / "systemd" / "mitschnitt.service"
NUMBERS = {"x86_64": "x86_64-linux-gnu/asm/unistd_64.h", "aarch64": "asm-generic/unistd.h"}
FAMILIES = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10, "AF_NETLINK": 16, "AF_PACKET": 17}
PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, PR_SET_MDWE = 22, 38, 65  # linux/prctl.h
SECCOMP_MODE_FILTER = 2
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06  # linux/bpf_common.h: ld [k], jeq #k, ret #k
NUMBER_AT, FIRST_ARGUMENT_AT = 0, 16  # in struct seccomp_data
ALLOW, REFUSE = 0x7FFF0000, 0x00050000  # linux/seccomp.h; REFUSE carries the errno


def setting(name: str) -> list[str]:
    """The words of a setting of the unit, over all its lines."""
    return " ".join(re.findall(rf"^{name}=(.*)$", UNIT.read_text(encoding="utf-8"), re.MULTILINE)).split()


def calls_of(group: str) -> set[str]:
    """Names of the system calls of one of systemd's groups."""
    told = subprocess.run(["systemd-analyze", "syscall-filter", "--no-pager", group], capture_output=True, check=True)
    words = [line.strip() for line in told.stdout.decode().splitlines()[1:] if not line.strip().startswith("#")]
    nested = [calls_of(word) for word in words if word.startswith("@")]
    return {word for word in words if word and not word.startswith("@")}.union(*nested)


def allowed_calls() -> set[str]:
    """What `SystemCallFilter` leaves: the first group, less those that follow a tilde."""
    words, refusing = setting("SystemCallFilter"), False
    allowed: set[str] = set()
    for word in words:
        refusing = refusing or word.startswith("~")
        allowed = allowed - calls_of(word.lstrip("~")) if refusing else allowed | calls_of(word)
    return allowed


def numbers() -> dict[str, int]:
    """System calls of this machine by name."""
    text = (Path("/usr/include") / NUMBERS[platform.machine()]).read_text(encoding="utf-8")
    return {
        name: int(number) for name, number in re.findall(r"^#define __NR(?:3264)?_(\w+) (\d+)$", text, re.MULTILINE)
    }


def program(known: dict[str, int], allowed: set[str], families: set[int]) -> bytes:
    """The filter: sockets of these families and these calls pass, anything else is EPERM."""
    steps = [(LOAD, 0, 0, NUMBER_AT), (EQUAL, 0, 2 * len(families) + 2, known["socket"])]
    steps.append((LOAD, 0, 0, FIRST_ARGUMENT_AT))
    for family in sorted(families):
        steps += [(EQUAL, 0, 1, family), (RETURN, 0, 0, ALLOW)]
    steps.append((RETURN, 0, 0, REFUSE | errno.EAFNOSUPPORT))
    for name in sorted(allowed & known.keys() - {"socket"}):
        steps += [(EQUAL, 0, 1, known[name]), (RETURN, 0, 0, ALLOW)]
    steps.append((RETURN, 0, 0, REFUSE | errno.EPERM))
    return b"".join(struct.pack("=HBBI", *step) for step in steps)


def wall_in() -> None:
    """From now on, for this process and all that it starts. OSError when the kernel refuses."""
    code = program(numbers(), allowed_calls(), {FAMILIES[name] for name in setting("RestrictAddressFamilies")})
    held = ctypes.create_string_buffer(code, len(code))
    head = struct.pack("=HxxxxxxQ", len(code) // 8, ctypes.addressof(held))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_ulong]
    for what, number, argument in (
        (PR_SET_NO_NEW_PRIVS, 1, None),
        (PR_SET_MDWE, 1, None),
        (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, head),
    ):
        is_done = libc.prctl(what, number, argument, 0, 0) == 0
        # Before Linux 6.3 only systemd's own filter refuses such memory.
        if not is_done and (what, ctypes.get_errno()) != (PR_SET_MDWE, errno.EINVAL):
            raise OSError(ctypes.get_errno(), f"the kernel refuses prctl {what}")


if __name__ == "__main__":
    wall_in()
    sys.argv[0] = "mitschnitt"
    runpy.run_module("mitschnitt", run_name="__main__")
