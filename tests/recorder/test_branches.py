"""All recording sessions of a call: whose line it is, and which of several carries a party."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from mitschnitt.recorder.branch import Branch
from mitschnitt.recorder.branches import Branches
from mitschnitt.vault.decision import MAX_LADDERS
from mitschnitt.wire.sdp import parse_sdp
from recorder_stage import TWO, PlayedSignalling, Stage, offer, play


def carrying(stage: Stage) -> Branch:
    """A branch with the lines of two parties, all shut."""
    branch = Branch(stage.media, stage.services.owners, object(), PlayedSignalling(), address="127.0.0.1")
    assert branch.take_offer(parse_sdp(offer("1", "2")), at=stage.now)
    branch.take_metadata(TWO)
    branch.bind()
    branch.legs.shut(at_ns=stage.now_ns())
    for leg, name in zip(branch.legs, ("caller", "agent"), strict=True):
        leg.party = name
    return branch


def test_a_line_is_found_while_its_branch_stands_and_for_a_moment_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mitschnitt.recorder.branches.LATE_SECONDS", 0.0)

    async def scene(stage: Stage) -> None:
        branches, (first, second) = Branches(), (carrying(stage), carrying(stage))
        branches.attach(first)
        branches.attach(second)
        leg = second.legs.shut_ones()[0]
        assert leg.line is not None
        line = leg.line
        assert branches.at(line) == (second, leg)
        branches.leave(second)
        assert list(branches) == [first]
        assert branches.at(line) == (second, leg), "keys pressed just before are still on their way"
        async with asyncio.timeout(60):
            while branches.at(line) is not None:
                await asyncio.sleep(0.005)
        branches.end()
        assert stage.open_lines() == 0

    play(tmp_path, scene)


def test_of_two_branches_that_carry_a_party_the_first_opens_it_until_it_leaves(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        branches, (first, second) = Branches(), (carrying(stage), carrying(stage))
        branches.attach(first)
        branches.attach(second)
        assert [(branch, leg.party) for branch, leg in branches.to_open(lambda _: True)] == [
            (first, "caller"),
            (first, "agent"),
        ]
        assert [leg.party for _, leg in branches.to_open(lambda party: party == "agent")] == ["agent"]
        assert branches.to_open(lambda _: False) == []
        branches.leave(first)
        assert {branch for branch, _ in branches.to_open(lambda _: True)} == {second}
        branches.end()

    play(tmp_path, scene)


def test_numbers_are_given_once_and_ladders_are_kept_up_to_a_bound(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        branches = Branches()
        for number in range(MAX_LADDERS + 2):
            branch = Branch(stage.media, stage.services.owners, object(), PlayedSignalling(), address="127.0.0.1")
            branches.attach(branch)
            assert branch.number == number
            branches.leave(branch)
        assert list(branches) == []
        assert len(branches.ladders) == MAX_LADDERS

    play(tmp_path, scene)
