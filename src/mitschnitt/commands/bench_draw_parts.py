"""What `mitschnitt bench draw` measures in a process each: a verification, and a bare loop over its records.

Loads what verifies and nothing else, so that the peak of memory is its own.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mitschnitt.proof.draw_format import DrawList
from mitschnitt.proof.draw_public import ID_ROW
from mitschnitt.proof.draw_tickets import DOMAIN
from mitschnitt.proof.draws import Verifier


def verify(paths: Sequence[Path]) -> dict[str, Any]:
    """Seconds, those of the processor, peak of memory in MB, and findings, of verifying these files in this process."""
    begin = time.perf_counter()
    verifier = Verifier()
    streams = [path.open("rb") for path in paths]
    for path, stream in zip(paths, streams, strict=True):
        verifier.add_list(stream, path.name)
    verifier.check()
    for stream in streams:
        stream.close()
    return {**_spent(begin), "findings": [str(finding) for finding in verifier.report.findings]}


def floor(path: Path) -> dict[str, Any]:
    """The same for a bare loop that hashes each record of a public list, in blocks, and compares nothing."""
    begin = time.perf_counter()
    with path.open("rb") as stream:
        found = DrawList(stream, path.name)
        prefix = hashlib.sha256(DOMAIN + found.header.policy_hash + found.header.beacon.value)
        for rows in found.rows():
            for draw_id in rows.view(ID_ROW)["id"].tolist():
                ticket = prefix.copy()
                ticket.update(draw_id)
                ticket.digest()
    return {**_spent(begin), "findings": []}


def _spent(begin: float) -> dict[str, Any]:
    seconds = time.perf_counter() - begin
    # Not getrusage: that keeps the peak of whoever started this process.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    peak = int(status.partition("VmHWM:")[2].split()[0]) / 1024
    return {"seconds": seconds, "cpu_s": time.process_time(), "peak_mb": peak}


def main(argv: Sequence[str]) -> int:
    """`floor FILE` or `verify FILE...`: figures as JSON on standard output."""
    paths = [Path(name) for name in argv[1:]]
    print(json.dumps(floor(paths[0]) if argv[0] == "floor" else verify(paths)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
