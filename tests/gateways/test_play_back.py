"""A call into a file: sample by sample what was sealed, in blocks, and nothing is left of what fails."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from gateways.heard import MS, Door, Party, g711, recording
from mitschnitt.errors import Damaged, NotAllowed
from mitschnitt.gateways import play_back
from mitschnitt.gateways.decoders import decoders
from mitschnitt.gateways.new_file import NewFile
from mitschnitt.gateways.peaks import Peaks
from mitschnitt.gateways.play_back import Sound, blocks, peaks_of, play_into
from mitschnitt.gateways.recording import Part, Recording, Samples
from mitschnitt.gateways.sound_file import FORMATS

KNOWN = decoders(("PCMA", "PCMU"))
PARTIES = (Party("caller", g711(120, seed=1)), Party("agent", g711(100, seed=2, at=300), ("PCMU",)))


def sound(heard: Recording, part: Part | None = None, *, side: str = "", rate: int = 8_000) -> Sound:
    return Sound(heard, heard.sides(side), part or heard.part(None, None), rate, KNOWN)


def played(path: Path, wanted: Sound, name: str = "wav") -> Samples:
    with NewFile(path) as file:
        play_into(file, FORMATS[name], wanted)
        file.commit()
    samples, rate = soundfile.read(path, dtype="int16", always_2d=True)
    assert rate == wanted.rate
    found: Samples = samples
    return found


def test_wav_and_flac_are_the_same_samples_and_sides_are_never_swapped(tmp_path: Path) -> None:
    heard = recording(*PARTIES)
    wav, flac = (played(tmp_path / name, sound(heard), name) for name in ("wav", "flac"))
    assert np.array_equal(wav, flac)
    for number, side in enumerate(("caller", "agent")):
        alone = played(tmp_path / side, sound(heard, side=side), "flac")
        assert np.array_equal(alone[:, 0], wav[:, number])
    turned = recording(*reversed(PARTIES))
    assert np.array_equal(played(tmp_path / "turned", sound(turned)), wav)


HEARD = recording(*PARTIES)
WHOLE = np.concatenate(list(blocks(sound(HEARD))))


@settings(deadline=None, max_examples=40)
@given(st.tuples(st.integers(0, 2_399), st.integers(0, 2_399)).map(sorted))
def test_any_part_in_milliseconds_is_the_slice_of_the_whole(ends: list[int]) -> None:
    part = Part(ends[0] * MS, (ends[1] + 1) * MS)
    found = np.concatenate(list(blocks(sound(HEARD, part))))
    assert np.array_equal(found, WHOLE[ends[0] * 8 : (ends[1] + 1) * 8])


def test_an_hour_is_asked_for_in_blocks_and_progress_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    door = Door(PARTIES)
    monkeypatch.setattr(play_back, "BLOCK_NS", 500 * MS)
    told: list[float] = []
    with NewFile(tmp_path / "a.wav") as file:
        play_into(file, FORMATS["wav"], sound(door.recording()), progress=told.append)
        file.commit()
    assert len(door.asked) == 5
    assert max(stop - start for start, stop, _, _ in door.asked) <= 700 * MS
    assert told == [pytest.approx(n / 2.4, abs=1e-9) for n in (0.5, 1.0, 1.5, 2.0, 2.4)]
    samples, _ = soundfile.read(tmp_path / "a.wav", dtype="int16")
    assert np.array_equal(samples, WHOLE)


def test_peaks_come_with_the_file_or_alone(tmp_path: Path) -> None:
    wanted = sound(HEARD)
    peaks = Peaks(wanted.channels, wanted.rate)
    with NewFile(tmp_path / "a.wav") as file:
        play_into(file, FORMATS["wav"], wanted, peaks=peaks)
    found = peaks.finish()
    assert found == peaks_of(wanted).finish()
    assert found["channels"] == ["caller", "agent"]
    assert len(found["min"][0]) == 48
    assert found["max"][1][6] == int(WHOLE[2_400:2_800, 1].max())


@pytest.mark.parametrize("error", [Damaged("chunk 3 fails its tag"), NotAllowed("playback.over")])
@pytest.mark.parametrize("name", list(FORMATS))
def test_what_fails_half_way_leaves_no_file(
    tmp_path: Path, name: str, error: Damaged | NotAllowed, monkeypatch: pytest.MonkeyPatch
) -> None:
    door = Door(PARTIES)
    heard = door.recording()
    monkeypatch.setattr(play_back, "BLOCK_NS", 500 * MS)

    def fail(done: float) -> None:
        door.error = error

    def write() -> None:
        with NewFile(tmp_path / "a") as file:
            play_into(file, FORMATS[name], sound(heard), progress=fail)
            file.commit()

    with pytest.raises(type(error)):
        write()
    assert len(door.asked) == 2
    assert list(tmp_path.iterdir()) == []


def test_its_length_is_told_in_seconds() -> None:
    wanted = sound(HEARD)
    assert (wanted.seconds, wanted.channels) == (2.4, ("caller", "agent"))
    assert replace(wanted, part=Part(100 * MS, 350 * MS)).seconds == 0.25
