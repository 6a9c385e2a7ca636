"""`play`: sound files through the door, or one sentence, and nobody's file is touched."""

from __future__ import annotations

import json
import os
import resource
import sys
import wave
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from commands.keeper_stub import CALL, StubDoor
from gateways import heard
from gateways.heard import Party, Said, g711
from gateways.test_opus_file import PACKETS, speaking
from mitschnitt.commands import play as command
from mitschnitt.commands.play import Wish
from mitschnitt.errors import ConfigError, Damaged, MitschnittError, NoSpace, NotAllowed

TOKEN = "token"  # noqa: S105 - the name of a play-back
CALLER, AGENT = Party("caller", g711(50, seed=1)), Party("agent", g711(40, seed=2))


class OpenDoor(StubDoor):
    """A door with one call behind it."""

    def __init__(self, *parties: Party) -> None:
        self.call = heard.Door(parties)
        recording = self.call.recording()
        told = {
            "playback": TOKEN,
            "call": CALL,
            "duration_ns": recording.duration_ns,
            "parties": [
                {
                    "party": voice.party,
                    "role": self.call.parties[voice.party].role,
                    "reason": voice.reason,
                    "codecs": [list(pair) for pair in voice.codecs],
                }
                for voice in recording.voices
            ],
        }
        super().__init__(
            {
                ("POST", f"/calls/{CALL}/playbacks"): told,
                ("BYTES", f"/playbacks/{TOKEN}"): self._bytes,
                ("GET", f"/playbacks/{TOKEN}/completeness"): self.call.counted(),
                ("DELETE", f"/playbacks/{TOKEN}"): {},
            }
        )

    def _bytes(self, sent: Mapping[str, Any]) -> bytes:
        return self.call.ask(sent["start_ns"], sent["stop_ns"], sent["party"], sent["before"])


@pytest.fixture(name="door")
def stub_door(monkeypatch: pytest.MonkeyPatch) -> OpenDoor:
    door = OpenDoor(AGENT, CALLER)
    door.behind(monkeypatch, command)
    return door


def wish(out: Path, **more: Any) -> Wish:
    return replace(Wish(out, "training", "coach"), **more)


def run(wanted: Wish | Path, *, call: str = CALL, as_json: bool = False) -> None:
    command.run(call, Path(), wanted if isinstance(wanted, Wish) else wish(wanted), as_json=as_json)


def test_each_party_is_on_its_channel_and_the_play_back_is_opened_once_and_ended(
    door: OpenDoor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "call.wav"
    run(out)
    first, *statement = capsys.readouterr().out.splitlines()
    assert first == f"{out}: 1.0 s at 8000 Hz, channels caller, agent"
    assert [line.partition(":")[0] for line in statement] == ["caller", "agent"]
    with wave.open(str(out)) as file:
        assert (file.getnchannels(), file.getnframes()) == (2, 8_000)
    assert door.asked[0] == ("POST", f"/calls/{CALL}/playbacks", {"purpose": "training", "role": "coach"})
    assert [method for method, _, _ in door.asked] == ["POST", "GET", "BYTES", "DELETE"]


def test_json_says_the_same_and_carries_the_statement(
    door: OpenDoor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "call.flac"
    run(out, as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert told.pop("completeness").keys() == {"caller", "agent"}
    files = [{"out": str(out), "channels": ["caller", "agent"]}]
    assert told == {"call": CALL, "files": files, "seconds": 1.0, "rate": 8_000}
    assert door.asked


@pytest.mark.parametrize("name, extension", [("wav", "wav"), ("flac", "flac"), ("opus", "opus"), ("opus", "ogg")])
def test_the_format_is_that_of_the_name_or_is_named(door: OpenDoor, tmp_path: Path, name: str, extension: str) -> None:
    run(tmp_path / f"call.{extension}")
    run(wish(tmp_path / "call.sound", format=name))
    one, other = (soundfile.info(tmp_path / file).format for file in (f"call.{extension}", "call.sound"))
    assert one == other == {"wav": "WAV", "flac": "FLAC", "opus": "OGG"}[name]


def test_one_side_and_part_of_it_is_the_slice_of_the_whole(door: OpenDoor, tmp_path: Path) -> None:
    run(tmp_path / "whole.wav")
    run(wish(tmp_path / "part.flac", side="agent", begin="0.1", end="0:00.7"))
    whole, _ = soundfile.read(tmp_path / "whole.wav", dtype="int16")
    part, _ = soundfile.read(tmp_path / "part.flac", dtype="int16")
    assert np.array_equal(part, whole[800:5_600, 1])


def test_a_rate_that_is_asked_for_is_written(door: OpenDoor, tmp_path: Path) -> None:
    run(wish(tmp_path / "call.wav", rate=16_000))
    assert (soundfile.info(tmp_path / "call.wav").samplerate, soundfile.info(tmp_path / "call.wav").frames) == (
        16_000,
        16_000,
    )


def test_peaks_and_statement_are_written_beside_it_where_they_are_asked_for(door: OpenDoor, tmp_path: Path) -> None:
    run(wish(tmp_path / "a.wav", begin="0.5", peaks=tmp_path / "peaks.json", statement=tmp_path / "complete.json"))
    peaks = json.loads((tmp_path / "peaks.json").read_text())
    assert (peaks["call"], peaks["from"], peaks["channels"]) == (CALL, 0.5, ["caller", "agent"])
    samples, _ = soundfile.read(tmp_path / "a.wav", dtype="int16")
    assert peaks["max"][0] == [int(step.max()) for step in samples[:, 0].reshape(-1, 400)]
    stated = json.loads((tmp_path / "complete.json").read_text())
    assert (stated["call"], stated["parties"].keys()) == (CALL, {"caller", "agent"})
    assert len(list(tmp_path.iterdir())) == 3
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in tmp_path.iterdir())


def test_opus_goes_out_as_received_one_file_for_each_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    OpenDoor(Party("caller", speaking(), ("OPUS",)), AGENT).behind(monkeypatch, command)
    run(wish(tmp_path / "call.opus", peaks=tmp_path / "peaks.json"))
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["call-agent.opus", "call-caller.opus", "peaks.json"]
    assert all(packet in (tmp_path / "call-caller.opus").read_bytes() for packet in PACKETS)
    assert soundfile.info(tmp_path / "call-agent.opus").channels == 1
    lengths = {soundfile.info(tmp_path / f"call-{side}.opus").duration for side in ("agent", "caller")}
    assert lengths == {0.02 * len(PACKETS)}
    assert json.loads((tmp_path / "peaks.json").read_text())["channels"] == ["caller", "agent"]
    run(wish(tmp_path / "one.opus", side="caller"))
    assert (tmp_path / "one.opus").exists()
    assert "not decoded" not in capsys.readouterr().out


def test_a_file_of_one_side_that_exists_is_not_overwritten_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    OpenDoor(Party("caller", speaking(), ("OPUS",)), AGENT).behind(monkeypatch, command)
    (tmp_path / "call-agent.opus").write_text("mine")
    with pytest.raises(ConfigError, match="call-agent.opus exists"):
        run(tmp_path / "call.opus")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]


def test_packets_that_are_not_decoded_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = [Said(20 * n, 20, b"?" * 20) for n in range(50)]
    OpenDoor(CALLER, Party("agent", said, ("X-CELP",))).behind(monkeypatch, command)
    run(tmp_path / "call.wav")
    told = capsys.readouterr().out
    assert "50 not decoded" in told
    assert "not decoded: X-CELP; silence here, and kept as it came" in told


def test_a_file_that_exists_is_never_overwritten(door: OpenDoor, tmp_path: Path) -> None:
    there = tmp_path / "there.wav"
    there.write_text("mine")
    (tmp_path / "dangling.wav").symlink_to(tmp_path / "nowhere")
    (tmp_path / "folder.wav").mkdir()
    for out in (there, tmp_path / "dangling.wav", tmp_path / "folder.wav"):
        with pytest.raises(ConfigError, match="exists; play never overwrites"):
            run(out)
    for more in ({"peaks": there}, {"statement": there}):
        with pytest.raises(ConfigError, match="there.wav exists"):
            run(wish(tmp_path / "new.wav", **more))
    assert there.read_text() == "mine"
    assert door.asked == []


def test_where_no_file_can_come_to_lie_nothing_is_opened_and_nothing_logged(
    door: OpenDoor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="is no directory; expected one for call.wav"):
        run(tmp_path / "nowhere" / "call.wav")
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere
    with pytest.raises(ConfigError, match="cannot be written to by this user"):
        run(tmp_path / "call.wav")
    assert door.asked == []


@pytest.mark.parametrize(
    "name, more, sentence",
    [
        ("call.wav", {"role": "boss"}, "found 'boss'"),
        ("call.wav", {"purpose": ""}, "expected 1 to 64 characters, found 0"),
        ("call.wav", {"purpose": "p" * 65}, "found 65"),
        ("call.mp3", {}, "out: expected a name that ends in .wav, .flac, .opus, .ogg, or --format; found call.mp3"),
        ("call.wav", {"format": "flac"}, "format: flac is wanted, and call.wav says wav"),
        ("call.wav", {"format": "mp3"}, "format: expected one of wav, flac, opus; found 'mp3'"),
        ("call.wav", {"rate": 44_100}, "rate: expected one of 8000, 16000, 48000; found 44100"),
        ("call.wav", {"begin": "soon"}, "from: expected seconds"),
        ("call.wav", {"begin": "2", "end": "0:01"}, "to: expected a time after 2, found 0:01"),
        ("call.wav", {"begin": "2", "end": "2.0"}, "to: expected a time after 2, found 2.0"),
        ("call.wav", {"peaks": "call.wav"}, "must be different files"),
    ],
)
def test_what_is_wrong_whatever_the_call_is_is_said_before_it_is_opened(
    door: OpenDoor, tmp_path: Path, name: str, more: dict[str, Any], sentence: str
) -> None:
    more = {key: tmp_path / value if key == "peaks" else value for key, value in more.items()}
    with pytest.raises(ConfigError, match=sentence):
        run(wish(tmp_path / name, **more))
    assert door.asked == []


def test_a_wrong_call_is_said_before_the_keeper_is_asked(door: OpenDoor, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="call: a call id has 26 characters"):
        run(tmp_path / "call.wav", call="nonsense")
    assert door.asked == []


@pytest.mark.parametrize(
    "more, sentence",
    [
        ({"side": "third-1"}, "side: expected one of caller, agent; found 'third-1'"),
        ({"begin": "1"}, "from: the recording lasts 1.000 s; found 1.000 s"),
        ({"end": "1:00"}, "to: the recording lasts 1.000 s; found 60.000 s"),
    ],
)
def test_what_this_call_does_not_have_is_said_and_leaves_no_file(
    door: OpenDoor, tmp_path: Path, more: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        run(wish(tmp_path / "call.wav", **more))
    assert list(tmp_path.iterdir()) == []
    assert door.asked[-1][0] == "DELETE"


def test_nine_parties_do_not_fit_a_flac_and_a_side_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    OpenDoor(*(Party("third", g711(2)) for _ in range(9))).behind(monkeypatch, command)
    with pytest.raises(ConfigError, match="9 parties; flac takes at most 8: name one with --side"):
        run(tmp_path / "call.flac")
    run(tmp_path / "call.wav")
    assert soundfile.info(tmp_path / "call.wav").channels == 9
    run(wish(tmp_path / "one.flac", side="third-9"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["call.wav", "one.flac"]


@pytest.mark.parametrize("rule", ["access.not_kept", "access.role.purpose", "call.unknown"])
def test_a_call_that_may_not_be_heard_is_refused_by_the_keepers_rule(door: OpenDoor, tmp_path: Path, rule: str) -> None:
    door.answers[("POST", f"/calls/{CALL}/playbacks")] = NotAllowed(rule, "this recording is not played")
    with pytest.raises(NotAllowed) as refusal:
        run(tmp_path / "call.wav")
    assert refusal.value.rule == rule
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("extension", ["wav", "flac", "opus"])
@pytest.mark.parametrize(
    "error",
    [
        Damaged("media of party 0 (agent): chunk 3 fails its tag"),
        NotAllowed("access.key_gone"),
        NotAllowed("playback.over"),
    ],
)
def test_damage_or_an_erasure_half_way_leaves_no_file(
    door: OpenDoor, tmp_path: Path, extension: str, error: MitschnittError
) -> None:
    door.call.error = error
    with pytest.raises(type(error)):
        run(wish(tmp_path / f"call.{extension}", peaks=tmp_path / "peaks", statement=tmp_path / "statement"))
    assert list(tmp_path.iterdir()) == []
    assert door.asked[-1][0] == "DELETE"


@pytest.fixture(name="small_disk")
def limit_files() -> Iterator[None]:
    """Writes beyond 4 KiB fail, as they do on a full disk (setrlimit(2): EFBIG, with SIGXFSZ ignored by Python)."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("extension", ["wav", "flac", "opus"])
def test_a_disk_that_takes_no_more_is_said_and_leaves_no_file(
    door: OpenDoor, tmp_path: Path, small_disk: None, extension: str
) -> None:
    with pytest.raises(NoSpace, match=rf"call\.{extension} cannot be written"):
        run(tmp_path / f"call.{extension}")
    assert list(tmp_path.iterdir()) == []
    assert door.asked


def test_what_takes_long_shows_a_bar_on_a_terminal_and_nowhere_else(
    door: OpenDoor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "LONG_SECONDS", 0.5)
    run(tmp_path / "quiet.wav")
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    run(tmp_path / "call.wav")
    assert "100%" in capsys.readouterr().err


def test_an_ending_that_cannot_be_told_does_not_hide_what_was_played(door: OpenDoor, tmp_path: Path) -> None:
    door.answers[("DELETE", f"/playbacks/{TOKEN}")] = NotAllowed("playback.over")
    run(tmp_path / "call.wav")
    assert (tmp_path / "call.wav").exists()
