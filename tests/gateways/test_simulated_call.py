"""A call goes on whatever the recording does; its row says what went wrong."""

from __future__ import annotations

import asyncio
import random  # noqa: TID251 - a simulator takes a seeded Random
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from gateways.fake_recorder import FakeControl
from mitschnitt.gateways import scenarios, simulated_call, speech
from mitschnitt.gateways.control_client import ControlClient
from mitschnitt.gateways.recording_session import Obedience, SessionListener
from mitschnitt.gateways.rtp_sender import RtpSender
from mitschnitt.gateways.scenarios import Plan, Scenario
from mitschnitt.gateways.simulated_call import Centre, SimulatedCall
from mitschnitt.wire.g711 import Law

SHORT = speech.Prompt("ask-training", "de", "v", "8", "9", "?", "ab" * 32, 10, b"\x55" * 80)
MORE = speech.Prompt("ask-onboarding", "de", "v", "8", "9", "?", "ef" * 32, 10, b"\x55" * 80)
PROMPTS = {prompt.name: prompt for prompt in (SHORT, MORE)}
DIALOGUE = speech.Dialogue("test", "bank", b"\x55" * 160, b"\x55" * 160)


class Peer:
    """A SIP side that answers with a status and no description."""

    def __init__(self, status: int) -> None:
        self.status, self.byes = status, 0

    async def invite(self, sdp: bytes, metadata: bytes, listener: SessionListener) -> tuple[str, int]:
        return "dialog", self.status

    async def reoffer(self, dialog: str, sdp: bytes, metadata: bytes) -> int:
        return self.status

    async def bye(self, dialog: str) -> int:
        self.byes += 1
        return 200


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REACT_SECONDS", "NEXT_QUESTION_SECONDS", "CONNECT_SECONDS"):
        monkeypatch.setattr(scenarios, name, 0.0)


def play(
    scenario: Scenario,
    *,
    control: httpx.AsyncBaseTransport | None,
    status: int = 200,
    stop: str = "never",
    seed: int = 1,
) -> tuple[dict[str, Any], list[dict[str, object]], SimulatedCall]:
    lines: list[dict[str, object]] = []

    async def run() -> tuple[dict[str, Any], SimulatedCall]:
        api = control and ControlClient("http://c", "t", new_key=lambda: "k", transport=control)
        centre = Centre(
            control=api or None,
            client=Peer(status),
            sender=RtpSender(),
            recorder_host="127.0.0.1",
            media_host="127.0.0.1",
            obedience=Obedience.OBEYS,
            stamped=True,
            law=Law.PCMU,
            max_talk_seconds=0.05,
            prompt_of=lambda name, language: PROMPTS[name],
            now=lambda: datetime.now(UTC),
            progress=lines.append,
        )
        call = SimulatedCall(7, scenario, DIALOGUE, centre, dice=random.Random(seed))
        if stop == "before":
            call.stop()
        row: dict[str, Any] = await call.run()
        if api:
            await api.close()
        return row, call

    row, call = asyncio.run(run())
    return row, lines, call


def test_without_a_control_api_nobody_is_asked_and_people_talk() -> None:
    row, lines, _ = play(Scenario.AGREED_BY_ACT, control=None)
    assert (row["asked"], row["control"], row["errors"]) == (False, None, [])
    assert [line["state"] for line in lines][-2:] == ["ended", "ended"]
    assert "talking" in [line["state"] for line in lines]


def test_a_control_api_that_is_gone_costs_the_question_only() -> None:
    def gone(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("no")

    row, lines, call = play(Scenario.AGREED_BY_ACT, control=httpx.MockTransport(gone))
    assert row["errors"] == ["announce: control API: no answer (ConnectError)"]
    assert call.control_gone
    assert "talking" in [line["state"] for line in lines]


def test_a_recorder_that_refuses_is_noted_and_the_call_goes_on() -> None:
    row, lines, _ = play(Scenario.AGREED_BY_ACT, control=FakeControl(SHORT).transport(), status=503)
    assert row["errors"] == ["dial: the recorder answered 503"]
    assert row["sip_status"] == 503
    assert "talking" in [line["state"] for line in lines]


def test_another_recording_of_the_question_is_not_passed_off_as_the_one_asked_for() -> None:
    other = speech.Prompt("ask-training", "de", "v", "8", "9", "?", "cd" * 32, 10, b"")
    control = FakeControl(other)
    row, _, _ = play(Scenario.AGREED_BY_ACT, control=control.transport())
    assert row["errors"] == ["announce: the recorder asks for another recording of the question"]
    assert control.whats() == ["calls"]


def test_yes_and_no_are_the_digits_that_the_question_names() -> None:
    for scenario, digit in ((Scenario.AGREED_BY_ACT, "8"), (Scenario.REFUSED_BY_ACT, "9")):
        control = FakeControl(SHORT)
        play(scenario, control=control.transport())
        assert control.posted[-1][1]["value"] == digit


def put(scenario: Scenario, further: dict[str, speech.Prompt]) -> tuple[FakeControl, dict[str, Any]]:
    control = FakeControl(SHORT, further=further)
    row, _, _ = play(scenario, control=control.transport())
    return control, row


def test_who_agreed_is_asked_further_questions_one_after_the_other() -> None:
    control, row = put(Scenario.AGREED_BY_ACT, {"onboarding": MORE, "exam": MORE})
    assert control.whats() == ["calls", "asked", "acts", "asked", "acts", "asked", "acts"]
    assert [body["prompt"] for _, body in control.posted[1:]] == ["ask-training"] * 2 + ["ask-onboarding"] * 4
    assert [body["value"] for what, body in control.posted if what == "acts"] == ["8", "8", "8"]
    assert (row["further"], row["errors"]) == (["onboarding", "exam"], [])
    asked, answered = control.posted[3][1], control.posted[4][1]
    assert (asked["sha256"], answered["sha256"]) == (MORE.sha256, MORE.sha256)
    assert str(control.posted[2][1]["at"]) < str(asked["from"]) < str(asked["to"]) < str(answered["at"])


@pytest.mark.parametrize("scenario", [Scenario.REFUSED_BY_ACT, Scenario.REFUSED_BY_DIGIT, Scenario.SILENT])
def test_who_did_not_agree_is_asked_nothing_further(scenario: Scenario) -> None:
    control, row = put(scenario, {"onboarding": MORE})
    assert control.whats().count("asked") == 1
    assert row["further"] == []


def test_who_says_nothing_to_a_further_question_is_connected() -> None:
    control, row = put(Scenario.THIRD_JOINED, {"onboarding": MORE})
    assert control.whats()[:4] == ["calls", "asked", "acts", "asked"]
    assert row["further"] == ["onboarding"]


def test_another_recording_of_a_further_question_is_not_passed_off_as_the_one_asked_for() -> None:
    other = replace(MORE, sha256="cd" * 32)
    control, row = put(Scenario.AGREED_BY_ACT, {"onboarding": other, "exam": MORE})
    assert row["errors"] == ["announce: the recorder asks for another recording of the question"]
    assert (row["asked"], row["further"]) == (True, [])
    assert control.whats() == ["calls", "asked", "acts"]


def test_a_join_that_the_recorder_refuses_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Plan(scenarios.Do.NOTHING, "", (scenarios.Step(0.0, scenarios.Do.JOIN),), 1)
    monkeypatch.setattr(simulated_call, "PLANS", {Scenario.THIRD_JOINED: plan})
    row, _, _ = play(Scenario.THIRD_JOINED, control=None)
    assert len(row["streams"]) == 3
    assert row["streams"][2]["stream"] == 73


def test_a_stopped_call_hangs_up() -> None:
    row, _, call = play(Scenario.SILENT, control=None, stop="before")
    assert call.state is scenarios.State.ENDED
    assert row["streams"] == []


def test_the_same_seed_gives_the_same_names() -> None:
    first, _, _ = play(Scenario.SILENT, control=None)
    again, _, _ = play(Scenario.SILENT, control=None)
    other, _, _ = play(Scenario.SILENT, control=None, seed=2)
    assert first["sip_session_id"] == again["sip_session_id"] != other["sip_session_id"]
    assert first["streams"][0]["ssrc"] == again["streams"][0]["ssrc"] != other["streams"][0]["ssrc"]
