"""`play`: one WAV through the door, or one sentence, and nobody's file is touched."""

from __future__ import annotations

import json
import os
import resource
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from commands.keeper_stub import CALL, StubDoor
from gateways.test_wav import artefact
from mitschnitt.commands import play as command
from mitschnitt.errors import ConfigError, Damaged, NoSpace, NotAllowed

READ = f"/calls/{CALL}/read"
PACKETS = 50  # one second
MEDIA = {0: bytes([1]) * 160 * PACKETS, 1: bytes([2]) * 160 * PACKETS}


def answer(sent: dict[str, Any]) -> bytes:
    if sent["artefact"] == "timeline":
        return artefact(sent["party"], packets=PACKETS)
    return MEDIA[sent["party"]][sent["start"] : sent["stop"]]


@pytest.fixture(name="door")
def stub_door(monkeypatch: pytest.MonkeyPatch) -> StubDoor:
    parties = [{"party": 0, "role": "agent"}, {"party": 1, "role": "caller"}]
    door = StubDoor({("GET", f"/calls/{CALL}"): {"call": CALL, "parties": parties}, ("READ", READ): answer})
    door.behind(monkeypatch, command)
    return door


def run(out: Path, *, call: str = CALL, purpose: str = "training", role: str = "coach", as_json: bool = False) -> None:
    command.run(call, Path(), out=out, purpose=purpose, role=role, as_json=as_json)


def test_each_party_is_on_its_channel_and_every_read_names_purpose_and_role(
    door: StubDoor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "call.wav"
    run(out)
    assert capsys.readouterr().out == f"{out}: 1.0 s, channels caller, agent\n"
    with wave.open(str(out)) as file:
        assert (file.getnchannels(), file.getnframes()) == (2, 8000)
    reads = [sent for method, _, sent in door.asked if method == "READ"]
    assert {(sent["purpose"], sent["role"]) for sent in reads} == {("training", "coach")}
    assert {(sent["party"], sent["artefact"]) for sent in reads} == {
        (party, kind) for party in (0, 1) for kind in ("timeline", "media")
    }


def test_json_says_the_same(door: StubDoor, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "call.wav"
    run(out, as_json=True)
    told = json.loads(capsys.readouterr().out)
    expected = {"call": CALL, "out": str(out), "channels": ["caller", "agent"], "seconds": 1.0, "undecoded_packets": 0}
    assert told == expected
    assert door.asked


def test_packets_that_are_not_decoded_are_told(
    door: StubDoor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    door.answers[("READ", READ)] = lambda sent: (
        artefact(sent["party"], codecs="G729" if sent["party"] else "PCMA")
        if sent["artefact"] == "timeline"
        else answer(sent)
    )
    run(tmp_path / "call.wav")
    assert "50 packets are of a codec that is not decoded" in capsys.readouterr().out


def test_a_file_that_exists_is_never_overwritten(door: StubDoor, tmp_path: Path) -> None:
    there = tmp_path / "there.wav"
    there.write_text("mine")
    (tmp_path / "dangling.wav").symlink_to(tmp_path / "nowhere")
    for out in (there, tmp_path / "dangling.wav", tmp_path):
        with pytest.raises(ConfigError, match="exists; play never overwrites"):
            run(out)
    assert there.read_text() == "mine"
    assert door.asked == []


def test_where_no_file_can_come_to_lie_nothing_is_read_and_nothing_logged(
    door: StubDoor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="is no directory; expected one for call.wav"):
        run(tmp_path / "nowhere" / "call.wav")
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere
    with pytest.raises(ConfigError, match="cannot be written to by this user"):
        run(tmp_path / "call.wav")
    assert door.asked == []


def test_wrong_call_role_or_purpose_are_said_before_the_keeper_is_asked(door: StubDoor, tmp_path: Path) -> None:
    out = tmp_path / "call.wav"
    with pytest.raises(ConfigError, match="call: a call id has 26 characters"):
        run(out, call="nonsense")
    with pytest.raises(ConfigError, match="found 'boss'"):
        run(out, role="boss")
    for purpose in ("", "p" * 65):
        with pytest.raises(ConfigError, match=f"expected 1 to 64 characters, found {len(purpose)}"):
            run(out, purpose=purpose)
    assert door.asked == []


def test_a_call_that_is_not_kept_is_asked_for_all_the_same_and_the_rule_comes_back(
    door: StubDoor, tmp_path: Path
) -> None:
    door.answers[("GET", f"/calls/{CALL}")] = {"call": CALL, "state": "not_kept"}
    door.answers[("READ", READ)] = NotAllowed("access.not_kept", "this recording is not played")
    with pytest.raises(NotAllowed) as refusal:
        run(tmp_path / "call.wav")
    assert refusal.value.rule == "access.not_kept"
    assert list(tmp_path.iterdir()) == []


def test_damage_half_way_leaves_no_file(door: StubDoor, tmp_path: Path) -> None:
    door.answers[("READ", READ)] = lambda sent: (
        answer(sent) if sent["artefact"] == "timeline" else Damaged("a chunk fails its check")
    )
    with pytest.raises(Damaged, match="a chunk fails"):
        run(tmp_path / "call.wav")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(name="small_disk")
def limit_files() -> Iterator[None]:
    """Writes beyond 4 KiB fail, as they do on a full disk (setrlimit(2): EFBIG, with SIGXFSZ ignored by Python)."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_takes_no_more_is_said_and_leaves_no_file(door: StubDoor, tmp_path: Path, small_disk: None) -> None:
    with pytest.raises(NoSpace, match="call.wav cannot be written"):
        run(tmp_path / "call.wav")
    assert list(tmp_path.iterdir()) == []
    assert door.asked
