"""The keeper as a process: opens everything in order, refuses what is not as it must be, ends cleanly on SIGTERM.

Wiring only. `init_keeper_state` is the one place that makes a database and a key tree; starting never does.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import uvloop
from sqlalchemy import Engine
from starlette.types import ASGIApp

from mitschnitt.config import Config
from mitschnitt.errors import ConfigError, PeerError, VaultError
from mitschnitt.hardening import harden
from mitschnitt.keeper.apply import Applier, Holdings
from mitschnitt.keeper.cells import Directory, Months
from mitschnitt.keeper.clock import wall_clock
from mitschnitt.keeper.control import control_app
from mitschnitt.keeper.door import door_app
from mitschnitt.keeper.draw_door import add_draw
from mitschnitt.keeper.draw_lists import DrawLists, list_sources
from mitschnitt.keeper.draw_secret import load_secret, make_secret
from mitschnitt.keeper.drawing import open_drawing
from mitschnitt.keeper.erasing import finish_erasures
from mitschnitt.keeper.figures import CountingDoor, Stopwatch, outcomes, read, ready, table
from mitschnitt.keeper.keeper import Keeper
from mitschnitt.keeper.kek import FileKeks, check_private
from mitschnitt.keeper.keyring import Keyring
from mitschnitt.keeper.leases import Leases
from mitschnitt.keeper.link import Link, bind_private
from mitschnitt.keeper.pages import Pages
from mitschnitt.keeper.playbacks import Playbacks
from mitschnitt.keeper.policies import Policies
from mitschnitt.keeper.policy_files import zone_of
from mitschnitt.keeper.policy_watch import PolicyWatch, watch_of
from mitschnitt.keeper.pseudonym_key import load_pseudonym_key
from mitschnitt.keeper.publishing import Publishing
from mitschnitt.keeper.punctures import Punctures, note_epoch, settle
from mitschnitt.keeper.records import Records
from mitschnitt.keeper.serving import serve_always, server
from mitschnitt.keeper.site import Site, load_site
from mitschnitt.log import log_to_stderr
from mitschnitt.notify import notify
from mitschnitt.store.cell_queries import first_drawn_day
from mitschnitt.store.engine import open_engine, open_reader
from mitschnitt.store.upgrade import upgrade
from mitschnitt.store.writer import Writer
from mitschnitt.telemetry.metrics import Page
from mitschnitt.telemetry.process import ProcessFigures
from mitschnitt.telemetry.server import Condition, TelemetryServer
from mitschnitt.vault.blobs import LocalBlobs, make_directories
from mitschnitt.vault.door import Vault
from mitschnitt.wire.frames import pack_frame

TOKEN_BYTES = 32  # of the control token, before base64
PRIVATE = 0o700

log = logging.getLogger("mitschnitt.keeper")


def init_keeper_state(config: Config) -> None:
    """Make database, key tree, KEK, token and the directories that they lie in. ConfigError where one already is."""
    if config.database.exists():
        raise ConfigError(f"init: {config.database} exists; a second database would hide the first")
    for place in (
        config.database.parent,
        config.audio,
        config.run,
        config.directory / "secrets",
        config.kek_dir,
    ):
        make_directories(place)
    for number in range(1, config.limits.recorders + 1):
        make_directories(config.journal(number))
    for copy in config.state_copies:
        make_directories(copy.parent)
    load_pseudonym_key(config.directory / "secrets")
    _write_new(config.directory / "secrets" / "control.token", secrets.token_urlsafe(TOKEN_BYTES).encode() + b"\n")
    keyring = Keyring.create(config.state_copies, FileKeks(config.kek_dir, data_directory=config.directory))
    make_secret(config.directory / "secrets")
    # Last: without a database the keeper does not start, so a crash before it leaves no half-made site in use.
    engine = open_engine(config.database)
    with _private_files():
        upgrade(engine)
    writer = Writer(engine)
    try:
        note_epoch(keyring, writer)
    finally:
        writer.close()


def _write_new(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def _private_files() -> Iterator[None]:
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def run_keeper(config: Config) -> int:
    """Until SIGTERM or SIGINT: 0. ConfigError, before anything was changed, when something is not as it must be."""
    log_to_stderr("keeper")
    hardening = harden()
    os.umask(0o077)
    rules = watch_of(config, now=wall_clock(), monotonic=time.monotonic)
    site = load_site(config, rules.current.policy)
    _fits_a_frame(site, rules)
    commits = Stopwatch()
    rules.say()
    with opened(config, site, rules, commits=commits) as (keeper, records, playbacks, pages):
        months = _months(config, keeper, rules)
        make_directories(config.run)
        check_private(config.run, mode=PRIVATE, what="run")
        link = bind_private(config.run / "keeper.sock")
        door = bind_private(config.run / "door.sock")
        bind_control = partial(_bind_control, config)
        control = partial(serve_always, control_app(keeper, site.token), bind_control(), bind_control)
        app = door_app(keeper, records, playbacks, pages, hardening, months=months)
        add_draw(app, keeper.drawing.days, keeper.drawing.backward, config.directory, wall_clock)
        counted = CountingDoor(app)
        telemetry = _telemetry(config, keeper, commits, counted)
        publishing = _publishing(config, keeper, rules)
        uvloop.run(_run(keeper, (months.run, publishing.run), link, control, (counted, door), telemetry))
    return 0


def _fits_a_frame(site: Site, rules: PolicyWatch) -> None:
    try:
        pack_frame({"type": "view", **site.view(1, (), rules.current).to_json()})
    except PeerError as error:
        raise ConfigError(f"agents: the view does not fit a frame: {error}") from error


def _bind_control(config: Config) -> socket.socket:
    listening = socket.socket(socket.AF_INET6 if ":" in config.control.host else socket.AF_INET)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((config.control.host, config.control.port))
    except OSError as error:
        listening.close()
        where = f"{config.control.host}:{config.control.port}"
        raise ConfigError(f"control: cannot listen on {where}: {error.strerror}") from error
    listening.listen()
    listening.setblocking(False)
    return listening


@contextlib.contextmanager
def opened(
    config: Config, site: Site, rules: PolicyWatch, *, commits: Stopwatch | None = None
) -> Iterator[tuple[Keeper, Records, Playbacks, Pages]]:
    """Everything that the keeper holds, in the order in which one part needs the other.

    ConfigError, before anything was changed, when database, audio, key tree or KEK is missing or open to others.
    """
    with held(config, site, rules.policies, commits=commits) as (holdings, blobs):
        reader = open_reader(config.database)
        try:
            finish_erasures(holdings)
            numbers = range(1, config.limits.recorders + 1)
            for number in numbers:
                make_directories(config.journal(number))
            appliers = [Applier(number, config.journal(number), holdings) for number in numbers]
            keeper = Keeper(
                site,
                holdings,
                blobs,
                appliers,
                rules=rules,
                drawing=open_drawing(config, rules, holdings.writer),
                announced_limit=config.limits.announced_calls,
            )
            records = Records(holdings, reader)
            yield keeper, records, Playbacks(holdings, records), Pages(reader)
        finally:
            reader.dispose()


def as_it_stands(config: Config, now: datetime) -> tuple[Site, Policies]:
    """A site and its policies for `held` alone, without a keeper that serves. ConfigError or NotAllowed as they say."""
    policies = Policies.of(config)
    return load_site(config, policies.in_force(now).policy), policies


@contextlib.contextmanager
def held(
    config: Config, site: Site, policies: Policies, *, commits: Stopwatch | None = None
) -> Iterator[tuple[Holdings, LocalBlobs]]:
    """Keys, database and files, ready to be changed. ConfigError as `opened` says."""
    _refuse_lost(config)
    keyring = _open_keyring(config)
    engine = open_engine(config.database)
    upgrade(engine)
    writer = Writer(engine, timed=(commits or Stopwatch()).lap)
    # A state older than the newest puncture derives nothing before its punctures are applied again.
    free = settle(keyring, writer)
    punctures = Punctures(keyring, writer)
    try:
        blobs = LocalBlobs(config.audio)
        blobs.sweep()
        leases = Leases(writer, keyring, punctures, free=free)
        vault = Vault(blobs, keyring.leaf_key)
        yield Holdings(writer, keyring, punctures, leases, vault, policies, site.officer_key), blobs
    finally:
        punctures.close()
        writer.close()


def _refuse_lost(config: Config) -> None:
    """What is missing must not look like a site without calls."""
    if not config.audio.is_dir():
        raise ConfigError(f"audio: {config.audio} is missing; a lost mount must not look like an empty vault")
    if not config.database.exists():
        kept = next(config.audio.iterdir(), None) is not None
        beside = f" beside audio in {config.audio}; restore it, a new one would orphan them" if kept else ""
        raise ConfigError(f"database: {config.database} is missing{beside}; `mitschnitt init DIR` makes a site")
    check_private(config.database, mode=0o600, what="database")


def _open_keyring(config: Config) -> Keyring:
    for copy in config.state_copies:
        if copy.exists():
            check_private(copy, mode=0o600, what="key tree")
    keks = FileKeks(config.kek_dir, data_directory=config.directory)
    try:
        return Keyring.open(config.state_copies, keks)
    except VaultError as error:
        raise ConfigError(f"{error}; without it nothing that is kept opens, so the keeper does not start") from error


def _telemetry(
    config: Config, keeper: Keeper, commits: Stopwatch, door: CountingDoor
) -> Callable[[], Awaitable[TelemetryServer]]:
    """Starts figures and health on the keeper's port, unless it is off."""
    process = ProcessFigures("keeper", config.directory, now=lambda: wall_clock().timestamp())
    page = Page(
        table(config.limits.recorders),
        lambda: read(keeper, process, commits, door),
        ended=lambda: outcomes(keeper).total(),
        clock=time.monotonic,
    )
    figures = TelemetryServer(page, Condition(lambda: (), lambda: ready(keeper, process)))

    async def start() -> TelemetryServer:
        if config.metrics.port:
            await figures.start(config.metrics.host, config.metrics.port)
        return figures

    return start


def _months(config: Config, keeper: Keeper, rules: PolicyWatch) -> Months:
    """Figures, with agents and policy as they are whenever a month is over."""

    def directory() -> Directory:
        policy = rules.current.policy
        return Directory(keeper.agents, policy, zone_of(policy))

    reader, secret = _reader_and_secret(config)
    files = rules.policies.files
    return Months(
        keeper.writer,
        reader,
        secret,
        directory=directory,
        policy_of=lambda digest: files.read(digest).policy,
        now=wall_clock,
        doubt=rules.clock.look,
    )


def _reader_and_secret(config: Config) -> tuple[Engine, bytes]:
    """A reader of the database, and the secret of the draw. ConfigError when a site that drew has lost it."""
    reader = open_reader(config.database)
    with reader.connect() as connection:
        drew_before = first_drawn_day(connection) is not None
    return reader, load_secret(config.directory / "secrets", drew_before=drew_before)


def _publishing(config: Config, keeper: Keeper, rules: PolicyWatch) -> Publishing:
    """The lists of the draw; a day's wait until the journals of all recorders are applied."""
    reader, secret = _reader_and_secret(config)

    def settled() -> bool:
        return all(recorder.ready and recorder.applier.lag == 0 for recorder in keeper.recorders.values())

    def local() -> datetime | None:
        now = wall_clock()
        return None if rules.closed.startswith("clock.") else now.astimezone(zone_of(rules.current.policy))

    sources = list_sources(rules.policies, keeper.drawing.days, secret, settled=settled)
    return Publishing(DrawLists(keeper.writer, reader, config.directory / "draw", sources), local)


async def _run(
    keeper: Keeper,
    beside: Sequence[Callable[[], Coroutine[Any, Any, None]]],
    link: socket.socket,
    serve_control: Callable[[asyncio.Event], Coroutine[Any, Any, None]],
    door: tuple[ASGIApp, socket.socket],
    start_telemetry: Callable[[], Awaitable[TelemetryServer]],
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    at_door = server(door[0])
    await keeper.renew_draw()  # a call that is announced at once belongs to a day that is open, too
    tasks = [
        asyncio.create_task(serve_control(stop)),
        asyncio.create_task(at_door.serve(sockets=[door[1]])),
    ]
    always = [
        asyncio.create_task(Link(keeper, link).run()),
        asyncio.create_task(keeper.step_forever()),
        *(asyncio.create_task(run()) for run in beside),
    ]
    telemetry = await start_telemetry()
    log.info("keeper is ready", extra={"version": keeper.view.version})
    notify(READY=1, X_PART="keeper")
    stopped = asyncio.create_task(stop.wait())
    done, _ = await asyncio.wait([stopped, *tasks, *always], return_when=asyncio.FIRST_COMPLETED)
    stop.set()
    at_door.should_exit = True
    for task in (stopped, *always):
        task.cancel()
    await asyncio.gather(*tasks, *always, stopped, return_exceptions=True)
    await telemetry.stop()
    await keeper.close()
    for task in done - {stopped}:
        failure = task.exception()
        if failure is not None:
            raise failure
    log.info("keeper has ended")
