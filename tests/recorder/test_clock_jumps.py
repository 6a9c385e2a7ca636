"""Row 4 of the failure table: the system clock jumps while calls run. Clocks are the test's, all else is real."""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from dialogue import START
from mitschnitt.core.call import decode_call_id
from mitschnitt.core.gate import State
from mitschnitt.recorder.clock import STEADY_NS, SteadyClock
from mitschnitt.recorder.outlook import Outlook
from mitschnitt.recorder.session import Session
from mitschnitt.vault.artefact import Timeline, parse_timeline
from mitschnitt.vault.derive import Kind, artefact_context, artefact_key
from mitschnitt.vault.keytree import leaf_key
from mitschnitt.vault.sealed import HEADER_BYTES, Opener, plain_size, read_range
from recorder_stage import Stage, act, asked, joined, over, play, ports_of, state_of

KEPT_CALL = ("arrived", "track", "track", "sealed", "sealed", "closed")
SECOND = 1_000_000_000


class Wall:
    """The system clock of a stage: it runs with the stage's time until it is set."""

    def __init__(self, stage: Stage) -> None:
        self.stage, self.set_by = stage, 0
        stage.clock = SteadyClock(lambda: stage.now_ns() + self.set_by, stage.now_ns)
        stage.media.clock = stage.clock.now_ns
        stage.services = type(stage.services)(
            stage.media, stage.ledger, stage.services.link, stage.clock, stage.around, stage.address, stage.draws
        )
        self.outlook = Outlook(stage.clock, lambda: stage.seconds)

    def seconds(self, count: int, session: Session | None = None, said: list[bytes] | None = None) -> None:
        """Time goes on; each second the recorder looks at its clock, and the caller speaks."""
        for _ in range(count):
            if session is not None and said is not None:
                said += self.stage.voices["clara"].says(ports_of(session)[0], 1)
            self.stage.tick(4)
            if self.outlook.changed() and session is not None:
                session.look()

    def act(self, session: Session, value: str, *, kind: str = "digit") -> None:
        """The caller acts now, as a gateway with the system's clock posts it."""
        at = self.stage.seconds + self.set_by / SECOND
        session.post("act", act(value, at, kind=kind))


def timeline(stage: Stage, number: int = 0) -> Timeline:
    """The timeline of a party of the stage's only call."""
    (name,) = (name for name in stage.blobs.names() if name.endswith(f"{number}.timeline"))
    opener = Opener(
        artefact_key(leaf_key(stage.link.given[0].node, number), Kind.TIMELINE, number),
        header=stage.blobs.read(name, 0, HEADER_BYTES),
        context=artefact_context(decode_call_id(name.split("/")[1]), number, Kind.TIMELINE),
    )
    size = stage.blobs.size(name)
    stop = plain_size(size)
    return parse_timeline(read_range(opener, lambda a, b: stage.blobs.read(name, a, b), size=size, start=0, stop=stop))


@pytest.mark.thorough
@pytest.mark.parametrize("by_seconds", [1_200, -20, -3_600])
def test_row_4_a_running_call_goes_on_by_monotonic_time_and_the_jump_is_noted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, by_seconds: int
) -> None:
    async def scene(stage: Stage) -> None:
        wall, said = Wall(stage), list[bytes]()
        session = stage.keeping()
        wall.seconds(5, session, said)
        wall.set_by = by_seconds * SECOND
        wall.seconds(STEADY_NS // SECOND + 60, session, said)
        assert stage.clock.steady
        assert state_of(session) is State.KEEPING
        lasted = stage.seconds - 6.0
        await over(stage, session, *KEPT_CALL)
        assert stage.kept(0) == said
        kept = timeline(stage)
        (jump,) = kept.header["clock_jumps"]
        assert jump[1] == by_seconds * 1_000
        begin, end = (datetime.fromisoformat(kept.header[name]) for name in ("started_at", "ended_at"))
        assert abs((end - begin).total_seconds() - lasted) < 0.5
        arrivals = kept.runs["arrival_ns"].tolist()
        steps = [after - before for before, after in zip(arrivals, arrivals[1:], strict=False)]
        assert all(abs(step - SECOND) < SECOND // 100 for step in steps)
        assert abs(arrivals[0] / 1e9 - START.timestamp() - 6.25) < 0.5

    with caplog.at_level(logging.WARNING):
        play(tmp_path, scene)
    assert "the system clock jumped; calls go on, and nothing new begins" in caplog.text
    assert "has been steady for a minute" in caplog.text


@pytest.mark.parametrize("by_seconds", [3_600, -3_600])
def test_row_4_no_new_grant_counts_until_the_clock_was_steady_for_a_minute(tmp_path: Path, by_seconds: int) -> None:
    async def scene(stage: Stage) -> None:
        wall = Wall(stage)
        asking, arrived = stage.session(), stage.session()
        stage.link.answer(joined(asked=[asked()]))
        wall.seconds(6)
        assert state_of(asking) is State.ASKING
        wall.set_by = by_seconds * SECOND
        wall.seconds(1, asking)
        asking.post("act", act("1", 5.5))
        assert state_of(asking) is not State.KEEPING
        assert asking.decision.rule == "clock.unsteady" or state_of(asking) is State.ASKING
        stage.link.answer({**joined(asked=[asked()], acts=[act("1", 5.5)]), "call": "1" * 26})
        assert state_of(arrived) is State.NOT_ASKED
        assert arrived.decision.rule == "clock.unsteady"
        wall.seconds(STEADY_NS // SECOND + 1)
        assert stage.clock.steady
        for session in (asking, arrived):
            session.ended()
        await asyncio.sleep(0.01)
        assert not list(stage.blobs.names())

    play(tmp_path, scene)


@pytest.mark.parametrize("by_seconds", [3_600, -3_600])
def test_row_4_a_withdrawal_counts_whatever_the_clocks_say(tmp_path: Path, by_seconds: int) -> None:
    async def scene(stage: Stage) -> None:
        wall = Wall(stage)
        session = stage.keeping()
        wall.seconds(3, session, [])
        wall.set_by = by_seconds * SECOND
        wall.seconds(2, session, [])
        wall.act(session, "", kind="withdraw")
        assert state_of(session) is State.WITHDRAWN
        assert not list(stage.blobs.names())
        session.ended()
        entries = await stage.journalled("arrived", "track", "track", "shred", "closed")
        assert entries[3].type == "shred"

    play(tmp_path, scene)


def test_row_4_a_pause_across_a_leap_has_its_true_length(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        wall, said = Wall(stage), list[bytes]()
        session = stage.keeping()
        wall.seconds(3, session, said)
        wall.act(session, "*0", kind="pause")
        assert state_of(session) is State.PAUSED
        wall.set_by = 1_200 * SECOND
        wall.seconds(STEADY_NS // SECOND + 5, session)
        wall.act(session, "*0", kind="resume")
        assert state_of(session) is State.KEEPING
        wall.seconds(3, session, said)
        await over(stage, session, *KEPT_CALL)
        ((begin, end),) = timeline(stage).header["pauses"]
        lasted = datetime.fromisoformat(end) - datetime.fromisoformat(begin)
        assert abs(lasted - timedelta(seconds=STEADY_NS // SECOND + 5)) < timedelta(seconds=1)

    play(tmp_path, scene)
