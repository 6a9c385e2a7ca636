"""Backward draws of the site: the record first, the beacon later, the picks last; once for a period.

Files are the memory of it: `draw/backward/<period>/record.json`, then `result.json`. Nothing joins a call to an id in
any file; who may be told which calls were picked, the door asks.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import rfc8785
from sqlalchemy import Connection

from mitschnitt.core.backward import SUBJECT, Candidate, backward_key, candidate_id, picks, population_root
from mitschnitt.core.beacon import COMMIT, DRAND, DayRecord, beacon_of, check_reveal
from mitschnitt.core.periods import Period
from mitschnitt.errors import ConfigError, NotAllowed
from mitschnitt.keeper.clock import rfc3339
from mitschnitt.keeper.day_record import promised, share_of
from mitschnitt.keeper.day_steps import silent_roles, take_commitment
from mitschnitt.keeper.kek import replace_file
from mitschnitt.proof.drand import Chain, verify_round
from mitschnitt.store import backward_queries, day_queries
from mitschnitt.store.backward_queries import KeptRow
from mitschnitt.store.day_queries import ShareRow
from mitschnitt.store.writer import Writer
from mitschnitt.vault.blobs import make_directories

VERSION = 1
MAX_TAKE = 10_000  # calls of a stratum; nobody listens to more
ROUND_AFTER = timedelta(minutes=1)  # the round is signed at least so much later than the record
STRATA: dict[str, Callable[[KeptRow], str]] = {"purpose": lambda row: row.purpose, "day": lambda row: row.arrived_day}


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be drawn: `take` calls of each stratum, which are the purposes or the days of the period."""

    period: Period
    take: int
    by: str
    beacon: str  # commit | drand, as the policy says


class BackwardDraws:
    """Methods block. `directory` is `DIR/draw/backward`."""

    def __init__(self, writer: Writer, directory: Path, secret: bytes, *, chain: Chain) -> None:
        self._writer = writer
        self._directory = directory
        self._secret = secret
        self._chain = chain

    def commit(self, given: Sequence[ShareRow], now: datetime) -> None:  # noqa: ARG002 - as `Days.commit`
        """Commitments to a backward draw that is not published yet. NotAllowed with `draw.backward.begun`."""
        for row in given:
            if self._record(row.day.removeprefix(SUBJECT)) is not None:
                raise NotAllowed("draw.backward.begun", "this draw is published already; commitments come before it")

        def work(connection: Connection) -> None:
            for row in given:
                take_commitment(connection, row)

        self._writer.submit(work).result()

    def reveal(self, told: Sequence[tuple[ShareRow, bytes]], now: datetime) -> None:  # noqa: ARG002 - as `Days.reveal`
        """Values for published records. NotAllowed with what `check_reveal` raises."""

        def work(connection: Connection) -> None:
            for row, told_for in told:
                shares = {item.role: item for item in day_queries.shares_of(connection, row.day)}
                share = share_of(shares[row.role]) if row.role in shares else None
                record = self._record(row.day.removeprefix(SUBJECT))
                check_reveal(_as_day(record), share, bytes.fromhex(row.value or ""), told_for)
                day_queries.set_reveal(connection, row)

        self._writer.submit(work).result()

    def record(self, period: str) -> bytes | None:
        """What was published of this period's draw, None before."""
        return self._record(period)

    def awaited_rounds(self, now: datetime) -> list[int]:
        """Rounds of drand, signed by now, that a published draw waits for."""
        found = [json.loads(path.read_bytes())["beacon"] for path in self._directory.glob("*/record.json")]
        numbers = {beacon["round"] for beacon in found if beacon["kind"] == DRAND}
        known = self._writer.submit(
            lambda connection: {number for number in numbers if day_queries.round_signature(connection, number)}
        ).result()
        return sorted(number for number in numbers - known if self._chain.time_of(number) <= now)

    def take_round(self, number: int, signature: bytes, now: datetime) -> list[str]:
        """A round, verified; the draws that wait for it. NotAllowed with what `verify_round` raises, or `.unasked`."""
        verify_round(self._chain, number, signature)
        if number not in self.awaited_rounds(now):
            raise NotAllowed("draw.round.unasked", f"no draw waits for round {number}")
        self._writer.submit(lambda connection: day_queries.add_round(connection, number, signature)).result()
        return [
            f"{SUBJECT}{path.parent.name}"
            for path in sorted(self._directory.glob("*/record.json"))
            if json.loads(path.read_bytes())["beacon"].get("round") == number
        ]

    def draw(self, wish: Wish, now: datetime, today: date) -> dict[str, Any]:
        """Publish the record, or with the beacon draw: `{state, record, missing, picks}`, picks by stratum as call ids.

        Again later, with calls gone since, the next tickets move up. NotAllowed with `draw.backward.*`.
        """
        _refuse(wish, today)
        period = wish.period
        kept = self._kept(period, now)
        published = self._record(period.name)
        if published is None:
            published = self._publish(wish, kept, now)
        elif _asked_otherwise(json.loads(published), wish):
            raise NotAllowed(
                "draw.backward.second", f"{period.name} is drawn from already; a period is drawn from once"
            )
        beacon, missing = self._beacon(published, period.name)
        told = {"period": period.name, "record": hashlib.sha256(published).hexdigest(), "missing": missing}
        if beacon is None:
            return {**told, "state": "published", "picks": {}}
        return {**told, "state": "drawn", "picks": self._drawn(published, beacon, period, kept)}

    # -- within ------------------------------------------------------------------------------

    def _kept(self, period: Period, now: datetime) -> list[KeptRow]:
        return self._writer.submit(
            lambda connection: backward_queries.kept_between(
                connection, period.first.isoformat(), period.last.isoformat(), due_after=rfc3339(now)
            )
        ).result()

    def _record(self, period: str) -> bytes | None:
        try:
            return (self._directory / period / "record.json").read_bytes()
        except FileNotFoundError:
            return None

    def _shares(self, period: str) -> list[ShareRow]:
        return self._writer.submit(lambda connection: day_queries.shares_of(connection, SUBJECT + period)).result()

    def _publish(self, wish: Wish, kept: list[KeptRow], now: datetime) -> bytes:
        name = wish.period.name
        candidates = self._candidates(wish.by, name, kept)
        root = population_root(candidates)
        shares = self._shares(name)
        if wish.beacon == COMMIT and (silent := silent_roles(shares)):
            raise NotAllowed("draw.beacon.uncommitted", f"{', '.join(silent)}: no commitment for {SUBJECT}{name}")
        number = self._chain.first_round(now + ROUND_AFTER) if wish.beacon == DRAND else None
        counts: dict[str, int] = {}
        for item in candidates:
            counts[item.stratum] = counts.get(item.stratum, 0) + 1
        record = rfc8785.dumps(
            {
                "v": VERSION,
                "kind": "backward",
                "period": name,
                "take": wish.take,
                "by": wish.by,
                "strata": [[stratum, count] for stratum, count in sorted(counts.items())],
                "root": root.hex(),
                "beacon": promised(wish.beacon, shares, self._chain, number),
                "opened_at": rfc3339(now),
            }
        )
        self._write(name, "population.json", _population(candidates, sorted(counts)))
        # Last: with the record the draw has begun, and its population can no longer be another.
        self._write(name, "record.json", record)
        return record

    def _candidates(self, by: str, period: str, kept: list[KeptRow]) -> list[Candidate]:
        key = backward_key(self._secret, period)
        return [Candidate(candidate_id(key, row.call_id), STRATA[by](row)) for row in kept]

    def _beacon(self, record: bytes, period: str) -> tuple[dict[str, Any] | None, list[str]]:
        """What the beacon is made of, with its value; or who and what is missing."""
        fixed = _as_day(record)
        shares = self._shares(period)
        number = None if fixed is None else fixed.round
        signature = None
        if number is not None:
            signature = self._writer.submit(
                lambda connection: day_queries.round_signature(connection, number or 0)
            ).result()
        try:
            value = beacon_of(fixed, [share_of(share) for share in shares], signature)
        except NotAllowed:
            missing = [f"value of {share.role}" for share in shares if share.value is None]
            return None, missing if number is None else [f"round {number} of drand"]
        if number is not None and signature is not None:
            return {"kind": DRAND, "value": value.hex(), "round": number, "signature": signature.hex()}, []
        told = {share.role: {"commitment": share.commitment, "value": share.value} for share in shares}
        return {"kind": COMMIT, "value": value.hex(), "shares": told}, []

    def _drawn(
        self, record: bytes, beacon: dict[str, Any], period: Period, kept: list[KeptRow]
    ) -> dict[str, list[str]]:
        fixed = json.loads(record)
        names = [stratum for stratum, _ in fixed["strata"]]
        told = json.loads((self._directory / period.name / "population.json").read_bytes())
        population = [Candidate(bytes.fromhex(item), names[place]) for item, place in told]
        if population_root(population).hex() != fixed["root"]:
            raise ConfigError(f"draw: population.json of {period.name} was changed after its root was published")
        key = backward_key(self._secret, period.name)
        there = {candidate_id(key, row.call_id): row.call_id for row in kept}
        gone = {item.id for item in population} - set(there)
        digest = hashlib.sha256(record).digest()
        found = picks(population, record=digest, beacon=bytes.fromhex(beacon["value"]), take=fixed["take"], gone=gone)
        result = {
            "v": VERSION,
            "kind": "backward",
            "period": period.name,
            "record": digest.hex(),
            "beacon": beacon,
            "population": told,
            "gone": sorted(item.hex() for item in gone),
            "picks": {name: [item.hex() for item in chosen] for name, chosen in found.items()},
        }
        self._write(period.name, "result.json", rfc8785.dumps(result))
        return {name: [there[item] for item in chosen] for name, chosen in found.items()}

    def _write(self, period: str, name: str, data: bytes) -> None:
        make_directories(self._directory / period)
        replace_file(self._directory / period / name, data)


def _population(candidates: list[Candidate], names: list[str]) -> bytes:
    ordered = sorted(candidates, key=lambda item: item.id)
    return rfc8785.dumps([[item.id.hex(), names.index(item.stratum)] for item in ordered])


def _as_day(record: bytes | None) -> DayRecord | None:
    """The core knows a published record by its hash, of whatever it is the record."""
    if record is None:
        return None
    told = json.loads(record)
    subject, beacon = SUBJECT + told["period"], told["beacon"]
    return DayRecord(subject, beacon["kind"], hashlib.sha256(record).digest(), beacon.get("round"))


def _asked_otherwise(record: dict[str, Any], wish: Wish) -> bool:
    return (record["take"], record["by"]) != (wish.take, wish.by)


def _refuse(wish: Wish, today: date) -> None:
    if today <= wish.period.last:
        raise NotAllowed("draw.backward.open", f"{wish.period.name} is not over; only a closed period is drawn from")
    if not 1 <= wish.take <= MAX_TAKE:
        raise NotAllowed("draw.backward.take", f"1 to {MAX_TAKE} calls of a stratum can be taken, found {wish.take}")
    if wish.by not in STRATA:
        raise NotAllowed("draw.backward.take", f"strata are {' or '.join(STRATA)}, found {wish.by!r}")
    if wish.beacon not in (COMMIT, DRAND):
        raise NotAllowed(
            "draw.backward.beacon", "the policy has no beacon; without one, calls would be chosen, not drawn"
        )
