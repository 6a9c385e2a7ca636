"""A private key as PKCS8 PEM under a password: PBES2 with scrypt and AES-256-CBC (RFC 8018, RFC 7914).

Written here because the library's own choice is 2,048 rounds of PBKDF2, which a graphics card tries by the million;
reading is the library's. Opens no file and asks nobody for a password.
"""

from __future__ import annotations

import base64
import textwrap

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.padding import PKCS7
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from mitschnitt.errors import ConfigError

SALT_BYTES = 16
IV_BYTES = 16  # a block of AES
KEY_BYTES = 32  # AES-256
SCRYPT_N, SCRYPT_R, SCRYPT_P = 16_384, 8, 5  # 16 MiB, below the 32 MiB that OpenSSL takes; five times for the work
PROTECTED = "ENCRYPTED PRIVATE KEY"  # the label of RFC 7468, 11
PBES2 = bytes.fromhex("2a864886f70d01050d")  # 1.2.840.113549.1.5.13 (RFC 8018, A.4)
SCRYPT = bytes.fromhex("2b06010401da47040b")  # 1.3.6.1.4.1.11591.4.11 (RFC 7914, 7)
AES_256_CBC = bytes.fromhex("60864801650304012a")  # 2.16.840.1.101.3.4.1.42 (RFC 3565)
SEQUENCE, INTEGER, OCTETS, OBJECT = 0x30, 0x02, 0x04, 0x06  # tags of DER (X.690)


def protect(key: Ed25519PrivateKey, password: bytes, *, salt: bytes, iv: bytes) -> bytes:
    """The key as PEM that `password` opens, here and in OpenSSL; `salt` and `iv` are random and used once."""
    plain = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    padder = PKCS7(8 * IV_BYTES).padder()
    padded = padder.update(plain) + padder.finalize()
    derived = Scrypt(salt=salt, length=KEY_BYTES, n=SCRYPT_N, r=SCRYPT_R, p=SCRYPT_P).derive(password)
    encryptor = Cipher(algorithms.AES(derived), modes.CBC(iv)).encryptor()
    sealed = encryptor.update(padded) + encryptor.finalize()
    costs = (_der(INTEGER, _whole(number)) for number in (SCRYPT_N, SCRYPT_R, SCRYPT_P))
    kdf = _sequence(_der(OBJECT, SCRYPT), _sequence(_der(OCTETS, salt), *costs))
    cipher = _sequence(_der(OBJECT, AES_256_CBC), _der(OCTETS, iv))
    algorithm = _sequence(_der(OBJECT, PBES2), _sequence(kdf, cipher))
    return _pem(_sequence(algorithm, _der(OCTETS, sealed)))


def unprotect(pem: bytes, password: bytes) -> Ed25519PrivateKey:
    """The key in a PEM file's bytes. ConfigError says what was found, and never the password."""
    if f"-----BEGIN {PROTECTED}-----".encode() not in pem:
        raise ConfigError("expected a private key under a password (PKCS8 PEM); this is none, or one without password")
    try:
        key = load_pem_private_key(pem, password)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError("wrong password, or the file is damaged") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError("expected an Ed25519 key, found another kind")
    return key


def _der(tag: int, content: bytes) -> bytes:
    length = len(content)
    short = length < 128  # X.690, 8.1.3.4
    size = bytes([length]) if short else bytes([128 + len(_whole(length)), *_whole(length)])
    return bytes([tag]) + size + content


def _whole(number: int) -> bytes:
    """Big-endian, as short as can be; the numbers here have no high bit that would read as a sign."""
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


def _sequence(*parts: bytes) -> bytes:
    return _der(SEQUENCE, b"".join(parts))


def _pem(data: bytes) -> bytes:
    lines = textwrap.wrap(base64.b64encode(data).decode(), 64)  # RFC 7468, 2
    return "\n".join([f"-----BEGIN {PROTECTED}-----", *lines, f"-----END {PROTECTED}-----", ""]).encode()
