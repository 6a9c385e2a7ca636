"""The files of SIP accounts, `secrets/sip-users` and `secrets/sip-accounts`: read whole, and again when they change.

Refuses files that others can read. Decides nothing about who is let in.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

from mitschnitt.errors import ConfigError
from mitschnitt.wire.sip.accounts import Secret, parse_secrets
from mitschnitt.wire.sip.authentication import Authenticator

MAX_FILE_BYTES = 2_097_152  # 10,000 lines of 200 bytes

log = logging.getLogger("mitschnitt.recorder")


def read_secrets(path: Path) -> tuple[Secret, ...]:
    """The accounts in a file of mode 0600; ConfigError says what is wrong with it, never what stands in it."""
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & 0o077:
                raise ConfigError(f"SIP accounts: others can reach {path}; expected mode 0600")
            data = file.read(MAX_FILE_BYTES + 1)
        text = data.decode("utf-8")
    except OSError as error:
        raise ConfigError(f"SIP accounts: cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"SIP accounts: {path} is not UTF-8: {error.reason} at byte {error.start}") from error
    if len(data) > MAX_FILE_BYTES:
        raise ConfigError(f"SIP accounts: {path} has at most {MAX_FILE_BYTES} bytes")
    return parse_secrets(text)


class UsersFile:
    """`secrets/sip-users` while the recorder runs."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = self._stamp()

    def _stamp(self) -> tuple[int, int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino

    def refresh(self, authenticator: Authenticator) -> None:
        """Teaches it the users of today when the file has changed; a broken file changes nothing and is logged."""
        stamp = self._stamp()
        if stamp == self._seen:
            return
        self._seen = stamp  # first: what is written while we read is a change for the next look
        try:
            authenticator.learn(read_secrets(self._path))
        except ConfigError:
            log.error("the SIP users cannot be read; those of before still count, and doctor says why")
        else:
            log.info("the SIP users were read anew")
