"""Digest authentication: the arithmetic, and its two header fields (RFC 7616; RFC 3261, 22; RFC 8760).

Text in, values out. Holds no secret and no state and decides nothing: who is let in is `authentication`'s business,
what we answer is `accounts`'. Basic and `auth-int` are not known here on purpose.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from mitschnitt.errors import MalformedPacket
from mitschnitt.wire.sip.headers import is_token, split_outside_quotes, unquote

SCHEME = "digest"

_COUNT = re.compile(r"[0-9A-Fa-f]{8}")


class Algorithm(StrEnum):
    """The hash of a digest, strongest first; by its name on the wire (RFC 8760, 2.1)."""

    SHA256 = "SHA-256"
    MD5 = "MD5"

    @property
    def digits(self) -> int:
        """Length of its result as hexadecimal text."""
        return 64 if self is Algorithm.SHA256 else 32


@dataclass(frozen=True, slots=True)
class Challenge:
    """One WWW-Authenticate or Proxy-Authenticate field (RFC 7616, 3.3)."""

    realm: str
    nonce: str
    algorithm: Algorithm
    opaque: str | None = None
    qop: tuple[str, ...] = ()  # () as before RFC 2617: answered without nonce count
    stale: bool = False

    @classmethod
    def parse(cls, text: str) -> Challenge | None:
        """None for another scheme or an algorithm that is not ours; raises MalformedPacket."""
        values = read_fields(text)
        if values is None:
            return None
        algorithm = algorithm_of(values.get("algorithm"))
        if algorithm is None:
            return None
        qop = tuple(word.strip().lower() for word in values.get("qop", "").split(",") if word.strip())
        stale = values.get("stale", "").lower() == "true"
        return cls(_wanted(values, "realm"), _wanted(values, "nonce"), algorithm, values.get("opaque"), qop, stale)

    def __str__(self) -> str:
        fields = [f"realm={quote(self.realm)}", f"nonce={quote(self.nonce)}"]
        if self.opaque is not None:
            fields.append(f"opaque={quote(self.opaque)}")
        fields += [f"algorithm={self.algorithm}"]
        if self.stale:
            fields.append("stale=true")
        if self.qop:
            fields.append(f'qop="{",".join(self.qop)}"')
        return "Digest " + ", ".join(fields)


@dataclass(frozen=True, slots=True)
class Credentials:
    """One Authorization or Proxy-Authorization field (RFC 7616, 3.4)."""

    username: str
    realm: str
    nonce: str
    uri: str
    response: str  # lower-case hexadecimal
    algorithm: Algorithm
    opaque: str | None = None
    qop: str = ""
    cnonce: str = ""
    count: int = 0  # of requests with this nonce, from 1; 0 without qop

    @classmethod
    def parse(cls, text: str) -> Credentials | None:
        """None for another scheme; raises MalformedPacket, also for an algorithm that is not ours."""
        values = read_fields(text)
        if values is None:
            return None
        algorithm = algorithm_of(values.get("algorithm"))
        if algorithm is None:
            raise MalformedPacket(f"expected the digest algorithm {' or '.join(Algorithm)}")
        qop = values.get("qop", "").lower()
        return cls(
            username=_wanted(values, "username"),
            realm=_wanted(values, "realm"),
            nonce=_wanted(values, "nonce"),
            uri=_wanted(values, "uri"),
            response=_wanted(values, "response").lower(),
            algorithm=algorithm,
            opaque=values.get("opaque"),
            qop=qop,
            cnonce=_wanted(values, "cnonce") if qop else "",
            count=_count(_wanted(values, "nc")) if qop else 0,
        )

    def __str__(self) -> str:
        named = [("username", self.username), ("realm", self.realm), ("nonce", self.nonce), ("uri", self.uri)]
        named.append(("response", self.response))
        fields = [f"{name}={quote(value)}" for name, value in named] + [f"algorithm={self.algorithm}"]
        if self.qop:
            fields += [f"cnonce={quote(self.cnonce)}", f"qop={self.qop}", f"nc={self.count:08x}"]
        if self.opaque is not None:
            fields.append(f"opaque={quote(self.opaque)}")
        return "Digest " + ", ".join(fields)

    def expected(self, ha1: str, method: str) -> str:
        """The response of whoever holds `ha1`, over method and URI (RFC 7616, 3.4.1 and 3.4.3)."""
        ha2 = hash_of(self.algorithm, f"{method}:{self.uri}")
        if not self.qop:  # as before RFC 2617
            return hash_of(self.algorithm, f"{ha1}:{self.nonce}:{ha2}")
        middle = f"{self.nonce}:{self.count:08x}:{self.cnonce}:{self.qop}"
        return hash_of(self.algorithm, f"{ha1}:{middle}:{ha2}")


def hash_of(algorithm: Algorithm, text: str) -> str:
    """H() of RFC 7616, 3.4.1, as lower-case hexadecimal."""
    data = text.encode("utf-8", "surrogateescape")
    if algorithm is Algorithm.SHA256:
        return hashlib.sha256(data).hexdigest()
    # Old clients know nothing else; it is off unless the operator wrote it down.
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def secret_of(algorithm: Algorithm, user: str, realm: str, password: str) -> str:
    """H(user:realm:password), which stands for the password in this realm (RFC 7616, 3.4.2)."""
    return hash_of(algorithm, f"{user}:{realm}:{password}")


def algorithm_of(name: str | None) -> Algorithm | None:
    """The algorithm of that name; no name at all is MD5 (RFC 7616, 3.3). None for one that is not ours."""
    if name is None:
        return Algorithm.MD5
    return next((known for known in Algorithm if known.lower() == name.strip().lower()), None)


def read_fields(text: str) -> Mapping[str, str] | None:
    """`Digest a=b, c="d"` as names (lower case) and values; None for another scheme. Raises MalformedPacket."""
    scheme, _, rest = text.strip().partition(" ")
    if scheme.lower() != SCHEME:
        return None
    found: dict[str, str] = {}
    for piece in split_outside_quotes(rest, ","):
        name, equals, value = piece.partition("=")
        name = name.strip().lower()
        if not equals or not is_token(name) or name in found:
            raise MalformedPacket("expected digest fields name=value, each once")
        found[name] = unquote(value.strip())
    return MappingProxyType(found)


def quote(text: str) -> str:
    """The text as a quoted string (RFC 3261, 25.1)."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _wanted(values: Mapping[str, str], name: str) -> str:
    value = values.get(name, "")
    if not value:
        raise MalformedPacket(f"expected the digest field {name}")
    return value


def _count(text: str) -> int:
    if not _COUNT.fullmatch(text) or int(text, 16) == 0:
        raise MalformedPacket("expected nc as eight hexadecimal digits, from 00000001")
    return int(text, 16)
