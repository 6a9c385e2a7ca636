"""The whole centre against a tiny recorder over loopback: packets flow only while they are asked for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from gateways.fake_recorder import FakeControl, FakeRecorder, Session
from mitschnitt.errors import ConfigError, PeerError
from mitschnitt.gateways import cast, centre, scenarios, speech, stamp
from mitschnitt.gateways.centre import Options, Summary
from mitschnitt.gateways.recording_session import Obedience
from mitschnitt.gateways.sip_client import Recorder

CLOCK = 1e-6  # seconds; change times are rounded to microseconds
SHORT = speech.Prompt("ask-training", "de", "v", "1", "2", "?", "ab" * 32, 100, b"\x55" * 800)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Callers of tests react at once; what happens in which order stays the same."""
    for name in ("REACT_SECONDS", "CONNECT_SECONDS"):
        monkeypatch.setattr(scenarios, name, 0.05)
    quicker = {
        kind: replace(plan, steps=tuple(replace(step, after=step.after / 10) for step in plan.steps))
        for kind, plan in scenarios.PLANS.items()
    }
    monkeypatch.setattr("mitschnitt.gateways.simulated_call.PLANS", quicker)


@dataclass
class Run:
    """What a run left behind."""

    summary: Summary
    rows: list[dict[str, Any]]
    lines: list[dict[str, Any]]
    sessions: list[Session]
    posted: list[tuple[str, dict[str, object]]]

    @property
    def row(self) -> dict[str, Any]:
        (row,) = self.rows
        return row

    @property
    def session(self) -> Session:
        (session,) = self.sessions
        return session


Script = Callable[[FakeRecorder, FakeControl], None]


def play(
    tmp_path: Path,
    mix: str,
    script: Script = lambda recorder, control: None,
    *,
    prompt: speech.Prompt | None = SHORT,
    at_start: str = "closed",
    transport: str = "UDP",
    calls: int = 1,
    obedience: Obedience = Obedience.OBEYS,
) -> Run:
    token = tmp_path / "token"
    token.write_text("secret")
    token.chmod(0o600)
    rows: list[dict[str, Any]] = []
    lines: list[dict[str, Any]] = []

    async def run() -> tuple[Summary, list[Session], FakeControl]:
        recorder, control = FakeRecorder(at_start=at_start), FakeControl(prompt)
        await recorder.open()
        script(recorder, control)
        options = Options(
            Recorder("127.0.0.1", recorder.port, transport),
            control="http://control",
            token_file=token,
            calls=calls,
            rate=20.0,
            mix=mix,
            stamped=True,
            obedience=obedience,
            max_talk_seconds=0.7,
        )
        try:
            summary = await centre.play(
                options,
                progress=lines.append,
                report=rows.append,
                transport=control.transport(),
                prompt_of=lambda name, language: SHORT,
            )
            await recorder.hear_rest()
        finally:
            await recorder.close()
        return summary, list(recorder.sessions.values()), control

    summary, sessions, control = asyncio.run(run())
    return Run(summary, rows, lines, sessions, control.posted)


def open_at_act(recorder: FakeRecorder, control: FakeControl) -> None:
    """A recorder that opens at the posted act and closes at a withdrawal, as ours does."""

    def posted(what: str, body: dict[str, object]) -> None:
        for session in recorder.sessions.values():
            if what == "acts" and body["kind"] == "digit" and body["value"] == "1":
                recorder.turn(session, "open")
            elif what == "acts" and body["kind"] == "withdraw":
                recorder.turn(session, "closed")

    control.on_post = posted


def counters(session: Session, stream: int) -> list[int]:
    audio = b"".join(packet.payload for packet in session.heard if packet.payload_type == 8)
    found = stamp.find_stamps(audio)
    return [int(counter) for counter in stamp.counters_of(found, stream)]


def sent_within(run: Run, opened: int, closed: int) -> bool:
    """Whether every packet went out between these two of the row's changes."""
    times = [datetime.fromisoformat(run.row["changes"][number]["at"]).timestamp() for number in (opened, closed)]
    segments = [segment for stream in run.row["streams"] for segment in stream["segments"]]
    return all(times[0] - CLOCK <= s["first_ns"] / 1e9 <= s["last_ns"] / 1e9 <= times[1] + CLOCK for s in segments)


def test_an_agreed_call_sends_nothing_before_the_recorder_asks_for_it(tmp_path: Path) -> None:
    run = play(tmp_path, "agreed_by_act", open_at_act)
    assert run.row["errors"] == []
    assert {packet.epoch for packet in run.session.heard} == {1}
    assert {packet.port for packet in run.session.heard} == set(run.session.ports)
    for stream, report in zip((1, 2), run.row["streams"], strict=True):
        assert counters(run.session, stream) == list(range(report["audio"]))
        assert report["audio"] > 10
        assert report["leaked"] == 0
        (segment,) = report["segments"]
        assert segment["allowed"]
    assert [change["open"] for change in run.row["changes"]] == [(), ("1", "2"), ()]
    assert run.session.ended
    assert b"a=sendonly" in run.session.answers[0]


def test_the_gateway_says_what_was_asked_before_it_posts_the_act(tmp_path: Path) -> None:
    run = play(tmp_path, "agreed_by_act", open_at_act)
    assert [what for what, _ in run.posted] == ["calls", "asked", "acts"]
    announced, asked, act = (body for _, body in run.posted)
    assert announced["refs"] == [{"kind": "sip_session_id", "value": run.row["sip_session_id"]}]
    assert run.row["sip_session_id"].encode() in run.session.body
    assert announced["answer_by"] == "post"
    assert asked["played_ms"] == asked["length_ms"] == 100
    assert str(announced["agent"]) in run.session.body.decode()
    assert (act["party"], act["kind"], act["value"], act["prompt"]) == (
        "caller",
        "digit",
        "1",
        "ask-training",
    )
    assert str(asked["from"]) < str(asked["to"]) < str(act["at"])
    assert [mark["what"] for mark in run.row["marks"]] == ["asked", "answer"]
    assert run.row["marks"][1]["counters"] == {"1": 0, "2": 0}


@pytest.mark.parametrize("mix", ["refused_by_act", "silent", "refused_by_digit"])
def test_a_call_without_a_yes_never_sends_a_packet(tmp_path: Path, mix: str) -> None:
    run = play(tmp_path, mix, open_at_act)
    assert run.session.heard == []
    assert [stream["audio"] for stream in run.row["streams"]] == [0, 0]
    assert run.row["sip_status"] == 200
    assert run.session.ended
    assert run.row["streams"][0]["digits_lost"] == ("2" if mix == "refused_by_digit" else "")


def test_a_digit_in_the_stream_is_one_event_of_the_caller(tmp_path: Path) -> None:
    run = play(tmp_path, "agreed_by_digit", at_start="gated")
    events = [packet for packet in run.session.heard if packet.payload_type == 101]
    assert {packet.port for packet in events} == {run.session.ports[0]}
    assert len({packet.time for packet in events}) == 1
    assert [packet.payload[0] for packet in events] == [1] * 8
    assert [bool(packet.payload[1] & 0x80) for packet in events] == [False] * 5 + [True] * 3
    assert "acts" not in [what for what, _ in run.posted]
    assert run.posted[0][1]["answer_by"] == "digit"
    answered = run.row["marks"][1]
    assert answered["counters"]["1"] > 1  # stamped packets went out before the key: the filter's business


def test_a_withdrawal_in_the_stream_stops_it(tmp_path: Path) -> None:
    run = play(tmp_path, "withdrew", open_at_act)
    keys = [packet.payload[0] for packet in run.session.heard if packet.payload_type == 101]
    assert sorted(set(keys), key=keys.index) == [10, 9]


def test_a_posted_withdrawal_is_obeyed_at_once(tmp_path: Path) -> None:
    def script(recorder: FakeRecorder, control: FakeControl) -> None:
        open_at_act(recorder, control)
        recorder.on_session = lambda session: recorder.turn(session, "open")

    run = play(tmp_path, "withdrew_by_act", script)
    assert [change["open"] for change in run.row["changes"]] == [(), ("1", "2"), (), ()]
    assert sent_within(run, 1, 2)
    assert {packet.port for packet in run.session.heard} == set(run.session.ports)
    assert b"a=inactive" in run.session.answers[-1]


def test_a_third_party_is_announced_and_has_a_line_of_its_own(tmp_path: Path) -> None:
    run = play(tmp_path, "third_joined", open_at_act)
    assert run.row["errors"] == []
    what, body = run.posted[-1]
    assert (what, body["party"], body["kind"]) == ("parties", "third-1", "joined")
    assert run.session.lines == 3
    assert run.session.body.count(b"<participant ") == 3
    assert b"Tarek Haddad" in run.session.body
    assert [stream["label"] for stream in run.row["streams"]] == ["1", "2", "3"]
    assert [change["open"] for change in run.row["changes"]] == [(), ("1", "2"), (), ()]
    assert sent_within(run, 1, 2)
    assert run.row["streams"][2]["audio"] == 0


def test_a_call_that_is_not_to_be_asked_goes_on_unasked(tmp_path: Path) -> None:
    run = play(tmp_path, "no_agent_consent", prompt=None)
    assert [what for what, _ in run.posted] == ["calls"]
    assert not run.row["asked"]
    assert run.session.heard == []
    assert run.row["errors"] == []


def test_a_leaky_client_sends_in_spite_of_the_closed_answer(tmp_path: Path) -> None:
    run = play(tmp_path, "silent", obedience=Obedience.LEAKS)
    assert len(run.session.heard) > 10
    assert {packet.epoch for packet in run.session.heard} == {0}
    assert all(stream["leaked"] == stream["audio"] > 0 for stream in run.row["streams"])


def test_the_same_goes_over_tcp_for_several_calls(tmp_path: Path) -> None:
    run = play(tmp_path, "silent=1,agreed_by_digit=1", at_start="gated", transport="TCP", calls=4)
    assert (run.summary.calls, run.summary.failed) == (4, 0)
    assert all(session.ended and session.heard for session in run.sessions)
    assert sorted(row["call"] for row in run.rows) == [0, 1, 2, 3]
    assert len({row["sip_session_id"] for row in run.rows}) == 4


def test_progress_tells_every_state_and_no_name_or_number(tmp_path: Path) -> None:
    run = play(tmp_path, "agreed_by_act", open_at_act)
    states = list(dict.fromkeys(line["state"] for line in run.lines))
    assert states == ["announced", "asking", "answering", "connecting", "talking", "ended"]
    assert run.lines[-1]["done"]
    text = json.dumps(run.lines)
    assert str(cast.FIRST_NUMBER) not in text
    assert "Sommer" not in text


def test_a_recorder_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    async def run() -> None:
        nowhere = Options(Recorder("127.0.0.1", 9, "TCP"), calls=1)
        await centre.play(nowhere, progress=lambda line: None, report=lambda row: None)

    with pytest.raises(PeerError, match="no recorder answers at 127.0.0.1:9"):
        asyncio.run(run())


def test_main_maps_what_went_wrong_to_exit_codes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert centre.main(["--help"]) == 0
    assert centre.main(["--wrong"]) == 2
    assert centre.main(["--recorder", "here"]) == 2
    assert centre.main(["--recorder", "127.0.0.1:9", "--transport", "tcp", "--calls", "1"]) == 3
    assert "no recorder answers" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["--calls", "0"],
        ["--rate", "0"],
        ["--mix", "merry"],
        ["--control", "http://127.0.0.1:1"],
    ],
)
def test_options_that_make_no_sense_are_refused(words: list[str]) -> None:
    with pytest.raises(ConfigError):
        centre.parse_options(["--recorder", "127.0.0.1:15060", *words])


def test_options_are_taken_as_they_stand() -> None:
    words = "--recorder 127.0.0.1:15060 --calls 3 --rate 2.5 --mix silent --seed 7 --stamp --leaky "
    words += "--transport tcp --law PCMU --report rows.jsonl"
    options, report = centre.parse_options(words.split())
    assert options.recorder == Recorder("127.0.0.1", 15_060, "TCP")
    assert (options.calls, options.rate, options.mix, options.seed) == (3, 2.5, "silent", 7)
    assert (options.stamped, options.obedience, options.law) == (True, Obedience.LEAKS, "PCMU")
    assert report == Path("rows.jsonl")
