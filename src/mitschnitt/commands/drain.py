"""`mitschnitt serve --drain`: the running `serve` takes no new calls, and this waits until it has ended by itself.

Says how many calls still run, never which. Ending this command ends no drain.
"""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from mitschnitt.commands.door_client import Door, NotReachable
from mitschnitt.config import load_config
from mitschnitt.errors import ConfigError
from mitschnitt.exit_codes import DONE
from mitschnitt.supervisor import one_serve_only

LOOK_SECONDS = 0.5  # between two looks
LONGEST_SECONDS = 86_400  # no call runs longer than a day
UNITS = {"s": 1, "m": 60, "h": 3_600}


def run(directory: Path, *, within: str, as_json: bool, sleep: Callable[[float], None] = time.sleep) -> int:
    """0 once the running `serve` has ended; NotReachable when none runs."""
    config, door = load_config(directory), Door(directory)
    body = {"role": "operator", "within_s": seconds(within) if within else LONGEST_SECONDS}
    told = door.post("/drain", body)
    with _shown(as_json=as_json) as show:
        while told is not None:
            show(told)
            sleep(LOOK_SECONDS)
            told = _asked(door)
        # The keeper is gone, its processes maybe not quite: until then nobody may start anew.
        while not _has_ended(config.run / "serve.lock"):
            sleep(LOOK_SECONDS)
    typer.echo(json.dumps({"ended": True}) if as_json else "drained: `mitschnitt serve` has ended")
    return DONE


def seconds(text: str) -> int:
    """Seconds of `90s`, `15m` or `2h`; ConfigError for anything else, and for more than a day."""
    found = re.fullmatch(r"([0-9]{1,5})([smh])", text)
    many = int(found[1]) * UNITS[found[2]] if found else -1
    if not 0 <= many <= LONGEST_SECONDS:
        raise ConfigError(f"--within: expected a time such as 90s, 15m or 2h, at most 24h, found {text!r}")
    return many


def _asked(door: Door) -> dict[str, Any] | None:
    try:
        told: dict[str, Any] = door.get("/drain")
    except NotReachable:
        return None
    return told


def _has_ended(lock: Path) -> bool:
    try:
        with one_serve_only(lock):
            return True
    except ConfigError:
        return False


@contextlib.contextmanager
def _shown(*, as_json: bool) -> Any:
    """How far it is: one line that changes, on a terminal only."""
    console = Console(stderr=True)
    if as_json or not console.is_terminal:
        yield lambda told: None  # noqa: ARG005 - nobody looks
        return
    with console.status("draining") as status:
        yield lambda told: status.update(
            f"draining: {told['running']} recording sessions run, for at most {told['left_s'] // 60} more minutes"
        )
