"""Kept parties become one WAV with a channel each; what cannot be written leaves no file behind."""

from __future__ import annotations

import json
import stat
import wave
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from mitschnitt.errors import ConfigError, Damaged, NoSpace, NotAllowed
from mitschnitt.gateways import wav
from mitschnitt.gateways.wav import Voice
from mitschnitt.wire import g711
from mitschnitt.wire.rtp import RUN

NOON = 1_795_435_200_000_000_000


def artefact(party: str | int, *, late: float = 0.0, packets: int = 50, codecs: str = "PCMA") -> bytes:
    header = {"v": 1, "call": "0" * 26, "party": party, "codecs": {"8": [codecs, 8000]}}
    body = json.dumps(header, separators=(",", ":")).encode()
    arrival = NOON + round((late + packets * 0.02) * 1e9)
    run = np.array([(arrival, 4_294_967_000, 160, 65_530, packets, 160, 8, 1, 7, 0)], RUN)
    return b"MTL1" + len(body).to_bytes(4, "big") + body + run.tobytes()


def voice(party: str, fill: int, *, late: float = 0.0, packets: int = 50) -> Voice:
    media = bytes([fill]) * (160 * packets)
    return wav.voice_from(artefact(party, late=late, packets=packets), lambda start, stop: media[start:stop])


def read(path: Path) -> npt.NDArray[np.int16]:
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getsampwidth()) == (8000, 2)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, file.getnchannels())


def level(fill: int) -> int:
    return int(g711.decode(bytes([fill]), g711.Law.PCMA)[0])


def test_the_caller_is_left_and_the_agent_right_and_both_line_up(tmp_path: Path) -> None:
    path = tmp_path / "call.wav"
    written = wav.write_wav(path, [voice("agent", 2, late=0.5), voice("caller", 1)])
    samples = read(path)
    assert written.channels == ("caller", "agent")
    assert written.seconds == 1.5
    assert samples.shape == (12_000, 2)
    assert (samples[:8000, 0] == level(1)).all()
    assert not samples[8000:, 0].any()
    assert not samples[:4000, 1].any()
    assert (samples[4000:, 1] == level(2)).all()


def test_a_third_party_has_a_channel_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "call.wav"
    written = wav.write_wav(path, [voice("third-1", 3), voice("caller", 1), voice("agent", 2)])
    assert written.channels == ("caller", "agent", "third-1")
    assert read(path)[0].tolist() == [level(1), level(2), level(3)]


@pytest.mark.parametrize(
    "number, role, name",
    [
        (0, "", "caller"),
        (1, "", "agent"),
        (2, "", "third-1"),
        (0, "agent", "agent"),
        (1, "caller", "caller"),
        (3, "third", "third-2"),
    ],
)
def test_a_channel_is_named_by_role_or_by_order_of_appearance(number: int, role: str, name: str) -> None:
    assert wav.voice_from(artefact(number), lambda start, stop: b"", role=role).party == name


def test_an_erased_party_is_left_out_and_one_voice_is_mono(tmp_path: Path) -> None:
    empty = wav.voice_from(artefact("agent", packets=0), lambda start, stop: b"")
    written = wav.write_wav(tmp_path / "call.wav", [voice("caller", 1), empty])
    assert written.channels == ("caller",)
    assert read(tmp_path / "call.wav").shape == (8000, 1)


def test_a_long_call_is_asked_for_in_blocks(tmp_path: Path) -> None:
    asked: list[int] = []
    done: list[float] = []

    def fetch(start: int, stop: int) -> bytes:
        asked.append(stop - start)
        return bytes(stop - start)

    long = wav.voice_from(artefact("caller", packets=6000), fetch)
    wav.write_wav(tmp_path / "call.wav", [long], progress=done.append)
    assert len(asked) == 4
    assert max(asked) <= wav.BLOCK_SAMPLES + 160
    assert done == [0.25, 0.5, 0.75, 1.0]


def test_only_the_owner_may_read_the_file(tmp_path: Path) -> None:
    wav.write_wav(tmp_path / "call.wav", [voice("caller", 1)])
    assert stat.S_IMODE((tmp_path / "call.wav").stat().st_mode) == 0o600


def test_a_call_without_audio_is_refused_with_its_rule(tmp_path: Path) -> None:
    with pytest.raises(NotAllowed, match="no party of this call has audio") as refused:
        wav.write_wav(tmp_path / "call.wav", [])
    assert refused.value.rule == "play.nothing_kept"
    assert not (tmp_path / "call.wav").exists()


def test_an_existing_file_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "call.wav").write_bytes(b"mine")
    with pytest.raises(ConfigError, match="exists; play-back writes new files only"):
        wav.write_wav(tmp_path / "call.wav", [voice("caller", 1)])
    assert (tmp_path / "call.wav").read_bytes() == b"mine"


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(NoSpace, match="nowhere/call.wav cannot be written"):
        wav.write_wav(tmp_path / "nowhere" / "call.wav", [voice("caller", 1)])


def test_audio_that_fails_to_open_leaves_no_file(tmp_path: Path) -> None:
    def fetch(start: int, stop: int) -> bytes:
        raise Damaged("chunk 3 fails its tag")

    broken = wav.voice_from(artefact("caller"), fetch)
    with pytest.raises(Damaged, match="chunk 3"):
        wav.write_wav(tmp_path / "call.wav", [broken])
    assert list(tmp_path.iterdir()) == []


def test_media_shorter_than_its_timeline_is_damaged(tmp_path: Path) -> None:
    short = wav.voice_from(artefact("caller"), lambda start, stop: bytes(stop - start - 1))
    with pytest.raises(Damaged, match="the timeline names 8000 bytes of media, got 7999"):
        wav.write_wav(tmp_path / "call.wav", [short])
    assert list(tmp_path.iterdir()) == []


def test_too_many_parties_are_refused(tmp_path: Path) -> None:
    many = [voice(f"third-{number}", 1) for number in range(13)]
    with pytest.raises(ConfigError, match="13 parties; one WAV takes at most 12"):
        wav.write_wav(tmp_path / "call.wav", many)


def test_packets_that_cannot_be_decoded_are_reported(tmp_path: Path) -> None:
    strange = wav.voice_from(artefact("agent", codecs="G729"), lambda start, stop: bytes(stop - start))
    written = wav.write_wav(tmp_path / "call.wav", [voice("caller", 1), strange])
    assert written.undecoded_packets == 50


@pytest.mark.parametrize(
    "data, sentence",
    [
        (b"RIFF", "begins with b'MTL1'"),
        (b"MTL1" + bytes([0, 0, 1, 0]), "header of 256 bytes does not fit"),
        (b"MTL1\0\0\0\2{]", "does not parse"),
        (b"MTL1\0\0\0\2{}", "does not parse"),
        (artefact("caller")[:-1], "runs have 32 bytes each"),
    ],
)
def test_a_damaged_timeline_is_refused(data: bytes, sentence: str) -> None:
    with pytest.raises(Damaged, match=sentence):
        wav.voice_from(data, lambda start, stop: b"")
