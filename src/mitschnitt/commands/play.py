"""`mitschnitt play`: one recording, or part of it, through the one door into a sound file.

Each party is on a channel of its own, or one side comes alone. What is wrong with the wish is said before the call is
opened, for opening is an access that both sides see. Everything that is written is new, and whole or not there.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import typer

from mitschnitt.commands.call import checked, checked_role
from mitschnitt.commands.door_client import Door
from mitschnitt.commands.play_statement import in_words, statement
from mitschnitt.commands.play_times import parse_time
from mitschnitt.errors import ConfigError, MitschnittError
from mitschnitt.gateways.decoders import decoders
from mitschnitt.gateways.new_file import NewFile
from mitschnitt.gateways.opus_file import pass_through, passes
from mitschnitt.gateways.peaks import Peaks
from mitschnitt.gateways.play_back import Sound, peaks_of, play_into
from mitschnitt.gateways.recording import RATES, Recording, rate_of, recording_from
from mitschnitt.gateways.sound_file import FORMATS, Format
from mitschnitt.wire import opus
from mitschnitt.wire.layout import SECOND_NS

MAX_PURPOSE_CHARS = 64  # as the keeper's door takes
LONG_SECONDS = 120.0  # of audio; shorter ones are written before a bar is drawn


@dataclass(frozen=True)
class Wish:
    """What somebody wants to hear; empty or 0: all of it, or as it comes."""

    out: Path
    purpose: str
    role: str
    format: str = ""
    side: str = ""
    begin: str = ""
    end: str = ""
    rate: int = 0
    peaks: Path | None = None
    statement: Path | None = None


@dataclass(frozen=True)
class Played:
    """What was written: the files with their channels, how long they last, and what became of the packets."""

    files: Sequence[tuple[Path, tuple[str, ...]]]
    seconds: float
    rate: int
    stated: dict[str, Any] = field(default_factory=dict)

    @property
    def channels(self) -> tuple[str, ...]:
        """Of all files, in order."""
        return tuple(name for _, names in self.files for name in names)


def run(call: str, directory: Path, wish: Wish, *, as_json: bool) -> None:
    """Write the files or say which rule refused (NotAllowed)."""
    played = play(Door(directory), call, wish)
    if as_json:
        files = [{"out": str(path), "channels": list(names)} for path, names in played.files]
        told = {"call": call, "files": files, "seconds": played.seconds, "rate": played.rate}
        typer.echo(json.dumps({**told, "completeness": played.stated["parties"]}))
        return
    for path, names in played.files:
        typer.echo(f"{path}: {played.seconds:.1f} s at {played.rate} Hz, channels {', '.join(names)}")
    for line in in_words(played.stated):
        typer.echo(line)


def play(door: Door, call: str, wish: Wish) -> Played:
    """Open a call at the door and write what is wished. ConfigError, NotAllowed, Damaged, NoSpace, NotReachable."""
    kind, begin, end = _checked_wish(call, wish)
    with door.kept_open(), opened(door, call, purpose=wish.purpose, role=wish.role) as recording:
        voices = recording.sides(wish.side)
        known = decoders(name for voice in recording.voices for name, _ in voice.codecs)
        rate = wish.rate or rate_of(voices, known)
        sound = Sound(recording, voices, recording.part(begin, end), rate, known)
        return _written(kind, wish, sound)


@contextlib.contextmanager
def opened(door: Door, call: str, *, purpose: str, role: str) -> Iterator[Recording]:
    """A play-back of a call: one access. NotAllowed with the rule that refuses."""
    told = door.post(f"/calls/{call}/playbacks", {"purpose": purpose, "role": role})
    path = f"/playbacks/{told['playback']}"

    def ask(start_ns: int, stop_ns: int, parties: Sequence[int], before: int) -> bytes:
        span = {"start_ns": start_ns, "stop_ns": stop_ns}
        return door.bytes_of(path, **span, party=list(parties), before=before, **{"as": role})

    try:
        yield recording_from(told, ask, lambda: door.get(f"{path}/completeness", **{"as": role}))
    finally:
        with contextlib.suppress(MitschnittError):  # it is over anyway, or soon: nobody asks any more
            door.delete(path, **{"as": role})


def _written(kind: Format, wish: Wish, sound: Sound) -> Played:
    """All files, each whole; when one fails none is there."""
    places = _places(kind, wish.out, sound)
    as_received = {voice.name for voice in sound.voices if kind.name == "opus" and passes(voice)}
    heard = sound.recording
    stated = statement(heard.call, heard.voices, heard.counted(), sound.decoders, as_received=as_received)
    with contextlib.ExitStack() as stack:
        tell = stack.enter_context(_progress(sound.seconds)) if len(places) == 1 else None
        peaks = Peaks(sound.channels, sound.rate) if wish.peaks else None
        files, seconds = [], sound.seconds
        for serial, (path, one) in enumerate(places, 1):
            file = stack.enter_context(NewFile(path))
            files.append(file)
            if one.voices[0].name in as_received:
                voice = one.voices[0]
                seconds = max(pass_through(file, one.recording, voice, one.part, serial=serial), seconds)
            else:
                play_into(file, kind, one, peaks=peaks if len(places) == 1 else None, progress=tell)
        if wish.peaks and peaks is not None:
            if len(places) > 1 or as_received:
                peaks = peaks_of(sound)
            told = {"call": heard.call, "from": sound.part.start_ns / SECOND_NS, **peaks.finish()}
            files.append(stack.enter_context(_json_file(wish.peaks, told)))
        if wish.statement:
            files.append(stack.enter_context(_json_file(wish.statement, stated)))
        for file in files:
            file.check()
        for file in files:
            file.commit()
    rate = opus.RATE if as_received else sound.rate
    return Played([(path, one.channels) for path, one in places], seconds, rate, stated)


def _places(kind: Format, out: Path, sound: Sound) -> list[tuple[Path, Sound]]:
    """Which voices go into which file: all into one, or one each where a voice goes out as it was received."""
    together = kind.name != "opus" or not any(passes(voice) for voice in sound.voices)
    if together or len(sound.voices) == 1:
        return [(out, sound)]
    places = [
        (out.with_name(f"{out.stem}-{voice.name}{out.suffix}"), replace(sound, voices=(voice,)))
        for voice in sound.voices
    ]
    for path, _ in places:
        checked_out(path)
    return places


@contextlib.contextmanager
def _json_file(path: Path, told: dict[str, Any]) -> Iterator[NewFile]:
    with NewFile(path) as file:
        file.write(json.dumps(told, separators=(",", ":")).encode() + b"\n")
        yield file


@contextlib.contextmanager
def _progress(seconds: float) -> Iterator[Callable[[float], None] | None]:
    """A bar on a terminal, for what takes long enough to be seen."""
    if seconds < LONG_SECONDS or not sys.stderr.isatty():
        yield None
        return
    with typer.progressbar(length=100, label="play", file=sys.stderr) as bar:
        done = 0

        def tell(part: float) -> None:
            nonlocal done
            bar.update(int(part * 100) - done)
            done = int(part * 100)

        yield tell


def _checked_wish(call: str, wish: Wish) -> tuple[Format, int | None, int | None]:
    """Format and times; ConfigError for what is wrong whatever the call is."""
    checked(call)
    checked_role(wish.role)
    if not 1 <= len(wish.purpose) <= MAX_PURPOSE_CHARS:
        raise ConfigError(f"purpose: expected 1 to {MAX_PURPOSE_CHARS} characters, found {len(wish.purpose)}")
    if wish.rate not in (0, *RATES):
        raise ConfigError(f"rate: expected one of {', '.join(map(str, RATES))}; found {wish.rate}")
    kind = format_of(wish.out, wish.format)
    paths = [path for path in (wish.out, wish.peaks, wish.statement) if path is not None]
    for path in paths:
        checked_out(path)
    if len({path.resolve() for path in paths}) < len(paths):
        raise ConfigError("play: --out, --peaks and --statement must be different files")
    begin = parse_time(wish.begin, option="from") if wish.begin else None
    end = parse_time(wish.end, option="to") if wish.end else None
    if begin is not None and end is not None and end <= begin:
        raise ConfigError(f"to: expected a time after {wish.begin}, found {wish.end}")
    return kind, begin, end


def format_of(out: Path, wanted: str) -> Format:
    """The format by name, or by the extension of the file. ConfigError when they contradict or say nothing."""
    by_extension = {extension: one for one in FORMATS.values() for extension in one.extensions}
    found = by_extension.get(out.suffix.lower())
    if wanted and wanted not in FORMATS:
        raise ConfigError(f"format: expected one of {', '.join(FORMATS)}; found {wanted!r}")
    if wanted and found is not None and found.name != wanted:
        raise ConfigError(f"format: {wanted} is wanted, and {out.name} says {found.name}")
    if not wanted and found is None:
        known = ", ".join(by_extension)
        raise ConfigError(f"out: expected a name that ends in {known}, or --format; found {out.name}")
    return FORMATS[wanted] if found is None else found


def checked_out(out: Path) -> None:
    """ConfigError when no new file can come to lie there: who plays must not be logged for nothing."""
    if os.path.lexists(out):
        raise ConfigError(f"play: {out} exists; play never overwrites a file")
    if not out.parent.is_dir():
        raise ConfigError(f"play: {out.parent} is no directory; expected one for {out.name}")
    if not os.access(out.parent, os.W_OK | os.X_OK):
        raise ConfigError(f"play: {out.parent} cannot be written to by this user")
