"""What tests of `draw` commands share: the real door with real days behind it, and three roles with keys and files."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi import FastAPI

from keeper.at_the_door import client_of
from keeper.days_on_disk import Site, site
from mitschnitt.commands.door_client import Door
from mitschnitt.core.beacon import ROLES
from mitschnitt.keeper.door import _add_errors
from mitschnitt.keeper.draw_door import add_draw
from mitschnitt.keeper.protected_key import protect

PASSWORD = b"correct horse battery"


@dataclass
class Ceremony:
    """A site, and what its three roles have in their hands."""

    directory: Path
    site: Site
    hands: Path  # outside the directory

    def key(self, role: str) -> Path:
        return self.hands / f"{role}.pem"

    def values(self, role: str) -> Path:
        return self.hands / f"{role}.pem.values"

    @property
    def password(self) -> Path:
        return self.hands / "password"


@contextmanager
def ceremony(root: Path, monkeypatch: pytest.MonkeyPatch, **more: object) -> Iterator[Ceremony]:
    directory, hands = root / "site", root / "hands"
    for place in (directory, directory / "roles", directory / "run", hands):
        place.mkdir(mode=0o700)
    (directory / "config.toml").write_text("")
    (hands / "password").write_bytes(PASSWORD)
    (hands / "password").chmod(0o600)
    for number, role in enumerate(ROLES):
        key = Ed25519PrivateKey.from_private_bytes(bytes([number + 1]) * 32)
        (hands / f"{role}.pem").write_bytes(protect(key, PASSWORD, salt=b"s" * 16, iv=b"i" * 16))
        (hands / f"{role}.pem").chmod(0o600)
        (directory / "roles" / f"{role}.ed25519.pub").write_bytes(key.public_key().public_bytes_raw())
    with site(directory, **more) as found:
        app = FastAPI()
        _add_errors(app)
        add_draw(app, found.days, found.backward, directory, lambda: found.now)
        monkeypatch.setattr(Door, "_connection", lambda _door: client_of(app))
        with socket.socket(socket.AF_UNIX) as listening:
            monkeypatch.chdir(directory / "run")  # the path of a socket is short
            listening.bind("door.sock")
            yield Ceremony(directory, found, hands)
