"""One recorder as a process: SIP, RTP and sessions on one loop; no database, no key tree.

Nothing is answered before the keeper said `ready`: what a former life left behind is sealed first.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import resource
import secrets
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import uvloop

from mitschnitt.config import Config
from mitschnitt.errors import ConfigError, NoSpace
from mitschnitt.hardening import harden
from mitschnitt.log import log_to_stderr
from mitschnitt.notify import DRAINED, notify
from mitschnitt.recorder.calls import Calls
from mitschnitt.recorder.clock import SteadyClock
from mitschnitt.recorder.disk import Disk
from mitschnitt.recorder.drain import Drain
from mitschnitt.recorder.draws import Draws
from mitschnitt.recorder.figures import TABLE, Parts, alive, read, ready
from mitschnitt.recorder.ledger import Ledger
from mitschnitt.recorder.link import KeeperLink
from mitschnitt.recorder.media import Media
from mitschnitt.recorder.outlook import Outlook
from mitschnitt.recorder.ports import SPARE_FILES
from mitschnitt.recorder.receiving import Way, told_at, way_for
from mitschnitt.recorder.session import Services
from mitschnitt.recorder.sip_accounts import UsersFile, read_secrets
from mitschnitt.recorder.sip_server import Ports, SipServer
from mitschnitt.recorder.sources import Sourcing
from mitschnitt.recorder.tls import Tls, TlsFiles
from mitschnitt.telemetry.metrics import Page
from mitschnitt.telemetry.process import ProcessFigures
from mitschnitt.telemetry.server import Condition, TelemetryServer
from mitschnitt.vault.blobs import LocalBlobs
from mitschnitt.vault.journal_files import JournalWriter
from mitschnitt.vault.slice_files import SliceWriter
from mitschnitt.wire.sip.accounts import Accounts
from mitschnitt.wire.sip.agent import UserAgent
from mitschnitt.wire.sip.authentication import KEY_BYTES, Authenticator
from mitschnitt.wire.sip.config import AgentConfig
from mitschnitt.wire.sip.digest import Algorithm

WATCH_SECONDS = 1.0  # between two looks at clock and age of the view; a stale view shuts at most this much later
GARBAGE_OBJECTS = 50_000  # made and not freed before garbage is looked for; Python's own 700 are a part of one call
TOKEN_BYTES = 12  # of tags and branches (RFC 3261, 19.3 asks for 32 bits at least)

log = logging.getLogger("mitschnitt.recorder")


def run_recorder(config: Config, number: int) -> int:
    """Until SIGTERM: 0 when every call ended sealed. ConfigError when it cannot be started as configured."""
    if not 1 <= number <= config.limits.recorders:
        raise ConfigError(f"recorder {number}: [limits] `recorders` allows 1 to {config.limits.recorders}")
    log_to_stderr(f"recorder-{number}")
    harden()
    # Every line is a socket; the soft limit of a login shell (1,024) would end at 500 calls.
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    # What is here now stays; what a call makes lives for half a minute, so looking for garbage often finds none.
    gc.freeze()
    gc.set_threshold(GARBAGE_OBJECTS, 10, 10)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(Recorder(config, number).run())


def _token() -> str:
    return secrets.token_hex(TOKEN_BYTES)


def rtcp_sockets(rtp_sockets: int) -> int:
    """How many sockets RTCP may take: what the limit on open files leaves beside RTP, which must never want."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return rtp_sockets if limit == resource.RLIM_INFINITY else max(0, limit - rtp_sockets - SPARE_FILES)


class Recorder:
    """Builds the parts and keeps their common view of the world."""

    def __init__(self, config: Config, number: int) -> None:
        self._config = config
        self._number = number
        self._clock = SteadyClock()
        self._outlook = Outlook(self._clock, time.monotonic, hindrance=lambda: self._disk.rule if self._disk else "")
        self._disk: Disk | None = None
        self._looking: asyncio.Future[None] | None = None
        self._calls = Calls(call_header=config.sip.call_header, max_calls=config.sip.max_calls)
        self._draws = Draws(f"recorder-{number}")
        self._users = UsersFile(config.sip_users)
        self._authenticator = self._doorkeeper()
        self._drain = Drain(self._calls, time.monotonic)
        self._process = ProcessFigures("recorder", config.directory, now=lambda: self._clock.now_ns() / 1e9)

    # -- what the link brings --------------------------------------------------------------------

    def view_changed(self, data: Mapping[str, Any]) -> None:
        """A new view; it is believed once it has been read whole."""
        is_new = self._outlook.take(data)
        view = self._outlook.surroundings().view
        if view is not None:
            self._draws.see(view)
        if is_new:
            self._calls.look_at_all()

    def fact_posted(self, kind: str, data: Mapping[str, Any]) -> None:
        """A fact for one call."""
        self._calls.fact_posted(kind, data)

    def trial_wanted(self, data: Mapping[str, Any]) -> None:
        """A test call is awaited, or no longer."""
        self._calls.trials.watch(data)

    def drain_wanted(self, within_s: float) -> None:
        """No new calls any more."""
        if not self._calls.is_draining:
            log.info("no new calls are taken; those that run go on", extra={"count": self._calls.running})
        self._drain.begin(within_s)

    def drawn_before(self, data: Mapping[str, Any]) -> None:
        """Our numbers and units go on where a former life left them."""
        self._draws.drawn_before(data)

    def live_draws(self) -> Mapping[str, Mapping[str, Any]]:
        """The draws of the calls of this recorder."""
        return self._calls.live_draws()

    def live_calls(self) -> Sequence[str]:
        """The calls of this recorder."""
        return self._calls.live_calls()

    # -- life ------------------------------------------------------------------------------------

    async def run(self) -> int:
        """Start, serve, and end sealed on SIGTERM."""
        loop, config = asyncio.get_running_loop(), self._config
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        link = KeeperLink(
            config.run / "keeper.sock",
            self,
            recorder=self._number,
            boot=secrets.token_hex(8),
            lease_block=config.keys.lease_block,
            on_bad=lambda: log.error("bad_frame"),
        )
        linking = loop.create_task(link.run())
        stopping = loop.create_task(stop.wait())
        waiting: list[asyncio.Future[Any]] = [link.ready, linking, stopping]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if link.ready.done():
            await self._serve(link, link.ready.result(), [stopping, linking])
        elif linking.done():
            linking.result()
        linking.cancel()
        stopping.cancel()
        return DRAINED if self._drain.over.is_set() and not stop.is_set() else 0

    async def _serve(self, link: KeeperLink, next_seq: int, until: Sequence[asyncio.Task[Any]]) -> None:
        """Until one of these tasks ends, or a loop of ours dies: then its error is raised, and the process goes."""
        loop, config = asyncio.get_running_loop(), self._config
        directory = config.journal(self._number)

        def synced(then: list[Callable[[], None]]) -> None:
            loop.call_soon_threadsafe(self._synced, link, then)

        def full() -> None:
            loop.call_soon_threadsafe(self._full)

        way = way_for(config, self._number)  # before there is any other thread: they give up what it needed, too
        told_at(config, self._number).write_text(f"{way.told}\n", encoding="utf-8")
        ledger = Ledger(
            lambda: JournalWriter(directory, next_seq=next_seq),
            recorder=self._number,
            on_synced=synced,
            on_full=full,
        )
        self._draws.start(ledger)
        media = self._media(slices := SliceWriter(directory), way)
        self._disk = Disk([directory, config.audio], failures=lambda: media.counts.no_space)
        # Read before anything is bound: who cannot prove who they are must not start.
        tls = Tls(TlsFiles(*config.tls_files)) if config.sip.tls_port else None
        server = SipServer(self._agent(), self._calls.on_event, tls=tls)
        services = Services(media, ledger, link, self._clock, self._outlook.surroundings, config.rtp.host, self._draws)
        self._calls.start(services, server)
        await server.start(config.sip.host, self._sip_ports)
        parts = Parts(
            media, self._calls, server, ledger, slices, link, self._outlook, self._clock, self._process,
            bool(way.lacking),
        )  # fmt: skip
        telemetry = await self._tell(parts)
        log.info("ready")
        notify(READY=1, X_PART=f"recorder-{self._number}")
        draining, watching = loop.create_task(media.run()), loop.create_task(self._watch(link))
        drained = loop.create_task(self._drain.over.wait())
        done, _ = await asyncio.wait([*until, draining, watching, drained], return_when=asyncio.FIRST_COMPLETED)
        drained.cancel()
        await self._calls.stop()
        await server.stop()
        await loop.run_in_executor(None, ledger.close)
        link.poke()
        await link.drained()
        media.stop()
        await telemetry.stop()
        watching.cancel()
        await asyncio.wait([draining, watching])
        media.close()
        with contextlib.suppress(NoSpace):
            slices.close()  # what is left there is for recovery
        for task in done:
            task.result()  # a loop that died takes the process with it; the supervisor starts a new one

    async def _tell(self, parts: Parts) -> TelemetryServer:
        """Figures and health on our port, unless it is off."""
        ended = parts.calls.counts
        page = Page(
            TABLE, lambda: read(parts), ended=lambda: ended["calls"] - parts.calls.running, clock=time.monotonic
        )
        condition = Condition(lambda: alive(parts, time.monotonic()), lambda: ready(parts))
        telemetry, port = TelemetryServer(page, condition), self._config.metrics.port
        if port:
            await telemetry.start(self._config.metrics.host, port + self._number)
        return telemetry

    def _agent(self) -> UserAgent:
        sip = self._config.sip
        accounts = read_secrets(self._config.sip_accounts) if self._config.sip_accounts.exists() else ()
        agent_config = AgentConfig(
            host=sip.host,
            port=self._sip_port,
            max_dialogs=sip.max_calls * 2,
            calls_per_second=sip.calls_per_second,
            calls_per_second_per_source=sip.calls_per_second_per_source,
            session_expires_s=sip.session_expires_s,
            min_se_s=sip.min_se_s,
        )
        return UserAgent(agent_config, _token, authenticator=self._authenticator, accounts=Accounts(accounts))

    def _doorkeeper(self) -> Authenticator | None:
        """Who may speak to us over UDP and TCP; None for everybody."""
        sip = self._config.sip
        if not sip.digest_realm:
            return None
        return Authenticator(
            sip.digest_realm,
            read_secrets(self._config.sip_users),
            key=secrets.token_bytes(KEY_BYTES),
            salt=_token,
            algorithms=Algorithm if sip.digest_md5 else (Algorithm.SHA256,),
            exempt=frozenset({"TLS"}),  # such a connection has shown a certificate of the allow-list
        )

    @property
    def _sip_port(self) -> int:
        return self._config.sip.port + self._number - 1

    @property
    def _sip_ports(self) -> Ports:
        sip, nth = self._config.sip, self._number - 1
        return Ports(sip.port + nth if sip.plain else None, sip.tls_port + nth if sip.tls_port else None)

    def _media(self, slices: SliceWriter, way: Way) -> Media:
        config = self._config
        return Media(
            address=config.rtp.host,
            ports=way.pool,
            mapped=way.mapped,
            journal=slices,
            blobs=LocalBlobs(config.audio),
            clock=self._clock.now_ns,
            on_digit=self._calls.on_digit,
            on_leak=self._calls.on_leak,
            on_failed=self._calls.on_failed,
            on_doubt=self._calls.on_doubt,
            on_named=self._calls.on_named,
            on_loss=self._calls.on_loss,
            keepalive_ns=config.rtp.keepalive_s * 1_000_000_000,
            max_rtcp_sockets=rtcp_sockets(way.free),
            sourcing=Sourcing(config.rtp.source),
        )

    def _full(self) -> None:
        log.error("the journal cannot be written; no call is kept until it can")
        self._calls.look_at_all()

    def _synced(self, link: KeeperLink, then: list[Callable[[], None]]) -> None:
        for action in then:
            action()
        link.poke()

    def _look_at_disk(self) -> None:
        # A disk that is broken may take its time to say so; clock, view and calls do not wait for it.
        if self._disk is not None and (self._looking is None or self._looking.done()):
            self._looking = asyncio.get_running_loop().run_in_executor(None, self._disk.check)

    async def _watch(self, link: KeeperLink) -> None:
        while True:
            if self._drain.look():
                link.send({"type": "draining", "running": self._calls.running, "left_s": self._drain.left_s})
            await asyncio.sleep(WATCH_SECONDS)
            self._look_at_disk()
            self._calls.ask_silent()
            if self._authenticator:
                self._users.refresh(self._authenticator)
            if self._outlook.changed():
                self._calls.look_at_all()
