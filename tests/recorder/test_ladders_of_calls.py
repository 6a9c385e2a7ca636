"""What became of a call does not show in what is journalled of it: ladders of calls that were not kept are sealed."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from mitschnitt.vault.decision import open_decision
from mitschnitt.vault.journal import Entry
from mitschnitt.wire.sip.ladder import Ladder, ladder_from_json
from recorder_stage import CALL, OFFICER, act, asked, joined, ports_of, view
from recorder_wire import Wire, wired

Scene = Callable[[Wire], Awaitable[None]]


async def begun(wire: Wire, **told: Any) -> str:
    """A call that is joined and answered; the client's dialog."""
    wire.stage.link.answers = lambda: joined(asked=[asked()], **told)
    dialog = wire.invite()
    await wire.answered()
    wire.stage.seconds = 6.0
    return dialog


async def not_asked(wire: Wire) -> None:
    wire.stage.link.answers = lambda: {"type": "joined", "call": None, "rule": "call.unmatched"}
    dialog = wire.invite()
    await wire.answered()
    wire.bye(dialog)


async def refused_by_the_caller(wire: Wire) -> None:
    dialog = await begun(wire)
    wire.calls.fact_posted("act", {"call": CALL, **act("2", 5.5)})
    wire.bye(dialog)


async def refused_by_the_agent(wire: Wire) -> None:
    wire.stage.view = view()  # no standing grant of anybody
    dialog = await begun(wire)
    wire.bye(dialog)


async def withdrawn(wire: Wire) -> None:
    await begun(wire)
    wire.calls.fact_posted("act", {"call": CALL, **act("1", 5.5)})
    wire.flush()
    wire.calls.fact_posted("withdraw", {"call": CALL, **act("", 6.3, kind="withdraw")})
    wire.flush()


async def kept(wire: Wire) -> None:
    dialog = await begun(wire)
    wire.calls.fact_posted("act", {"call": CALL, **act("1", 5.5)})
    wire.flush()
    wire.stage.voices["clara"].says(ports_of(wire.session)[0], 2)
    wire.stage.tick()
    wire.pair.now += 2.0
    wire.bye(dialog)


def closed_entry(directory: Path, scene: Scene) -> Entry:
    """The `closed` entry that a scene leaves behind."""
    found: list[Entry] = []

    async def play(wire: Wire) -> None:
        await scene(wire)
        await wire.until(lambda: wire.clean and [entry.type for entry in wire.stage.entries()][-1:] == ["closed"])
        found.append(wire.stage.entries()[-1])

    directory.mkdir()
    wired(directory, play)
    return found[0]


def words(ladder: Ladder) -> list[str]:
    return [f"{rung.way} {rung.status or ''}{rung.method} {rung.flow}".strip() for rung in ladder.rungs]


def opened(entry: Entry) -> dict[str, Any]:
    return open_decision(OFFICER.private_bytes_raw(), entry.call, base64.b64decode(entry.data["decision"]))


NOT_KEPT: list[Scene] = [not_asked, refused_by_the_caller, refused_by_the_agent, withdrawn]


def test_entries_of_calls_that_were_not_kept_differ_in_what_is_sealed_only(tmp_path: Path) -> None:
    entries = [closed_entry(tmp_path / scene.__name__, scene) for scene in NOT_KEPT]
    assert {tuple(entry.data) for entry in entries} == {("decision", "kept", "pages")}
    assert {entry.data["kept"] for entry in entries} == {False}
    assert len({len(entry.data["decision"]) for entry in entries}) == 1
    assert len({tuple((who, len(page)) for who, page in entry.data["pages"].items()) for entry in entries}) == 1


@pytest.mark.parametrize(
    "scene, messages",
    [(not_asked, 6), (refused_by_the_caller, 6), (refused_by_the_agent, 6), (withdrawn, 14)],
)
def test_the_officers_key_opens_the_ladder_of_a_call_that_was_not_kept(
    tmp_path: Path, scene: Scene, messages: int
) -> None:
    (ladder,) = opened(closed_entry(tmp_path / "journal", scene))["ladders"]
    found = words(ladder_from_json(ladder))
    assert found[:4] == ["in INVITE sendonly", "out 100INVITE", "out 200INVITE closed", "in ACK"]
    assert len(found) == messages


def test_of_a_kept_call_the_ladder_stands_beside_the_decision_and_in_it(tmp_path: Path) -> None:
    entry = closed_entry(tmp_path / "journal", kept)
    assert entry.data["kept"] is True
    (ladder,) = entry.data["ladders"]
    assert opened(entry)["ladders"] == [ladder]
    read = ladder_from_json(ladder)
    assert words(read) == [
        "in INVITE sendonly",
        "out 100INVITE",
        "out 200INVITE closed",
        "in ACK",
        "out INVITE recvonly",
        "in 100INVITE",
        "in 200INVITE sendonly",
        "out ACK",
        "in BYE",
        "out 200BYE",
    ]
    assert [rung.after_ms for rung in read.rungs][-2:] == [2000, 2000]
    assert read.rungs[0].metadata
    assert read.began_at == "2026-11-23T09:30:00.000000Z"
