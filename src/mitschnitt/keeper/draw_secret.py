"""The site's secret of the draw: 32 random bytes in `secrets/draw.key`, from which keys of days and weeks derive.

Made once, by `init` or by the first start of an older site. Whoever reads it can foresee which numbers are drawn.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from mitschnitt.core.draw import KEY_BYTES
from mitschnitt.errors import ConfigError
from mitschnitt.keeper.kek import check_private
from mitschnitt.vault.blobs import sync_directory

NAME = "draw.key"
MODE = 0o600


def make_secret(directory: Path) -> None:
    """Write a new secret into `secrets`; ConfigError where one is."""
    path = directory / NAME
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, MODE)
    except FileExistsError:
        raise ConfigError(f"draw: {path} exists; a second secret would belie what was published") from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(secrets.token_bytes(KEY_BYTES))
        file.flush()
        os.fsync(file.fileno())
    sync_directory(directory)


def load_secret(directory: Path, *, drew_before: bool) -> bytes:
    """The secret; made where there is none and nothing was ever drawn.

    ConfigError where it is open to others, has another length, or is missing although there were days of the draw:
    with another one, no list of theirs could be made or checked.
    """
    path = directory / NAME
    if not path.exists():
        if drew_before:
            raise ConfigError(f"draw: {path} is missing, and days were drawn with it; restore it")
        make_secret(directory)
    check_private(path, mode=MODE, what="secret of the draw")
    secret = path.read_bytes()
    if len(secret) != KEY_BYTES:
        raise ConfigError(f"draw: {path} has {len(secret)} bytes, expected {KEY_BYTES}")
    return secret
