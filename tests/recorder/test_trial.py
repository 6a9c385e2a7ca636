"""A test call at its recorder: whose call it is, what is told of it, and that no call suffers from it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mitschnitt.recorder import trial as module
from mitschnitt.recorder.trial import MAX_NOTED, Trials
from mitschnitt.wire.session_findings import Behaviour
from mitschnitt.wire.sip import events as sip
from mitschnitt.wire.sip.hop import Hop
from mitschnitt.wire.sip.message import Headers, Request, Response, parse_message

VECTORS = Path(__file__).parents[1] / "vectors" / "sip"
AT = datetime(2026, 11, 23, 16, 53, 51, tzinfo=UTC)
CALL = "0" * 26
HOST = "192.0.2.10"
TESTER = "sip:anna@elsewhere.example.org"  # as in the file's metadata, at another host


def request(name: str = "invite-two-lines.sip") -> Request:
    message = parse_message((VECTORS / name).read_bytes().replace(b"+0000<", b"Z<").replace(b"Length: 2217", b"X: 0"))
    assert isinstance(message, Request)
    return message


class Session:
    """A session as a trial sees it."""

    def __init__(self) -> None:
        self.call, self.agents = CALL, "known"
        self.counted = Behaviour(open_lines=2)
        self.broken = False

    def behaviour(self) -> Behaviour:
        if self.broken:
            raise RuntimeError("a mistake of ours")
        return self.counted


class Scene:
    """Trials, what they send, and one session."""

    def __init__(self) -> None:
        self.sent: list[Mapping[str, Any]] = []
        self.trials = Trials(self.sent.append)
        self.session = Session()

    def watch(self, *, host: str = HOST, caller: str = TESTER, seconds: float = 60) -> None:
        self.trials.watch({"type": "watch", "token": "t1", "host": host, "caller": caller, "seconds": seconds})

    def invite(self, message: Request | None = None, *, host: str = HOST, dialog: str = "d") -> None:
        event = sip.InviteReceived(dialog, "x", message or request(), Hop("UDP", host, 5060))
        self.trials.began(event, self, AT)

    def codes(self) -> list[str]:
        assert self.sent[-1]["type"] == "findings"
        return [finding["code"] for finding in self.sent[-1]["findings"]]


def play(scene: Callable[[Scene], Awaitable[None]]) -> None:
    async def run() -> None:
        await scene(Scene())

    asyncio.run(run())


def answer(method: str, status: int, *headers: tuple[str, str], dialog: str = "d") -> sip.ResponseReceived:
    return sip.ResponseReceived(dialog, "x", method, Response(Headers.of(headers), b"", status))


def test_the_testers_call_is_told_of_whole_and_at_its_end() -> None:
    async def scene(scene: Scene) -> None:
        scene.watch()
        scene.invite()
        assert scene.sent == [{"type": "watched", "token": "t1"}]
        scene.trials.saw(sip.AckReceived("d", request()))
        scene.trials.saw(answer("INVITE", 488))
        scene.trials.saw(answer("INVITE", 488))
        scene.trials.saw(answer("INVITE", 491))
        scene.trials.saw(answer("UPDATE", 200, ("Contact", "<<sip:x>>")))
        scene.trials.saw(answer("BYE", 405, dialog="another"))
        scene.trials.saw(sip.TransactionTimedOut("d", "x", "UPDATE", undeliverable=False))
        scene.session.counted = Behaviour(open_lines=2, silent_lines=1, leaked=3)
        scene.trials.over("another")
        scene.trials.over("d")
        told = scene.sent[-1]
        assert (told["token"], told["call"]) == ("t1", CALL)
        assert scene.codes() == ["refused", "unanswered", "contact.malformed", "rtp.missing", "rtp.leak"]
        scene.trials.over("d")
        assert len(scene.sent) == 2

    play(scene)


def test_a_call_that_was_never_acknowledged_says_so() -> None:
    async def scene(scene: Scene) -> None:
        scene.watch()
        scene.invite()
        scene.trials.over("d")
        assert scene.codes() == ["ack.missing"]

    play(scene)


def test_a_changed_description_of_the_same_version_is_counted() -> None:
    async def scene(scene: Scene) -> None:
        scene.watch()
        scene.invite()
        scene.trials.saw(sip.AckReceived("d", request()))
        changed = replace(request(), body=request().body.replace(b"m=audio 30698", b"m=audio 30700"))
        scene.trials.saw(sip.ReinviteReceived("d", "x", changed))
        scene.trials.saw(sip.ReinviteReceived("d", "x", changed))
        raised = replace(changed, body=request().body.replace(b" 1700 1 ", b" 1700 2 "))
        scene.trials.saw(sip.UpdateReceived("d", "x", raised))
        scene.trials.over("d")
        assert scene.sent[-1]["findings"] == [{"code": "sdp.version", "values": {"count": 1}}]

    play(scene)


@pytest.mark.parametrize("caller", ["", TESTER])
def test_of_a_call_that_is_not_the_testers_only_its_invite_is_told_after_a_fixed_time(
    caller: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TOLD_AFTER_SECONDS", 0.01)

    async def scene(scene: Scene) -> None:
        scene.watch(caller=caller)
        scene.invite(request("invite-without-siprec.sip") if not caller else request("invite-compact-folded.sip"))
        scene.session.counted = Behaviour(open_lines=2, silent_lines=2, leaked=300, awaited_digits=True)
        scene.trials.saw(answer("INVITE", 488))
        scene.trials.over("d")
        assert len(scene.sent) == 1  # its end is not told, for it may have been ours
        async with asyncio.timeout(60):
            while len(scene.sent) < 2:
                await asyncio.sleep(0.005)
        assert scene.sent[-1]["call"] == ""
        assert not set(scene.codes()) & {"rtp.missing", "rtp.leak", "refused", "events.silent", "ack.missing"}
        assert scene.codes()

    play(scene)


@pytest.mark.parametrize(
    "host, caller, comes_from",
    [
        (HOST, "sip:clara@example.org", HOST),
        (HOST, "+49305550100", HOST),
        ("192.0.2.11", TESTER, HOST),
        (HOST, TESTER, "2001:db8::1"),
        ("", TESTER, HOST),
    ],
)
def test_somebody_elses_call_is_not_looked_at(host: str, caller: str, comes_from: str) -> None:
    async def scene(scene: Scene) -> None:
        scene.watch(host=host, caller=caller)
        scene.invite(host=comes_from)
        scene.trials.over("d")
        assert scene.sent == []

    play(scene)


def test_one_address_may_be_written_in_several_ways() -> None:
    async def scene(scene: Scene) -> None:
        scene.watch(host="2001:db8::1")
        scene.invite(host="2001:0db8:0:0::1")
        assert [message["type"] for message in scene.sent] == ["watched"]

    play(scene)


def test_one_call_is_taken_and_nobody_waits_for_ever() -> None:
    async def scene(scene: Scene) -> None:
        scene.watch(seconds=0)
        scene.invite()
        assert scene.sent == []
        scene.watch()
        scene.invite()
        scene.invite(dialog="second")
        assert len(scene.sent) == 1

    play(scene)


def test_a_mistake_in_here_is_logged_and_the_call_ends_as_any_other(caplog: pytest.LogCaptureFixture) -> None:
    async def scene(scene: Scene) -> None:
        scene.watch()
        scene.invite()
        scene.session.broken = True
        scene.trials.over("d")
        assert len(scene.sent) == 1

    play(scene)
    assert "a test call could not be judged" in caplog.text


def test_what_is_noted_of_a_client_is_bounded() -> None:
    async def scene(scene: Scene) -> None:
        scene.watch()
        scene.invite()
        for status in range(500, 600):
            scene.trials.saw(answer("UPDATE", status))
        scene.trials.over("d")
        assert scene.codes().count("refused") == MAX_NOTED

    play(scene)


@pytest.mark.parametrize("caller", ["", TESTER])
def test_an_invite_of_which_no_session_came_is_told_at_once(caller: str) -> None:
    async def scene(scene: Scene) -> None:
        scene.watch(caller=caller)
        secure = replace(request(), body=request().body.replace(b"RTP/AVP", b"RTP/SAVP"))
        event = sip.InviteReceived("d", "x", secure, Hop("UDP", HOST, 5060))
        scene.trials.turned_away(event, AT)
        scene.trials.turned_away(event, AT)
        assert [message["type"] for message in scene.sent] == ["watched", "findings"]
        assert scene.codes()[0] == "invite.refused"
        assert "srtp.offered" in scene.codes()
        assert scene.sent[-1]["call"] == ""

    play(scene)
