"""The site's key of pseudonyms: 32 random bytes in `secrets/pseudonym.key`. Made once, by `init` or a first start.

Who reads it can say which names are of one agent. A lost one is made anew: names of new calls are others anyway.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from mitschnitt.core.pseudonym import KEY_BYTES
from mitschnitt.errors import ConfigError
from mitschnitt.keeper.kek import check_private

NAME = "pseudonym.key"
MODE = 0o600


def load_pseudonym_key(directory: Path) -> bytes:
    """The key among these secrets; made where there is none. ConfigError when it is open to others, or short."""
    path = directory / NAME
    if not path.exists():
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(path, flags, MODE), "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
    check_private(path, mode=MODE, what="key of pseudonyms")
    key = path.read_bytes()
    if len(key) != KEY_BYTES:
        raise ConfigError(f"key of pseudonyms: {path} has {len(key)} bytes, expected {KEY_BYTES}")
    return key
