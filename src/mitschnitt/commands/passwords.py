"""Where the password of a role key comes from: a file, the environment, or a terminal. Never the command line.

A command line is seen by every user of the machine and kept in the shell's history. Prints no password.
"""

from __future__ import annotations

import getpass
import os
import stat
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from mitschnitt.errors import ConfigError

VARIABLE = "MITSCHNITT_ROLE_PASSWORD"
MAX_PASSWORD_BYTES = 1_024
Ask = Callable[[str], str]


def role_password(
    role: str,
    *,
    file: Path | None,
    again: bool = False,
    environment: Mapping[str, str] = os.environ,
    ask: Ask | None = None,
) -> bytes:
    """The password, asked for twice with `again`. ConfigError when there is none, or the two differ."""
    if file is not None:
        return _from_file(file)
    if VARIABLE in environment:
        return _checked(environment[VARIABLE].encode(), VARIABLE)
    if ask is None:
        if not sys.stdin.isatty():
            raise ConfigError(f"password: no terminal to ask at; give --password-file FILE or set {VARIABLE}")
        ask = getpass.getpass
    first = ask(f"password of the {role}'s key: ")
    if again and ask("the same again: ") != first:
        raise ConfigError("password: the two differ; nothing was written")
    return _checked(first.encode(), "password")


def _from_file(path: Path) -> bytes:
    try:
        if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise ConfigError(f"password: {path} can be reached by others; expected mode 0600")
        with path.open("rb") as file:
            data = file.read(MAX_PASSWORD_BYTES + 2)
    except OSError as error:
        raise ConfigError(f"password: cannot read {path}: {error.strerror}") from error
    return _checked(data.removesuffix(b"\n").removesuffix(b"\r"), str(path))


def _checked(password: bytes, where: str) -> bytes:
    if not 1 <= len(password) <= MAX_PASSWORD_BYTES:
        raise ConfigError(f"password: {where} must hold 1 to {MAX_PASSWORD_BYTES} bytes, found {len(password)}")
    return password
