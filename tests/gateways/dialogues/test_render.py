"""The program that speaks the dialogues: exact silence, whole packets, nothing above the telephone band."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from mitschnitt.errors import ConfigError
from mitschnitt.gateways import speech
from mitschnitt.gateways.dialogues import render
from mitschnitt.wire import g711
from mitschnitt.wire.g711 import Samples


def tone(hertz: float, rate: int) -> render.Floats:
    return np.sin(2 * np.pi * hertz * np.arange(rate) / rate)


def test_resampling_keeps_the_voice_and_drops_what_would_fold_back() -> None:
    kept = render.resampled(tone(1000, 22_050), 22_050)
    dropped = render.resampled(tone(4600, 22_050), 22_050)
    assert len(kept) == 8000
    assert np.abs(kept[200:-200] - tone(1000, 8000)[200:-200]).max() < 0.01
    assert np.abs(dropped[200:-200]).max() < 0.01


def test_a_side_is_exact_silence_while_the_other_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    def speak(text: str, voice: str) -> Samples:
        return np.full(int(text), 8000, np.int16)

    monkeypatch.setattr(render, "speak", speak)
    script = speech.Script("test", "bank", {"caller": "a", "agent": "b"}, (("agent", "300"), ("caller", "160")))
    sides = render.render_script(script)
    caller, agent = (g711.decode(sides[side], g711.Law.PCMA) > 1000 for side in ("caller", "agent"))
    assert agent.nonzero()[0].tolist() == list(range(800, 1100))
    assert caller.nonzero()[0].tolist() == list(range(800 + 320 + 2080, 800 + 320 + 2080 + 160))
    assert len(caller) == len(agent) == 800 + 320 + 2080 + 160 + 800


def test_a_turn_of_somebody_unknown_is_refused() -> None:
    script = speech.Script("test", "bank", {"caller": "a"}, (("ghost", "boo"),))
    with pytest.raises(ConfigError, match="dialogue test: 'ghost' speaks"):
        render.render_script(script)


def test_digest_and_length_are_noted_for_their_own_question_and_language_only() -> None:
    places = [("ask", "de"), ("ask", "en"), ("more", "en")]
    entries = [f'name = "{name}"\nlanguage = "{language}"\nsha256 = ""\nlength_ms = 0\n' for name, language in places]
    noted = render.noted("".join(entries), "ask", "en", bytes(800))
    assert noted.startswith(entries[0])
    assert noted.endswith(entries[2])
    *_, digest, length = noted.removesuffix(entries[2]).splitlines()
    assert length == "length_ms = 100"
    assert len(digest) == len('sha256 = ""') + 64


def test_a_changed_file_differs(tmp_path: Path) -> None:
    path = tmp_path / "a.pcma"
    assert not render.same(path, b"a")
    path.write_bytes(b"a")
    assert render.same(path, b"a")
    assert not render.same(path, b"b")


def test_wrong_usage_has_its_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert render.main(["--wrong"]) == 2
    assert "--check" in capsys.readouterr().err


@pytest.mark.thorough
@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")
def test_a_spoken_turn_is_as_long_as_the_shipped_one() -> None:
    script = speech.scripts()[-1]
    spoken = render.render_script(script)
    shipped = {dialogue.name: dialogue for dialogue in speech.dialogues()}[script.name]
    # Another release of espeak-ng may speak a little differently; `render --check` compares to the byte.
    assert len(spoken["caller"]) == pytest.approx(len(shipped.caller), rel=0.1)
    assert len(spoken["caller"]) == len(spoken["agent"])
