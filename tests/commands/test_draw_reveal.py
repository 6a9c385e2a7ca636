"""`mitschnitt draw reveal`: the whole ceremony by its commands, and every value that is not taken."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from commands.draw_ceremony import Ceremony, ceremony
from commands.keeper_stub import StubDoor
from keeper.days_on_disk import OTHER_POLICY, TOMORROW
from mitschnitt import cli
from mitschnitt.commands import draw_reveal
from mitschnitt.core.beacon import DRAND, ROLES
from mitschnitt.errors import ConfigError, MalformedPacket, NotAllowed


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ceremony]:
    with ceremony(tmp_path, monkeypatch) as found:
        yield found


def run(here: Ceremony, verb: str, role: str, *more: str, key_of: str = "") -> Result:
    arguments = ["draw", verb, *more, "--as", role, "--key", str(here.key(key_of or role))]
    arguments += ["--password-file", str(here.password), "--dir", str(here.directory)]
    return CliRunner().invoke(cli.app, arguments)


def commit(here: Ceremony, role: str, days: int = 2) -> None:
    assert run(here, "commit", role, "--from", "2026-11-27", "--days", str(days)).exit_code == 0


def reveal(here: Ceremony, role: str, period: str, *, key_of: str = "", values_of: str = "") -> Result:
    return run(here, "reveal", role, period, "--values", str(here.values(values_of or role)), key_of=key_of)


def rule_of(told: Result) -> str:
    assert isinstance(told.exception, NotAllowed), told.exception
    return told.exception.rule


def test_the_ceremony_makes_days_that_draw(here: Ceremony) -> None:
    for role in ROLES:
        commit(here, role)
    for role in ROLES:
        told = reveal(here, role, "2026-W48")
        assert told.exit_code == 0, told.exception
        assert "2026-11-27, 2026-11-28" in told.output
    assert here.site.days.standing(here.site.now)[1].rule == ""
    here.site.wait_until(TOMORROW)
    day = here.site.days.today(here.site.now)
    assert day is not None
    assert day.beacon is not None


def test_a_value_before_the_record_is_refused(here: Ceremony) -> None:
    commit(here, "council")
    assert rule_of(reveal(here, "council", "2026-11-27")) == "draw.day.missing"
    told = reveal(here, "council", "2026-W48")
    assert isinstance(told.exception, ConfigError)
    assert "no day of 2026-W48 waits for a value of council" in str(told.exception)


def test_the_wrong_key_and_the_wrong_file_are_refused(here: Ceremony) -> None:
    for role in ROLES:
        commit(here, role)
    assert rule_of(reveal(here, "council", "2026-11-27", key_of="operator")) == "role.signature"
    told = reveal(here, "council", "2026-11-27", values_of="officer")
    assert isinstance(told.exception, ConfigError)
    assert "holds the values of 'officer', expected those of council" in str(told.exception)
    assert not any(share.value for share in here.site.shares(TOMORROW))


def test_a_value_that_does_not_fit_is_told_to_nobody(here: Ceremony) -> None:
    for role in ROLES:
        commit(here, role)
    file = json.loads(here.values("council").read_text())
    file["values"]["2026-11-27"] = "00" * 32
    here.values("council").write_text(json.dumps(file))
    assert rule_of(reveal(here, "council", "2026-11-27")) == "draw.beacon.commitment"
    assert not any(share.value for share in here.site.shares(TOMORROW))


def test_a_value_after_the_day_began_is_too_late(here: Ceremony) -> None:
    for role in ROLES:
        commit(here, role)
    here.site.wait_until(TOMORROW)
    assert rule_of(reveal(here, "council", "2026-11-27")) == "draw.beacon.late"


def test_after_a_new_policy_the_value_is_told_for_the_new_record(here: Ceremony) -> None:
    for role in ROLES:
        commit(here, role)
    here.site.policies[TOMORROW] = OTHER_POLICY
    here.site.days.look_ahead(here.site.now)
    for role in ROLES:
        assert reveal(here, role, "2026-11-27").exit_code == 0
    here.site.wait_until(TOMORROW)
    day = here.site.days.today(here.site.now)
    assert day is not None
    assert (day.policy_hash, day.beacon is None) == (OTHER_POLICY, False)


def test_a_day_without_a_value_in_the_file_is_named(here: Ceremony) -> None:
    for role in ROLES:
        commit(here, role, days=1)
    told = reveal(here, "council", "2026-11-29")
    assert isinstance(told.exception, ConfigError)
    assert "no value for 2026-11-29 in" in str(told.exception)


def test_a_day_drawn_by_drand_takes_no_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ceremony(tmp_path, monkeypatch, beacon=DRAND) as here:
        commit(here, "council")
        assert rule_of(reveal(here, "council", "2026-11-27")) == "draw.beacon.unasked"


@pytest.mark.parametrize("record", ["", "{}", "[]", '{"day":"2026-11-27"}', '{"day":1,"beacon":[]}'])
def test_a_record_that_is_none_is_no_reason_to_tell_a_value(
    here: Ceremony, monkeypatch: pytest.MonkeyPatch, record: str
) -> None:
    commit(here, "council", days=1)
    door = StubDoor({("GET", "/draw/days/2026-11-27"): {"record": record}})
    door.behind(monkeypatch, draw_reveal)
    assert isinstance(reveal(here, "council", "2026-11-27").exception, MalformedPacket)
    assert [method for method, _, _ in door.asked] == ["GET"]


def test_a_record_of_another_day_is_no_reason_either(here: Ceremony, monkeypatch: pytest.MonkeyPatch) -> None:
    for role in ROLES:
        commit(here, role)
    other = here.site.record(TOMORROW + timedelta(days=1)).decode()
    door = StubDoor({("GET", "/draw/days/2026-11-27"): {"record": other}})
    door.behind(monkeypatch, draw_reveal)
    assert rule_of(reveal(here, "council", "2026-11-27")) == "draw.beacon.commitment"
