"""The recorder as a process of its own, against a keeper played by the test: waits, serves, ends sealed."""

from __future__ import annotations

import asyncio
import base64
import os
import resource
import secrets
import signal
import socket
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from dialogue import JENS, PROMPT_MS, PROMPT_SHA256
from loopback import own_port, rtp_ports
from mitschnitt.config import parse_config
from mitschnitt.core.consent import StandingGrant
from mitschnitt.core.purpose import TRAINING
from mitschnitt.errors import ConfigError
from mitschnitt.notify import DRAINED
from mitschnitt.recorder.process import Recorder, rtcp_sockets, run_recorder
from mitschnitt.recorder.receiving import way_for
from mitschnitt.recorder.sip_server import SipServer
from mitschnitt.supervisor import REFUSED_TO_START
from mitschnitt.vault.journal_files import JournalReader
from mitschnitt.vault.slice_files import SliceWriter
from mitschnitt.wire.frames import FrameDecoder, pack_frame
from mitschnitt.wire.sdp import parse_sdp
from mitschnitt.wire.sip import events as sip
from mitschnitt.wire.sip.accounts import Accounts, Secret
from mitschnitt.wire.sip.agent import UserAgent
from mitschnitt.wire.sip.config import SRC_FEATURE, AgentConfig
from mitschnitt.wire.sip.digest import Algorithm, secret_of
from mitschnitt.wire.sip.hop import Hop
from recorder_stage import CALL, Voice, is_open, joined, offer, view
from recorder_wire import body

PATIENCE_SECONDS = 60.0  # a start on a busy machine takes two; only a broken test waits so long


def told_now(kind: str) -> dict[str, Any]:
    """The question of a moment ago, or the yes after it."""
    end = datetime.now(UTC) - timedelta(seconds=1)
    if kind == "act":
        return {"party": "caller", "kind": "digit", "value": "1", "at": end.isoformat()}
    begin = end - timedelta(milliseconds=PROMPT_MS)
    played = {"played_ms": PROMPT_MS, "length_ms": PROMPT_MS, "from": begin.isoformat(), "to": end.isoformat()}
    return {"party": "caller", "prompt": "ask-training", "sha256": PROMPT_SHA256, "language": "de", **played}


@dataclass
class PlayedKeeper:
    """Says `ready` when told to, leases keys, and joins every call to one where everybody agreed."""

    path: Path
    heard: list[str] = field(default_factory=list)
    writer: asyncio.StreamWriter | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        decoder = FrameDecoder()
        while data := await reader.read(65_536):
            for message in decoder.feed(data):
                self.heard.append(message["type"])
                self._answer(message)
        writer.close()

    def send(self, message: Mapping[str, Any]) -> None:
        assert self.writer is not None
        self.writer.write(pack_frame(message))

    def ready(self) -> None:
        now = datetime.now(UTC)
        grant = StandingGrant(JENS.id, TRAINING, now - timedelta(days=1), now + timedelta(days=1), "notice")
        self.send({"type": "view", **view(grant).to_json()})
        self.send({"type": "ready", "next_seq": 5, "drawn": {"numbers": {}, "agents": {}, "whole": {}}})

    def _answer(self, message: Mapping[str, Any]) -> None:
        if message["type"] == "lease":
            nodes = [base64.b64encode(bytes([1 + n]) * 32).decode() for n in range(message["count"])]
            self.send({"type": "keys", "block": 1, "first": 0, "nodes": nodes})
        elif message["type"] == "arrived":
            told = joined(asked=[told_now("asked")], acts=[told_now("act")])
            self.send({**told, "token": message["token"]})


@dataclass
class Site:
    """A directory, a keeper, and the recorder's process."""

    directory: Path
    keeper: PlayedKeeper
    sip_port: int
    metrics_port: int
    process: asyncio.subprocess.Process

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not true():
                assert self.process.returncode is None
                await asyncio.sleep(0.01)

    async def ended(self) -> int:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self.process.wait()

    def journal(self) -> list[str]:
        """Types in the event journal."""
        return [entry.type for entry, _, _ in JournalReader(self.directory / "recorder/1/journal").read_from(0, 0)]


class Client:
    """A recording client on a UDP socket of its own."""

    def __init__(self, accounts: Accounts | None = None) -> None:
        self.descriptions: list[Any] = []
        self.statuses: list[int] = []
        self.intervals: list[str | None] = []  # session timers, as the recorder answered
        self.byes = 0
        self.dialog = ""
        words = AgentConfig(feature=SRC_FEATURE)
        self.agent = UserAgent(words, lambda: secrets.token_hex(8), accounts=accounts)
        self.shell = SipServer(self.agent, self._take)

    def hang_up(self) -> None:
        self.agent.bye(self.dialog, now=self.shell.now)
        self.shell.flush()

    def invite(self, port: int) -> None:
        kind, data = body(offer("1", "2"))
        self.agent.invite(
            f"sip:recorder@127.0.0.1:{port}",
            Hop("UDP", "127.0.0.1", port),
            now=self.shell.now,
            sender="sip:client@127.0.0.1",
            body=data,
            content_type=kind,
            headers=(("Require", "siprec"),),
        )
        self.shell.flush()

    def _take(self, event: sip.SipEvent) -> None:
        if isinstance(event, sip.ResponseReceived):
            self.dialog = event.dialog or self.dialog
            self.statuses.append(event.response.status)
        if isinstance(event, sip.ResponseReceived) and event.response.status == 200 and event.response.body:
            self.descriptions.append(parse_sdp(event.response.body))
            self.intervals.append(event.response.headers.get("Session-Expires"))
        elif isinstance(event, sip.ByeReceived):
            self.byes += 1


def takes_tcp(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


# As the supervisor starts it; the answer to an INVITE waits until the keeper of the test has said what it knows. After
# the 20 ms of a real one it would be the closed form on a busy machine, and the open one would follow.
RECORDER = """
import sys
from mitschnitt.processes import main
from mitschnitt.recorder import calls
calls.ANSWER_AFTER_SECONDS = 1.0
sys.exit(main(sys.argv[1:]))
"""


async def start(directory: Path, number: int = 1) -> asyncio.subprocess.Process:
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", RECORDER, "recorder", str(directory), str(number)]
    return await asyncio.create_subprocess_exec(*command, env=paths, stderr=asyncio.subprocess.PIPE)


def account(user: str) -> Secret:
    return Secret(user, "r", Algorithm.SHA256, secret_of(Algorithm.SHA256, user, "r", "opensesame"))


def write_users(directory: Path, *users: str) -> None:
    path = directory / "secrets/sip-users"
    path.parent.mkdir(exist_ok=True)
    path.touch(mode=0o600)
    path.write_text("".join(f"{user}:r:SHA-256:{account(user).ha1}\n" for user in users))


def on_site(scene: Callable[[Site], Awaitable[None]], *, sip_keys: str = "") -> None:
    async def run() -> None:
        with tempfile.TemporaryDirectory() as place:  # short enough for a Unix socket's name
            directory, port, metrics = Path(place), own_port(), own_port()
            (directory / "run").mkdir()
            (directory / "audio/training").mkdir(parents=True)
            rtp = "[rtp]\nfirst_port = {}\nlast_port = {}\n".format(*rtp_ports())
            (directory / "config.toml").write_text(
                f"[sip]\nport = {port}\nsession_expires_s = 400\n{sip_keys}\n{rtp}[metrics]\nport = {metrics}\n",
                encoding="utf-8",
            )
            write_users(directory, "before")
            keeper = PlayedKeeper(directory / "run/keeper.sock")
            server = await asyncio.start_unix_server(keeper.serve, str(keeper.path))
            site = Site(directory, keeper, port, metrics + 1, await start(directory))
            try:
                await scene(site)
            finally:
                if site.process.returncode is None:
                    site.process.kill()
                    await site.process.wait()
                server.close()

    asyncio.run(run())


def test_it_waits_for_the_keeper_serves_a_call_and_ends_sealed_on_request() -> None:
    async def scene(site: Site) -> None:
        await site.until(lambda: "hello" in site.keeper.heard)
        assert not takes_tcp(site.sip_port)
        site.keeper.ready()
        await site.until(lambda: takes_tcp(site.sip_port))
        client = Client()
        await client.shell.start("127.0.0.1", 0)
        client.invite(site.sip_port)
        await site.until(lambda: bool(client.descriptions))
        assert is_open(client.descriptions[0])  # asked and agreed before it came
        assert client.intervals[0] == "400;refresher=uac"
        voice = Voice("clara")
        voice.says(client.descriptions[0].lines[0].port, 5)
        site.process.send_signal(signal.SIGTERM)
        assert await site.ended() == 0
        assert site.journal() == ["arrived", "track", "track", "sealed", "sealed", "closed"]
        assert len(list((site.directory / "audio/training").rglob(f"{CALL}/*"))) == 4
        assert list((site.directory / "recorder/1/journal").glob("*.sec")) == []
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not client.byes or "ended" not in site.keeper.heard:
                await asyncio.sleep(0.01)
        assert site.process.stderr is not None
        log = (await site.process.stderr.read()).decode()
        assert '"event": "ready"' in log
        assert not any(word in log for word in (CALL, "consent", "49305550", "error"))
        voice.close()
        await client.shell.stop()

    on_site(scene)


@pytest.mark.thorough
def test_figures_health_and_readiness_are_served_and_a_drain_lets_the_call_go_on() -> None:
    async def scene(site: Site) -> None:
        await site.until(lambda: "hello" in site.keeper.heard)
        site.keeper.ready()
        await site.until(lambda: takes_tcp(site.sip_port))
        health = f"http://127.0.0.1:{site.metrics_port}"
        await site.until(lambda: takes_tcp(site.metrics_port))  # it listens for calls before it says that it is ready
        async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE_SECONDS) as http:
            assert (await http.get(f"{health}/healthz")).json() == {"alive": True, "reasons": []}
            assert (await http.get(f"{health}/readyz")).json() == {"ready": True, "reasons": []}
            client, late = Client(), Client()
            await client.shell.start("127.0.0.1", 0)
            await late.shell.start("127.0.0.1", 0)
            client.invite(site.sip_port)
            await site.until(lambda: bool(client.descriptions))
            shown = ""
            async with asyncio.timeout(PATIENCE_SECONDS):
                while "mitschnitt_recorder_calls 1.0\n" not in shown:  # a page is made anew once a second
                    shown = (await http.get(f"{health}/metrics")).text
                    await asyncio.sleep(0.05)
            assert "mitschnitt_recorder_packets_kept_total 0.0\n" in shown
            site.keeper.send({"type": "drain", "within_s": 600})
            await site.until(lambda: "draining" in site.keeper.heard)
            refused = await http.get(f"{health}/readyz")
            assert (refused.status_code, refused.json()) == (503, {"ready": False, "reasons": ["draining"]})
        late.invite(site.sip_port)
        await site.until(lambda: late.statuses == [503])
        voice = Voice("clara")
        voice.says(client.descriptions[0].lines[0].port, 5)
        client.hang_up()
        assert await site.ended() == DRAINED
        assert site.journal() == ["arrived", "track", "track", "sealed", "sealed", "closed"]
        voice.close()
        for shell in (client.shell, late.shell):
            await shell.stop()

    on_site(scene)


@pytest.mark.thorough
def test_a_drain_whose_time_is_up_ends_the_calls_sealed() -> None:
    async def scene(site: Site) -> None:
        await site.until(lambda: "hello" in site.keeper.heard)
        site.keeper.ready()
        await site.until(lambda: takes_tcp(site.sip_port))
        client = Client()
        await client.shell.start("127.0.0.1", 0)
        client.invite(site.sip_port)
        await site.until(lambda: bool(client.descriptions))
        site.keeper.send({"type": "drain", "within_s": 0})
        assert await site.ended() == DRAINED
        assert site.journal()[-1] == "closed"
        await client.shell.stop()

    on_site(scene)


@pytest.mark.thorough
def test_a_drain_that_was_wanted_before_the_start_is_one() -> None:
    async def scene(site: Site) -> None:
        await site.until(lambda: "hello" in site.keeper.heard)
        site.keeper.send({"type": "drain", "within_s": 600})
        site.keeper.ready()
        assert await site.ended() == DRAINED

    on_site(scene)


@pytest.mark.thorough
def test_whoever_is_no_user_is_turned_away_and_a_new_user_needs_no_restart() -> None:
    async def scene(site: Site) -> None:
        await site.until(lambda: "hello" in site.keeper.heard)
        site.keeper.ready()
        await site.until(lambda: takes_tcp(site.sip_port))
        stranger, later = Client(), Client(Accounts([account("later")]))
        for client in (stranger, later):
            await client.shell.start("127.0.0.1", 0)
            client.invite(site.sip_port)
        await site.until(lambda: stranger.statuses == later.statuses == [401])
        write_users(site.directory, "before", "later")
        while not later.descriptions:
            later.invite(site.sip_port)
            await site.until(lambda: later.statuses[-1] in (401, 200))
            await asyncio.sleep(0.2)
        assert stranger.statuses == [401]
        site.process.send_signal(signal.SIGTERM)
        assert await site.ended() == 0
        assert site.process.stderr is not None
        log = (await site.process.stderr.read()).decode()
        assert "read anew" in log
        assert not any(word in log for word in ("later", account("later").ha1, "error"))
        for client in (stranger, later):
            await client.shell.stop()

    on_site(scene, sip_keys='digest_realm = "r"')


@pytest.mark.thorough
def test_without_its_file_of_users_a_recorder_that_asks_for_them_does_not_start() -> None:
    async def scene(site: Site) -> None:
        assert await site.ended() == REFUSED_TO_START
        assert site.process.stderr is not None
        assert b"expected realm elsewhere" in await site.process.stderr.read()

    on_site(scene, sip_keys='digest_realm = "elsewhere"')


@pytest.mark.thorough
def test_before_the_keeper_is_ready_it_ends_at_once() -> None:
    async def scene(site: Site) -> None:
        await site.until(lambda: "hello" in site.keeper.heard)
        site.process.send_signal(signal.SIGTERM)
        assert await site.ended() == 0

    on_site(scene)


@pytest.mark.thorough
def test_a_sip_port_that_somebody_has_is_a_refusal_to_start() -> None:
    async def scene(site: Site) -> None:
        with socket.socket() as other:
            other.bind(("127.0.0.1", site.sip_port))
            other.listen()
            await site.until(lambda: "hello" in site.keeper.heard)
            site.keeper.ready()
            assert await site.ended() == REFUSED_TO_START
        assert site.process.stderr is not None
        assert b"SIP cannot be bound" in await site.process.stderr.read()

    on_site(scene)


@pytest.mark.parametrize("number", [0, 2])
def test_a_recorder_that_is_not_configured_is_refused(tmp_path: Path, number: int) -> None:
    with pytest.raises(ConfigError, match="allows 1 to 1"):
        run_recorder(parse_config("", tmp_path), number)


@pytest.mark.parametrize(
    ("limit", "left"), [(resource.RLIM_INFINITY, 1_000), (20_000, 18_744), (1_300, 44), (1_000, 0)]
)
def test_rtcp_gets_the_open_files_that_rtp_leaves(limit: int, left: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    assert rtcp_sockets(1_000) == left


@pytest.mark.parametrize("told", ["signalled", "first"])
def test_whose_packets_count_is_as_configured(tmp_path: Path, told: str) -> None:
    config = parse_config(f'[rtp]\nsource = "{told}"', tmp_path)
    config.audio.mkdir(parents=True)
    writer = SliceWriter(tmp_path)
    media = Recorder(config, 1)._media(writer, way_for(config, 1))
    assert media.lines.sourcing == told
    media.close()
    writer.close()
