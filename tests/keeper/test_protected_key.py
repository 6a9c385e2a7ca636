"""A key under a password: written as OpenSSL writes it, opened by OpenSSL, and by nothing without the password."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

import cheap_passwords
from mitschnitt.errors import ConfigError
from mitschnitt.keeper import protected_key
from mitschnitt.keeper.protected_key import protect, unprotect

VECTORS = Path(__file__).parent.parent / "vectors" / "role_keys"
PASSWORD = b"correct-horse-7"


@pytest.fixture(autouse=True)
def _passwords_cost_what_they_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, cost in cheap_passwords.REAL.items():
        monkeypatch.setattr(protected_key, name, cost)


@pytest.fixture(name="key")
def openssls_key() -> Ed25519PrivateKey:
    key = load_pem_private_key((VECTORS / "plain.pem").read_bytes(), None)
    assert isinstance(key, Ed25519PrivateKey)
    return key


def test_the_file_is_byte_for_byte_what_openssl_writes(key: Ed25519PrivateKey) -> None:
    salt, iv = bytes.fromhex("c1877af6cf64a973"), bytes.fromhex("e80ae2b9940143eeaea21ce9f1455185")
    assert protect(key, PASSWORD, salt=salt, iv=iv) == (VECTORS / "scrypt.pem").read_bytes()


@pytest.mark.parametrize("name", ["scrypt.pem", "pbkdf2.pem"])
def test_what_openssl_protected_is_opened(key: Ed25519PrivateKey, name: str) -> None:
    opened = unprotect((VECTORS / name).read_bytes(), PASSWORD)
    assert opened.private_bytes_raw() == key.private_bytes_raw()


@pytest.mark.thorough
@pytest.mark.parametrize("salt_bytes", [8, 16, 64])
def test_what_we_write_we_read(key: Ed25519PrivateKey, salt_bytes: int) -> None:
    pem = protect(key, "grüße aus dem büro".encode(), salt=b"s" * salt_bytes, iv=b"i" * 16)
    assert unprotect(pem, "grüße aus dem büro".encode()).private_bytes_raw() == key.private_bytes_raw()


@pytest.mark.parametrize(
    "pem, password, says",
    [
        ((VECTORS / "scrypt.pem").read_bytes(), b"wrong-horse-77", "wrong password"),
        ((VECTORS / "scrypt.pem").read_bytes().replace(b"MIGT", b"MIGU"), PASSWORD, "damaged"),
        ((VECTORS / "plain.pem").read_bytes(), PASSWORD, "without password"),
        ((VECTORS / "x25519.pem").read_bytes(), PASSWORD, "expected an Ed25519 key"),
        (b"", PASSWORD, "this is none"),
    ],
)
def test_what_does_not_open_says_why_and_never_the_password(pem: bytes, password: bytes, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as refused:
        unprotect(pem, password)
    assert password.decode() not in str(refused.value)
