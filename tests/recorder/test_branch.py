"""One recording session of a call: its own answers, its own view of the line, its own alarm."""

from __future__ import annotations

from pathlib import Path

import pytest

from mitschnitt.core.gate import State
from mitschnitt.errors import PeerError
from mitschnitt.recorder.branch import LEAK_ALARM_PACKETS, Branch
from mitschnitt.wire.sdp import Form, parse_sdp
from mitschnitt.wire.siprec import MetadataBroken
from recorder_stage import (
    CLARA,
    JENS_AOR,
    TWO,
    PlayedSignalling,
    Stage,
    act,
    asked,
    branch_of,
    is_closed,
    is_open,
    joined,
    metadata,
    offer,
    over,
    play,
    state_of,
)


def branch_on(stage: Stage) -> Branch:
    """A branch of its own, without a call."""
    owner = object()
    return Branch(stage.media, stage.services.owners, owner, PlayedSignalling(), address="127.0.0.1")


def test_the_version_of_our_description_rises_exactly_when_something_changes(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        branch = branch_on(stage)
        assert branch.take_offer(parse_sdp(offer("1", "2")), at=stage.now)
        told = [parse_sdp(branch.body(form)) for form in (Form.CLOSED, Form.CLOSED, Form.OPEN)]
        told.append(parse_sdp(branch.offer_body(Form.CLOSED)))
        assert [description.origin.version for description in told] == [1, 1, 2, 3]
        assert [is_closed(told[0]), is_open(told[2]), is_closed(told[3])] == [True, True, True]
        branch.legs.release_all()

    play(tmp_path, scene)


def test_without_an_offer_there_is_no_answer_and_without_an_answer_no_offer(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        branch = branch_on(stage)
        with pytest.raises(PeerError):
            branch.body(Form.CLOSED)
        with pytest.raises(PeerError):
            branch.offer_body(Form.CLOSED)

    play(tmp_path, scene)


def test_what_cannot_be_read_or_is_partial_before_all_of_it_is_lost_until_a_snapshot(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        for update in (MetadataBroken("x"), metadata(("1", CLARA), ("2", JENS_AOR), partial=True)):
            branch = branch_on(stage)
            branch.take_offer(parse_sdp(offer("1", "2")), at=stage.now)
            assert not branch.is_lost
            branch.take_metadata(update)
            assert (branch.is_lost, branch.binding().certain) == (True, False)
            branch.take_metadata(TWO)
            assert (branch.is_lost, branch.binding().certain) == (False, True)
            branch.legs.release_all()

    play(tmp_path, scene)


def test_a_leak_is_an_alarm_once(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        branch = branch_on(stage)
        assert [branch.leak(LEAK_ALARM_PACKETS - 1), branch.leak(1), branch.leak(1)] == [False, True, False]

    play(tmp_path, scene)


def test_a_stream_that_contradicts_its_binding_shuts_the_call_until_signalling_renews_it(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        session = stage.keeping()
        branch = branch_of(session)
        line = next(leg.line for leg in branch.legs if leg.line is not None)
        session.doubt(line, "binding.mixed")
        assert state_of(session) is State.PAUSED
        assert session.facts.unbound == "binding.mixed"
        assert session.take_offer(branch, parse_sdp(offer("1", "2", version=2)), at=stage.now)
        session.look()
        assert state_of(session) is State.PAUSED  # an offer says nothing of who speaks
        session.take_metadata(branch, TWO)
        session.look()
        assert state_of(session) is State.KEEPING
        await over(stage, session, "arrived", "track", "track", "sealed", "sealed", "closed")

    play(tmp_path, scene)


def test_a_doubt_before_the_act_keeps_the_call_shut(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        session = stage.session()
        line = next(leg.line for leg in branch_of(session).legs if leg.line is not None)
        session.doubt(line, "binding.mixed")
        stage.link.answer(joined(asked=[asked()], acts=[act("1", 5)]))
        assert state_of(session) is State.NOT_ASKED
        told = await over(stage, session, "arrived", "closed")
        assert told["rule"] == "binding.mixed"

    play(tmp_path, scene)
