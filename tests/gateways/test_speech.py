"""The shipped speech is complete, aligned, small, and the question is the one that was written down."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from mitschnitt.errors import ConfigError
from mitschnitt.gateways import speech
from mitschnitt.wire import g711


def test_there_are_at_least_six_dialogues_of_8_to_20_seconds() -> None:
    shelf = speech.dialogues()
    assert len(shelf) >= 6
    assert all(8 <= dialogue.seconds <= 20 for dialogue in shelf)
    assert len({dialogue.name for dialogue in shelf}) == len(shelf)


def test_all_speech_together_stays_small() -> None:
    spoken = sum(len(dialogue.caller) + len(dialogue.agent) for dialogue in speech.dialogues())
    asked = sum(len(speech.prompt("ask-training", language).audio) for language in ("de", "en"))
    assert spoken + asked < 1_500_000


@pytest.mark.parametrize("dialogue", speech.dialogues(), ids=lambda dialogue: str(dialogue.name))
def test_both_sides_are_equally_long_and_never_speak_at_once(dialogue: speech.Dialogue) -> None:
    assert len(dialogue.caller) == len(dialogue.agent)
    assert len(dialogue.caller) % 160 == 0
    caller, agent = (g711.decode(side, g711.Law.PCMA) for side in (dialogue.caller, dialogue.agent))
    quiet = g711.decode(bytes([g711.silence(g711.Law.PCMA)]), g711.Law.PCMA)[0]
    assert ((caller == quiet) | (agent == quiet)).all()
    for side in (caller, agent):
        assert 12_000 < np.abs(side.astype(int)).max() < 25_000


@pytest.mark.parametrize("script", speech.scripts(), ids=lambda script: str(script.name))
def test_both_sides_speak_with_voices_of_their_own(script: speech.Script) -> None:
    assert {who for who, _ in script.turns} == {"caller", "agent"}
    assert script.voices["caller"] != script.voices["agent"]
    assert script.turns[0][0] == "agent"


def test_the_question_is_put_in_german_and_english() -> None:
    german, english = speech.prompt("ask-training", "de"), speech.prompt("ask-training", "en")
    assert "Dürfen wir dieses Gespräch zu Schulungszwecken aufzeichnen?" in german.text
    assert "Ein Nein hat keine Nachteile." in german.text
    assert "Saying no has no drawbacks." in english.text
    for asked in (german, english):
        assert (asked.yes, asked.no) == ("1", "2")
        assert asked.sha256 == hashlib.sha256(asked.audio).hexdigest()
        assert asked.length_ms == len(asked.audio) / 8


@pytest.mark.parametrize("language", ["de", "en"])
def test_a_question_after_a_further_purpose_is_there_and_is_none_after_the_recording(language: str) -> None:
    further = speech.prompt("ask-onboarding", language)
    assert further.sha256 == hashlib.sha256(further.audio).hexdigest()
    assert further.length_ms == len(further.audio) / 8
    assert "ask-onboarding" not in [entry["name"] for entry in speech.prompt_entries()]


def test_a_question_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match="no prompt ask-training in language fr"):
        speech.prompt("ask-training", "fr")


def test_audio_that_is_not_the_one_written_down_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [entry | {"sha256": "00"} for entry in speech.prompt_entries()]
    monkeypatch.setattr(speech, "prompt_entries", lambda _kind="prompt": entries)
    with pytest.raises(ConfigError, match=r"prompt ask-training.de: the audio has SHA-256 \w{64}, expected 00"):
        speech.prompt("ask-training", "de")
