"""Backward draws of a site: the record, the beacon, the picks, in this order; and once for a period."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from keeper.days_on_disk import CHAIN, NOON, SECRET, TODAY, Site, round_of, site
from mitschnitt.core.backward import backward_key, candidate_id
from mitschnitt.core.beacon import COMMIT, DRAND, NONE, ROLES, commitment_of
from mitschnitt.core.periods import parse_period
from mitschnitt.errors import ConfigError, NotAllowed
from mitschnitt.keeper.backward_draws import Wish
from mitschnitt.proof import drand
from mitschnitt.proof.backward import check_backward
from mitschnitt.store.day_queries import ShareRow

WEEK = parse_period("2026-W47")
CALLS = {f"{number:026d}": f"2026-11-{16 + number % 7}" for number in range(70)}
SUBJECT = "backward-2026-W47"
WISH = Wish(WEEK, 3, "day", COMMIT)


def value_of(role: str) -> bytes:
    return hashlib.sha256(role.encode()).digest()


def commitment(role: str) -> ShareRow:
    return ShareRow(SUBJECT, role, commitment_of(SUBJECT, role, value_of(role)).hex(), b"{}", b"s" * 64)


def told(role: str, record: bytes) -> tuple[ShareRow, bytes]:
    digest = hashlib.sha256(record).digest()
    act = json.dumps({"record": digest.hex()}).encode()
    row = replace(commitment(role), value=value_of(role).hex(), reveal_act=act, reveal_signature=b"s" * 64)
    return row, digest


def files(here: Site) -> tuple[bytes, bytes]:
    place = here.root / "draw" / "backward" / "2026-W47"
    return (place / "record.json").read_bytes(), (place / "result.json").read_bytes()


def draw(here: Site, wish: Wish = WISH) -> dict[str, Any]:
    return here.backward.draw(wish, here.now, here.days.local(here.now))


def published(here: Site) -> bytes:
    here.keep(CALLS)
    here.backward.commit([commitment(role) for role in ROLES], here.now)
    assert draw(here)["state"] == "published"
    record = here.backward.record("2026-W47")
    assert record is not None
    return record


def drawn(here: Site) -> dict[str, Any]:
    record = published(here)
    here.backward.reveal([told(role, record) for role in ROLES], here.now)
    return draw(here)


def refused(work: Callable[[], object]) -> str:
    with pytest.raises(NotAllowed) as info:
        work()
    return info.value.rule


def test_first_the_record_then_the_values_then_the_picks(tmp_path: Path) -> None:
    with site(tmp_path) as here:
        record = published(here)
        fixed = json.loads(record)
        assert fixed["strata"] == [[f"2026-11-{day}", 10] for day in range(16, 23)]
        assert fixed["beacon"]["commitments"]["council"] == commitment("council").commitment
        assert draw(here)["missing"] == ["value of council", "value of officer", "value of operator"]
        here.backward.reveal([told(role, record) for role in ROLES], here.now)
        found = draw(here)
        assert found["state"] == "drawn"
        assert {day: len(calls) for day, calls in found["picks"].items()} == {
            f"2026-11-{day}": 3 for day in range(16, 23)
        }
        assert all(CALLS[call] == day for day, calls in found["picks"].items() for call in calls)
        assert check_backward(*files(here)) == []


def test_no_file_names_a_call(tmp_path: Path) -> None:
    with site(tmp_path) as here:
        drawn(here)
        key = backward_key(SECRET, "2026-W47")
        record, result = files(here)
        for call in CALLS:
            assert call.encode() not in record + result
            assert candidate_id(key, call).hex() in result.decode()


def test_drawn_again_the_same_are_picked(tmp_path: Path) -> None:
    with site(tmp_path) as here:
        first = drawn(here)
        record, result = files(here)
        assert draw(here) == first
        assert files(here) == (record, result)


def test_for_a_pick_that_is_gone_the_next_ticket_moves_up(tmp_path: Path) -> None:
    with site(tmp_path) as here:
        before = drawn(here)["picks"]
        victim = before["2026-11-18"][1]
        here.erase(victim)
        after = draw(here)["picks"]
        assert {day: calls for day, calls in after.items() if day != "2026-11-18"} == {
            day: calls for day, calls in before.items() if day != "2026-11-18"
        }
        stayed = [call for call in before["2026-11-18"] if call != victim]
        assert after["2026-11-18"][:2] == stayed
        assert len(after["2026-11-18"]) == 3
        assert check_backward(*files(here)) == []


def test_a_call_that_came_to_be_kept_later_is_never_picked(tmp_path: Path) -> None:
    with site(tmp_path) as here:
        before = drawn(here)
        here.keep({"Z" * 26: "2026-11-18"})
        assert draw(here) == before


def test_a_period_that_runs_is_not_drawn_from(tmp_path: Path) -> None:
    with site(tmp_path) as here:
        here.keep(CALLS)
        running = replace(WISH, period=parse_period("2026-W48"))
        assert refused(lambda: draw(here, running)) == "draw.backward.open"
        assert (
            refused(lambda: draw(here, replace(WISH, period=parse_period(TODAY.isoformat())))) == "draw.backward.open"
        )


@pytest.mark.parametrize(
    "wish, rule",
    [
        (replace(WISH, take=0), "draw.backward.take"),
        (replace(WISH, take=10_001), "draw.backward.take"),
        (replace(WISH, by="agent"), "draw.backward.take"),
        (replace(WISH, beacon=NONE), "draw.backward.beacon"),
        (replace(WISH, period=parse_period("2026-W46")), "draw.backward.empty"),
        (WISH, "draw.beacon.uncommitted"),
    ],
)
def test_what_cannot_be_drawn_is_refused_and_nothing_is_written(tmp_path: Path, wish: Wish, rule: str) -> None:
    with site(tmp_path) as here:
        here.keep(CALLS)
        assert refused(lambda: draw(here, wish)) == rule
        assert list((tmp_path / "draw").rglob("*.json")) == []


def test_a_period_is_drawn_from_once(tmp_path: Path) -> None:
    with site(tmp_path) as here:
        drawn(here)
        before = files(here)
        assert refused(lambda: draw(here, replace(WISH, take=4))) == "draw.backward.second"
        assert refused(lambda: draw(here, replace(WISH, by="purpose"))) == "draw.backward.second"
        assert refused(lambda: here.backward.commit([commitment("council")], here.now)) == "draw.backward.begun"
        assert files(here) == before


def test_values_come_after_the_record_and_fit_it(tmp_path: Path) -> None:
    with site(tmp_path) as here:
        early = told("council", b"no record yet")
        assert refused(lambda: here.backward.reveal([early], here.now)) == "draw.beacon.early"
        record = published(here)
        assert refused(lambda: here.backward.reveal([early], here.now)) == "draw.beacon.record"
        row, digest = told("council", record)
        other = replace(row, value="00" * 32)
        assert refused(lambda: here.backward.reveal([(other, digest)], here.now)) == "draw.beacon.commitment"
        assert draw(here)["missing"] == ["value of council", "value of officer", "value of operator"]


def test_a_round_after_the_record_makes_the_beacon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(drand.CHAINS, CHAIN.name, CHAIN)
    wish = replace(WISH, beacon=DRAND)
    with site(tmp_path, beacon=DRAND) as here:
        here.keep(CALLS)
        assert draw(here, wish)["state"] == "published"
        record = here.backward.record("2026-W47")
        assert record is not None
        number = json.loads(record)["beacon"]["round"]
        assert CHAIN.time_of(number) >= NOON + timedelta(minutes=1)
        assert here.backward.awaited_rounds(here.now) == []
        assert refused(lambda: here.backward.take_round(number, round_of(number), here.now)) == "draw.round.unasked"
        here.wait(timedelta(minutes=2))
        assert here.backward.awaited_rounds(here.now) == [number]
        forged = round_of(number + 1)
        assert refused(lambda: here.backward.take_round(number, forged, here.now)) == "draw.round.forged"
        assert here.backward.take_round(number, round_of(number), here.now) == [SUBJECT]
        assert here.backward.awaited_rounds(here.now) == []
        assert draw(here, wish)["state"] == "drawn"
        assert check_backward(*files(here)) == []


def test_a_population_that_was_changed_after_its_root_draws_nothing(tmp_path: Path) -> None:
    with site(tmp_path) as here:
        record = published(here)
        here.backward.reveal([told(role, record) for role in ROLES], here.now)
        path = tmp_path / "draw" / "backward" / "2026-W47" / "population.json"
        path.write_text(json.dumps(json.loads(path.read_text())[1:]))
        with pytest.raises(ConfigError, match="was changed after its root was published"):
            draw(here)
