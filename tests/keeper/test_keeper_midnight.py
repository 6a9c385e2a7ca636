"""Over midnight, in one process: the keeper takes the next policy, running calls keep the old one to their end."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from keeper.fake_recorder import Books, stamped
from keeper.one_round import one_round
from keeper.signed_site import SIGNERS, enrol, propose
from keeper.site_on_disk import POLICY, make_site, open_holdings
from mitschnitt.config import Config, load_config
from mitschnitt.core.policy import Policy
from mitschnitt.keeper.announced import Ref
from mitschnitt.keeper.apply import Applier, Holdings
from mitschnitt.keeper.clock import rfc3339
from mitschnitt.keeper.drawing import open_drawing
from mitschnitt.keeper.keeper import Keeper
from mitschnitt.keeper.leases import Block
from mitschnitt.keeper.policies import Policies
from mitschnitt.keeper.policy_files import begin_of, today_of
from mitschnitt.keeper.policy_watch import PolicyWatch, watch_of
from mitschnitt.keeper.site import load_site
from mitschnitt.store import day_queries, queries
from mitschnitt.store.queries import CallRow
from mitschnitt.vault.blobs import LocalBlobs

MONTH, FORTNIGHT = POLICY.encode(), POLICY.replace("P30D", "P14D").encode()
BEFORE, AFTER = "0" * 25 + "B", "0" * 25 + "A"  # calls that begin before and after midnight
DAY, HOUR = timedelta(days=1), timedelta(hours=1)


@dataclass
class World:
    """A keeper whose wall and monotonic clocks are in the test's hands; its night is that of tomorrow."""

    config: Config
    holdings: Holdings
    month: Policy
    fortnight: Policy
    now: datetime
    begun: datetime
    keeper: Keeper = field(init=False)
    rules: PolicyWatch = field(init=False)
    applier: Applier = field(init=False)
    sent: list[Mapping[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rules = rules = watch_of(self.config, now=self.now, monotonic=self.monotonic)
        self.applier = Applier(1, self.config.journal(1), self.holdings)
        site = load_site(self.config, rules.current.policy)
        self.keeper = Keeper(
            site,
            self.holdings,
            LocalBlobs(self.config.audio),
            [self.applier],
            rules=rules,
            drawing=open_drawing(self.config, rules, self.holdings.writer),
            announced_limit=9,
            now=lambda: self.now,
        )
        asyncio.run(self.keeper.renew_draw())
        self.keeper.attach(1, self.sent.append)

    def monotonic(self) -> float:
        return (self.now - self.begun).total_seconds()

    def passes(self, span: timedelta) -> None:
        """Time goes by on both clocks, and the keeper takes one step of its loop."""
        self.now += span
        asyncio.run(one_round(self.keeper))

    @property
    def in_force(self) -> str:
        return str(self.sent[-1]["policy_hash"])

    def announce(self, value: str) -> dict[str, Any]:
        refs = [Ref("header", value)]
        return asyncio.run(
            self.keeper.announce(refs, queue="q", direction="in", agent=None, language="", answer_by="digit")
        )

    def row(self, call: str) -> CallRow:
        found = self.holdings.writer.submit(lambda connection: queries.call_by_id(connection, call)).result()
        assert found is not None
        return found


@pytest.fixture(name="world")
def on_the_eve(tmp_path: Path) -> Iterator[World]:
    config = make_site(tmp_path, recorders=1)
    path = config.directory / "config.toml"
    path.write_text(path.read_text().replace("allow_unsigned_policy = true", "allow_unsigned_policy = false"))
    (config.directory / "policy" / "active").unlink()
    config, now = load_config(config.directory), datetime.now(UTC)
    for role in SIGNERS:
        enrol(config.directory, role)
    month = propose(config.directory, MONTH, *SIGNERS, at=now - 3 * DAY)
    Policies(config.directory).activate(month, None, now=now - 3 * DAY)
    eve = begin_of(month, today_of(month, now) + DAY) - HOUR  # which may have begun
    fortnight = propose(config.directory, FORTNIGHT, *SIGNERS, at=min(now, eve))
    with open_holdings(config) as holdings:
        world = World(config, holdings, month, fortnight, eve, eve)
        yield world
        asyncio.run(world.keeper.close())


def keep(books: Books, block: Block, offset: int, call: str, policy: Policy) -> None:
    books.policy = policy.hash
    books.arrived(call, block.first + offset, block.number)
    books.track(call)
    books.media_slice(call, block.nodes[offset], 0, stamped("x", 2))


def end(books: Books, block: Block, offset: int, call: str) -> None:
    books.sealed(call, block.nodes[offset], 0)
    books.closed(call, kept=True)


def days_kept(row: CallRow) -> int:
    assert row.due_at is not None
    return (datetime.fromisoformat(row.due_at) - datetime.now(UTC) + HOUR).days


def test_a_call_over_midnight_keeps_hash_and_retention_and_the_next_has_the_new_ones(world: World) -> None:
    books = Books(world.config, 1, world.holdings.officer_key)
    block = world.holdings.leases.lease(1, "b", 2)
    assert world.in_force == world.month.hash
    keep(books, block, 0, BEFORE, world.month)
    world.applier.drain()
    Policies(world.config.directory).activate(world.fortnight, None, now=world.now)
    world.passes(timedelta(minutes=59))
    assert world.in_force == world.month.hash
    old = world.announce("old")["call"]
    world.passes(timedelta(minutes=1, seconds=1))
    assert world.in_force == world.fortnight.hash
    assert base64.b64decode(world.sent[-1]["policy"]) == FORTNIGHT
    keep(books, block, 1, AFTER, world.fortnight)
    end(books, block, 0, BEFORE)
    end(books, block, 1, AFTER)
    world.applier.drain()
    assert (world.row(BEFORE).state, world.row(BEFORE).policy_hash) == ("kept", world.month.hash)
    assert (world.row(AFTER).state, world.row(AFTER).policy_hash) == ("kept", world.fortnight.hash)
    assert (days_kept(world.row(BEFORE)), days_kept(world.row(AFTER))) == (30, 14)
    told = world.keeper.join(1, [Ref("header", "old")])
    assert (told["call"], told["policy"]) == (old, world.month.hash)
    assert base64.b64decode(told["policy_text"]) == MONTH
    new = world.announce("new")["call"]
    told = world.keeper.join(1, [Ref("header", "new")])
    assert (told["call"], told["policy"]) == (new, world.fortnight.hash)
    assert "policy_text" not in told


@pytest.mark.parametrize("jump", [timedelta(hours=2), 30 * DAY, -2 * HOUR])
def test_one_word_of_a_person_about_the_date_sets_policy_and_days_going_again(world: World, jump: timedelta) -> None:
    rules, days = world.rules, world.keeper.drawing.days
    world.passes(timedelta(seconds=2))
    assert rules.closed == ""
    world.begun += jump  # the monotonic clock stays where it was
    world.now += jump
    world.passes(timedelta(seconds=2))
    assert rules.closed.startswith("clock.")
    assert days.today(world.now) is None
    days.confirm_clock(days.local(world.now), world.now)
    world.passes(timedelta(seconds=2))
    assert rules.closed == ""
    assert {standing.rule for standing in days.standing(world.now)}.isdisjoint({"clock.ahead", "clock.back"})


def test_what_days_noted_last_closes_the_policy_too(world: World) -> None:
    world.holdings.writer.submit(
        lambda connection: day_queries.note_clock(connection, rfc3339(world.now + HOUR))
    ).result()
    rules = watch_of(world.config, now=world.now, monotonic=world.monotonic)
    assert rules.closed == ""
    open_drawing(world.config, rules, world.holdings.writer)
    assert rules.look(world.now)
    assert rules.closed == "clock.back"


def test_after_a_restart_a_call_of_an_older_policy_closes_by_its_own(world: World) -> None:
    books = Books(world.config, 1, world.holdings.officer_key)
    block = world.holdings.leases.lease(1, "b", 1)
    keep(books, block, 0, BEFORE, world.month)
    world.applier.drain()
    Policies(world.config.directory).activate(world.fortnight, None, now=world.now)
    world.passes(2 * HOUR)
    again = Applier(1, world.config.journal(1), world.holdings)
    end(books, block, 0, BEFORE)
    again.drain()
    assert world.row(BEFORE).policy_hash == world.month.hash
    assert days_kept(world.row(BEFORE)) == 30


@pytest.mark.parametrize("digest", ["", "0" * 64, "../../config"])
def test_a_call_of_a_policy_that_nobody_knows_is_not_kept(world: World, digest: str) -> None:
    books = Books(world.config, 1, world.holdings.officer_key)
    block = world.holdings.leases.lease(1, "b", 1)
    books.policy = digest
    books.arrived(BEFORE, block.first, block.number)
    books.track(BEFORE)
    books.media_slice(BEFORE, block.nodes[0], 0, stamped("x", 2))
    end(books, block, 0, BEFORE)
    world.applier.drain()
    assert (world.row(BEFORE).state, world.row(BEFORE).policy_hash) == ("not_kept", "")
    assert not world.holdings.keyring.derives(block.first)


@pytest.mark.parametrize("jump", [30 * DAY, HOUR + timedelta(minutes=5), -HOUR])
def test_by_a_clock_that_jumps_no_policy_changes_and_nobody_is_asked(world: World, jump: timedelta) -> None:
    Policies(world.config.directory).activate(world.fortnight, None, now=world.now)
    world.passes(timedelta(seconds=2))
    assert world.announce("1")["ask"] is not None
    world.begun += jump  # monotonic time does not jump with the wall clock
    world.passes(jump)
    assert world.in_force == world.month.hash
    assert world.sent[-1]["closed"].startswith("clock.")
    assert world.announce("2")["ask"] is None
    world.begun -= jump
    world.passes(-jump + timedelta(seconds=2))
    assert (world.in_force, world.sent[-1]["closed"]) == (world.month.hash, "")
    assert world.announce("3")["ask"] is not None


def test_a_signature_that_is_gone_closes_the_asking_and_nothing_else(world: World) -> None:
    path = world.config.directory / "policy" / f"{world.month.hash}.council.json"
    signature = path.read_bytes()
    path.unlink()
    world.passes(timedelta(seconds=2))
    assert (world.in_force, world.sent[-1]["closed"]) == (world.month.hash, "policy.signature.missing")
    assert world.announce("1")["ask"] is None
    assert world.keeper.status()["policy_closed"] == 1
    path.write_bytes(signature)
    world.passes(timedelta(seconds=2))
    assert world.sent[-1]["closed"] == ""
    assert world.announce("2")["ask"] is not None
