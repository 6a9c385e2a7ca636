"""`doctor --client`: what is printed, what is asked of the keeper, and the exit code."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from commands.keeper_stub import StubDoor
from mitschnitt.commands import doctor_client as command
from mitschnitt.commands.doctor_client import Wish
from mitschnitt.commands.door_client import NotReachable
from mitschnitt.errors import ConfigError, NotAllowed, PeerError
from mitschnitt.gateways.options_probe import Answer
from mitschnitt.recorder.tls import Tls
from mitschnitt.wire.findings import CATALOGUE
from mitschnitt.wire.sip.hop import Hop
from mitschnitt.wire.sip.message import Response, parse_message

VECTORS = Path(__file__).parents[1] / "vectors" / "options"
HERE = "127.0.0.1:5070"
LEAK = {"code": "rtp.leak", "severity": "wrong", "sentence": "7 packets although", "todo": "obey"}
OLD = {"code": "dialect.namespace", "severity": "odd", "sentence": "a draft", "todo": "nothing"}


class Sbc:
    """What the probe finds."""

    def __init__(self) -> None:
        self.name: str | None = "rich"
        self.asked: list[Hop] = []

    async def ask(self, hop: Hop, *, seconds: float, tls: Tls | None) -> Answer | None:
        assert tls is None
        assert seconds > 0
        self.asked.append(hop)
        message = parse_message((VECTORS / f"{self.name}.sip").read_bytes()) if self.name else None
        return Answer(message, 12) if isinstance(message, Response) else None


@pytest.fixture(name="sbc")
def fake_sbc(monkeypatch: pytest.MonkeyPatch) -> Sbc:
    sbc = Sbc()
    monkeypatch.setattr(command, "ask_options", sbc.ask)
    monkeypatch.setattr(command, "LOOK_SECONDS", 0.0)
    return sbc


@pytest.fixture(name="door")
def stub_door(monkeypatch: pytest.MonkeyPatch) -> StubDoor:
    door = StubDoor({("POST", "/trials"): {"token": "t1"}, ("POST", "/trials/t1/stop"): {"state": "over"}})
    door.behind(monkeypatch, command)
    return door


def course(door: StubDoor, *states: Mapping[str, Any]) -> None:
    """What the keeper says at each look."""
    told: Iterator[Mapping[str, Any]] = iter(states)
    door.answers[("GET", "/trials/t1")] = lambda _sent: next(told)


AWAITED: Mapping[str, Any] = {"state": "awaited", "findings": []}
RUNNING: Mapping[str, Any] = {"state": "running", "findings": []}
OVER: Mapping[str, Any] = {"state": "over", "findings": []}


def told(*findings: Mapping[str, Any]) -> dict[str, Any]:
    return {"state": "told", "findings": list(findings)}


def test_without_waiting_only_the_sbc_is_asked(sbc: Sbc, door: StubDoor, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.run(Path(), Wish(HERE, 0), as_json=False) == 0
    said = capsys.readouterr().out
    assert "fine  options.answered: answered 200 in 12 ms\n" in said
    assert "fine  allow.update: takes UPDATE: we ask for signs of life and for snapshots by it\n" in said
    assert sbc.asked == [Hop("UDP", "127.0.0.1", 5070)]
    assert door.asked == []


def test_what_is_odd_is_told_with_what_to_do_and_is_no_failure(
    sbc: Sbc, door: StubDoor, capsys: pytest.CaptureFixture[str]
) -> None:
    sbc.name = "silent-on-everything"
    assert command.run(Path(), Wish(HERE, 0), as_json=False) == 0
    assert "odd   allow.missing: announces no Allow" in (said := capsys.readouterr().out)
    assert "      -> a test call shows more\n" in said
    assert door.asked == []


def test_an_sbc_that_takes_no_invite_is_wrong(sbc: Sbc, door: StubDoor, capsys: pytest.CaptureFixture[str]) -> None:
    sbc.name = "poor"
    assert command.run(Path(), Wish(HERE, 0), as_json=True) == 1
    rows = json.loads(capsys.readouterr().out)
    assert {row["about"] for row in rows} == {"options"}
    assert [row["code"] for row in rows if row["severity"] == "wrong"] == ["allow.invite.missing"]
    assert door.asked == []


def test_no_answer_is_not_reachable_and_a_test_call_is_looked_at_all_the_same(
    sbc: Sbc, door: StubDoor, capsys: pytest.CaptureFixture[str]
) -> None:
    sbc.name = None
    course(door, told())
    assert command.run(Path(), Wish(HERE, 30, "+49"), as_json=True) == 3
    rows = json.loads(capsys.readouterr().out)
    assert [row["code"] for row in rows] == ["options.silent", "trial.good"]
    assert "no answer within 5 s" in rows[0]["sentence"]


def test_a_test_call_is_announced_awaited_and_explained(
    sbc: Sbc, door: StubDoor, capsys: pytest.CaptureFixture[str]
) -> None:
    course(door, AWAITED, AWAITED, RUNNING, told(LEAK, OLD))
    assert command.run(Path(), Wish(HERE, 30, "+49305550100"), as_json=False) == 1
    said = capsys.readouterr()
    assert "wrong rtp.leak: 7 packets although\n      -> obey\n" in said.out
    assert "odd   dialect.namespace" in said.out
    assert "dial now, with your own telephone" in said.err
    assert "+49305550100" not in said.out + said.err
    wanted = {"role": "operator", "host": "127.0.0.1", "caller": "+49305550100", "wait_s": 30}
    assert door.asked[0] == ("POST", "/trials", wanted)
    assert sbc.asked


def test_without_the_testers_number_it_says_what_was_not_looked_at(
    sbc: Sbc, door: StubDoor, capsys: pytest.CaptureFixture[str]
) -> None:
    course(door, told())
    assert command.run(Path(), Wish(HERE, 30), as_json=True) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["code"] for row in rows if row["about"] == "call"] == ["trial.good", "trial.anonymous"]
    assert sbc.asked


@pytest.mark.parametrize("states, code", [([AWAITED, OVER], "trial.none"), ([RUNNING, OVER], "trial.lost")])
def test_a_call_that_never_came_or_never_ended_is_wrong(
    sbc: Sbc, door: StubDoor, states: list[Mapping[str, Any]], code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    course(door, *states)
    assert command.run(Path(), Wish(HERE, 30), as_json=True) == 1
    assert [row["code"] for row in json.loads(capsys.readouterr().out) if row["about"] == "call"] == [code]
    assert sbc.asked


def test_without_a_keeper_the_sbc_alone_is_judged(sbc: Sbc, door: StubDoor, capsys: pytest.CaptureFixture[str]) -> None:
    door.answers[("POST", "/trials")] = NotReachable("there is no door.sock")
    assert command.run(Path(), Wish(HERE, 30), as_json=True) == 0
    assert json.loads(capsys.readouterr().out)[-1]["code"] == "trial.unserved"
    assert sbc.asked


def test_a_refusal_of_the_keeper_comes_through(sbc: Sbc, door: StubDoor) -> None:
    door.answers[("POST", "/trials")] = NotAllowed("trial.busy", "another test call is under way")
    with pytest.raises(NotAllowed, match=r"trial\.busy"):
        command.run(Path(), Wish(HERE, 30), as_json=False)
    assert sbc.asked


@pytest.mark.parametrize("error", [KeyboardInterrupt(), PeerError("the keeper is gone")])
def test_whoever_stops_waiting_says_so_to_the_keeper(sbc: Sbc, door: StubDoor, error: BaseException) -> None:
    def interrupted(_sent: Mapping[str, Any]) -> Any:
        raise error

    door.answers[("GET", "/trials/t1")] = interrupted
    with pytest.raises(type(error)):
        command.run(Path(), Wish(HERE, 30), as_json=False)
    assert door.asked[-1] == ("POST", "/trials/t1/stop", {"role": "operator"})
    assert sbc.asked


def test_a_caller_without_waiting_is_wrong_usage(sbc: Sbc) -> None:
    with pytest.raises(ConfigError, match="without --wait there is none"):
        command.run(Path(), Wish(HERE, 0, "+49"), as_json=False)
    with pytest.raises(ConfigError, match="client: expected host"):
        command.run(Path(), Wish("me@somewhere", 0), as_json=False)
    assert sbc.asked == []


def test_every_code_that_the_command_makes_itself_is_in_the_catalogue() -> None:
    assert {"options.silent", "trial.unserved", "trial.none", "trial.lost", "trial.good"} <= set(CATALOGUE)
