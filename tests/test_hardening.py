"""Hardening: done in a child, for it cannot be undone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import mitschnitt
from mitschnitt.hardening import swap_is_off

CHILD = """
import ctypes, dataclasses, json, os, resource
from mitschnitt.hardening import PR_GET_DUMPABLE, harden
got = dataclasses.asdict(harden())
got["dumpable_now"] = ctypes.CDLL(None).prctl(PR_GET_DUMPABLE, 0, 0, 0, 0)
got["core_now"] = resource.getrlimit(resource.RLIMIT_CORE)[0]
got["still_allocates"] = len(bytearray(64 << 20)) > 0
print(json.dumps(got))
"""


def test_a_hardened_process_leaves_no_core_and_cannot_be_dumped() -> None:
    source = Path(mitschnitt.__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": str(source)}
    child = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, check=True, env=environment)
    told = json.loads(child.stdout)
    assert told["no_core"]
    assert told["not_dumpable"]
    assert (told["dumpable_now"], told["core_now"]) == (0, 0)
    assert told["still_allocates"]


def test_swap_is_off_when_only_the_heading_is_there() -> None:
    assert swap_is_off("Filename Type Size Used Priority\n")
    assert not swap_is_off("Filename Type Size Used Priority\n/dev/vdb partition 1 0 -2\n")
