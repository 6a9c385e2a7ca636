from __future__ import annotations

import asyncio
import json
from array import array
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from mitschnitt.gateways.bench.agreed import PARTIES, AgreedCall, Load, Told
from mitschnitt.gateways.control_client import Announced, Ask, ControlClient
from mitschnitt.gateways.recording_session import SessionListener
from mitschnitt.gateways.sip_client import SipClient

DIALOG = "dialog"


def description(*lines: tuple[int, str]) -> bytes:
    """What a recorder says it wants."""
    head = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    each = (f"m=audio {port} RTP/AVP 8\r\na={direction}\r\n" for port, direction in lines)
    return (head + "".join(each)).encode()


class There:
    """A recorder, a keeper's control API and its door, as far as these calls see them."""

    def __init__(self, *, status: int = 200, state: str = "kept") -> None:
        self.status, self.state, self.posts, self.ended = status, state, list[str](), list[str]()
        self.ports = iter(range(20_000, 30_000, 2))

    async def invite(self, sdp: bytes, _metadata: bytes, listener: SessionListener) -> tuple[str, int]:
        assert sdp.count(b"m=audio") == PARTIES
        if self.status == 200:
            listener.answered(description((9, "inactive"), (9, "inactive")))
            answer = listener.offered(description((next(self.ports), "recvonly"), (next(self.ports), "recvonly")))
            assert answer.count(b"a=sendonly") == PARTIES
        return DIALOG, self.status

    async def bye(self, dialog: str) -> int:
        self.ended.append(dialog)
        return 200

    async def announce(self, refs: dict[str, str], **_: str) -> Announced:
        self.posts.append("announce")
        assert set(refs) == {"sip_session_id"}
        return Announced("CALL", Ask("ask-training", "en", "", "1", "2", 10.0), "")

    async def asked(self, call: str, _ask: Ask, **times: Any) -> None:
        self.posts.append(f"asked {call}")
        assert times["played_ms"] == times["length_ms"] > 0

    async def act(self, call: str, kind: str, value: str, **_: object) -> None:
        self.posts.append(f"{kind} {value} {call}")

    async def answer(self, request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/calls/CALL"
        await asyncio.sleep(0.01)  # other calls end meanwhile
        return httpx.Response(200, json={"state": self.state})


def told_in(directory: Path) -> Told:
    ready = directory / "generator"
    ready.write_text("#!/bin/sh\necho '{\"sent\": 12}'\n", encoding="utf-8")
    ready.chmod(0o700)
    return Told(
        recorder=("127.0.0.1", 5060),
        control="",
        token_file="",
        door="",
        generator=(str(ready),),
        ports_file=str(directory / "ports"),
        standing=2,
        set_up_rate=1000.0,
        rate=1000.0,
        calls=3,
        hold=0.0,
        burst=5,
    )


def run(told: Told, there: There) -> Load:
    async def scene() -> Load:
        transport = httpx.MockTransport(there.answer)
        async with httpx.AsyncClient(transport=transport, base_url="http://keeper") as door:
            load = Load(told, cast(SipClient, there), cast(ControlClient, there), door)
            await load.run()
            return load

    return asyncio.run(scene())


def test_a_call_is_agreed_to_and_sends_only_while_it_is_asked_to() -> None:
    there, ports = There(), memoryview(array("H", [0, 0]))
    call = AgreedCall(cast(SipClient, there), ports, 1)

    async def scene() -> list[list[int]]:
        await call.agree(cast(ControlClient, there))
        await call.start()
        assert call.opened.is_set()
        seen = [ports.tolist()]
        call.offered(description((9, "inactive"), (20_002, "recvonly")))
        seen.append(ports.tolist())
        await call.end()
        return [*seen, ports.tolist()]

    assert asyncio.run(scene()) == [[20_000, 20_002], [0, 20_002], [0, 0]]
    assert there.posts == ["announce", "asked CALL", "digit 1 CALL"]
    assert there.ended == [DIALOG]


def test_calls_come_and_go_beside_those_that_stand_and_both_times_are_of_the_former(tmp_path: Path) -> None:
    there = There()
    figures = run(told_in(tmp_path), there).figures
    assert (figures.offered, figures.standing, len(figures.answer_ms), len(figures.kept_ms)) == (3, 2, 3, 3)
    assert (figures.refused, figures.never_open, figures.not_kept) == (0, 0, 0)
    assert figures.generator == {"sent": 12}
    assert len(there.ended) == 5


def test_refused_calls_and_calls_that_are_not_kept_are_counted_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mitschnitt.gateways.bench.agreed.KEPT_SECONDS", 0.01)
    told = replace(told_in(tmp_path), standing=0)
    assert run(told, There(status=503)).figures.refused == 3
    figures = run(told, There(state="live")).figures
    assert (figures.not_kept, figures.kept_ms, figures.refused) == (3, [], 0)


def test_what_is_told_travels_as_one_argument(tmp_path: Path) -> None:
    told = told_in(tmp_path)
    found = json.loads(json.dumps(asdict(told)))
    lists = {"recorder": tuple(found["recorder"]), "generator": tuple(found["generator"])}
    assert Told(**{**found, **lists}) == told
