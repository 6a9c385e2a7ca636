"""Parties' kept audio as one WAV file, each party on a channel of its own, lined up by the wall clock.

It asks for media in blocks, so an hour of call needs seconds of memory. It opens nothing: who may hear a call
is decided before the bytes come here.
"""

from __future__ import annotations

import json
import os
import wave
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mitschnitt.errors import ConfigError, Damaged, NoSpace, NotAllowed, PeerError
from mitschnitt.vault.artefact import reports_of
from mitschnitt.wire import g711, timeline
from mitschnitt.wire.codecs import Decoders, Int64s, Samples, codings
from mitschnitt.wire.timeline import Fetch, Layout

MAGIC = b"MTL1"  # first bytes of a timeline artefact
MAX_HEADER_BYTES = 1 << 20  # a timeline header is a few hundred bytes; pauses make it longer
MAX_CHANNELS = 12  # parties of one call by the key tree's leaves; a WAV header would take 65,535
MAX_WAV_BYTES = (1 << 32) - 1024  # RIFF sizes are 32 bits; the rest is header
RATE = 8000  # samples per second of what is written
BLOCK_SAMPLES = 30 * RATE  # per party in memory at once: 30 s, 480 kB
SAMPLE_BYTES = 2
ORDER = ("caller", "agent")  # channels 1 and 2; further parties follow in the order given


class _G711:
    """One law as a decoder."""

    rate, bytes_per_sample, preroll = RATE, 1, 0

    def __init__(self, law: g711.Law) -> None:
        self._law = law

    def decode(self, payload: npt.NDArray[np.uint8], lengths: Int64s) -> tuple[Samples, Int64s]:
        return g711.decode(payload, self._law), lengths


DECODERS: Decoders = {law.value: partial(_G711, law) for law in g711.Law}


@dataclass(frozen=True)
class Voice:
    """One party as it goes onto a channel; `fetch(start, stop)` gives media bytes [start, stop)."""

    party: str
    layout: Layout
    fetch: Fetch


@dataclass(frozen=True)
class Written:
    """What the file holds: channel names in order, its length and what could not be put there."""

    channels: tuple[str, ...]
    seconds: float
    undecoded_packets: int


def voice_from(artefact: bytes, fetch: Fetch, *, role: str = "") -> Voice:
    """A party from its opened timeline artefact; Damaged when that is not one.

    `role` is what the store knows the party as; without it the order of appearance names the channel.
    """
    if artefact[: len(MAGIC)] != MAGIC:
        raise Damaged(f"a timeline begins with {MAGIC!r}, got {artefact[:4]!r}")
    size = int.from_bytes(artefact[4:8], "big")
    if size > min(MAX_HEADER_BYTES, len(artefact) - 8):
        raise Damaged(f"a timeline header of {size} bytes does not fit into {len(artefact)} bytes")
    try:
        header = json.loads(artefact[8 : 8 + size])
        party, codecs = _name(header["party"], role), codings(header["codecs"], header.get("formats", {}))
        runs = timeline.parse_runs(artefact[8 + size :])
        layout = timeline.lay_out(runs, codecs, reports=reports_of(header))
    except (ValueError, KeyError, TypeError, AttributeError, PeerError) as error:
        raise Damaged(f"a timeline that does not parse: {error}") from error
    return Voice(party, layout, fetch)


def _name(party: object, role: str) -> str:
    if role in ORDER or not isinstance(party, int):
        return role or str(party)
    return ORDER[party] if party < len(ORDER) and not role else f"third-{party - 1}"


def write_wav(path: Path, voices: Sequence[Voice], *, progress: Callable[[float], None] | None = None) -> Written:
    """Writes a new file, readable by its owner only; `progress` hears the part done, in [0, 1].

    Raises NotAllowed when no party has audio, ConfigError when the file exists, Damaged when media and timeline
    disagree, NoSpace when the file cannot be written; no half-written file stays behind then.
    """
    present = sorted((voice for voice in voices if voice.layout.first.size), key=_channel)
    if not present:
        raise NotAllowed("play.nothing_kept", "no party of this call has audio")
    if len(present) > MAX_CHANNELS:
        raise ConfigError(f"{len(present)} parties; one WAV takes at most {MAX_CHANNELS}")
    layouts = timeline.lined_up([voice.layout for voice in present])
    lined_up = [replace(voice, layout=layout) for voice, layout in zip(present, layouts, strict=True)]
    samples = max(voice.layout.samples(RATE) for voice in lined_up)
    if samples * len(lined_up) * SAMPLE_BYTES > MAX_WAV_BYTES:
        raise ConfigError(f"{samples // RATE} s on {len(lined_up)} channels exceed the 4 GiB of a WAV")
    _write(path, lined_up, samples, progress)
    return Written(
        channels=tuple(voice.party for voice in lined_up),
        seconds=samples / RATE,
        undecoded_packets=sum(voice.layout.undecoded(DECODERS) for voice in voices),
    )


def _channel(voice: Voice) -> int:
    return ORDER.index(voice.party) if voice.party in ORDER else len(ORDER)


def _write(path: Path, voices: Sequence[Voice], samples: int, progress: Callable[[float], None] | None) -> None:
    # A crash here leaves a cut WAV of the owner's own play-back; whoever asked for it asks again.
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError as error:
        raise ConfigError(f"{path} exists; play-back writes new files only") from error
    except OSError as error:
        raise NoSpace(f"{path} cannot be written: {error.strerror}") from error
    finished = False
    try:
        with os.fdopen(descriptor, "wb") as file, wave.open(file, "wb") as out:
            out.setnchannels(len(voices))
            out.setsampwidth(SAMPLE_BYTES)
            out.setframerate(RATE)
            for start in range(0, samples, BLOCK_SAMPLES):
                stop = min(start + BLOCK_SAMPLES, samples)
                block = np.empty((stop - start, len(voices)), "<i2")
                for number, voice in enumerate(voices):
                    block[:, number] = timeline.render(voice.layout, voice.fetch, DECODERS, start, stop, RATE)
                out.writeframes(block.tobytes())
                if progress:
                    progress(stop / samples)
        finished = True
    except OSError as error:
        raise NoSpace(f"{path} cannot be written: {error.strerror}") from error
    except PeerError as error:  # our own file, not a peer's packet
        raise Damaged(str(error)) from error
    finally:
        if not finished:
            path.unlink(missing_ok=True)
