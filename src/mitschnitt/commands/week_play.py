"""Plays the week of the demo: 2,000 compressed calls through a real keeper and two recorders, by a clock of its own.

Who calls whom, and what callers do, follows from the number of the call alone: a second run plays the same week. What
becomes of a call it does not know; that is what the site says afterwards.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import TypeVar

from sqlalchemy import Engine

from mitschnitt.commands.week_recorder import CALLER, WeekCall, WeekRecorder
from mitschnitt.commands.week_site import (
    PROMPT_MS,
    PROMPT_SHA256,
    WITHDRAWS,
    WITHOUT_CONSENT,
    ZONE,
    WeekSite,
    agent_names,
    consent_of,
    hold_ceremony,
    withdrawal_of,
)
from mitschnitt.core.consent import Act, ActKind, Asked
from mitschnitt.core.gate import State
from mitschnitt.keeper.announced import Ref
from mitschnitt.keeper.apply import Applier, Holdings
from mitschnitt.keeper.backward_draws import BackwardDraws
from mitschnitt.keeper.day_steps import Plan
from mitschnitt.keeper.days import Days
from mitschnitt.keeper.draw_lists import DrawLists, list_sources
from mitschnitt.keeper.draw_secret import load_secret
from mitschnitt.keeper.drawing import Drawing
from mitschnitt.keeper.draws import Draws
from mitschnitt.keeper.keeper import Keeper
from mitschnitt.keeper.lending import Lending
from mitschnitt.keeper.pages import Pages
from mitschnitt.keeper.policy_watch import watch_of
from mitschnitt.keeper.process import held
from mitschnitt.keeper.records import Records
from mitschnitt.keeper.site import load_site
from mitschnitt.keeper.time_watch import TimeWatch
from mitschnitt.store.engine import open_reader
from mitschnitt.vault.blobs import LocalBlobs

T = TypeVar("T")

CALLS = 2_000
TOGETHER = 20  # calls that come at one moment: their rows share commits
FIRST_HOUR, LAST_HOUR = 8, 20  # of the day's calls; a few come at night
PROMPT = timedelta(milliseconds=PROMPT_MS)
CALLERS = ((62, "yes"), (82, "no"), (92, "silent"), (97, "withdraws"), (100, "unclear"))  # of 100, what they do
WAIT_SECONDS = 10.0  # for the ledger to write what a draw waits for


@dataclass(frozen=True, slots=True)
class Planned:
    """One call as the people on it play it."""

    number: int
    queue: str
    agent: str
    named: bool  # whether the gateway knows the agent when it announces the call
    caller: str  # yes | no | silent | withdraws | unclear


@dataclass(frozen=True, slots=True)
class Played:
    """What the outside knows of a call: its id, the receipt code, who played what."""

    planned: Planned
    day: date
    call_id: str
    receipt: str
    asked: bool


@dataclass(slots=True)
class Week:
    """The week as it was played."""

    site: WeekSite
    secret: bytes
    played: list[Played] = field(default_factory=list)


def plan(number: int) -> Planned:
    """What call `number` is."""
    names = agent_names()
    agent = names[_dice(number, "agent", len(names))]
    queue = agent.partition("-")[0]
    if _dice(number, "complaint", 40) == 0:
        queue = "complaints"
    lot = _dice(number, "caller", 100)
    caller = (
        "yes" if lot < 62 else "no" if lot < 82 else "silent" if lot < 92 else "withdraws" if lot < 97 else "unclear"
    )
    return Planned(number, queue, agent, _dice(number, "named", 2) == 0, caller)


def _dice(number: int, what: str, sides: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{what} {number}".encode()).digest()[:8], "big") % sides


def moments(site: WeekSite, calls: int) -> Iterator[tuple[datetime, list[int]]]:
    """Moments of the week, with the numbers of the calls that come then."""
    share = calls // 7
    for place, day in enumerate(site.days()):
        numbers = list(range(place * share, (place + 1) * share if place < 6 else calls))
        batches = [numbers[start : start + TOGETHER] for start in range(0, len(numbers), TOGETHER)]
        begin, minutes = site.local(day, FIRST_HOUR), (LAST_HOUR - FIRST_HOUR) * 60
        for at, batch in enumerate(batches[:-1]):
            yield begin + timedelta(minutes=minutes * at / len(batches)), batch
        yield site.local(day, 22, 30), batches[-1]  # a few at night


async def play(site: WeekSite, look: Callable[[Week, Records, Pages], T], *, calls: int = CALLS) -> T:
    """The ceremony on Friday, the week, on the Monday after it the lists of its days; what `look` finds then."""
    policy = site.policies.on(site.monday)
    if policy is None:
        raise RuntimeError("the week has no policy")
    with held(site.config, load_site(site.config, policy), site.policies) as (holdings, blobs):
        secret = load_secret(site.directory / "secrets", drew_before=False)
        days = Days(
            holdings.writer,
            site.directory / "draw",
            secret,
            plan=lambda day: _planned(site, day),
            zone=lambda: ZONE,
            clock=TimeWatch(None, site.clock.monotonic),
        )
        days.look_ahead(site.clock.now())
        hold_ceremony(site, days)
        site.clock.until(site.local(site.monday, 0, 5))
        week = Week(site, secret)
        await _play_days(week, holdings, blobs, days, calls)
        reader = open_reader(site.config.database)
        try:
            _publish(site, holdings, reader, days, secret)
            return look(week, Records(holdings, reader), Pages(reader))
        finally:
            reader.dispose()


def _planned(site: WeekSite, day: date) -> Plan | None:
    policy = site.policies.on(day)
    return None if policy is None else Plan(policy.hash, policy.beacon)


async def _play_days(week: Week, holdings: Holdings, blobs: LocalBlobs, days: Days, calls: int) -> None:
    site, clock = week.site, week.site.clock
    rules = watch_of(site.config, now=clock.now(), monotonic=clock.monotonic)
    appliers = [Applier(number, site.config.journal(number), holdings) for number in (1, 2)]
    keeper = Keeper(
        load_site(site.config, rules.current.policy),
        holdings,
        blobs,
        appliers,
        drawing=Drawing(
            days,
            Draws(holdings.writer, week.secret, days.today),
            Lending(holdings.writer, week.secret, days.today, [1, 2]),
            BackwardDraws(holdings.writer, site.directory / "draw" / "backward", week.secret, chain=days.chain),
        ),
        rules=rules,
        announced_limit=1_000,
        now=clock.now,
    )
    recorders = [WeekRecorder(number, site.config, keeper, clock) for number in (1, 2)]
    for recorder in recorders:
        await recorder.start()
    for name in agent_names():
        if name not in WITHOUT_CONSENT:
            await keeper.import_grant(consent_of(site, name))
    wednesday = site.local(site.days()[2], 12)
    withdrawn = False
    for at, batch in moments(site, calls):
        clock.until(at)
        if not withdrawn and at >= wednesday:
            await keeper.import_grant(withdrawal_of(site, WITHDRAWS))
            withdrawn = True
        await keeper.renew_draw()
        week.played += await _play_batch(keeper, recorders, clock.now().astimezone(ZONE).date(), batch, week)
    for recorder in recorders:
        recorder.ledger.close()
        recorder.keeper.detach(recorder.number, recorder.hear)
    await keeper.close()


async def _play_batch(
    keeper: Keeper, recorders: Sequence[WeekRecorder], day: date, batch: Sequence[int], week: Week
) -> list[Played]:
    clock, planned = week.site.clock, [plan(number) for number in batch]
    told = await asyncio.gather(*(_announce(keeper, item) for item in planned))
    calls: list[tuple[Planned, WeekRecorder, WeekCall, bool]] = []
    for item, answer in zip(planned, told, strict=True):
        recorder = recorders[item.number % len(recorders)]
        call = await recorder.take(keeper.join(recorder.number, [_ref(item)]))
        call.connect(item.agent, unbound="binding.ambiguous" if item.caller == "unclear" else "")
        calls.append((item, recorder, call, answer["ask"] is not None))
    await _written(call for _, _, call, _ in calls)
    began = clock.now()
    clock.until(began + PROMPT + timedelta(seconds=2))
    for item, _, call, ask in calls:
        if ask and call.state is State.ASKING:
            await _ask(keeper, item, call, began)
    clock.until(began + timedelta(minutes=2))
    for item, _, call, _ in calls:
        if item.caller == "withdraws" and call.state is State.KEEPING:
            await keeper.post_act(call.call_id, Act(CALLER, ActKind.WITHDRAW, "", clock.now()))
    clock.until(began + timedelta(minutes=3))
    for _, recorder, call, _ in calls:
        recorder.end(call)
    for recorder in recorders:
        keeper.poke(recorder.number)
    return [
        Played(item, day, str(answer["call"]), str(answer["receipt_code"]), ask)
        for (item, _, _, ask), answer in zip(calls, told, strict=True)
    ]


async def _announce(keeper: Keeper, item: Planned) -> dict[str, object]:
    return await keeper.announce(
        [_ref(item)],
        queue=item.queue,
        direction="in",
        agent=item.agent if item.named else None,
        language="de",
        answer_by="post",
    )


def _ref(item: Planned) -> Ref:
    return Ref("header", f"week-{item.number}")


async def _written(calls: Iterator[WeekCall]) -> None:
    """Until no call waits for its draw to be written down."""
    waiting = list(calls)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(WAIT_SECONDS):
            while any(call.waits for call in waiting):
                await asyncio.sleep(0.002)


async def _ask(keeper: Keeper, item: Planned, call: WeekCall, began: datetime) -> None:
    """The IVR plays the question and posts what the caller pressed."""
    asked = Asked(CALLER, "ask-training", PROMPT_SHA256, "de", began, began + PROMPT, PROMPT_MS, PROMPT_MS)
    keeper.post_asked(call.call_id, asked)
    answers = {"yes": "1", "withdraws": "1", "no": "2"}
    if item.caller in answers:
        at = began + PROMPT + timedelta(seconds=1)
        await keeper.post_act(call.call_id, Act(CALLER, ActKind.DIGIT, answers[item.caller], at))


def _publish(site: WeekSite, holdings: Holdings, reader: Engine, days: Days, secret: bytes) -> None:
    """The lists of the week, on the morning after it."""
    site.clock.until(site.local(site.monday + timedelta(days=7), 6))
    sources = list_sources(site.policies, days, secret)
    lists = DrawLists(holdings.writer, reader, site.directory / "draw", sources)
    lists.look(site.clock.now().astimezone(ZONE))
