"""`mitschnitt serve`: run keeper and recorders of a directory."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from mitschnitt.config import Config, load_config
from mitschnitt.log import log_to_stderr
from mitschnitt.supervisor import Supervisor


def run(directory: Path) -> int:
    """Until stopped; 0, or 2 when a part refused its configuration."""
    config = load_config(directory)
    log_to_stderr("serve")
    logging.getLogger("mitschnitt.serve").info(announced(config))
    return asyncio.run(Supervisor(config).run())


def announced(config: Config) -> str:
    """Where SIP is taken and how it is protected, as it is said wherever state is shown."""
    sip = config.sip
    ways = [f"{sip.host}:{sip.port} (udp, tcp), unencrypted"] if sip.plain else []
    ways += [f"{sip.host}:{sip.tls_port} (tls, certificates on both sides)"] if sip.tls_port else []
    return f"SIP {' and '.join(ways)}; RTP unencrypted: for loopback and private networks only"
