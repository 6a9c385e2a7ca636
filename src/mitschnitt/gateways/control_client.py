"""A gateway's side of the control API (design, section 11): announce a call, say what was asked, post acts.

Every request carries an Idempotency-Key, so that one that got no answer may be sent again.
"""

from __future__ import annotations

import json
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from mitschnitt.errors import ConfigError, MalformedPacket, PeerError

TIMEOUT_SECONDS = 3.0  # the caller waits in silence meanwhile
TRIES = 2  # a second one with the same key, when no answer came
MAX_TOKEN_BYTES = 4096  # a bearer token has a few dozen


class ControlRefused(PeerError):  # noqa: N818 - reads as the sentence it is
    """The control API answered with an error; `status` is the HTTP status."""

    def __init__(self, status: int, sentence: str) -> None:
        self.status = status
        super().__init__(f"control API: {status} {sentence}")


class ControlGone(PeerError):  # noqa: N818 - reads as the sentence it is
    """The control API cannot be reached."""


@dataclass(frozen=True)
class Ask:
    """The question to put, and the digits that answer it within `window_s` seconds of its end."""

    prompt: str
    language: str
    sha256: str
    yes: str
    no: str
    window_s: float
    purpose: str = ""  # of a further question; "" is the one after the recording


@dataclass(frozen=True)
class Announced:
    """The recorder's name for the call; `ask` is None when nobody is to be asked.

    `further` questions are for somebody who has just said yes to `ask`, one after the other.
    """

    call: str
    ask: Ask | None
    receipt_code: str
    further: tuple[Ask, ...] = ()


def read_token(path: Path) -> str:
    """The bearer token; ConfigError unless only its owner may read the file."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        text = path.read_text(encoding="ascii")[:MAX_TOKEN_BYTES].strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"token file {path}: {error}") from error
    if mode & 0o077:
        raise ConfigError(f"token file {path} has mode {mode:04o}, expected 0600")
    if not text:
        raise ConfigError(f"token file {path} is empty")
    return text


def rfc3339(at: datetime) -> str:
    """A time in UTC with microseconds and Z."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


class ControlClient:
    """One gateway's connection; `new_key` gives each request its Idempotency-Key."""

    def __init__(
        self,
        base_url: str,
        token: str,
        *,
        new_key: Callable[[], str],
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._new_key = new_key
        self._http = httpx.AsyncClient(
            base_url=base_url,
            headers={"Authorization": f"Bearer {token}"},
            timeout=TIMEOUT_SECONDS,
            transport=transport,
            trust_env=False,  # a proxy of the environment must never see a call
        )

    async def close(self) -> None:
        """Gives the connections back."""
        await self._http.aclose()

    async def announce(
        self, refs: Mapping[str, str], *, queue: str, direction: str, agent: str, answer_by: str
    ) -> Announced:
        """`POST /v1/calls`; `refs` maps kind to value.

        `answer_by` is "post" when the gateway posts the answer, "digit" when the recorder is to hear it.
        Raises ControlRefused, ControlGone, and MalformedPacket for an answer that is none.
        """
        listed = [{"kind": kind, "value": value} for kind, value in refs.items()]
        body = {"refs": listed, "queue": queue, "direction": direction, "agent": agent, "answer_by": answer_by}
        answer = await self._post("/v1/calls", body)
        try:
            ask = answer["ask"]
            return Announced(
                call=str(answer["call"]),
                ask=None if ask is None else _ask(ask),
                receipt_code=str(answer.get("receipt_code", "")),
                further=tuple(_ask(item) for item in answer.get("further", ())),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise MalformedPacket(f"control API: an announced call without {error}") from error

    async def asked(
        self, call: str, ask: Ask, *, begin: datetime, end: datetime, played_ms: int, length_ms: int
    ) -> None:
        """`POST /v1/calls/{call}/asked`: what the caller heard, from when to when."""
        body = {
            "party": "caller",
            "prompt": ask.prompt,
            "sha256": ask.sha256,
            "language": ask.language,
            "from": rfc3339(begin),
            "to": rfc3339(end),
            "played_ms": played_ms,
            "length_ms": length_ms,
        }
        await self._post(f"/v1/calls/{call}/asked", body)

    async def act(self, call: str, kind: str, value: str, *, at: datetime, ask: Ask | None) -> None:
        """`POST /v1/calls/{call}/acts`: what the caller did."""
        body = {"party": "caller", "kind": kind, "value": value, "at": rfc3339(at)}
        if ask is not None:
            body |= {"prompt": ask.prompt, "sha256": ask.sha256}
        await self._post(f"/v1/calls/{call}/acts", body)

    async def party(self, call: str, party: str, kind: str, aor: str, *, at: datetime) -> None:
        """`POST /v1/calls/{call}/parties`: somebody joined or left."""
        await self._post(f"/v1/calls/{call}/parties", {"party": party, "kind": kind, "value": aor, "at": rfc3339(at)})

    async def _post(self, path: str, body: Mapping[str, object]) -> dict[str, Any]:
        key = self._new_key()
        for remaining in range(TRIES - 1, -1, -1):
            try:
                response = await self._http.post(path, json=body, headers={"Idempotency-Key": key})
                break
            except httpx.TransportError as error:
                if not remaining:
                    raise ControlGone(f"control API: no answer ({type(error).__name__})") from error
        if response.status_code >= 300:
            raise ControlRefused(response.status_code, response.text[:200])
        try:
            answer = response.json() if response.content else {}
        except json.JSONDecodeError as error:
            raise MalformedPacket(f"control API: expected JSON, got {len(response.content)} bytes") from error
        if not isinstance(answer, dict):
            raise MalformedPacket(f"control API: expected an object, got {type(answer).__name__}")
        return answer


def _ask(found: Mapping[str, Any]) -> Ask:
    return Ask(
        prompt=str(found["prompt"]),
        language=str(found["language"]),
        sha256=str(found["sha256"]),
        yes=str(found["yes"]),
        no=str(found["no"]),
        window_s=float(found["window_s"]),
        purpose=str(found.get("purpose", "")),
    )
