"""A role's own file of values: JSON of mode 0600, outside the directory of the site. Shows no value and sends none.

Who reads it before the values are told can foresee, together with the keeper's host, what is drawn. Who loses it
makes days on which nobody is asked.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from datetime import date
from pathlib import Path

from mitschnitt.core.backward import SUBJECT
from mitschnitt.core.beacon import VALUE_BYTES
from mitschnitt.core.periods import parse_period
from mitschnitt.errors import ConfigError, NoSpace
from mitschnitt.keeper.kek import replace_file

VERSION = 1
MAX_FILE_BYTES = 1 << 20  # some 10,000 days, a generation of them
OTHERS = stat.S_IRWXG | stat.S_IRWXO


def values_path(directory: Path, key: Path, named: Path | None) -> Path:
    """Where the values of the holder of this key lie. ConfigError inside the directory of the site."""
    path = named or key.with_name(f"{key.name}.values")
    if path.resolve().is_relative_to(directory.resolve()):
        raise ConfigError(f"values: {path} lies inside {directory}; whoever keeps the calls must not know them")
    return path


def load_values(path: Path, role: str) -> dict[str, bytes]:
    """Values by day. ConfigError when the file is missing, open to others, another role's, or no such file."""
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & OTHERS:
                raise ConfigError(f"values: {path} can be reached by others; expected mode 0600")
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"values: cannot read {path}: {error.strerror}") from error
    try:
        if len(data) > MAX_FILE_BYTES:
            raise ValueError("too long")
        told = json.loads(data)
        owner, version = told["role"], told["v"]
        values = {_subject(day): bytes.fromhex(value) for day, value in told["values"].items()}
        if version != VERSION or any(len(value) != VALUE_BYTES for value in values.values()):
            raise ValueError("another form")
    except (ConfigError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ConfigError(f"values: {path} is not a file that `mitschnitt draw commit` wrote") from error
    if owner != role:
        raise ConfigError(f"values: {path} holds the values of {owner!r}, expected those of {role}")
    return values


def _subject(name: str) -> str:
    """A day, or a backward draw by its period; ValueError or ConfigError for anything else."""
    if name.startswith(SUBJECT):
        return SUBJECT + parse_period(name.removeprefix(SUBJECT)).name
    return date.fromisoformat(name).isoformat()


def save_values(path: Path, role: str, values: Mapping[str, bytes]) -> None:
    """All values, durably and readable by their owner only. NoSpace when they cannot be written."""
    told = {"v": VERSION, "role": role, "values": {day: value.hex() for day, value in sorted(values.items())}}
    try:
        replace_file(path, json.dumps(told, indent=1).encode() + b"\n")
    except OSError as error:
        raise NoSpace(f"values: cannot write {path}: {error.strerror}") from error
