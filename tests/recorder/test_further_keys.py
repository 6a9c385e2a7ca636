"""A key answers a further question while the call is kept, and is not read where nothing further was asked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dialogue import POLICY_TEXT, PROMPT_MS, grant
from mitschnitt.core.gate import State
from mitschnitt.core.policy_text import parse_policy
from mitschnitt.core.purpose import DISPUTE
from recorder_stage import Stage, asked, joined, over, play, ports_of, state_of, view

DISPUTE_TOO = f"""
[[purpose]]
id = "dispute"
retention = "P10D"

[[prompt]]
name = "ask-dispute"
language = "de"
purpose = "dispute"
sha256 = "{"d1" * 32}"
length_ms = {PROMPT_MS}
""".encode()


@pytest.mark.parametrize(
    "keys, asks, also", [("1", True, ["dispute"]), ("2", True, []), ("", True, []), ("1", False, [])]
)
def test_a_further_question_is_answered_by_key_while_the_call_is_kept(
    tmp_path: Path, keys: str, asks: bool, also: list[str]
) -> None:
    text = POLICY_TEXT + DISPUTE_TOO
    dispute = replace(grant(), purpose=DISPUTE)
    world = replace(view(grant(), dispute), policy=parse_policy(text), policy_text=text)

    async def scene(stage: Stage) -> None:
        stage.view = world
        session = stage.session()
        stage.link.answer(joined(answer_by="digit", asked=[asked()]))
        stage.seconds = 5.0
        stage.voices["clara"].presses(ports_of(session)[0], "1")
        stage.tick()
        assert state_of(session) is State.KEEPING
        if asks:
            session.post("asked", {**asked(start=6.0), "prompt": "ask-dispute", "sha256": "d1" * 32})
        stage.seconds = 12.0
        stage.voices["clara"].says(ports_of(session)[0])
        stage.voices["clara"].presses(ports_of(session)[0], keys)
        stage.tick()
        assert state_of(session) is State.KEEPING
        types = ("arrived", "track", "track", "sealed", "sealed", "closed")
        told = await over(stage, session, *types)
        assert (await stage.journalled(*types))[-1].data["also"] == also
        assert len(told["acts"]) == 1 + (asks and bool(keys)), "a key that answers nothing is not read"

    play(tmp_path, scene)
