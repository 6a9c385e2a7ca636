"""All that is said of who is on the line, laid together; what does not fit is a rule."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from dialogue import JENS
from mitschnitt.recorder.branch import Branch
from mitschnitt.recorder.lineup import Lineup
from mitschnitt.wire.sdp import parse_sdp
from mitschnitt.wire.siprec import Metadata
from recorder_stage import CLARA, JENS_AOR, TAREK, TWO, PlayedSignalling, Stage, metadata, offer, party, play


def branch(stage: Stage, told: Metadata | None, *labels: str) -> Branch:
    """A recording session that tells this."""
    made = Branch(stage.media, stage.services.owners, object(), PlayedSignalling(), address="127.0.0.1")
    made.take_offer(parse_sdp(offer(*labels)), at=stage.now)
    if told is not None:
        made.take_metadata(told)
    return made


def bind(stage: Stage, lineup: Lineup, *branches: Branch) -> str:
    """The rule, with the stage's view."""
    assert stage.view is not None
    return lineup.bind(branches, stage.view, at_ns=stage.now_ns())


def present(lineup: Lineup) -> list[str]:
    """Who is on the line."""
    return [party.name for party in lineup.parties if party.present]


def test_every_line_gets_its_party_and_nothing_stands_against_it(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        lineup, one = Lineup(), branch(stage, TWO, "1", "2")
        assert bind(stage, lineup, one) == ""
        assert [leg.party for leg in one.legs] == present(lineup) == ["caller", "agent"]
        one.legs.release_all()

    play(tmp_path, scene)


def test_the_first_thing_that_does_not_fit_is_the_rule(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        lineup, one, two = Lineup(), branch(stage, TWO, "1", "2"), branch(stage, None, "1")
        assert bind(stage, lineup, one, two) == "binding.missing"
        assert bind(stage, lineup, one) == ""
        next(iter(one.legs)).doubt = "binding.mixed"
        assert bind(stage, lineup, one) == "binding.mixed"
        lineup.announced_agent = "somebody.else"
        assert bind(stage, lineup, one) == "binding.contradiction"
        lineup.announced_agent = JENS.id
        one.legs.trust()
        assert bind(stage, lineup, one) == ""
        for each in (one, two):
            each.legs.release_all()

    play(tmp_path, scene)


def test_the_announced_agent_may_hand_the_call_over_and_must_have_been_there_for_that(tmp_path: Path) -> None:
    mia = replace(JENS, id="mia.lorenz", patterns=("sip:mia.lorenz@centre.example.org",))

    async def scene(stage: Stage) -> None:
        assert stage.view is not None
        stage.view = replace(stage.view, agents=(JENS, mia))
        lineup, one = Lineup(), branch(stage, TWO, "1", "2")
        lineup.announced_agent = JENS.id
        assert bind(stage, lineup, one) == ""
        one.take_metadata(metadata(("1", CLARA), ("2", mia.patterns[0])))
        assert bind(stage, lineup, one) == ""
        assert [party.agent for party in lineup.parties] == [None, JENS.id, mia.id]
        other = Lineup()
        other.announced_agent = JENS.id
        assert bind(stage, other, one) == "binding.contradiction"
        one.legs.release_all()

    play(tmp_path, scene)


def test_whom_the_gateway_posts_is_on_the_line_until_it_posts_the_leave(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        assert stage.view is not None
        lineup, one = Lineup(), branch(stage, metadata(("1", CLARA), ("2", JENS_AOR)), "1", "2")
        bind(stage, lineup, one)
        lineup.take("guest", party("guest", at=1, value=TAREK), stage.view)
        bind(stage, lineup, one)
        assert present(lineup) == ["caller", "agent", lineup.posted["guest"]]
        lineup.take("guest", party("guest", "left", at=2), stage.view)
        bind(stage, lineup, one)
        assert present(lineup) == ["caller", "agent"]
        one.legs.release_all()

    play(tmp_path, scene)
