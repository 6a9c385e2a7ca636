"""The command line's way to the keeper: HTTP over `run/door.sock`, which only the owner's user can open."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx

from mitschnitt.errors import Damaged, NotAllowed, PeerError, VaultError

DOOR_SECONDS = 30.0  # an erasure writes and syncs state at every copy; a read streams megabytes
KEEPALIVE_SECONDS = 2.0  # below the keeper's 5 s: a connection that it is about to close is not used again


class NotReachable(PeerError):  # noqa: N818 - reads as the sentence it is
    """No keeper answers at the door."""


class Door:
    """One command's way to the keeper of a directory: a connection for each question, or one within `kept_open`."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "run" / "door.sock"
        self._client: httpx.Client | None = None

    @contextlib.contextmanager
    def kept_open(self) -> Iterator[None]:
        """Questions that are asked within share one connection."""
        with self._connection() as client:
            self._client = client
            try:
                yield
            finally:
                self._client = None

    def _connection(self) -> httpx.Client:
        # No TLS is spoken on a Unix socket; left to itself httpx reads every authority it knows first, 25 ms.
        transport = httpx.HTTPTransport(
            uds=str(self._path),
            verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
            limits=httpx.Limits(keepalive_expiry=KEEPALIVE_SECONDS),
        )
        return httpx.Client(transport=transport, base_url="http://keeper", timeout=DOOR_SECONDS, trust_env=False)

    def get(self, path: str, **query: str) -> Any:
        """The JSON behind a path; NotAllowed with its rule, NotReachable without a keeper."""
        return self._checked("GET", path, params=query).json()

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """The JSON answer to a command."""
        return self._checked("POST", path, json=dict(body)).json()

    def bytes_of(self, path: str, **query: Any) -> bytes:
        """The bytes behind a path."""
        return self._checked("GET", path, params=query).content

    def delete(self, path: str, **query: str) -> None:
        """Say that something is not needed any more."""
        self._checked("DELETE", path, params=query)

    def _checked(self, method: str, path: str, **more: Any) -> httpx.Response:
        try:
            found = self._path.is_socket()
        except OSError as error:
            raise NotReachable(f"{self._path}: {error.strerror}; commands run as the user of `serve`") from error
        if not found:
            raise NotReachable(f"there is no {self._path}; is `mitschnitt serve` running?")
        try:
            if self._client is not None:
                answer = self._client.request(method, path, **more)
            else:
                with self._connection() as client:
                    answer = client.request(method, path, **more)
        except httpx.TransportError as error:
            raise NotReachable(f"no keeper answers at {self._path}; is `mitschnitt serve` running?") from error
        if answer.status_code == httpx.codes.FORBIDDEN:
            told = answer.json()
            rule = str(told.get("rule", "access.refused"))
            # The keeper's sentence ends with the rule; NotAllowed adds it again.
            raise NotAllowed(rule, str(told.get("detail", "")).removesuffix(f"[{rule}]").rstrip())
        if answer.status_code == httpx.codes.NOT_FOUND:
            raise NotAllowed("call.unknown", "no call of that name is known here")
        if answer.is_error:
            raise _failure(answer)
        return answer


def _failure(answer: httpx.Response) -> VaultError | PeerError:
    """Whose fault it is: what is kept cannot be read, or the keeper fails."""
    try:
        told = answer.json()
        rule, detail = str(told["rule"]), str(told["detail"])
    except (ValueError, KeyError, TypeError):
        return PeerError(f"the keeper answered {answer.status_code}: {answer.text[:200]}")
    if rule.startswith("vault."):
        return (Damaged if rule == "vault.damaged" else VaultError)(f"{detail} [{rule}]")
    return PeerError(f"the keeper answered {answer.status_code}: {detail} [{rule}]")
