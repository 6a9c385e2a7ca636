"""Days of the draw: opened ahead, published, then told their beacon. In this order only; a day out of order is none.

The only writer of days and beacons. Checks no signature of a person and asks no network. A day's key derives from the
site's secret and is never written down.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection

from mitschnitt.core.beacon import COMMIT, DRAND, NONE, DayRecord
from mitschnitt.core.draw import Day, day_key
from mitschnitt.errors import NotAllowed
from mitschnitt.keeper.clock import rfc3339
from mitschnitt.keeper.day_record import record_of
from mitschnitt.keeper.day_steps import (
    Opening,
    Plan,
    beacon_in_time,
    open_day,
    proof_of,
    silent_roles,
    take_commitment,
    take_reveal,
    take_round,
)
from mitschnitt.keeper.kek import replace_file
from mitschnitt.keeper.time_watch import BACK, MAX_JUMP, TimeWatch
from mitschnitt.proof.drand import QUICKNET, Chain, verify_round
from mitschnitt.store import day_queries
from mitschnitt.store.day_queries import DayRow, ShareRow
from mitschnitt.store.writer import Writer
from mitschnitt.vault.blobs import make_directories

AHEAD_DAYS = 7  # opened before they begin; further ahead a new policy would open them anew, again and again
COMMITTED_DAYS = 100  # how far ahead roles may commit: a quarter of a year, and the days of the ceremony before it
ROUND_BEFORE = timedelta(hours=1)  # the day's round of drand comes this long before local midnight
NOTE_EVERY = timedelta(minutes=1)  # how old the noted time may be when the process is killed
BEYOND = "9999-12-31"  # until the first look no day is known
SENTENCES = {
    "clock.back": "the clock went back, or is behind what was seen before",
    "clock.ahead": "the clock jumped ahead, or the site was off for more than a week",
}

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a day is. `missing` names who or what must still come; `rule` says why nobody is asked as it stands."""

    day: str
    policy_hash: str
    kind: str
    opened: bool
    missing: tuple[str, ...]
    rule: str


class Days:
    """All days of a site. Methods block, but for `today`, which touches memory only."""

    def __init__(
        self,
        writer: Writer,
        directory: Path,
        secret: bytes,
        *,
        plan: Callable[[date], Plan | None],
        zone: Callable[[], tzinfo],
        clock: TimeWatch,
        chain: Chain = QUICKNET,
    ) -> None:
        """`directory`: where records are published (`DIR/draw`); `plan` None: no policy is in force on that day.

        `clock` is the one judgement of this site's clock: it is held against what days noted, too, and confirmed here.
        """
        self._writer = writer
        self._directory = directory
        self._secret = secret
        self._plan = plan
        self._zone = zone
        self.chain = chain
        self._noted: datetime | None = None
        self._reads = 0
        self._newest = 0
        self._days: dict[str, Day] = {}
        self._first = BEYOND
        self._near: dict[date, Plan | None] = {}
        self._has_looked = False
        seen = self._ask(day_queries.clock_seen)
        self.clock = clock
        if seen is not None:
            clock.remember(datetime.fromisoformat(seen))

    def today(self, now: datetime) -> Day | None:
        """The day of this moment. None: it was not opened, is another policy's, or the clock is not to be trusted."""
        if self.clock.look(now):
            return None
        local = self.local(now)
        day, plan = self._days.get(local.isoformat()), self._near.get(local)
        return day if day is not None and plan is not None and day.policy_hash == plan.policy_hash else None

    def look_ahead(self, now: datetime) -> list[str]:
        """Open every day that can be opened; their names. By a clock that is not trusted nothing is opened."""
        if self.clock.look(now):
            return []
        self._remember(now)
        if self._noted is None or now - self._noted >= NOTE_EVERY:
            self._ask(lambda connection: day_queries.note_clock(connection, rfc3339(now)))
            self._noted = now
        openings = list(self._openings(now))
        opened, rows = self._ask(lambda connection: self._open_due(connection, openings))
        # A crash may have come between a row and its file: the first look makes up for it.
        for row in opened if self._has_looked else rows:
            self._publish(row)
        self._has_looked = True
        return [row.day for row in opened]

    def open(self, day: date, now: datetime) -> DayRecord:
        """The day's record: opened, written down and published, now or before under the same policy.

        NotAllowed with `draw.day.policy` where no policy is in force, `clock.*`, and with what `open_day` raises.
        """
        self._trust(now)
        asked = self._opening(day, now)
        if asked is None:
            raise NotAllowed("draw.day.policy", f"no policy is in force on {day}")
        row = self._ask(lambda connection: open_day(connection, asked, self._secret, self.chain))
        self._publish(row)
        return record_of(row)

    def local(self, now: datetime) -> date:
        """The day of this moment in the policy's zone, whether or not the clock is to be trusted."""
        return now.astimezone(self._zone()).date()

    def beacon_on(self, now: datetime) -> str:
        """Which kind of beacon the policy of this moment's day asks for; none without a policy."""
        plan = self._plan(self.local(now))
        return NONE if plan is None else plan.beacon

    def record(self, day: str) -> bytes | None:
        """The published record of a day, None before it is opened."""
        row = self._ask(lambda connection: day_queries.day_row(connection, day))
        return None if row is None else row.record

    def commit(self, given: Sequence[ShareRow], now: datetime) -> None:
        """Commitments of roles, whose signatures were checked: all of them, or none. The same again changes nothing.

        NotAllowed with `draw.commit.day` for a day that began or is too far ahead, `draw.commit.second`, `clock.*`.
        """
        self._trust(now)
        today = self.local(now)
        for row in given:
            if not 0 < (date.fromisoformat(row.day) - today).days <= COMMITTED_DAYS:
                sentence = f"roles commit for days from tomorrow on, at most {COMMITTED_DAYS} ahead; found {row.day}"
                raise NotAllowed("draw.commit.day", sentence)

        def work(connection: Connection) -> None:
            for row in given:
                take_commitment(connection, row)

        self._ask(work)
        self.look_ahead(now)

    def reveal(self, told: Sequence[tuple[ShareRow, bytes]], now: datetime) -> None:
        """Values of roles, each with the hash of the record that it is told for; their signatures were checked.

        All of them, or none; the same again changes nothing. NotAllowed with `clock.*`, and what `take_reveal` raises.
        """
        self._trust(now)
        today = self.local(now)
        # A crash may have come between the row and the file; no value is taken for what nobody could read.
        for row in self._ask(lambda connection: day_queries.days_from(connection, today.isoformat())):
            self._publish(row)

        def work(connection: Connection) -> None:
            for share, told_for in told:
                opened = day_queries.day_row(connection, share.day)
                take_reveal(connection, share, told_for, today if opened is None else self._today_of(opened, now))

        self._ask(work)

    def take_round(self, number: int, signature: bytes, now: datetime) -> list[str]:
        """A round of drand, verified here before it is believed; the days that have their beacon by it.

        NotAllowed with `clock.back` for a round that our clock says is still to come, and with what `verify_round`
        and the step raise.
        """
        self._trust(now)
        verify_round(self.chain, number, signature)
        if self.chain.time_of(number) > now + MAX_JUMP:
            raise NotAllowed(BACK, "the round is signed, but this clock says that its time is still to come")
        return self._ask(
            lambda connection: take_round(connection, number, signature, lambda row: self._today_of(row, now))
        )

    def confirm_clock(self, day: date, now: datetime) -> None:
        """Somebody who may says that today is this day. NotAllowed(`clock.day`) when the clock says another."""
        if self.local(now) != day:
            raise NotAllowed("clock.day", f"this clock says {self.local(now)}, not {day}")
        self.clock.confirm(now)
        self.look_ahead(now)

    def awaited_rounds(self, now: datetime) -> list[int]:
        """Rounds of drand that are signed by now and that a coming day still waits for."""
        # A day earlier too: where a policy to come has its days, one may still be to begin that is over here.
        first = (self.local(now) - timedelta(days=1)).isoformat()
        rows = self._ask(lambda connection: day_queries.days_from(connection, first))
        waiting = [row for row in rows if row.beacon is None and date.fromisoformat(row.day) > self._today_of(row, now)]
        numbers = [row.drand_round for row in waiting if row.drand_round]
        return [number for number in numbers if self.chain.time_of(number) <= now]

    def standing(self, now: datetime) -> list[Standing]:
        """Today and the days ahead, and what each still needs: the next week, and every day that somebody knows of."""
        return self._ask(lambda connection: list(self._stand(connection, now)))

    def proof_of(self, day: str) -> dict[str, Any]:
        """What a list says of the day's beacon. NotAllowed(`draw.day.missing`) for a day that was never opened."""

        def work(connection: Connection) -> dict[str, Any]:
            row = day_queries.day_row(connection, day)
            if row is None:
                raise NotAllowed("draw.day.missing", f"{day} has no record")
            return proof_of(connection, row, self.chain)

        return self._ask(work)

    # -- within ------------------------------------------------------------------------------

    def _ask(self, work: Callable[[Connection], T]) -> T:
        """In the writer's thread, so that what was read is what is changed; then memory follows what is durable."""

        def whole(connection: Connection) -> tuple[T, int, dict[str, Day]]:
            found = work(connection)
            self._reads += 1
            return found, self._reads, self._read(connection)

        found, number, days = self._writer.submit(whole).result()
        if number > self._newest:
            self._newest, self._days = number, days
        return found

    def _read(self, connection: Connection) -> dict[str, Day]:
        rows = day_queries.days_from(connection, self._first)
        shares = _by_day(day_queries.shares_from(connection, self._first))
        signatures = {
            row.day: day_queries.round_signature(connection, row.drand_round) for row in rows if row.drand_round
        }
        return {
            row.day: Day(
                row.day,
                row.policy_hash,
                day_key(self._secret, row.day),
                beacon_in_time(row, shares.get(row.day, []), signatures.get(row.day)),
            )
            for row in rows
        }

    def _open_due(self, connection: Connection, openings: list[Opening]) -> tuple[list[DayRow], list[DayRow]]:
        """The days that were opened, and all that are open."""
        rows = {row.day: row for row in day_queries.days_from(connection, self._first)}
        shares = _by_day(day_queries.shares_from(connection, self._first))
        opened = []
        for asked in openings:
            name, plan = asked.day.isoformat(), asked.plan
            row = rows.get(name)
            if row is not None and (row.policy_hash, row.beacon_kind) == (plan.policy_hash, plan.beacon):
                continue
            if plan.beacon == COMMIT and silent_roles(shares.get(name, [])):
                continue
            with contextlib.suppress(NotAllowed):  # it began, or is fixed: `standing` says so
                opened.append(open_day(connection, asked, self._secret, self.chain))
        return opened, [*(rows | {row.day: row for row in opened}).values()]

    def _openings(self, now: datetime) -> Iterator[Opening]:
        """What can be opened now: the next week, and further ahead what roles have committed to."""
        for day in self._horizon(now):
            asked = self._opening(day, now)
            if asked is not None and (asked.plan.beacon == COMMIT or (day - asked.today).days <= AHEAD_DAYS):
                yield asked

    def _opening(self, day: date, now: datetime) -> Opening | None:
        plan = self._plan(day)
        if plan is None:
            return None
        # The policy of that day may have another time zone than today's, and whoever verifies reckons with it.
        midnight = datetime.combine(day, time.min, plan.zone or self._zone())
        return Opening(day, plan, midnight.astimezone(UTC) - ROUND_BEFORE, self.local(now), now)

    def _today_of(self, row: DayRow, now: datetime) -> date:
        """Which day it is in the zone in which this one begins: that of its own policy, also before that is in force.

        Under a policy that is not to be in force on it any more, it begins where days begin now.
        """
        plan = self._plan(date.fromisoformat(row.day))
        if plan is None or plan.zone is None or plan.policy_hash != row.policy_hash:
            return self.local(now)
        return now.astimezone(plan.zone).date()

    def _horizon(self, now: datetime) -> Iterator[date]:
        today = self.local(now)
        return (today + timedelta(days=ahead) for ahead in range(COMMITTED_DAYS + 1))

    def _stand(self, connection: Connection, now: datetime) -> Iterator[Standing]:
        fault, today = self.clock.look(now), self.local(now)
        rows = {row.day: row for row in day_queries.days_from(connection, today.isoformat())}
        shares = _by_day(day_queries.shares_from(connection, today.isoformat()))
        days = self._read(connection)
        for day in self._horizon(now):
            name, plan = day.isoformat(), self._plan(day)
            if plan is None or not ((day - today).days <= AHEAD_DAYS or name in rows or name in shares):
                continue
            row = rows.get(name)
            missing = _missing(plan, row, shares.get(name, []), days.get(name))
            yield Standing(
                name, plan.policy_hash, plan.beacon, row is not None, missing, fault or _rule(plan, row, days.get(name))
            )

    def _publish(self, row: DayRow) -> None:
        """The record as a file, whole or not at all."""
        path = self._directory / row.day / "day.json"
        if not path.exists() or path.read_bytes() != row.record:
            make_directories(path.parent)
            replace_file(path, row.record)

    def _trust(self, now: datetime) -> None:
        rule = self.clock.look(now)
        if rule:
            raise NotAllowed(rule, f"{SENTENCES[rule]}; nothing was changed")
        self._remember(now)

    def _remember(self, now: datetime) -> None:
        """What `today` needs at once; past tomorrow it knows nothing without another look."""
        # A day earlier too: what was today a moment ago may still be asked for.
        today = self.local(now)
        self._first = (today - timedelta(days=1)).isoformat()
        self._near = {day: self._plan(day) for day in (today, today + timedelta(days=1))}


def _by_day(rows: list[ShareRow]) -> dict[str, list[ShareRow]]:
    found: dict[str, list[ShareRow]] = {}
    for row in rows:
        found.setdefault(row.day, []).append(row)
    return found


def _missing(plan: Plan, row: DayRow | None, shares: list[ShareRow], day: Day | None) -> tuple[str, ...]:
    """Who must still act, or which round must still come."""
    if plan.beacon == COMMIT and silent_roles(shares):
        return tuple(f"commitment of {role}" for role in silent_roles(shares))
    if row is None:
        return ("record",)
    if plan.beacon == COMMIT:
        return tuple(f"value of {share.role}" for share in shares if share.value is None)
    waits = plan.beacon == DRAND and (day is None or day.beacon is None)
    return (f"round {row.drand_round} of drand",) if waits else ()


def _rule(plan: Plan, row: DayRow | None, day: Day | None) -> str:
    if row is None or day is None:
        return "draw.day.missing"
    if row.policy_hash != plan.policy_hash:
        return "draw.day.fixed"
    return "" if day.beacon is not None else "draw.beacon.missing"
