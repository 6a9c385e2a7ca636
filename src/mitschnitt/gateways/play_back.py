"""Part of a recording into one sound file, each party on a channel of its own, lined up by the wall clock.

Block by block: an hour of call needs seconds of memory. The file has its name only when it is whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from mitschnitt.gateways.new_file import NewFile
from mitschnitt.gateways.peaks import Peaks
from mitschnitt.gateways.recording import BLOCK_NS, Part, Recording, Samples, Voice
from mitschnitt.gateways.sound_file import Format, sound_file
from mitschnitt.wire.codecs import Decoders
from mitschnitt.wire.layout import SECOND_NS

Progress = Callable[[float], None]  # the part done, in [0, 1]


@dataclass(frozen=True)
class Sound:
    """What is played: whose voices, from when to when, at which rate, through which decoders."""

    recording: Recording
    voices: Sequence[Voice]
    part: Part
    rate: int  # samples per second
    decoders: Decoders

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the voices in order."""
        return tuple(voice.name for voice in self.voices)

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        start, stop = self.part.samples(self.rate)
        return (stop - start) / self.rate


def play_into(
    file: NewFile, kind: Format, sound: Sound, *, peaks: Peaks | None = None, progress: Progress | None = None
) -> None:
    """Writes, and leaves it to the caller to `commit` the file.

    ConfigError for what the format does not hold, Damaged with the place, NoSpace; NotAllowed or KeyGone when the call
    was erased meanwhile.
    """
    start, stop = sound.part.samples(sound.rate)
    with sound_file(file, kind, channels=len(sound.voices), rate=sound.rate, samples=stop - start) as out:
        for block in blocks(sound, progress=progress):
            out.write(block)
            if peaks is not None:
                peaks.add(block)


def peaks_of(sound: Sound) -> Peaks:
    """Peaks alone, without a file of samples."""
    peaks = Peaks(sound.channels, sound.rate)
    for block in blocks(sound):
        peaks.add(block)
    return peaks


def blocks(sound: Sound, *, progress: Progress | None = None) -> Iterator[Samples]:
    """The samples of all voices, one block after the other."""
    start, stop = sound.part.samples(sound.rate)
    step = BLOCK_NS * sound.rate // SECOND_NS
    for begin in range(start, stop, step):
        end = min(begin + step, stop)
        yield sound.recording.samples(sound.voices, sound.decoders, begin, end, sound.rate)
        if progress:
            progress((end - start) / (stop - start))
