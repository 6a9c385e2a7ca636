"""Calls whose voices speak other codecs than G.711, from the first packet to what is heard of each side."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from fuzz.media_targets import from_ogg
from journeys.coded_voices import EVENT_PACKETS, CodedVoice, speak
from journeys.ivr import YES, Ringing
from journeys.sipp_centre import Centre, running_centre
from journeys.sipp_run import sipp_path
from journeys.test_playing import COACH, mitschnitt
from mitschnitt.commands.play import Wish, play

pytestmark = [pytest.mark.journey, pytest.mark.timeout(60)]

VECTORS = Path(__file__).parents[1] / "vectors" / "codecs"
SPEECH = np.frombuffer((VECTORS / "speech-8000.s16").read_bytes(), "<i2").astype(np.float64)
SEVEN = 7  # a key that means nothing here
ALIKE = {
    "G722": 0.98,
    "opus": 0.85,
    "L16": 0.99,
}  # 1 for the same; Opus at 24 kbit/s keeps no waveform
MAX_LAG = 400  # samples at 8 kHz: codecs delay by some ms


def vector(name: str) -> list[bytes]:
    """The packets of another program's encoder."""
    data, found = (VECTORS / f"{name}.bin").read_bytes(), []
    while data:
        size = 2 + int.from_bytes(data[:2], "big")
        found.append(data[2:size])
        data = data[size:]
    return found


def linear_packets(rate: int) -> list[bytes]:
    """The speech as L16 at this rate, 20 ms a packet."""
    at = np.arange(len(SPEECH) * rate // 8_000) * 8_000 / rate
    samples = np.interp(at, np.arange(len(SPEECH)), SPEECH).astype(">i2")
    return [
        packet.tobytes() for packet in samples[: samples.size // (rate // 50) * (rate // 50)].reshape(-1, rate // 50)
    ]


def alike(path: Path) -> float:
    """How much a file sounds like the speech, at whatever delay suits best; 0 to 1."""
    heard, rate = soundfile.read(path, dtype="float64")
    assert heard.ndim == 1
    heard = np.interp(np.arange(len(heard) * 8_000 // rate) * rate / 8_000, np.arange(len(heard)), heard)
    begin = SPEECH[:9_000]  # what comes before any key

    def at(lag: int) -> float:
        part: NDArray[np.float64] = heard[lag : lag + begin.size]
        return float(part @ begin[: part.size] / (np.linalg.norm(part) * np.linalg.norm(begin[: part.size]) + 1e-9))

    return max(at(lag) for lag in range(MAX_LAG))


@pytest.fixture(scope="module")
def centre(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Centre]:
    sipp_path()
    with running_centre(tmp_path_factory.mktemp("site")) as running:
        yield running


def kept(centre: Centre, directory: Path, voices: tuple[CodedVoice, CodedVoice]) -> Ringing:
    """A call that its caller agreed to, and in which both have said everything."""
    ringing = centre.ivr.announce()
    given = {"line0": voices[0].line(0), "line1": voices[1].line(1), "talk": "2500"}
    given |= {f"told{place}": f"a=rtpmap:{v.payload_type} {v.name}" for place, v in enumerate(voices)}
    run = centre.dial("coded/two_codecs", "UDP", directory, ringing, given=given)
    run.wait_for("CSeq: 2 ACK")
    centre.ivr.press(ringing, YES)
    run.wait_for("ACK sip:", 2)
    speak(voices, run.told()[1].in_order)
    run.finish()
    for voice in voices:
        voice.close()
    assert centre.site.wait_outcome(ringing.call) == "kept"
    return ringing


def test_g722_and_opus_with_keys_at_48_khz_are_kept_and_heard_and_opus_goes_out_as_it_came(
    centre: Centre, tmp_path: Path
) -> None:
    packets = vector("opus-20")
    caller = CodedVoice("G722/8000", vector("g722"), 9, 160)
    agent = CodedVoice("opus/48000/2", packets, 96, 960, events_at=48_000, key=SEVEN, key_after=len(packets) - 10)
    call = kept(centre, tmp_path, (caller, agent)).call
    for side, codec in (("caller", "G722"), ("agent", "opus")):
        out = tmp_path / f"{side}.wav"
        play(centre.site.door, call, Wish(out, "training", "coach", side=side))
        assert alike(out) > ALIKE[codec]
    out = tmp_path / "agent.opus"
    done = mitschnitt(centre.site, "play", call, *COACH, "--side", "agent", "--out", str(out))
    assert done.returncode == 0, done.stderr
    written = iter(from_ogg(out.read_bytes())[2:])
    assert all(packet in written for packet in packets), "each packet as it was received, in order"
    assert f"caller: {len(caller.packets)} of {len(caller.packets)} packets" in done.stdout
    assert (
        f"agent: {len(agent.packets)} of {len(agent.packets)} packets; {EVENT_PACKETS} of keys, left out" in done.stdout
    )


def test_linear_audio_at_44100_hz_is_kept_whole_though_its_packets_are_longer_than_a_frame(
    centre: Centre, tmp_path: Path
) -> None:
    packets = linear_packets(44_100)
    voices = CodedVoice("L16/44100", packets, 97, 882), CodedVoice("L16/44100", packets, 97, 882)
    call = kept(centre, tmp_path, voices).call
    done = mitschnitt(centre.site, "play", call, *COACH, "--side", "caller", "--out", str(tmp_path / "caller.wav"))
    assert done.returncode == 0, done.stderr
    assert f"caller: {len(packets)} of {len(packets)} packets" in done.stdout
    assert alike(tmp_path / "caller.wav") > ALIKE["L16"]
