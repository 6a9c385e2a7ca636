"""Samples into WAV, FLAC or Ogg-Opus, block by block, by libsndfile.

It opens nothing and decides nothing: who may hear a call is decided before samples come here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import soundfile

from mitschnitt.errors import ConfigError, NoSpace
from mitschnitt.gateways.new_file import NewFile

SAMPLE_BYTES = 2
MAX_WAV_BYTES = (1 << 32) - 1024  # RIFF sizes are 32 bits; the rest is header
Samples = npt.NDArray[np.int16]  # of one channel, or (samples, channels)


@dataclass(frozen=True)
class Format:
    """How a file of one kind is written."""

    name: str
    extensions: tuple[str, ...]
    major: str  # libsndfile's names
    subtype: str
    max_channels: int
    rates: tuple[int, ...]  # samples per second; () takes any


FORMATS: Mapping[str, Format] = {
    one.name: one
    for one in (
        Format("wav", (".wav",), "WAV", "PCM_16", 12, ()),  # parties of one call, by the key tree's leaves
        Format("flac", (".flac",), "FLAC", "PCM_16", 8, ()),  # RFC 9639, 9.1.3: a channel count has three bits
        # RFC 7845, 5.1.1: beyond two, channels are loudspeakers of a room, and one of them is for bass only.
        Format("opus", (".opus", ".ogg"), "OGG", "OPUS", 2, (8_000, 12_000, 16_000, 24_000, 48_000)),
    )
}


class SoundFile:
    """Takes blocks of samples; use through `sound_file`."""

    def __init__(self, file: NewFile, inner: soundfile.SoundFile) -> None:
        self._file = file
        self._inner = inner

    def write(self, block: Samples) -> None:
        """The next samples, (n, channels). NoSpace when the disk takes no more."""
        self._inner.write(block)
        self._file.check()


@contextlib.contextmanager
def sound_file(file: NewFile, kind: Format, *, channels: int, rate: int, samples: int) -> Iterator[SoundFile]:
    """A file of `samples` per channel, finished when the block ends; its name it gets by `NewFile.commit`.

    ConfigError for more than the format holds, before anything is written; NoSpace.
    """
    if channels > kind.max_channels:
        raise ConfigError(f"{channels} parties; {kind.name} takes at most {kind.max_channels}: name one with --side")
    if kind.rates and rate not in kind.rates:
        raise ConfigError(f"rate: {kind.name} takes {', '.join(map(str, kind.rates))}; found {rate}")
    if kind.major == "WAV" and samples * channels * SAMPLE_BYTES > MAX_WAV_BYTES:
        raise ConfigError(f"{samples // rate} s on {channels} channels exceed the 4 GiB of a WAV; FLAC takes them")
    try:
        with soundfile.SoundFile(
            file, "w", samplerate=rate, channels=channels, format=kind.major, subtype=kind.subtype
        ) as inner:
            yield SoundFile(file, inner)
    except soundfile.SoundFileError as error:
        file.check()  # the disk, if it was the disk
        raise NoSpace(f"{file.path} cannot be written: {error}") from error
    file.check()
