"""`mitschnitt bench WHAT`: speed against a floor, measured on this machine."""

from __future__ import annotations

from mitschnitt.errors import ConfigError
from mitschnitt.gateways.bench import capture

BENCHES = {"capture": capture.main}


def run(what: str, arguments: list[str]) -> int:
    """The bench's own exit code: 0, or 1 when what it measured was not correct."""
    if what not in BENCHES:
        raise ConfigError(f"bench: there is {', '.join(sorted(BENCHES))}, found {what!r}")
    return BENCHES[what](arguments)
