"""What is kept of one call: a key first, a track before its media, one last word."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dialogue import START
from mitschnitt.core.consent import Act, ActKind
from mitschnitt.core.decision import Decision, Verdict
from mitschnitt.recorder.recording import MAX_TOLD_ACTS, Recording, told_decision
from recorder_stage import CALL, Stage, decision, play

REST = {"label": "1", "session": 0, "association": "participantstreamassoc", "cname": None}
CODECS = {8: ("PCMA", 8000)}
TOLD: dict[str, Any] = {"outcome": "not_kept", "rule": "consent.all", "party": "", "policy": "", "acts": []}


def begun(stage: Stage) -> Recording:
    """A recording with a key."""
    recording = Recording(stage.media, stage.ledger, stage.clock)
    recording.begin(CALL, stage.link.take_key(), [], policy="ab" * 32)
    return recording


def officer_key(stage: Stage) -> bytes:
    """Of the stage's policy."""
    assert stage.view is not None
    return stage.view.officer_key


def test_without_a_key_there_is_no_track_and_nothing_is_journalled(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        recording = Recording(stage.media, stage.ledger, stage.clock)
        assert recording.track(0, "caller", CODECS, REST) is None
        recording.shred()
        assert recording.close(TOLD, officer_key(stage), [])
        stage.ledger.arrived("0" * 26, stage.link.take_key(), {}, policy="", at=stage.now)
        await stage.journalled("arrived")

    play(tmp_path, scene)


def test_a_party_has_one_track_however_often_it_is_asked_for(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        recording = begun(stage)
        assert recording.track(0, "caller", CODECS, REST) is recording.track(0, "caller", CODECS, REST)
        recording.forget_keys()
        assert recording.tracks == {}
        assert recording.key is None
        recording.close(TOLD, officer_key(stage), [])
        await stage.journalled("arrived", "track", "closed")

    play(tmp_path, scene)


def test_codecs_that_come_later_are_journalled_once_and_change_no_meaning(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        recording = begun(stage)
        track = recording.track(0, "caller", {8: ("PCMA", 8000), 96: ("opus", 48000)}, REST)
        for _ in range(2):
            assert recording.track(0, "caller", {96: ("AMR-WB", 16000), 9: ("G722", 8000)}, REST) is track
        recording.close(TOLD, officer_key(stage), [])
        _, first, second, _ = await stage.journalled("arrived", "track", "track", "closed")
        assert first.data["codecs"] == {"8": ["PCMA", 8000], "96": ["opus", 48000]}
        assert second.data["codecs"] == {**first.data["codecs"], "9": ["G722", 8000]}
        assert track is not None
        assert {str(number): list(codec) for number, codec in track.codecs.items()} == second.data["codecs"]

    play(tmp_path, scene)


@pytest.mark.parametrize("shredded", [0, 1])
def test_the_last_word_is_said_once_and_nothing_after_it(tmp_path: Path, shredded: int) -> None:
    async def scene(stage: Stage) -> None:
        recording = begun(stage)
        for _ in range(shredded):
            recording.shred()
        assert recording.close(TOLD, officer_key(stage), [])
        assert not recording.close({**TOLD, "outcome": "kept"}, officer_key(stage), [])
        recording.shred()
        entries = await stage.journalled("arrived", *["shred"] * shredded, "closed")
        assert decision(entries[-1])["outcome"] == "not_kept"

    play(tmp_path, scene)


def test_a_decision_tells_the_newest_acts_of_many_so_that_its_size_says_nothing() -> None:
    acts = [Act("caller", ActKind.DIGIT, str(number), START) for number in range(MAX_TOLD_ACTS + 3)]
    told = told_decision("not_kept", Decision(Verdict.REFUSE, "consent.caller.no", "caller"), acts, policy="h")
    assert [act["value"] for act in told["acts"]] == [str(number) for number in range(3, MAX_TOLD_ACTS + 3)]
    assert {**told, "acts": []} == {
        "outcome": "not_kept",
        "rule": "consent.caller.no",
        "party": "caller",
        "policy": "h",
        "acts": [],
    }
