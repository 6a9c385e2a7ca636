"""Keys of roles: with them officer, works council and operator sign what they answer for. Public halves are enrolled.

Holds no private key longer than a call and writes none into the data directory: who holds the directory must not be
able to sign for others. That a public half is the person's own, people compare by its fingerprint.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from mitschnitt.errors import ConfigError, NoSpace, NotAllowed
from mitschnitt.keeper.acts import SignedAct, is_signed, sign_act
from mitschnitt.keeper.kek import replace_file
from mitschnitt.keeper.protected_key import IV_BYTES, SALT_BYTES, protect, unprotect
from mitschnitt.vault.blobs import sync_directory, write_all

ROLES = ("council", "officer", "operator")  # who can have a key; in the order in which their values are combined
PUBLIC_BYTES = 32  # Ed25519, raw
PRIVATE_MODE = 0o600
MAX_KEY_FILE_BYTES = 4_096  # a PEM file of one key has 300
MIN_PASSWORD_BYTES = 10  # below that scrypt's price per guess no longer helps
OTHERS = stat.S_IRWXG | stat.S_IRWXO
FINGERPRINT_CHARS = 32  # hex digits, 128 bits: as short as nobody can make a second one of


def checked_signer(role: str) -> str:
    """The role as given; ConfigError when no key can be enrolled for it."""
    if role not in ROLES:
        raise ConfigError(f"role: expected one of {', '.join(ROLES)} that can sign; found {role!r}")
    return role


def public_path(directory: Path, role: str) -> Path:
    """Where the public half of a role lies."""
    return directory / "roles" / f"{checked_signer(role)}.ed25519.pub"


def fingerprint(public: Ed25519PublicKey) -> str:
    """The key's name for people who compare it by telephone: hex digits in groups of four."""
    digest = hashlib.sha256(public.public_bytes_raw()).hexdigest()[:FINGERPRINT_CHARS]
    return " ".join(digest[start : start + 4] for start in range(0, FINGERPRINT_CHARS, 4))


def load_public(directory: Path, role: str) -> Ed25519PublicKey:
    """The enrolled key of a role. ConfigError when there is none, or what lies there is no key."""
    path = public_path(directory, role)
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise ConfigError(
            f"role keys: no key is enrolled for {role}; `mitschnitt policy key --as {role} --out FILE` makes one"
        ) from error
    except OSError as error:
        raise ConfigError(f"role keys: cannot read {path}: {error.strerror}") from error
    if len(data) != PUBLIC_BYTES:
        raise ConfigError(f"role keys: {path} has {len(data)} bytes, expected {PUBLIC_BYTES} (Ed25519, raw)")
    return Ed25519PublicKey.from_public_bytes(data)


def load_private(path: Path, password: bytes) -> Ed25519PrivateKey:
    """The key in a person's file, which nobody else can read. ConfigError says what is wrong with it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise ConfigError(f"role key: cannot read {path}: {error.strerror}") from error
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise ConfigError(f"role key: {path} is no file")
        if found.st_mode & OTHERS:
            mode = stat.S_IMODE(found.st_mode)
            raise ConfigError(f"role key: {path} has mode {mode:04o}, so others can reach it; expected 0600")
        pem = file.read(MAX_KEY_FILE_BYTES)
    try:
        return unprotect(pem, password)
    except ConfigError as error:
        raise ConfigError(f"role key: {path}: {error}") from error


def sign(key: Ed25519PrivateKey, domain: bytes, act: Mapping[str, Any]) -> SignedAct:
    """An act of a role, as canonical JSON, signed for this domain and no other."""
    return sign_act(key, domain, act)


def check(public: Ed25519PublicKey, domain: bytes, act: bytes, signature: bytes) -> None:
    """Nothing, when this key signed this act for this domain; NotAllowed with `role.signature` otherwise."""
    if not is_signed(public, domain, SignedAct(act, signature)):
        raise NotAllowed("role.signature", "the act is not signed with the key that is enrolled for the role")


def make_key(directory: Path, role: str, out: Path, password: bytes, *, replace: bool = False) -> Ed25519PublicKey:
    """A new key: its private half under the password in `out`, its public half enrolled for the role.

    ConfigError, and nothing is changed, when `out` exists or lies in the data directory, when the password is short,
    or when the role has a key and `replace` is not set. A crash between the two files leaves a private half that
    is enrolled nowhere; remove it and make another.
    """
    public_half = public_path(directory, role)
    if not (directory / "config.toml").is_file():
        raise ConfigError(f"role keys: {directory} holds no config.toml; `mitschnitt init {directory}` makes a site")
    if public_half.exists() and not replace:
        raise ConfigError(
            f"role keys: a key is enrolled for this role already ({public_half}); --replace enrols another, and then "
            "no signature of the former key counts any more, also not on the policy that is in force"
        )
    public = make_private(directory, out, password)
    try:
        public_half.parent.mkdir(mode=0o700, exist_ok=True)
        replace_file(public_half, public.public_bytes_raw())
    except OSError as error:
        raise NoSpace(f"role key: cannot write {error.filename or public_half}: {error.strerror}") from error
    return public


def make_private(directory: Path, out: Path, password: bytes) -> Ed25519PublicKey:
    """A new private key under the password in `out`; its public half, which is enrolled nowhere.

    ConfigError, and nothing is written, when `out` exists or lies in the data directory, or the password is short.
    """
    if len(password) < MIN_PASSWORD_BYTES:
        raise ConfigError(f"role key: the password has {len(password)} bytes, expected at least {MIN_PASSWORD_BYTES}")
    if out.resolve().is_relative_to(directory.resolve()):
        raise ConfigError(f"role key: {out} lies inside {directory}; who holds the directory could sign for its owner")
    if os.path.lexists(out):
        raise ConfigError(f"role key: {out} exists; a key never takes the place of another file")
    key = Ed25519PrivateKey.generate()
    pem = protect(key, password, salt=secrets.token_bytes(SALT_BYTES), iv=secrets.token_bytes(IV_BYTES))
    try:
        _write_new(out, pem)
    except FileExistsError as error:
        raise ConfigError(f"role key: {out} exists; a key never takes the place of another file") from error
    except OSError as error:
        raise NoSpace(f"role key: cannot write {error.filename or out}: {error.strerror}") from error
    return key.public_key()


def _write_new(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, PRIVATE_MODE)
    try:
        write_all(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    sync_directory(path.parent)
