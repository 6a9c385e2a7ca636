"""What tests of days share: a database with days in it, roles with values, and a chain of drand that tests sign."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import partial
from pathlib import Path
from zoneinfo import ZoneInfo

import rfc8785
from py_arkworks_bls12381 import G1Point, G2Point, Scalar
from sqlalchemy import Connection

from mitschnitt.core.beacon import COMMIT, ROLES, commitment_of
from mitschnitt.keeper.backward_draws import BackwardDraws
from mitschnitt.keeper.day_steps import Plan
from mitschnitt.keeper.days import Days
from mitschnitt.keeper.time_watch import TimeWatch
from mitschnitt.proof.drand import DST, QUICKNET, Chain
from mitschnitt.store import day_queries, queries
from mitschnitt.store.day_queries import DayRow, ShareRow
from mitschnitt.store.engine import open_engine
from mitschnitt.store.queries import CallRow
from mitschnitt.store.upgrade import upgrade
from mitschnitt.store.writer import Writer

SECRET = bytes(range(32))
BERLIN = ZoneInfo("Europe/Berlin")
NOON = datetime(2026, 11, 26, 11, 0, tzinfo=UTC)  # 12:00 in Berlin, a Thursday
TODAY, TOMORROW = date(2026, 11, 26), date(2026, 11, 27)
POLICY, OTHER_POLICY = "a" * 64, "b" * 64
CHAIN_SECRET = Scalar(4_711)
CHAIN = replace(QUICKNET, name="tests", public_key=(G2Point() * CHAIN_SECRET).to_compressed_bytes())


def round_of(chain_round: int) -> bytes:
    """The signature that the tests' chain makes of a round."""
    message = hashlib.sha256(chain_round.to_bytes(8, "big")).digest()
    return (G1Point.hash_to_curve(message, DST) * CHAIN_SECRET).to_compressed_bytes()


def value_of(day: date, role: str) -> bytes:
    return hashlib.sha256(f"{role} {day}".encode()).digest()


def commitment(day: date, role: str, *, value: bytes | None = None) -> ShareRow:
    digest = commitment_of(day.isoformat(), role, value or value_of(day, role)).hex()
    return ShareRow(day.isoformat(), role, digest, b'{"act":"commit_value"}', b"s" * 64)


def told(day: date, role: str, record: bytes, *, value: bytes | None = None) -> ShareRow:
    act = rfc8785.dumps({"act": "tell_value", "record": record.hex()})
    return replace(
        commitment(day, role),
        value=(value or value_of(day, role)).hex(),
        reveal_act=act,
        reveal_signature=b"s" * 64,
    )


@dataclass
class Site:
    """Days over a database, with clocks that tests move: `now` and the monotonic seconds go together in `wait`."""

    root: Path
    beacon: str = COMMIT
    policies: dict[date, str] = field(default_factory=dict)  # from this day on; the newest counts
    zone: tzinfo = BERLIN
    zones: dict[date, tzinfo] = field(default_factory=dict)  # of days whose policy names another
    chain: Chain = CHAIN
    now: datetime = NOON
    monotonic: float = 1_000.0

    def __post_init__(self) -> None:
        engine = open_engine(self.root / "domain.sqlite")
        upgrade(engine)
        self.writer = Writer(engine)
        self.policies.setdefault(date(2020, 1, 1), POLICY)
        self.days = self.start()
        self.backward = BackwardDraws(self.writer, self.root / "draw" / "backward", SECRET, chain=self.chain)

    def start(self) -> Days:
        """Days as a new process has them."""
        self.days = Days(
            self.writer,
            self.root / "draw",
            SECRET,
            plan=self.plan,
            zone=lambda: self.zone,
            clock=TimeWatch(None, lambda: self.monotonic),
            chain=self.chain,
        )
        return self.days

    def plan(self, day: date) -> Plan | None:
        begun = [first for first in self.policies if first <= day]
        return Plan(self.policies[max(begun)], self.beacon, self.zones.get(day)) if begun else None

    def keep(self, calls: Mapping[str, str], *, purpose: str = "training") -> None:
        """Kept calls with the day on which each came."""
        for number, (call_id, day) in enumerate(calls.items()):
            row = CallRow(call_id, 1, None, day, "kept", purpose, POLICY, "2027-01-31T00:00:00.000000Z", b"sealed")
            row = replace(row, tree_index=int(hashlib.sha256(call_id.encode()).hexdigest()[:8], 16) + number)
            self.writer.submit(partial(queries.add_call, row=row)).result()

    def erase(self, call_id: str) -> None:
        self.writer.submit(lambda connection: queries.close_not_kept(connection, call_id, decision=b"sealed")).result()

    def wait(self, how_long: timedelta) -> None:
        self.now += how_long
        self.monotonic += how_long.total_seconds()

    def wait_until(self, local_day: date) -> None:
        """Noon of this day in the site's zone."""
        noon = datetime(local_day.year, local_day.month, local_day.day, 12, tzinfo=self.zone)
        self.wait(noon - self.now)

    def all_commit(self, day: date) -> None:
        for role in ROLES:
            self.days.commit([commitment(day, role)], self.now)

    def reveal(self, day: date, role: str) -> None:
        record = hashlib.sha256(self.record(day)).digest()
        self.days.reveal([(told(day, role, record), record)], self.now)

    def record(self, day: date) -> bytes:
        return (self.root / "draw" / day.isoformat() / "day.json").read_bytes()

    def row(self, day: date) -> DayRow | None:
        return self.writer.submit(lambda connection: day_queries.day_row(connection, day.isoformat())).result()

    def shares(self, day: date) -> list[ShareRow]:
        return self.writer.submit(lambda connection: day_queries.shares_of(connection, day.isoformat())).result()

    def everything(self) -> object:
        """All that days, commitments, rounds and files say, for `nothing was changed`."""

        def read(connection: Connection) -> object:
            return day_queries.days_from(connection, ""), day_queries.shares_from(connection, "")

        files = sorted((path, path.read_bytes()) for path in self.root.rglob("day.json"))
        return self.writer.submit(read).result(), files


@contextmanager
def site(root: Path, **more: object) -> Iterator[Site]:
    found = Site(root, **more)  # type: ignore[arg-type]  # the fields of Site
    try:
        yield found
    finally:
        found.writer.close()
