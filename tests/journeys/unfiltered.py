"""`serve` without the socket filter, for one test only: it shows that the search finds what the filter keeps out.

Run as `python -m unfiltered serve --dir DIR`; the product has no such switch.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from mitschnitt import processes
from mitschnitt.config import load_config
from mitschnitt.recorder import filters
from mitschnitt.supervisor import Supervisor


def _no_filter(_sock: object, _program: bytes) -> None:
    """What `filters.attach` becomes: nothing is cut."""


def main(arguments: list[str]) -> int:
    """`serve --dir DIR` supervises parts of this same module; anything else is such a part."""
    if arguments[0] == "serve":
        supervisor = Supervisor(load_config(Path(arguments[2])), module="unfiltered")
        return asyncio.run(supervisor.run())
    filters.attach = _no_filter  # type: ignore[assignment]  # the point of this module
    filters.detach = lambda _sock: None  # nothing is on that could be taken off
    return processes.main(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
