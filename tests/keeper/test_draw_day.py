"""One day from end to end: a policy all have signed, three roles with values, sixty calls, lists that anybody checks.

In process, by an injected clock: real keeper, door of the draw, journals, gate and lists; the recorder has no media.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi import FastAPI

from keeper.at_the_door import client_of
from mitschnitt import cli
from mitschnitt.commands import draw_show
from mitschnitt.commands.door_client import Door
from mitschnitt.commands.init import provision
from mitschnitt.commands.week_recorder import CALLER, WeekCall, WeekRecorder
from mitschnitt.commands.week_site import (
    CONFIG,
    POLICY,
    PROMPT_MS,
    PROMPT_SHA256,
    ZONE,
    WeekClock,
    WeekSite,
    _agent,
    agent_names,
    consent_of,
)
from mitschnitt.config import load_config
from mitschnitt.core.beacon import ROLES
from mitschnitt.core.consent import Act, ActKind, Asked
from mitschnitt.core.gate import State
from mitschnitt.keeper.announced import Ref
from mitschnitt.keeper.apply import Applier, Holdings
from mitschnitt.keeper.door import _add_errors
from mitschnitt.keeper.draw_door import add_draw
from mitschnitt.keeper.draw_lists import DrawLists, list_sources
from mitschnitt.keeper.draw_secret import load_secret
from mitschnitt.keeper.drawing import open_drawing
from mitschnitt.keeper.keeper import Keeper
from mitschnitt.keeper.policies import Policies
from mitschnitt.keeper.policy_watch import PolicyWatch, watch_of
from mitschnitt.keeper.process import held
from mitschnitt.keeper.publishing import Publishing
from mitschnitt.keeper.role_keys import load_private, make_key
from mitschnitt.keeper.site import load_site
from mitschnitt.store.engine import open_reader

EVE, DAY = date(2026, 11, 16), date(2026, 11, 17)
CALLS, COMPLAINTS = 60, 10  # every sixth is about us, and never drawn
HALF = (
    POLICY.replace("rate = 0.20", "rate = 0.5").replace("rate = 0.10", "rate = 0.5").replace("share = 0.4", "share = 1")
)
PASSWORD = b"correct horse battery"
PROMPT = timedelta(milliseconds=PROMPT_MS)


def local(day: date, hour: int) -> datetime:
    return datetime.combine(day, time(hour), ZONE)


def make_site(root: Path) -> WeekSite:
    """Nothing is in force on the eve; from midnight on the policy is that both signed."""
    clock, names = WeekClock(local(EVE, 10)), agent_names()
    keys = {name: Ed25519PrivateKey.from_private_bytes(name.encode().ljust(32, b".")) for name in names}
    agents = "".join(_agent(name, key, EVE) for name, key in keys.items())
    officer_key = provision(root / "site", allow_unsigned_policy=False, config_text=CONFIG, agents_text=agents)
    config, hands = load_config(root / "site"), root / "hands"
    hands.mkdir(mode=0o700)
    (hands / "password").write_bytes(PASSWORD)
    (hands / "password").chmod(0o600)
    for role in ROLES:
        make_key(config.directory, role, hands / f"{role}.pem", PASSWORD)
    policies = Policies.of(config)
    policy = policies.files.read(policies.files.write(HALF.encode())).policy
    roles = {role: load_private(hands / f"{role}.pem", PASSWORD) for role in policy.signed_by}
    for role in policy.signed_by:
        policies.signatures.sign(policy, role, roles[role], now=clock.now())
    policies.activate(policy, None, now=clock.now())
    return WeekSite(config.directory, config, officer_key, policies, roles, keys, clock, EVE)


@dataclass
class Centre:
    """The keeper, one recorder, and what the calls of the day came to."""

    site: WeekSite
    holdings: Holdings
    rules: PolicyWatch
    keeper: Keeper
    recorder: WeekRecorder
    asks: list[bool] = field(default_factory=list)
    kept: int = 0

    async def takes_calls(self) -> None:
        clock = self.site.clock
        await self.recorder.start()
        for name in self.site.agents:
            await self.keeper.import_grant(consent_of(self.site, name))
        assert await self.announced(CALLS) is None, "nobody is asked before the policy begins"
        clock.until(local(DAY, 0))
        assert self.keeper._look_at_rules()
        assert self.rules.closed == ""
        await self.keeper.renew_draw()
        for number in range(CALLS):
            clock.until(local(DAY, 9) + timedelta(minutes=10 * number))
            await self.one_call(number)
        self.recorder.ledger.close()
        self.keeper.detach(1, self.recorder.hear)
        await self.keeper.close()

    async def announced(self, number: int) -> Any:
        queue = "complaints" if number % 6 == 0 else "hotline" if number % 2 else "orders"
        told = await self.keeper.announce(
            [Ref("header", f"day-{number}")],
            queue=queue,
            direction="in",
            agent=agent_names()[number % len(self.site.agents)],
            language="de",
            answer_by="post",
        )
        return told["ask"]

    async def one_call(self, number: int) -> None:
        ask = await self.announced(number)
        self.asks.append(ask is not None)
        call = await self.recorder.take(self.keeper.join(1, [Ref("header", f"day-{number}")]))
        call.connect(agent_names()[number % len(self.site.agents)])
        async with asyncio.timeout(60):
            while call.waits:
                await asyncio.sleep(0.002)
        assert (call.state is State.ASKING) == (ask is not None)
        if ask is not None:
            await self.is_asked(call, says="1" if len(self.asks) % 3 else "2")
        self.kept += call.state is State.KEEPING
        self.recorder.end(call)
        self.keeper.poke(1)

    async def is_asked(self, call: WeekCall, *, says: str) -> None:
        began, clock = self.site.clock.now(), self.site.clock
        clock.until(began + PROMPT + timedelta(seconds=2))
        asked = Asked(CALLER, "ask-training", PROMPT_SHA256, "de", began, began + PROMPT, PROMPT_MS, PROMPT_MS)
        self.keeper.post_asked(call.call_id, asked)
        await self.keeper.post_act(
            call.call_id, Act(CALLER, ActKind.DIGIT, says, began + PROMPT + timedelta(seconds=1))
        )


@contextlib.contextmanager
def centre_of(site: WeekSite) -> Iterator[Centre]:
    clock, config = site.clock, site.config
    rules = watch_of(config, now=clock.now(), monotonic=clock.monotonic)
    with held(config, load_site(config, rules.current.policy), site.policies) as (holdings, blobs):
        keeper = Keeper(
            load_site(config, rules.current.policy),
            holdings,
            blobs,
            [Applier(1, config.journal(1), holdings)],
            rules=rules,
            drawing=open_drawing(config, rules, holdings.writer),
            announced_limit=100,
            now=clock.now,
        )
        yield Centre(site, holdings, rules, keeper, WeekRecorder(1, config, keeper, clock))


Command = Callable[..., tuple[int, str]]


@pytest.fixture(name="command")
def commands(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    def run(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["mitschnitt", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        told = capsys.readouterr()
        return int(ended.value.code or 0), told.out + told.err

    return run


@pytest.fixture(name="at_the_door")
def door(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Centre], None]]:
    with socket.socket(socket.AF_UNIX) as listening:

        def open_door(centre: Centre) -> None:
            app, drawing = FastAPI(), centre.keeper.drawing
            _add_errors(app)
            add_draw(app, drawing.days, drawing.backward, centre.site.directory, centre.site.clock.now)
            monkeypatch.setattr(Door, "_connection", lambda _door: client_of(app))
            centre.site.config.run.mkdir(exist_ok=True, mode=0o700)
            monkeypatch.chdir(centre.site.config.run)  # the path of a socket is short
            listening.bind("door.sock")

        yield open_door


def hold_ceremony(command: Command, root: Path) -> None:
    """All three commit, the day is opened by it, and they tell their values, as people do it."""
    for verb, more in (("commit", ("--from", DAY, "--days", 1)), ("reveal", (DAY,))):
        for role in ROLES:
            key = root / "hands" / f"{role}.pem"
            arguments = ["--as", role, "--key", key, "--password-file", root / "hands" / "password"]
            arguments += ["--dir", root / "site", "--values", f"{key}.values"]
            code, told = command("draw", verb, *more, *arguments)
            assert code == 0, told


def publish(centre: Centre) -> list[str]:
    site, clock = centre.site, centre.site.clock
    reader = open_reader(site.config.database)
    secret = load_secret(site.directory / "secrets", drew_before=True)
    sources = list_sources(site.policies, centre.keeper.drawing.days, secret)
    lists = DrawLists(centre.holdings.writer, reader, site.directory / "draw", sources)
    try:
        return Publishing(lists, lambda: clock.now().astimezone(ZONE)).look()
    finally:
        reader.dispose()


@pytest.mark.thorough
def test_a_day_is_signed_drawn_asked_published_and_verified_and_a_changed_byte_is_found(
    tmp_path: Path, command: Command, at_the_door: Callable[[Centre], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    site = make_site(tmp_path)
    with centre_of(site) as centre:
        at_the_door(centre)
        assert "missing: commitment of council" in command("draw", "days", "--dir", site.directory)[1]
        hold_ceremony(command, tmp_path)
        assert f"{DAY}  ready" in command("draw", "days", "--dir", site.directory)[1]
        asyncio.run(centre.takes_calls())
        assert publish(centre) == [], "the day is not over"
        site.clock.until(local(DAY + timedelta(days=1), 6))
        assert publish(centre) == [DAY.isoformat()]
    monkeypatch.setattr(draw_show, "wall_clock", site.clock.now)
    asked = sum(centre.asks)
    assert len(centre.asks) == CALLS
    assert 0 < centre.kept < asked < CALLS - COMPLAINTS
    verify = partial(command, "draw", "verify", DAY, "--dir", site.directory, "--council")
    code, told = command("draw", "show", DAY, "--dir", site.directory, "--json")
    answer = json.loads(told)
    assert (code, answer["seen"], answer["over"]) == (0, CALLS, True)
    assert answer["exclusions"]["complaints about us"] == COMPLAINTS
    assert sum(row["drawn"] for row in answer["strata"]) == asked
    code, told = verify()
    assert code == 0, told
    assert "nothing is wrong" in told
    path = site.directory / "draw" / DAY.isoformat() / "public.mdl"
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.chmod(0o600)
    path.write_bytes(data)
    code, told = verify()
    assert code == 4, told
