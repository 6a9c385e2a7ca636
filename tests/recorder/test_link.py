"""The recorder's end of the keeper's socket, against a small server that speaks frames and remembers."""

from __future__ import annotations

import asyncio
import base64
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from mitschnitt.errors import KeyGone, MalformedPacket
from mitschnitt.recorder.link import KeeperLink
from mitschnitt.wire.frames import FrameDecoder, pack_frame

BLOCK = 4  # keys in one lease
PATIENCE_SECONDS = 60.0  # until a test gives up; nothing waits that long when it works
REFS = [{"kind": "sip_call_id", "value": "a@b"}]


class Keeper:
    """Answers `hello` with `ready`, leases keys when `leases`, and remembers what came."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.heard: list[dict[str, Any]] = []
        self.hellos = 0
        self.leases = True
        self._given = 0
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []

    async def start(self) -> None:
        self._server = await asyncio.start_unix_server(self._serve, str(self.path))

    async def stop(self) -> None:
        self.hang_up()
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
        self.path.unlink(missing_ok=True)

    def hang_up(self) -> None:
        for writer in self._writers:
            writer.close()
        self._writers.clear()

    def send(self, message: Mapping[str, Any]) -> None:
        self.send_bytes(pack_frame(message))

    def send_bytes(self, data: bytes) -> None:
        self._writers[-1].write(data)

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.heard if message["type"] == kind]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        decoder = FrameDecoder()
        while data := await reader.read(65_536):
            for message in decoder.feed(data):
                self.heard.append(message)
                self._answer(message)

    def _answer(self, message: Mapping[str, Any]) -> None:
        if message["type"] == "hello":
            self.hellos += 1
            self.send({"type": "ready", "next_seq": 17, "drawn": {"numbers": {}, "agents": {}, "whole": {}}})
        elif message["type"] == "lease" and self.leases:
            self.send(keys(self._given, message["count"]))
            self._given += int(message["count"])


def keys(first: int, count: int) -> dict[str, Any]:
    nodes = [base64.b64encode(bytes([first + number]) * 32).decode() for number in range(count)]
    return {"type": "keys", "block": 3, "first": first, "nodes": nodes}


class Events:
    """What the link tells its recorder."""

    def __init__(self) -> None:
        self.views: list[int] = []
        self.facts: list[tuple[str, Mapping[str, Any]]] = []
        self.trials: list[Mapping[str, Any]] = []
        self.live: list[str] = []
        self.drains: list[float] = []
        self.drawn: list[Mapping[str, Any]] = []

    def drawn_before(self, data: Mapping[str, Any]) -> None:
        self.drawn.append(data)

    def live_draws(self) -> Mapping[str, Mapping[str, Any]]:
        return {call: {"n": 1} for call in self.live}

    def drain_wanted(self, within_s: float) -> None:
        self.drains.append(within_s)

    def view_changed(self, data: Mapping[str, Any]) -> None:
        if data["version"] < 0:
            raise MalformedPacket("a version is never negative")
        self.views.append(data["version"])

    def fact_posted(self, kind: str, data: Mapping[str, Any]) -> None:
        self.facts.append((kind, data))

    def trial_wanted(self, data: Mapping[str, Any]) -> None:
        self.trials.append(data)

    def live_calls(self) -> Sequence[str]:
        return self.live


class Scene:
    """A keeper, a link, and what was counted as bad."""

    def __init__(self, keeper: Keeper) -> None:
        self.keeper, self.events, self.bad = keeper, Events(), 0
        self.link = KeeperLink(keeper.path, self.events, recorder=2, boot="b1", lease_block=BLOCK, on_bad=self._count)

    def _count(self) -> None:
        self.bad += 1

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not true():
                await asyncio.sleep(0.002)

    async def leased(self) -> None:
        """Until the first keys are here."""
        await self.until(lambda: self.link.connected and bool(self.link._keys))


def play(scene: Callable[[Scene], Awaitable[None]], *, keeper: bool = True) -> None:
    """Runs a scene with a link that retries soon."""

    async def run() -> None:
        with tempfile.TemporaryDirectory() as directory:
            stage = Scene(Keeper(Path(directory) / "keeper.sock"))
            if keeper:
                await stage.keeper.start()
            running = asyncio.create_task(stage.link.run())
            try:
                await scene(stage)
                assert not running.done()
            finally:
                running.cancel()
                await asyncio.wait([running])
                await stage.keeper.stop()

    asyncio.run(run())


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mitschnitt.recorder.link.RETRY_SECONDS", 0.01)
    monkeypatch.setattr("mitschnitt.recorder.link.ANSWER_SECONDS", PATIENCE_SECONDS)  # nobody's answer comes too late


def test_it_says_who_it_is_and_which_calls_it_holds_and_learns_the_next_seq() -> None:
    async def scene(stage: Scene) -> None:
        stage.events.live = ["A" * 26]
        assert await stage.link.ready == 17
        hello = {"type": "hello", "recorder": 2, "boot": "b1", "live": ["A" * 26]}
        assert stage.keeper.heard[0] == hello | {"draws": {"A" * 26: {"n": 1}}}
        assert stage.events.drawn == [{"numbers": {}, "agents": {}, "whole": {}}]  # before it draws anything

    play(scene)


def test_a_keeper_that_comes_late_or_again_is_found_and_told_the_running_calls() -> None:
    async def scene(stage: Scene) -> None:
        assert not stage.link.connected
        await stage.keeper.start()
        await stage.link.ready
        stage.events.live = ["B" * 26]
        stage.keeper.hang_up()
        await stage.until(lambda: stage.keeper.hellos == 2)
        assert stage.keeper.of("hello")[-1]["live"] == ["B" * 26]

    play(scene, keeper=False)


def test_each_leased_key_is_given_once_and_more_are_asked_for_in_time() -> None:
    async def scene(stage: Scene) -> None:
        await stage.leased()
        taken = [stage.link.take_key() for _ in range(3)]
        await stage.until(lambda: len(stage.keeper.of("lease")) == 2)
        taken += [stage.link.take_key()]
        assert [key.index for key in taken] == [0, 1, 2, 3]
        assert taken[2].node == bytes([2]) * 32
        assert taken[0].block == 3

    play(scene)


def test_without_a_leased_key_there_is_none() -> None:
    async def scene(stage: Scene) -> None:
        stage.keeper.leases = False
        await stage.link.ready
        with pytest.raises(KeyGone, match="no leased call key"):
            stage.link.take_key()

    play(scene)


def test_a_block_with_a_broken_key_gives_none_of_its_keys() -> None:
    async def scene(stage: Scene) -> None:
        stage.keeper.leases = False
        await stage.link.ready
        broken = keys(0, 3)
        broken["nodes"][2] = base64.b64encode(bytes(31)).decode()
        stage.keeper.send(broken)
        await stage.until(lambda: stage.bad == 1)
        with pytest.raises(KeyGone):
            stage.link.take_key()

    play(scene)


def test_a_view_is_acknowledged_once_it_was_believed_and_a_bad_one_never() -> None:
    async def scene(stage: Scene) -> None:
        await stage.link.ready
        stage.keeper.send({"type": "view", "version": -1})
        stage.keeper.send({"type": "view", "version": 5})
        await stage.until(lambda: bool(stage.keeper.of("ack")))
        assert stage.events.views == [5]
        assert stage.keeper.of("ack") == [{"type": "ack", "version": 5}]
        assert stage.bad == 1

    play(scene)


def test_an_answer_is_heard_before_the_facts_that_follow_it() -> None:
    async def scene(stage: Scene) -> None:
        await stage.link.ready
        heard: list[object] = []
        stage.link.join(REFS, lambda joined: heard.append((joined, list(stage.events.facts))))
        await stage.until(lambda: bool(stage.keeper.of("arrived")))
        asked = stage.keeper.of("arrived")[0]
        assert asked["refs"] == REFS
        joined = {"type": "joined", "token": asked["token"], "call": "C"}
        fact = {"type": "act", "call": "C"}
        stage.keeper.send_bytes(pack_frame(joined) + pack_frame(fact))
        await stage.until(lambda: bool(stage.events.facts))
        assert heard == [(joined, [])]
        assert stage.events.facts == [("act", fact)]

    play(scene)


def test_a_test_call_that_is_awaited_is_no_fact_of_a_call() -> None:
    async def scene(stage: Scene) -> None:
        await stage.link.ready
        watch = {"type": "watch", "token": "t", "host": "192.0.2.1", "caller": "", "seconds": 60}
        stage.keeper.send(watch)
        await stage.until(lambda: bool(stage.events.trials))
        assert stage.events.trials == [watch]
        assert stage.events.facts == []

    play(scene)


def test_a_drain_is_handed_on_and_a_broken_one_is_told() -> None:
    async def scene(stage: Scene) -> None:
        await stage.link.ready
        stage.keeper.send({"type": "drain"})
        stage.keeper.send({"type": "drain", "within_s": 900})
        await stage.until(lambda: bool(stage.events.drains))
        assert stage.events.drains == [900.0]
        assert stage.events.facts == []

    play(scene)


def test_without_an_answer_in_time_the_waiting_call_hears_that_none_came(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mitschnitt.recorder.link.ANSWER_SECONDS", 0.05)

    async def scene(stage: Scene) -> None:
        await stage.link.ready
        heard: list[object] = []
        stage.link.join(REFS, heard.append)
        await stage.until(lambda: bool(heard))
        assert heard == [None]

    play(scene)


def test_a_keeper_that_goes_away_answers_none_to_all_who_wait() -> None:
    async def scene(stage: Scene) -> None:
        await stage.link.ready
        heard: list[object] = []
        stage.link.join(REFS, heard.append)
        stage.link.join(REFS, heard.append)
        stage.keeper.hang_up()
        await stage.until(lambda: len(heard) == 2)
        assert heard == [None, None]

    play(scene)


def test_with_no_keeper_a_join_is_answered_none_but_not_before_it_returned() -> None:
    async def scene(stage: Scene) -> None:
        heard: list[object] = []
        stage.link.join(REFS, heard.append)
        assert heard == []
        await stage.until(lambda: bool(heard))
        assert heard == [None]

    play(scene, keeper=False)


def test_a_join_that_came_too_late_is_given_back() -> None:
    async def scene(stage: Scene) -> None:
        await stage.link.ready
        stage.keeper.send({"type": "joined", "token": "b1-99", "call": "D"})
        await stage.until(lambda: bool(stage.keeper.of("ended")))
        assert stage.keeper.of("ended") == [{"type": "ended", "call": "D"}]

    play(scene)


def test_bytes_that_are_no_frames_cost_the_connection_and_a_new_one_is_made() -> None:
    async def scene(stage: Scene) -> None:
        await stage.link.ready
        stage.keeper.send_bytes(b"\x00\x00\x00\x03abc")
        await stage.until(lambda: stage.keeper.hellos == 2)
        assert stage.bad == 1

    play(scene)


def test_what_cannot_be_sent_is_said_to_be_unsent() -> None:
    async def scene(stage: Scene) -> None:
        assert not stage.link.send({"type": "poke"})
        stage.link.poke()
        await stage.link.drained()
        assert stage.keeper.heard == []

    play(scene, keeper=False)
