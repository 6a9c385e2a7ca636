"""The end of kept calls: full disks, withdrawals on the way, and one last word in the journal."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path
from typing import Any

import pytest

from mitschnitt.core.gate import State
from mitschnitt.errors import NoSpace, VaultError
from recorder_stage import (
    Stage,
    act,
    decision,
    joined,
    over,
    play,
    ports_of,
    state_of,
)


def test_a_journal_that_cannot_be_written_ends_running_calls_and_begins_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(stage: Stage) -> None:
        session = stage.keeping()
        await stage.journalled("arrived", "track", "track")
        full, real = [True], os.fdatasync

        def refusing(descriptor: int) -> None:
            if full and ".jnl" in Path(f"/proc/self/fd/{descriptor}").readlink().name:
                raise OSError(errno.ENOSPC, "full")
            real(descriptor)

        monkeypatch.setattr(os, "fdatasync", refusing)
        late = stage.session()
        stage.link.answer({**joined(), "call": "0" * 26})
        async with asyncio.timeout(60):
            while not stage.ledger.refuses:
                await asyncio.sleep(0.005)
        session.look()
        late.look()
        assert state_of(session) is State.FAILED
        assert state_of(late) is State.NOT_ASKED
        full.clear()
        late.ended()
        session.ended()
        await session.sealed()
        async with asyncio.timeout(60):
            while [entry.type for entry in stage.entries()].count("closed") < 2:
                await asyncio.sleep(0.005)
        assert stage.open_lines() == 0

    play(tmp_path, scene)


def test_a_full_disk_is_tried_again_until_the_files_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(stage: Stage) -> None:
        session = stage.keeping()
        said = stage.voices["clara"].says(ports_of(session)[0], 2)
        tries, real = [], stage.blobs.create

        def refusing(name: str) -> Any:
            tries.append(name)
            if len(tries) < 4:
                raise NoSpace("full")
            return real(name)

        monkeypatch.setattr(stage.blobs, "create", refusing)
        await over(stage, session, "arrived", "track", "track", "sealed", "sealed", "closed")
        assert stage.kept(0) == said

    play(tmp_path, scene)


def test_a_withdrawal_while_the_files_are_written_leaves_none_and_one_last_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(stage: Stage) -> None:
        tries: list[str] = []

        def refusing(name: str) -> Any:
            tries.append(name)
            raise NoSpace("full")

        session = stage.keeping()
        stage.voices["clara"].says(ports_of(session)[0], 2)
        tracks = list(session._recording.tracks.values())
        monkeypatch.setattr(stage.blobs, "create", refusing)
        session.ended()
        async with asyncio.timeout(60):
            while not tries:
                await asyncio.sleep(0.005)
        session.post("withdraw", act("", 7, kind="withdraw"))
        session.post("withdraw", act("", 8, kind="withdraw"))
        assert [track.leaf_key for track in tracks] == [b"", b""]
        told = await over(stage, session, "arrived", "track", "track", "shred", "closed")
        assert (told["outcome"], told["rule"]) == ("not_kept", "consent.withdrawn")

    play(tmp_path, scene)


def test_a_withdrawal_pressed_just_before_hanging_up_counts(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        session = stage.keeping()
        stage.tick()
        stage.voices["clara"].says(ports_of(session)[0], 2)
        stage.voices["clara"].presses(ports_of(session)[0], "*9")
        session.ended()  # before any drain
        stage.tick()
        told = await over(stage, session, "arrived", "track", "track", "shred", "closed")
        assert told["rule"] == "consent.withdrawn"
        assert list(stage.blobs.names()) == []

    play(tmp_path, scene)


def test_a_withdrawal_after_the_last_word_journals_nothing_more(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        session = stage.keeping()
        session.failed("vault.no_space")
        assert state_of(session) is State.FAILED
        await session.sealed()
        entries = await stage.journalled("arrived", "track", "track", "sealed", "sealed", "closed")
        assert decision(entries[-1])["rule"] == "vault.no_space"
        session.post("withdraw", act("", 8, kind="withdraw"))
        assert state_of(session) is State.WITHDRAWN
        await over(stage, session, "arrived", "track", "track", "sealed", "sealed", "closed")

    play(tmp_path, scene)


def test_an_end_that_fails_releases_its_lines_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        def failing(*_: Any, **__: Any) -> Any:
            raise VaultError("not now")

        session = stage.keeping()
        monkeypatch.setattr(stage.media, "finish", failing)
        await over(stage, session, "arrived", "track", "track")
        assert stage.open_lines() == 0

    play(tmp_path, scene)
