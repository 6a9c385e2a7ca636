"""Who may speak to us, and as whom we speak: lines of H(user:realm:password), and our answers to challenges.

No password is kept. But whoever has such a line can answer challenges of its realm: files that hold them are
secret (0600). Basic is never answered (RFC 8760, 2).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from mitschnitt.errors import ConfigError, PeerError
from mitschnitt.wire.sip.digest import Algorithm, Challenge, Credentials, algorithm_of
from mitschnitt.wire.sip.message import Request, Response

MAX_LINES = 10_000  # of one file; every recording client has one account, large sites have a few dozen
MAX_ATTEMPTS = 3  # of one request: a proxy's challenge, the peer's own, and one nonce that grew old meanwhile
ASKING = {401: ("WWW-Authenticate", "Authorization"), 407: ("Proxy-Authenticate", "Proxy-Authorization")}

_NAME = re.compile(r"[^\s:\"\\\x00-\x1f\x7f]+")
_REALM = re.compile(r"[^:\"\\\x00-\x1f\x7f]+")


@dataclass(frozen=True, slots=True)
class Secret:
    """One line: what stands for a user's password in one realm, for one algorithm."""

    user: str
    realm: str
    algorithm: Algorithm
    ha1: str  # H(user:realm:password), lower-case hexadecimal


def parse_secrets(text: str) -> tuple[Secret, ...]:
    """Lines of `user:realm:algorithm:hash`; `#` begins a comment line. Raises ConfigError, without the content."""
    found: list[Secret] = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            found.append(_secret(line.strip(), number))
    if len(found) > MAX_LINES:
        raise ConfigError(f"SIP accounts: at most {MAX_LINES} lines, found {len(found)}")
    return tuple(found)


def _secret(line: str, number: int) -> Secret:
    fields = line.split(":")
    if len(fields) != 4 or not _NAME.fullmatch(fields[0]) or not is_realm(fields[1]):
        raise ConfigError(f"SIP accounts: line {number} must read user:realm:algorithm:hash")
    algorithm = algorithm_of(fields[2])
    if algorithm is None:
        raise ConfigError(f"SIP accounts: line {number}: the algorithm is {' or '.join(Algorithm)}")
    if not re.fullmatch(rf"[0-9a-f]{{{algorithm.digits}}}", fields[3].lower()):
        raise ConfigError(f"SIP accounts: line {number}: a {algorithm} hash has {algorithm.digits} hexadecimal digits")
    return Secret(fields[0], fields[1], algorithm, fields[3].lower())


def is_realm(text: str) -> bool:
    """Whether a realm can be written into a header and into a line."""
    return bool(_REALM.fullmatch(text))


class Accounts:
    """As whom we speak where we are challenged; no two accounts for one realm and algorithm."""

    def __init__(self, lines: Iterable[Secret] = ()) -> None:
        self._secrets: dict[tuple[str, Algorithm], Secret] = {}
        for secret in lines:
            if (secret.realm, secret.algorithm) in self._secrets:
                raise ConfigError(f"SIP accounts: two accounts for realm {secret.realm} and {secret.algorithm}")
            self._secrets[secret.realm, secret.algorithm] = secret

    def __len__(self) -> int:
        return len(self._secrets)

    def answered(self, request: Request, response: Response, cnonce: str) -> Request | None:
        """The request with credentials for what its 401 or 407 asks, same CSeq and Via.

        None when nothing is asked that we can answer, or when these credentials were refused: a realm is answered
        once, and again only for a nonce that grew old (RFC 3261, 22.2).
        """
        if response.status not in ASKING or not self._secrets:
            return None
        asked, given = ASKING[response.status]
        realms = {credentials.realm: credentials.nonce for credentials in _held(request, given)}
        fresh: dict[str, str] = {}
        for challenge in sorted(_challenges(response, asked), key=_strength):
            secret = self._secrets.get((challenge.realm, challenge.algorithm))
            before = realms.get(challenge.realm)
            if not secret or challenge.realm in fresh or (challenge.qop and "auth" not in challenge.qop):
                continue
            if before is None or (challenge.stale and before != challenge.nonce):
                fresh[challenge.realm] = str(_credentials(secret, challenge, request, cnonce))
        if not fresh:
            return None
        kept = [str(held) for held in _held(request, given) if held.realm not in fresh]
        lines = [(given, line) for line in [*kept, *fresh.values()]]
        return request.with_headers(request.headers.without(given).plus(*lines))


def proof_of(request: Request) -> tuple[tuple[str, str], ...]:
    """The credentials of an INVITE, which the ACK to its 2xx repeats (RFC 3261, 13.2.2.4)."""
    return tuple((name, line) for _, name in ASKING.values() for line in request.headers.all(name))


def _challenges(response: Response, name: str) -> Iterator[Challenge]:
    for line in response.headers.all(name):
        try:
            challenge = Challenge.parse(line)
        except PeerError:
            continue  # one that cannot be read is none; another may stand beside it
        if challenge:
            yield challenge


def _held(request: Request, name: str) -> list[Credentials]:
    found = [Credentials.parse(line) for line in request.headers.all(name)]
    return [credentials for credentials in found if credentials]


def _strength(challenge: Challenge) -> int:
    return list(Algorithm).index(challenge.algorithm)


def _credentials(secret: Secret, challenge: Challenge, request: Request, cnonce: str) -> Credentials:
    qop = "auth" if challenge.qop else ""
    unsigned = Credentials(
        secret.user, secret.realm, challenge.nonce, request.uri, "", challenge.algorithm, challenge.opaque, qop,
        cnonce if qop else "", 1 if qop else 0,
    )  # fmt: skip
    return replace(unsigned, response=unsigned.expected(secret.ha1, request.method))
