"""`demo`: its board, what it expects, and that anything that is not as it must be makes exit code 4. No process."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import wave
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from commands.keeper_stub import CALL, OTHER, StubDoor
from mitschnitt.commands import demo
from mitschnitt.commands.demo import EXPECTED, Board, Places
from mitschnitt.commands.demo_site import DemoSite
from mitschnitt.commands.play import Played, Wish
from mitschnitt.errors import ConfigError, Damaged, MitschnittError, NotAllowed, PeerError
from mitschnitt.gateways.scenarios import PLANS, Scenario

WRITTEN = Played([(Path("call.wav"), ("caller", "agent"))], 2.0, 8_000)


def line(number: int, call: str, scenario: Scenario, **more: object) -> dict[str, object]:
    return {"call": number, "control": call, "scenario": scenario.value, "state": "ended", **more}


def write_wav(path: Path, levels: list[int], frames: int = 800) -> None:
    with wave.open(str(path), "wb") as file:
        file.setparams((len(levels), 2, 8000, 0, "NONE", ""))
        file.writeframes(np.tile(np.array(levels, "<i2"), frames).tobytes())


@dataclass
class Stage:
    """A demo whose site, centre and door are stand-ins; each test spoils one thing."""

    root: Path
    door: StubDoor
    lines: list[Mapping[str, object]]
    states: dict[str, str]
    levels: list[int] = field(default_factory=lambda: [3000, 3000])
    again: MitschnittError | None = field(default_factory=lambda: NotAllowed("access.not_kept"))
    decision: MitschnittError | None = None
    serve_code: int = 0
    ports: tuple[int, int] = (0, 0)

    def run(self, *, calls: int = 2, scene: str = "calls") -> int:
        return demo.run(scene=scene, calls=calls, keep=self.root)

    def prepare(self, directory: Path, *, sip_port: int, control_port: int) -> DemoSite:
        self.ports = (sip_port, control_port)
        return DemoSite(directory, directory / "officer.pem", sip_port, control_port)

    @contextlib.contextmanager
    def serving(self, _site: DemoSite, log: Path) -> Iterator[str]:
        log.write_text("the end of the log of serve\n")
        yield "process"

    def play(self, _door: object, _call: str, wish: Wish) -> Played:
        assert (wish.purpose, wish.role) == ("training", "coach")
        if wish.out.name.endswith(".again.wav") and self.again is not None:
            raise self.again
        write_wav(wish.out, self.levels)
        return WRITTEN

    def decide(self, _door: object, call: str, _key: bytes) -> dict[str, Any]:
        if self.decision is not None:
            raise self.decision
        return {"rule": "consent.all" if call == CALL else "consent.caller.silent"}


@pytest.fixture(name="stage")
def set_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    door = StubDoor()
    lines: list[Mapping[str, object]] = [
        line(0, CALL, Scenario.AGREED_BY_ACT, done=True, errors=[]),
        line(1, OTHER, Scenario.SILENT, done=True, errors=[]),
        {"summary": {}},
        {"ended": 0},
    ]
    stage = Stage(tmp_path / "kept", door, lines, {CALL: "kept", OTHER: "not_kept"})
    door.answers[("GET", "/calls")] = lambda _: {"calls": [{"call": c, "state": s} for c, s in stage.states.items()]}
    door.answers[("POST", f"/calls/{CALL}/erase")] = {"state": "not_kept"}
    door.behind(monkeypatch, demo)
    for name in ("prepare", "serving", "play", "decide"):
        monkeypatch.setattr(demo, name, getattr(stage, name))
    monkeypatch.setattr(demo, "load_key", lambda _: b"k" * 32)
    monkeypatch.setattr(demo, "centre_lines", lambda _site, _calls: iter(stage.lines))
    monkeypatch.setattr(demo, "stopped", lambda _process: stage.serve_code)
    monkeypatch.setattr(demo, "CLOSE_SECONDS", 0.0)
    return stage


# -- what is expected, and the board ---------------------------------------------------------------


def test_there_is_an_expectation_for_every_scenario_and_for_nothing_else() -> None:
    assert set(EXPECTED) == set(Scenario) == set(PLANS)
    assert set(EXPECTED.values()) == {"kept", "not_kept"}


def test_only_whoever_agreed_is_expected_to_be_kept() -> None:
    kept = {scenario for scenario, outcome in EXPECTED.items() if outcome == "kept"}
    assert kept == {"agreed_by_act", "agreed_by_digit", "third_joined", "paused"}
    assert demo.PLAYED in kept
    assert all(PLANS[Scenario(scenario)].agent_agrees for scenario in kept)


def test_the_board_has_a_row_a_call_and_forgets_no_id() -> None:
    board = Board()
    board.take({"summary": {"calls": 1}})
    assert board.rows == {}
    board.take({"call": 3, "scenario": "silent", "state": "arrived"})
    assert board.rows[3].call == ""
    board.take({"call": 3, "scenario": "silent", "state": "talking", "control": CALL, "open_labels": ["1"]})
    assert (board.rows[3].progress, board.rows[3].call) == ("talking ●", CALL)
    board.take({"call": 3, "scenario": "silent", "state": "ended", "open_labels": []})
    assert (board.rows[3].progress, board.rows[3].call) == ("ended", CALL)


def test_the_table_shows_all_rows_or_the_newest_in_order() -> None:
    board = Board()
    for number in (2, 0, 1):
        board.take({"call": number, "scenario": "refused_by_act", "state": "asking"})
    board.rows[1].outcome, board.rows[1].rule = "not_kept", "consent.caller.refused"
    console = Console(width=120)
    with console.capture() as shown:
        console.print(board.table(None))
    rows = [row.split() for row in shown.get().splitlines()[1:]]
    assert [row[0] for row in rows] == ["1", "2", "3"]
    assert rows[1][1:] == ["refused", "by", "act", "asking", "not_kept", "consent.caller.refused"]
    assert board.table(2).row_count == 2


# -- a run -----------------------------------------------------------------------------------------


def test_when_everything_is_as_it_must_be_it_is_done_and_the_wav_stays(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    assert stage.run() == 0
    told = capsys.readouterr().out
    assert "2 calls: 1 kept, 1 not kept\n" in told
    assert "played again: refused, access.not_kept\n" in told
    assert "done: what was agreed was sealed" in told
    places = Places(stage.root)
    assert f"{places.wav} (2.0 s; caller -21 dB, agent -21 dB)\n" in told  # on one line, however narrow the terminal
    assert f"kept: {stage.root}" in told
    assert sorted(path.name for path in stage.root.parent.iterdir()) == ["kept.log", "kept.wav"]
    assert ("POST", f"/calls/{CALL}/erase", {"role": "officer"}) in stage.door.asked


def test_without_keep_nothing_stays_and_that_is_said(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    assert demo.run(scene="calls", calls=2, keep=None) == 0
    told = capsys.readouterr().out
    assert "nothing of this stays; --keep DIR keeps data, WAV and log" in told
    directory = Path(told.partition("serving ")[2].partition(":")[0])
    assert not directory.parent.exists()


@dataclass(frozen=True)
class Spoiled:
    """What is changed of a good stage, and what must be said about it."""

    said: str
    change: Mapping[str, object]


SPOILED = {
    "a silent call was kept": Spoiled(
        "call 2 (silent) is kept, not not_kept", {"states": {CALL: "kept", OTHER: "kept"}}
    ),
    "an agreed call was not kept": Spoiled(
        "call 1 (agreed_by_act) is not_kept, not kept", {"states": {CALL: "not_kept", OTHER: "not_kept"}}
    ),
    "nothing to play": Spoiled("so none can be played", {"states": {CALL: "not_kept", OTHER: "not_kept"}}),
    "a call never closed": Spoiled("call 2 (silent) is live", {"states": {CALL: "kept", OTHER: "live"}}),
    "a call is not known": Spoiled("call 2 (silent) is unknown", {"states": {CALL: "kept"}}),
    "one voice is missing": Spoiled("a voice is missing", {"levels": [3000, 0]}),
    "one channel only": Spoiled("a voice is missing", {"levels": [3000]}),
    "destroyed and playable": Spoiled("a destroyed call could be played", {"again": None}),
    "no rule for the officer": Spoiled("call 1: the officer learns no rule: no", {"decision": Damaged("no")}),
    "serve failed": Spoiled("serve ended with -9, expected 0; its log ends with:", {"serve_code": -9}),
}


@pytest.mark.parametrize("spoiled", SPOILED.values(), ids=SPOILED)
def test_what_is_not_as_it_must_be_is_said_and_makes_exit_code_4(
    spoiled: Spoiled, stage: Stage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in spoiled.change.items():
        setattr(stage, name, value)
    if stage.levels == [3000]:
        monkeypatch.setattr(sys.modules[__name__], "WRITTEN", Played([(Path("call.wav"), ("caller",))], 2.0, 8_000))
    assert stage.run() == 4
    told = capsys.readouterr().out
    assert spoiled.said in told
    assert "not as it must be: " in told
    assert "done: what was agreed" not in told


@pytest.mark.parametrize(
    "place, instead, said",
    [
        (1, line(1, OTHER, Scenario.SILENT, done=True, errors=["no answer"]), "call 2: no answer"),
        (3, {"ended": 3}, "the simulated centre ended with 3"),
        (1, {"summary": {}}, "1 calls came about, not 2"),
    ],
)
def test_errors_of_the_centre_make_exit_code_4(
    place: int, instead: dict[str, object], said: str, stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    stage.lines[place] = instead
    assert stage.run() == 4
    assert f"not as it must be: {said}\n" in capsys.readouterr().out


def test_another_scene_is_wrong_usage(stage: Stage) -> None:
    with pytest.raises(ConfigError, match="there are the scenes calls and week, found 'coaching'"):
        stage.run(scene="coaching")


@pytest.mark.parametrize("name", ["kept", "kept.log", "kept.wav", "kept.again.wav"])
def test_a_file_of_somebody_is_not_touched(name: str, stage: Stage) -> None:
    mine = stage.root.with_name(name)
    mine.write_text("mine")
    with pytest.raises(ConfigError, match=f"demo: .*{name} exists; --keep wants a new directory"):
        stage.run()
    assert mine.read_text() == "mine"
    assert [path.name for path in stage.root.parent.iterdir()] == [name]


# -- ports -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_ports_that_are_in_use_are_replaced_and_both_are_named(
    kind: socket.SocketKind, stage: Stage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket(socket.AF_INET, kind) as holder:
        holder.bind((demo.HOST, 0))
        if kind is socket.SOCK_STREAM:
            holder.listen()
        taken = holder.getsockname()[1]
        monkeypatch.setattr(demo, "SIP_PORT", taken)
        assert stage.run() == 0
    sip, control = stage.ports
    assert taken not in (sip, control)
    said = f"SIP port {taken} on 127.0.0.1 is in use by another program; this demo takes {sip}\n"
    told = capsys.readouterr().out
    assert said in told
    assert f"SIP 127.0.0.1:{sip} (unencrypted, loopback)" in told


def test_ports_that_are_free_are_taken_and_not_talked_about(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[int] = []

    def free(_host: str, wanted: int) -> int:
        asked.append(wanted)
        return wanted

    monkeypatch.setattr(demo, "free_port", free)
    assert stage.run() == 0
    assert asked == [15_060, 18_471] == list(stage.ports)
    assert "in use" not in capsys.readouterr().out


# -- serve, as a process that a test makes ---------------------------------------------------------


def sleeper(code: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    process.stdout.close()
    return process


def test_serve_is_ended_by_sigterm_and_by_force_when_it_will_not(monkeypatch: pytest.MonkeyPatch) -> None:
    wait = "import signal; print('up', flush=True); signal.pause()"
    assert demo.stopped(sleeper(wait)) == -signal.SIGTERM
    monkeypatch.setattr(demo, "STOP_SECONDS", 0.05)
    deaf = f"import signal; signal.signal({int(signal.SIGTERM)}, signal.SIG_IGN); print('up', flush=True)"
    assert demo.stopped(sleeper(f"{deaf}\nwhile True: signal.pause()")) == -signal.SIGKILL


def test_a_serve_that_does_not_start_is_told_with_the_end_of_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = DemoSite(tmp_path / "nothing", tmp_path / "officer.pem", 15_060, 18_471)
    log = tmp_path / "log"
    said = "serve is not ready; its log ends with:\n.*cannot read"
    with pytest.raises(PeerError, match=said), demo.serving(site, log):
        raise AssertionError("nothing serves here")
    assert log.exists()


def test_sigterm_ends_the_demo_like_ctrl_c_with_all_that_it_started() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as ended, demo._ended_like_by_hand():
        signal.raise_signal(signal.SIGTERM)
    assert ended.value.code == 128 + signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is before


# -- levels ----------------------------------------------------------------------------------------


def test_levels_are_of_full_scale_by_channel(tmp_path: Path) -> None:
    write_wav(tmp_path / "call.wav", [-32_768, 3277, 0])
    loud, tenth, silent = demo.channel_levels(tmp_path / "call.wav")
    assert loud == 0.0
    assert tenth == pytest.approx(-20.0, abs=0.01)
    assert silent == float("-inf")


def test_a_file_without_samples_is_silent_on_each_channel(tmp_path: Path) -> None:
    write_wav(tmp_path / "empty.wav", [0, 0], frames=0)
    assert demo.channel_levels(tmp_path / "empty.wav") == [float("-inf")] * 2
