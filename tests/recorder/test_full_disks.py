"""Row 1 of the failure table: disks that are full, read-only or broken, under a recorder whose other parts are real."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from failing import FailingBlobs, FailingJournal, FailingSlices, Order
from mitschnitt.core.gate import State
from mitschnitt.recorder.disk import Disk
from mitschnitt.recorder.session import Session
from mitschnitt.vault.blobs import Blobs, LocalBlobs, MemoryBlobs
from mitschnitt.vault.slice_files import SliceWriter
from mitschnitt.wire.sdp import parse_sdp
from recorder_stage import (
    Stage,
    act,
    asked,
    branch_of,
    decision,
    is_closed,
    joined,
    play,
    ports_of,
    signalled_to,
    state_of,
)
from small_disk import SmallDisk, small_disk

LEAST = 256 * 1024
SEAL_TICKS = 8  # a packet is in the journal then: hold and one tick more
KEPT_CALL = ("arrived", "track", "track", "sealed", "sealed", "closed")
Scene = Callable[[Stage, Disk, SmallDisk], Awaitable[None]]


def on(disk: SmallDisk, scene: Scene, root: Path, *, journal: bool = True, **changes: Any) -> None:
    """A stage whose media journal and sealed files lie on the small disk; with `journal` the event journal too."""

    async def run(stage: Stage) -> None:
        places = [disk.journal, disk.audio]
        looked_at = Disk(places, failures=lambda: stage.media.counts.no_space, least_free_bytes=LEAST)
        stage.hindrance = lambda: looked_at.rule
        await scene(stage, looked_at, disk)

    events = disk.journal if journal else root
    slices = partial(_slices_in, disk.journal)
    play(events, run, **{"blobs": LocalBlobs(disk.audio), "slices_in": slices, **changes})


def _slices_in(directory: Path, _: Path) -> SliceWriter:
    return SliceWriter(directory)


def says(stage: Stage, session: Session, count: int = 5) -> list[bytes]:
    """What the caller says, sealed into the journal and synced."""
    said = stage.voices["clara"].says(ports_of(session)[0], count)
    stage.tick(SEAL_TICKS)
    stage.slices.wait()
    return said


async def closed(stage: Stage, call: str, count: int) -> list[str]:
    """The types of this call's entries once there are so many."""
    found: list[str] = []
    async with asyncio.timeout(60):
        while len(found) < count:
            await asyncio.sleep(0.01)
            found = [entry.type for entry in stage.entries() if entry.call == call]
    return found


def late_call(stage: Stage, number: int = 6) -> Session:
    """A further call of which everybody agrees."""
    session = stage.session()
    told = joined(asked=[asked(start=stage.seconds)])
    stage.link.answer({**told, "call": str(number) * 26})
    at = stage.seconds + 5.5
    stage.seconds += 6
    session.post("act", act("1", at))
    return session


def is_shut(session: Session) -> bool:
    """What the client would be told now, and what it was told last."""
    return is_closed(parse_sdp(session.body(branch_of(session))))


def test_row_1_a_full_disk_ends_the_call_sealed_up_to_there_and_begins_none_until_there_is_room(tmp_path: Path) -> None:
    async def scene(stage: Stage, looked_at: Disk, disk: SmallDisk) -> None:
        session = stage.keeping()
        said = says(stage, session)
        disk.fill()
        lost = stage.voices["clara"].says(ports_of(session)[0], 800)
        stage.tick(SEAL_TICKS)
        assert state_of(session) is State.FAILED
        assert session.decision.rule == "vault.no_space"
        assert is_closed(signalled_to(session).offers[-1])
        assert not stage.holds(lost[0][:12]), "what could not be sealed is wiped"
        kept = stage.media.counts.kept
        stage.voices["clara"].says(ports_of(session)[0], 3)
        stage.tick()
        assert stage.media.counts.kept == kept, "the filter is back"

        looked_at.check()
        late = late_call(stage)
        assert state_of(late) is State.NOT_ASKED
        assert is_shut(late)
        late.ended()
        session.ended()
        await asyncio.sleep(0.05)

        disk.free()
        looked_at.check()
        assert not looked_at.refuses
        assert stage.media.counts.no_space > 0
        assert looked_at.alarms == 1
        assert tuple(await closed(stage, session.call, 6)) == KEPT_CALL
        entries = [entry for entry in stage.entries() if entry.call == session.call]
        assert decision(entries[-1])["rule"] == "vault.no_space"
        assert stage.kept(0)[: len(said)] == said
        assert state_of(late_call(stage, 7)) is State.KEEPING

    with small_disk(tmp_path / "disk") as disk:
        on(disk, scene, tmp_path)


def test_row_1_with_the_journals_on_a_full_disk_an_invite_takes_no_key_and_gets_the_closed_answer(
    tmp_path: Path,
) -> None:
    async def scene(stage: Stage, looked_at: Disk, disk: SmallDisk) -> None:
        disk.fill()
        first = 10
        # The rest of the last page takes some entries; then the disk says so.
        for number in range(first, 60):
            session = stage.session()
            stage.link.answer({**joined(), "call": f"{number}" * 13})
            session.ended()
            await asyncio.sleep(0.005)
            if stage.ledger.refuses:
                break
        assert stage.ledger.refuses
        keys = stage.link.keys_left
        late = late_call(stage)
        assert state_of(late) is State.NOT_ASKED
        assert late.decision.rule == "vault.no_space"
        assert is_shut(late)
        assert stage.link.keys_left == keys
        late.ended()
        disk.free()
        async with asyncio.timeout(60):
            while stage.ledger.refuses:
                await asyncio.sleep(0.01)
        looked_at.check()
        assert state_of(late_call(stage, 7)) is State.KEEPING

    with small_disk(tmp_path / "disk") as disk:
        on(disk, scene, tmp_path)


def test_row_1_a_vault_that_was_made_read_only_gets_its_files_when_it_is_writable(tmp_path: Path) -> None:
    async def scene(stage: Stage, looked_at: Disk, disk: SmallDisk) -> None:
        session = stage.keeping()
        said = stage.voices["clara"].says(ports_of(session)[0], 5)
        stage.tick()
        disk.remount("ro")
        session.ended()
        async with asyncio.timeout(60):
            while not stage.media.counts.no_space:
                await asyncio.sleep(0.01)
        assert looked_at.refuses, "a refused write counts before anybody looks at the disk"
        looked_at.check()
        late = late_call(stage)
        assert state_of(late) is State.NOT_ASKED
        assert is_shut(late)
        late.ended()
        disk.remount("rw")
        looked_at.check()
        assert tuple(await closed(stage, session.call, 6)) == KEPT_CALL
        assert stage.kept(0) == said
        assert state_of(late_call(stage, 7)) is State.KEEPING

    with small_disk(tmp_path / "disk") as disk:
        journal = tmp_path / "journal"
        journal.mkdir()
        on(disk, scene, journal, journal=False, slices_in=SliceWriter)


def test_row_1_a_media_journal_that_was_made_read_only_fails_the_call_and_the_next_is_kept_when_it_is_writable(
    tmp_path: Path,
) -> None:
    async def scene(stage: Stage, looked_at: Disk, disk: SmallDisk) -> None:
        session = stage.keeping()
        stage.voices["clara"].says(ports_of(session)[0], 5)
        disk.remount("ro")
        stage.tick(SEAL_TICKS)
        assert state_of(session) is State.FAILED
        assert looked_at.refuses
        looked_at.check()
        late = late_call(stage)
        assert state_of(late) is State.NOT_ASKED
        disk.remount("rw")
        looked_at.check()
        again = late_call(stage, 7)
        assert state_of(again) is State.KEEPING
        assert says(stage, again)
        again.ended()
        assert tuple(await closed(stage, again.call, 6)) == KEPT_CALL

    with small_disk(tmp_path / "disk") as disk:
        on(disk, scene, tmp_path, journal=False)


WHAT = [("append", 6), ("sync", 3), ("entry", 6), ("journal_sync", 2), ("create", 4), ("write", 6)]
ORDERS = [(what, first) for what, most in [*WHAT, ("commit", 4), ("committed", 4)] for first in range(1, most + 1)]


@pytest.mark.thorough
@pytest.mark.parametrize("what, first", ORDERS)
def test_row_1_an_io_error_at_any_write_sync_or_rename_loses_nothing_that_was_synced(
    tmp_path: Path, what: str, first: int
) -> None:
    """One call of six spoken seconds; whatever fails, every slice that a sync had covered is in its files.

    The journal has its own thread: an entry that fails may be heard of before the call opens, and then it never does.
    """
    order = Order(what, first)
    memory = MemoryBlobs()

    async def scene(stage: Stage) -> None:
        session = stage.keeping()
        await asyncio.sleep(0.02)
        slices = stage.slices
        assert isinstance(slices, FailingSlices)
        for _ in range(6):
            stage.voices["clara"].says(ports_of(session)[0], 2)
            for _ in range(4):
                stage.tick(1)
                slices.settle()
            await asyncio.sleep(0)
        synced = len(slices.synced)
        state = state_of(session)
        session.ended()
        is_open = state is not State.NOT_ASKED
        entries = await closed(stage, session.call, 6 if is_open else 2)
        assert tuple(entries) == (KEPT_CALL if is_open else ("arrived", "closed"))
        assert is_open or what in ("entry", "journal_sync")
        if state is not State.KEEPING:
            assert state in (State.FAILED, State.NOT_ASKED)
            assert session.decision.rule == "vault.no_space"
        told = decision([entry for entry in stage.entries() if entry.type == "closed"][-1])
        payloads = len(stage.kept(0)) if told["outcome"] == "kept" else 0
        assert payloads >= 2 * synced
        assert order.failed == 1, "the order was never carried out"

    play(
        tmp_path,
        scene,
        blobs=FailingBlobs(memory, order),
        slices_in=partial(FailingSlices, order=order),
        writer_in=partial(FailingJournal, order=order),
    )


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EBADF])
def test_row_1_whatever_the_disk_calls_it_the_call_fails_in_order(tmp_path: Path, code: int) -> None:
    order = Order("append", 2, code=code)

    async def scene(stage: Stage) -> None:
        session = stage.keeping()
        said = says(stage, session)
        stage.voices["clara"].says(ports_of(session)[0], 2)
        stage.tick(SEAL_TICKS)
        assert state_of(session) is State.FAILED
        session.ended()
        assert tuple(await closed(stage, session.call, 6)) == KEPT_CALL
        assert stage.kept(0) == said

    play(tmp_path, scene, slices_in=partial(FailingSlices, order=order))


def test_row_1_blobs_that_fail_are_blobs(tmp_path: Path) -> None:
    (tmp_path / "vault").mkdir()
    inner: Blobs = LocalBlobs(tmp_path / "vault")
    blobs = FailingBlobs(inner, Order("nothing", 1))
    writer = blobs.create("a/b")
    writer.write(b"one")
    writer.commit()
    assert inner.read("a/b", 0, 9) == b"one"
