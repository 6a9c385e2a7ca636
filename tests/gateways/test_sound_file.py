"""Samples into WAV, FLAC and Ogg-Opus: whole, in blocks, and what does not fit is said before it is written."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mitschnitt.errors import ConfigError, NoSpace
from mitschnitt.gateways import sound_file as module
from mitschnitt.gateways.new_file import NewFile
from mitschnitt.gateways.sound_file import FORMATS, Samples, sound_file


def noise(samples: int, channels: int) -> Samples:
    return np.random.default_rng(channels).integers(-20_000, 20_000, (samples, channels)).astype(np.int16)


def written(path: Path, name: str, samples: Samples, *, rate: int = 8_000, blocks: int = 3) -> Path:
    with NewFile(path) as file:
        with sound_file(file, FORMATS[name], channels=samples.shape[1], rate=rate, samples=len(samples)) as out:
            for block in np.array_split(samples, blocks):
                out.write(block)
        file.commit()
    return path


@pytest.mark.parametrize("channels", [1, 2, 3, 8])
@pytest.mark.parametrize("name", ["wav", "flac"])
def test_lossless_formats_give_back_every_sample_on_its_channel(tmp_path: Path, name: str, channels: int) -> None:
    samples = noise(10_001, channels)
    found, rate = soundfile.read(written(tmp_path / "a", name, samples), dtype="int16", always_2d=True)
    assert rate == 8_000
    assert np.array_equal(found, samples)


def test_twelve_parties_fit_a_wav(tmp_path: Path) -> None:
    samples = noise(100, 12)
    found, _ = soundfile.read(written(tmp_path / "a", "wav", samples), dtype="int16")
    assert np.array_equal(found, samples)


def test_a_wav_is_plain_enough_for_every_reader(tmp_path: Path) -> None:
    with wave.open(str(written(tmp_path / "a.wav", "wav", noise(800, 2)))) as file:
        assert (file.getnchannels(), file.getframerate(), file.getsampwidth(), file.getnframes()) == (2, 8_000, 2, 800)


@pytest.mark.parametrize("rate", [8_000, 16_000, 48_000])
def test_opus_lasts_as_long_as_what_was_put_in(tmp_path: Path, rate: int) -> None:
    info = soundfile.info(written(tmp_path / "a.opus", "opus", noise(rate + 77, 2), rate=rate))
    assert (info.channels, info.subtype) == (2, "OPUS")
    assert info.frames * rate / info.samplerate == pytest.approx(rate + 77, abs=1)


@pytest.mark.parametrize(
    "name, channels, rate, sentence",
    [
        ("flac", 9, 8_000, "9 parties; flac takes at most 8: name one with --side"),
        ("wav", 13, 8_000, "13 parties; wav takes at most 12"),
        ("opus", 3, 8_000, "3 parties; opus takes at most 2"),
        ("opus", 1, 44_100, "rate: opus takes 8000, 12000, 16000, 24000, 48000; found 44100"),
    ],
)
def test_what_a_format_does_not_hold_is_refused(
    tmp_path: Path, name: str, channels: int, rate: int, sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        written(tmp_path / "a", name, noise(10, channels), rate=rate)
    assert list(tmp_path.iterdir()) == []


def test_a_wav_above_4_gib_is_refused_and_flac_is_named(tmp_path: Path) -> None:
    wav = FORMATS["wav"]
    with (
        NewFile(tmp_path / "a.wav") as file,
        pytest.raises(ConfigError, match="exceed the 4 GiB of a WAV; FLAC takes them"),
        sound_file(file, wav, channels=2, rate=48_000, samples=module.MAX_WAV_BYTES // 4 + 1),
    ):
        pass


@pytest.mark.parametrize("name", list(FORMATS))
def test_a_disk_that_takes_no_more_is_said_in_every_format(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: NewFile, data: bytes) -> int:
        file._failure = OSError(28, "No space left on device")
        return len(data)

    monkeypatch.setattr(NewFile, "write", full)
    with pytest.raises(NoSpace, match="No space left on device"):
        written(tmp_path / "a", name, noise(48_000, 2))
    assert list(tmp_path.iterdir()) == []
