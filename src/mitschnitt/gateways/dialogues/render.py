"""Speaks dialogues and prompts with espeak-ng (Debian) into the .pcma files that are shipped.

    python -m mitschnitt.gateways.dialogues.render          writes them anew
    python -m mitschnitt.gateways.dialogues.render --check  exit code 4 when a shipped file differs

The same espeak-ng gives the same bytes; the shipped files were made with 1.51. Nobody needs it at run time.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mitschnitt.errors import ConfigError
from mitschnitt.gateways import speech
from mitschnitt.wire import g711

WORDS_PER_MINUTE = 185  # brisk but clear; a call of the demo stays under 12 s
GAP_MS = 260  # between turns, as people leave it
EDGE_MS = 100  # of silence before the first and after the last word
FRAME = 160  # samples of 20 ms; turns begin and end on packet borders
PASS_HZ = 3400  # telephone band
TAPS = 96  # either side of the resampling filter
PEAK = 0.55  # of full scale; leaves head-room for mixing
QUIET = 0.01  # of the peak: below it a turn has not begun
EXIT_DONE, EXIT_USAGE, EXIT_UNREACHABLE, EXIT_DIFFERS = 0, 2, 3, 4

Floats = npt.NDArray[np.float64]


def main(argv: list[str]) -> int:
    """Writes or checks every file; exit codes as of the command line (design, section 8)."""
    if argv not in ([], ["--check"]):
        print(__doc__, file=sys.stderr)
        return EXIT_USAGE
    if shutil.which("espeak-ng") is None:
        print("espeak-ng is not installed (Debian: apt-get install espeak-ng)", file=sys.stderr)
        return EXIT_UNREACHABLE
    here = Path(__file__).parent
    files = dict(rendered_files(here, here.parent / "prompts"))
    if argv:
        differing = [path.name for path, data in files.items() if not same(path, data)]
        print("\n".join(differing) or f"{len(files)} files are as shipped")
        return EXIT_DIFFERS if differing else EXIT_DONE
    for path, data in files.items():
        path.write_bytes(data)
        print(f"{path.name}: {len(data)} bytes")
    return EXIT_DONE


def same(path: Path, data: bytes) -> bool:
    """Whether the file is there with exactly these bytes."""
    return path.exists() and path.read_bytes() == data


def rendered_files(dialogues: Path, prompts: Path) -> Iterator[tuple[Path, bytes]]:
    """Every file that belongs into the two folders, with its content."""
    for script in speech.scripts():
        sides = render_script(script)
        for side in speech.SIDES:
            yield dialogues / f"{script.name}.{side}.pcma", sides[side]
    listing = (speech.PROMPTS / "prompts.toml").read_text(encoding="utf-8")
    for entry in (*speech.prompt_entries(), *speech.prompt_entries("further")):
        audio = g711.encode(framed(speak(entry["text"], entry["voice"])), g711.Law.PCMA)
        yield prompts / f"{entry['name']}.{entry['language']}.pcma", audio
        listing = noted(listing, entry["name"], entry["language"], audio)
    yield prompts / "prompts.toml", listing.encode()


def noted(listing: str, name: str, language: str, audio: bytes) -> str:
    """The listing with digest and length of one prompt brought up to date."""
    head, mark, tail = listing.partition(f'name = "{name}"\nlanguage = "{language}"')
    digest = hashlib.sha256(audio).hexdigest()
    tail = re.sub(r'sha256 = "[0-9a-f]*"', f'sha256 = "{digest}"', tail, count=1)
    tail = re.sub(r"length_ms = \d+", f"length_ms = {len(audio) // speech.BYTES_PER_MS}", tail, count=1)
    return head + mark + tail


def render_script(script: speech.Script) -> dict[str, bytes]:
    """Both sides in A-law, equally long; each is exact silence while the other speaks."""
    silence = {EDGE_MS: frames(EDGE_MS), GAP_MS: frames(GAP_MS)}
    parts: dict[str, list[g711.Samples]] = {side: [silence[EDGE_MS]] for side in speech.SIDES}
    for number, (who, text) in enumerate(script.turns):
        if who not in parts:
            raise ConfigError(f"dialogue {script.name}: {who!r} speaks; expected one of {speech.SIDES}")
        turn = framed(speak(text, script.voices[who]))
        for side, spoken in parts.items():
            if number:
                spoken.append(silence[GAP_MS])
            spoken.append(turn if side == who else np.zeros_like(turn))
    return {
        side: g711.encode(np.concatenate([*spoken, silence[EDGE_MS]]), g711.Law.PCMA) for side, spoken in parts.items()
    }


def frames(milliseconds: int) -> g711.Samples:
    """Silence of whole packets."""
    return np.zeros(milliseconds * 8 // FRAME * FRAME, np.int16)


def framed(samples: g711.Samples) -> g711.Samples:
    """The samples, filled up with silence to whole packets."""
    return np.pad(samples, (0, -len(samples) % FRAME))


def speak(text: str, voice: str) -> g711.Samples:
    """The text at 8 kHz, without silence at the edges."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "spoken.wav"
        command = ["espeak-ng", "-v", voice, "-s", str(WORDS_PER_MINUTE), "-w", str(path), text]
        subprocess.run(command, check=True)
        with wave.open(str(path)) as file:
            rate, raw = file.getframerate(), file.readframes(file.getnframes())
    spoken = np.frombuffer(raw, "<i2").astype(np.float64)
    loud = np.flatnonzero(np.abs(spoken) > QUIET * np.abs(spoken).max())
    at_8k = resampled(spoken[loud[0] : loud[-1] + 1], rate)
    samples: g711.Samples = np.rint(at_8k * (PEAK * 32767 / np.abs(at_8k).max())).astype(np.int16)
    return samples


def resampled(samples: Floats, rate: int) -> Floats:
    """The same sound at 8 kHz, band-limited to the telephone's (windowed sinc)."""
    positions = np.arange(int(len(samples) * g711.SAMPLE_RATE / rate)) * (rate / g711.SAMPLE_RATE)
    nearest = np.floor(positions).astype(np.int64)
    taps = np.arange(-TAPS + 1, TAPS + 1)
    distance = taps[None, :] - (positions - nearest)[:, None]
    window = 0.5 + 0.5 * np.cos(np.pi * distance / (TAPS + 1))
    weights = 2 * PASS_HZ / rate * np.sinc(2 * PASS_HZ / rate * distance) * window
    padded = np.pad(samples, TAPS)
    result: Floats = (padded[nearest[:, None] + taps[None, :] + TAPS] * weights).sum(axis=1)
    return result


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
