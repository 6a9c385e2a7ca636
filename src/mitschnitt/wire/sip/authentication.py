"""Which requests carry valid digest credentials, and the challenge for those that do not (RFC 7616; RFC 8760).

A challenge costs no memory: its nonce proves by itself when and by whom it was made. Remembered is only what
valid credentials have used up and who failed how often, both bounded. Pure: `now` and the key are arguments.
"""

from __future__ import annotations

import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from mitschnitt.errors import ConfigError, PeerError
from mitschnitt.wire.sip.accounts import Secret, is_realm
from mitschnitt.wire.sip.digest import Algorithm, Challenge, Credentials
from mitschnitt.wire.sip.hop import Source
from mitschnitt.wire.sip.message import Request
from mitschnitt.wire.sip.rates import Rate, SourceBuckets, source_of

NONCE_SECONDS = 300.0  # a client then gets a new one, told as stale: one round trip in five minutes
MAX_NONCES = 8_192  # in use, 250 bytes each; beyond it the oldest grow old sooner
COUNT_WINDOW = 64  # nonce counts behind the highest that may still come: UDP overtakes itself
FAILURES = Rate(per_second=20 / 60, burst=20)  # wrong credentials of one source: a typing error, not a search
KEY_BYTES = 32  # of the key that nonces are made with
TIME_DIGITS, MAC_DIGITS = 12, 32  # hexadecimal: milliseconds for 8,900 years; 128 bits of HMAC-SHA-256
NEVER_ASKED = frozenset({"ACK", "CANCEL"})  # have no answer, or ride on their INVITE (RFC 3261, 22.1)

Refusal = tuple[int, str, tuple[tuple[str, str], ...]]  # status, cause, headers


@dataclass(slots=True)
class _Used:
    made: float  # when its nonce was made
    highest: int = 0
    seen: int = 0  # bit n: count highest - n came


class Authenticator:
    """Lets in who knows a secret of the realm. Without any user nobody is let in."""

    def __init__(
        self,
        realm: str,
        users: Iterable[Secret],
        *,
        key: bytes,
        salt: Callable[[], str],
        algorithms: Iterable[Algorithm] = (Algorithm.SHA256,),
        exempt: frozenset[str] = frozenset(),
    ) -> None:
        """`salt` makes unique words; on `exempt` transports the connection itself has proved who it is."""
        if not is_realm(realm):
            raise ConfigError(f"SIP digest: a realm has no colon, quote or control character, found {realm!r}")
        if len(key) != KEY_BYTES:
            raise ValueError(f"a nonce key has {KEY_BYTES} bytes, got {len(key)}")
        self.realm = realm
        self.algorithms = tuple(algorithm for algorithm in Algorithm if algorithm in set(algorithms))
        self._key, self._salt, self._exempt = key, salt, exempt
        self._opaque = self._mac("opaque", realm)
        self._users = users_by_name(realm, users)
        self._used: OrderedDict[str, _Used] = OrderedDict()
        self._floor = float("-inf")  # nonces made up to then are old, whatever their age
        self._failures = SourceBuckets(FAILURES)

    @property
    def held(self) -> tuple[int, int]:
        """(nonces in use, sources that failed) held now."""
        return len(self._used), len(self._failures)

    def learn(self, users: Iterable[Secret]) -> None:
        """Other users from now on; raises ConfigError and keeps the old ones when they contradict."""
        self._users = users_by_name(self.realm, users)

    def refusal(self, request: Request, source: Source, now: float, *, inside: bool) -> Refusal | None:
        """How this request is turned away, None when it may pass. `inside`: it belongs to a running dialog."""
        if request.method in NEVER_ASKED or source.transport in self._exempt:
            return None
        who = source_of(source.host)
        try:
            given = self._given(request)
        except PeerError:
            self._failures.take(who, now)
            return 400, "auth.malformed", ()
        if given is None:
            return self._challenge(now, "auth.missing")
        # A nonce that has proved itself still counts, so that who forges a client's address cannot lock it out.
        if not inside and given.nonce not in self._used and not self._failures.has(who, now):
            return 403, "auth.failures", ()
        if not self._right(given, request.method):
            self._failures.take(who, now)
            return self._challenge(now, "auth.wrong")
        made = self._made(given, now)
        if made is None or made <= self._floor:
            return self._challenge(now, "auth.stale", stale=True)
        if not self._count(given, made, now):
            return self._challenge(now, "auth.replayed", stale=True)
        return None

    def _given(self, request: Request) -> Credentials | None:
        """The first credentials for our realm; those for other realms are other people's."""
        for line in request.headers.all("Authorization"):
            given = Credentials.parse(line)
            if given and given.realm == self.realm:
                return given
        return None

    def _right(self, given: Credentials, method: str) -> bool:
        """Whether the response is a known user's; an unknown one costs the same work as a known one.

        A user has one algorithm: who is known by SHA-256 is not let in by MD5 (a downgrade on the way).
        """
        secret = self._users.get(given.username)
        known = secret is not None and secret.algorithm is given.algorithm
        nobody = (2 * self._mac("nobody", given.username))[: given.algorithm.digits]
        ha1 = secret.ha1 if secret and known else nobody
        same = hmac.compare_digest(given.expected(ha1, method).encode(), given.response.encode("utf-8", "replace"))
        allowed = given.algorithm in self.algorithms and given.qop == "auth"
        # A right answer to another algorithm's nonce is a downgrade, not an old nonce.
        crossed = any(self._is_ours(given.nonce, other) for other in Algorithm if other is not given.algorithm)
        return same and known and allowed and not crossed

    # --- nonces -----------------------------------------------------------------------------------

    def _challenge(self, now: float, why: str, *, stale: bool = False) -> Refusal:
        """One field per algorithm, the strongest first (RFC 8760, 2.3); each has a nonce of its own.

        What no user has is not offered: clients that read the first field only would stumble over it.
        """
        known = {user.algorithm for user in self._users.values()} or set(self.algorithms)
        fields = tuple(
            ("WWW-Authenticate", str(Challenge(self.realm, nonce, algorithm, self._opaque, ("auth",), stale)))
            for algorithm in self.algorithms
            if algorithm in known
            for nonce in [self.nonce(algorithm, now)]
        )
        return 401, why, fields

    def nonce(self, algorithm: Algorithm, now: float) -> str:
        """A new nonce: time, proof that we made it for this algorithm and realm, salt."""
        time, salt = f"{int(now * 1000):0{TIME_DIGITS}x}", self._salt()
        return time + self._proof(time, salt, algorithm) + salt

    def _proof(self, time: str, salt: str, algorithm: Algorithm) -> str:
        return self._mac(time, salt, algorithm, self.realm, self._opaque)

    def _is_ours(self, nonce: str, algorithm: Algorithm) -> bool:
        time, proof = nonce[:TIME_DIGITS], nonce[TIME_DIGITS : TIME_DIGITS + MAC_DIGITS]
        expected = self._proof(time, nonce[TIME_DIGITS + MAC_DIGITS :], algorithm)
        return hmac.compare_digest(expected.encode(), proof.encode("utf-8", "replace"))

    def _made(self, given: Credentials, now: float) -> float | None:
        """When we made this nonce; None when we did not (in this life of the process), or too long ago."""
        if not self._is_ours(given.nonce, given.algorithm) or given.opaque not in (None, self._opaque):
            return None
        made = int(given.nonce[:TIME_DIGITS], 16) / 1000
        return made if now - NONCE_SECONDS <= made <= now else None

    def _count(self, given: Credentials, made: float, now: float) -> bool:
        """Whether this nonce count comes for the first time; it is used up now (RFC 7616, 3.4)."""
        used = self._used.get(given.nonce)
        if used is None:
            self._make_room(now)
            used = self._used[given.nonce] = _Used(made)
        ahead = given.count - used.highest
        if ahead > 0:
            used.seen = ((used.seen << min(ahead, COUNT_WINDOW)) | 1) & ((1 << COUNT_WINDOW) - 1)
            used.highest = given.count
            return True
        if -ahead >= COUNT_WINDOW or used.seen >> -ahead & 1:
            return False
        used.seen |= 1 << -ahead
        return True

    def _make_room(self, now: float) -> None:
        while self._used:
            oldest = next(iter(self._used.values()))
            old = now - oldest.made > NONCE_SECONDS
            if not old and len(self._used) < MAX_NONCES:
                return
            self._used.popitem(last=False)
            if not old:  # what is forgotten must not count anew
                self._floor = max(self._floor, oldest.made)

    def _mac(self, *parts: str) -> str:
        text = "\0".join(parts).encode("utf-8", "surrogateescape")
        return hmac.new(self._key, text, hashlib.sha256).hexdigest()[:MAC_DIGITS]


def users_by_name(realm: str, users: Iterable[Secret]) -> Mapping[str, Secret]:
    """Users of this realm by their name; raises ConfigError for another realm's, and for two lines of one user."""
    found: dict[str, Secret] = {}
    for user in users:
        if user.realm != realm:
            raise ConfigError(f"SIP users: expected realm {realm}, found {user.realm}")
        if user.user in found:
            raise ConfigError(f"SIP users: one line for each user, found two for {user.user}")
        found[user.user] = user
    return found
