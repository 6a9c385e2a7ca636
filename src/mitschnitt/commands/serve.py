"""`mitschnitt serve`: run keeper and recorders of a directory."""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path

from mitschnitt.config import load_config
from mitschnitt.supervisor import Supervisor


def run(directory: Path) -> int:
    """Until stopped; 0, or 2 when a part refused its configuration."""
    config = load_config(directory)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("mitschnitt.serve").info(
        "SIP %s:%d (udp, tcp), unencrypted, for loopback and private networks only", config.sip.host, config.sip.port
    )
    return asyncio.run(Supervisor(config).run())
