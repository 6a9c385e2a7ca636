"""What the supervisor starts: `python -m mitschnitt.processes keeper DIR` or `recorder DIR N`. Not for people."""

from __future__ import annotations

import ctypes
import importlib
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from mitschnitt.config import load_config
from mitschnitt.errors import ConfigError
from mitschnitt.supervisor import REFUSED_TO_START

# Loaded by name: a recorder that is started again must not wait for the keeper's database and web server.
PARTS: Mapping[str, tuple[str, str]] = {
    "keeper": ("mitschnitt.keeper.process", "run_keeper"),
    "recorder": ("mitschnitt.recorder.process", "run_recorder"),
}

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def end_with_parent() -> None:
    """From now on this process is told to end (SIGTERM) when the one that started it dies without a word."""
    parent = os.getppid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:  # it died before we asked
        os.kill(os.getpid(), signal.SIGTERM)


def main(arguments: list[str]) -> int:
    """Run one part until it is told to stop; REFUSED_TO_START when its configuration is wrong."""
    part, directory, *numbers = arguments
    module, name = PARTS[part]
    try:
        config = load_config(Path(directory))
        run = getattr(importlib.import_module(module), name)
        return int(run(config, *(int(number) for number in numbers)))
    except ConfigError as error:
        print(f"mitschnitt {part}: {error}", file=sys.stderr)
        return REFUSED_TO_START


if __name__ == "__main__":
    end_with_parent()
    sys.exit(main(sys.argv[1:]))
