"""What tests of signing share: roles with keys that are enrolled, and policies that they sign."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mitschnitt.core.policy import Policy
from mitschnitt.core.policy_life import Activation
from mitschnitt.keeper.policies import Policies
from mitschnitt.keeper.policy_files import PolicyFiles
from mitschnitt.keeper.role_keys import public_path
from mitschnitt.keeper.signatures import Signatures
from world import POLICY_TEXT

KEYS = {role: Ed25519PrivateKey.from_private_bytes(role.encode().ljust(32, b".")) for role in ("officer", "council")}
STRANGER = Ed25519PrivateKey.from_private_bytes(b"s" * 32)
FIRST = POLICY_TEXT  # kept for 30 days
SECOND = FIRST.replace(b"P30D", b"P14D")
THIRD = FIRST.replace(b"P30D", b"P7D")
UNSOUND = {  # texts that read, and what makes each one that nobody can carry out
    FIRST.replace(b'when = "true"', b'when = "tenure < 90"'): r"stratum .*: line 1, column 1 of `when`: undeclared",
    FIRST.replace(b'when = "true"', b'when = "hour"'): r"stratum .*: `when` must be true or false, found int",
    FIRST.replace(b"Europe/Berlin", b"Europe/Atlantis"): "this machine knows no time zone 'Europe/Atlantis'",
}
MONDAY = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)  # 10 o'clock in Berlin
TUESDAY = date(2026, 11, 24)
MIDNIGHT = datetime(2026, 11, 23, 23, 0, tzinfo=UTC)  # at which Tuesday begins there
SIGNERS = ("officer", "council")


def enrol(directory: Path, role: str, key: Ed25519PrivateKey | None = None) -> None:
    """As `policy key` does, without the seconds that a password costs."""
    path = public_path(directory, role)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.write_bytes((key or KEYS[role]).public_key().public_bytes_raw())


def directory_of(root: Path) -> Path:
    """A directory in which both roles have their keys and nothing was proposed."""
    directory = root / "site"
    (directory / "policy").mkdir(parents=True, mode=0o700, exist_ok=True)
    for role in SIGNERS:
        enrol(directory, role)
    return directory


def propose(directory: Path, text: bytes, *signers: str, at: datetime = MONDAY) -> Policy:
    """A policy that lies there, signed by these."""
    files = PolicyFiles(directory)
    policy = files.read(files.write(text)).policy
    for role in signers:
        Signatures(directory).sign(policy, role, KEYS[role], now=at)
    return policy


def begin(directory: Path, text: bytes, first: date, *, at: datetime) -> Policy:
    """A policy that both signed and that was activated at this time."""
    policy = propose(directory, text, *SIGNERS, at=at)
    Policies(directory).activate(policy, first, now=at)
    return policy


def force(directory: Path, *lines: tuple[Policy, date | None]) -> None:
    """Somebody writes `active` by hand."""
    PolicyFiles(directory).activate(Activation(policy.hash, first) for policy, first in lines)


def contents(directory: Path) -> dict[str, bytes]:
    """Every file below a directory, to compare with later."""
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}
