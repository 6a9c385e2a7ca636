"""What the supervisor starts: `python -m mitschnitt.processes keeper DIR` or `recorder DIR N`. Not for people."""

from __future__ import annotations

import sys
from pathlib import Path

from mitschnitt.config import load_config
from mitschnitt.errors import ConfigError
from mitschnitt.keeper.process import run_keeper
from mitschnitt.recorder.process import run_recorder
from mitschnitt.supervisor import REFUSED_TO_START


def main(arguments: list[str]) -> int:
    """Run one part until it is told to stop; REFUSED_TO_START when its configuration is wrong."""
    part, directory, *rest = arguments
    try:
        config = load_config(Path(directory))
        if part == "keeper":
            return run_keeper(config)
        return run_recorder(config, int(rest[0]))
    except ConfigError as error:
        print(f"mitschnitt {part}: {error}", file=sys.stderr)
        return REFUSED_TO_START


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
