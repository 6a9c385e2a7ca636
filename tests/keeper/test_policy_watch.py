"""A running keeper's policy changes at its midnight, by a right clock, when signed; whatever else happens closes."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest

from keeper.signed_site import (
    FIRST,
    MIDNIGHT,
    MONDAY,
    SECOND,
    SIGNERS,
    STRANGER,
    THIRD,
    TUESDAY,
    UNSOUND,
    begin,
    contents,
    directory_of,
    enrol,
    force,
    propose,
)
from mitschnitt.config import parse_config
from mitschnitt.core.policy import Policy
from mitschnitt.errors import ConfigError
from mitschnitt.keeper.policies import Policies
from mitschnitt.keeper.policy_watch import PolicyWatch, watch_of
from mitschnitt.keeper.time_watch import TimeWatch

SECOND_LONG, HOUR, DAY = timedelta(seconds=1), timedelta(hours=1), timedelta(days=1)
NOON = MIDNIGHT + 12 * HOUR  # of Tuesday
WEDNESDAY = date(2026, 11, 25)


class Clock(TimeWatch):
    """What is thought of the time is in the test's hands."""

    def __init__(self) -> None:
        super().__init__(None, lambda: 0.0)
        self.rule = ""

    def look(self, now: datetime) -> str:
        return self.rule


def watch(directory: Path, now: datetime, clock: Clock | None = None, *, trial: bool = False) -> PolicyWatch:
    policies = Policies(directory, allow_unsigned=trial)
    return PolicyWatch(policies, directory, now=now, clock=clock or Clock())


@pytest.fixture(name="directory")
def with_roles(tmp_path: Path) -> Path:
    return directory_of(tmp_path)


@pytest.fixture(name="first")
def in_force_on_tuesday(directory: Path) -> Policy:
    return begin(directory, FIRST, TUESDAY, at=MONDAY)


def told(rules: PolicyWatch) -> tuple[str, str]:
    """Read through here, it may change between two asserts."""
    return rules.current.policy.hash, rules.closed


# -- the usual way -------------------------------------------------------------------------------------


def test_a_running_keeper_takes_the_next_policy_at_its_midnight_and_not_before(directory: Path, first: Policy) -> None:
    rules = watch(directory, NOON)
    assert told(rules) == (first.hash, "")
    second = begin(directory, SECOND, WEDNESDAY, at=NOON + HOUR)
    assert not rules.look(NOON + 2 * HOUR)
    assert not rules.look(MIDNIGHT + DAY - timedelta(microseconds=1))
    assert told(rules) == (first.hash, "")
    assert rules.look(MIDNIGHT + DAY)
    assert told(rules) == (second.hash, "")
    assert not rules.look(MIDNIGHT + DAY + HOUR)


def test_midnight_is_taken_within_a_second_also_when_nothing_was_written_since(directory: Path, first: Policy) -> None:
    second = begin(directory, SECOND, WEDNESDAY, at=MONDAY)
    rules = watch(directory, MIDNIGHT + DAY - timedelta(milliseconds=100))
    assert told(rules)[0] == first.hash
    assert rules.look(MIDNIGHT + DAY + timedelta(milliseconds=100))
    assert told(rules)[0] == second.hash


def test_looks_between_two_seconds_read_nothing(
    directory: Path, first: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = watch(directory, NOON)
    assert not rules.look(NOON + SECOND_LONG)

    def never(*_args: object) -> None:
        raise AssertionError("a file was looked at")

    monkeypatch.setattr(Path, "stat", never)
    monkeypatch.setattr(Path, "open", never)
    assert not rules.look(NOON + SECOND_LONG + timedelta(milliseconds=200))
    assert told(rules) == (first.hash, "")


def test_the_next_day_is_served_by_what_was_noted(directory: Path, first: Policy) -> None:
    watch(directory, NOON).look(NOON + SECOND_LONG)
    assert (directory / "policy" / "served").read_text().startswith(first.hash)
    second = begin(directory, SECOND, WEDNESDAY, at=NOON + HOUR)
    assert told(watch(directory, NOON + DAY)) == (second.hash, "")
    assert told(watch(directory, NOON + 6 * HOUR)) == (first.hash, "")


def test_to_look_at_a_site_writes_nothing(directory: Path, first: Policy) -> None:
    before = contents(directory)
    assert told(watch(directory, NOON)) == (first.hash, "")
    assert contents(directory) == before


# -- nothing to start with -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "texts, signers, says",
    [
        ((), (), r"none is active; next: `mitschnitt policy propose FILE --dir "),
        ((FIRST,), (), r"none is active; next: `mitschnitt policy sign [0-9a-f]{8} --as officer --key FILE --dir "),
        ((FIRST,), ("officer",), r"next: `mitschnitt policy sign [0-9a-f]{8} --as council --key FILE --dir "),
        ((FIRST,), SIGNERS, r"next: `mitschnitt policy activate [0-9a-f]{8} --dir "),
        ((FIRST, SECOND), SIGNERS, r"next: `mitschnitt policy show --dir .*` names the policies that were proposed"),
    ],
)
def test_without_a_policy_the_start_is_refused_with_the_next_command(
    directory: Path, texts: tuple[bytes, ...], signers: tuple[str, ...], says: str
) -> None:
    for text in texts:
        propose(directory, text, *signers)
    with pytest.raises(ConfigError, match=says):
        watch(directory, NOON)


def test_before_the_first_policy_begins_nobody_is_asked(directory: Path, first: Policy) -> None:
    rules = watch(directory, MONDAY)
    assert told(rules) == (first.hash, "policy.none")
    assert not rules.look(MONDAY + HOUR)
    assert rules.look(MIDNIGHT)
    assert told(rules) == (first.hash, "")


# -- somebody meddles ----------------------------------------------------------------------------------


def _lose_signature(directory: Path, first: Policy) -> None:
    (directory / "policy" / f"{first.hash}.council.json").unlink()


def _change_signature(directory: Path, first: Policy) -> None:
    path = directory / "policy" / f"{first.hash}.council.json"
    path.write_bytes(path.read_bytes().replace(b"2026-11-23", b"2026-11-22"))


def _replace_key(directory: Path, _first: Policy) -> None:
    enrol(directory, "council", STRANGER)


def _edit(directory: Path, first: Policy) -> None:
    path = directory / "policy" / f"{first.hash}.toml"
    path.write_bytes(path.read_bytes().replace(b"P30D", b"P60D"))


def _lose_text(directory: Path, first: Policy) -> None:
    (directory / "policy" / f"{first.hash}.toml").unlink()


def _lose_active(directory: Path, _first: Policy) -> None:
    (directory / "policy" / "active").unlink()


def _break_active(directory: Path, _first: Policy) -> None:
    (directory / "policy" / "active").write_text("newest\n")


def _put_another(directory: Path, _first: Policy) -> None:
    force(directory, (propose(directory, SECOND, *SIGNERS), TUESDAY))


MEDDLING = [
    (_lose_signature, "policy.signature.missing"),
    (_change_signature, "policy.signature"),
    (_replace_key, "policy.signature"),
    (_edit, "policy.broken"),
    (_lose_text, "policy.broken"),
    (_lose_active, "policy.none"),
    (_break_active, "policy.broken"),
    (_put_another, "policy.changed"),
]


@pytest.mark.parametrize("meddle, rule", MEDDLING)
def test_a_running_keeper_keeps_its_policy_in_memory_asks_nobody_new_and_goes_on_when_it_is_mended(
    directory: Path, first: Policy, meddle: Callable[[Path, Policy], None], rule: str, caplog: pytest.LogCaptureFixture
) -> None:
    rules = watch(directory, NOON)
    before = contents(directory)
    meddle(directory, first)
    caplog.clear()
    assert rules.look(NOON + 2 * SECOND_LONG)
    assert told(rules) == (first.hash, rule)
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert not rules.look(NOON + 4 * SECOND_LONG)
    assert len(caplog.records) == 1
    for name, data in before.items():
        (directory / name).write_bytes(data)
    assert rules.look(NOON + 6 * SECOND_LONG)
    assert told(rules) == (first.hash, "")


@pytest.mark.parametrize("meddle, rule", MEDDLING)
def test_a_keeper_does_not_start_on_what_was_meddled_with(
    directory: Path, first: Policy, meddle: Callable[[Path, Policy], None], rule: str
) -> None:
    watch(directory, NOON).look(NOON + SECOND_LONG)
    meddle(directory, first)
    before = contents(directory)
    with pytest.raises(ConfigError, match=r"policy"):
        watch(directory, NOON + HOUR)
    assert contents(directory) == before
    assert rule


def test_a_policy_that_was_put_in_the_place_of_another_does_not_come_into_force_at_midnight_either(
    directory: Path, first: Policy
) -> None:
    rules = watch(directory, NOON)
    _put_another(directory, first)
    assert rules.look(NOON + HOUR)
    assert not rules.look(MIDNIGHT + DAY + HOUR)
    assert told(rules) == (first.hash, "policy.changed")
    third = begin(directory, THIRD, date(2026, 11, 26), at=MIDNIGHT + DAY + 2 * HOUR)
    assert rules.look(MIDNIGHT + 2 * DAY)
    assert told(rules) == (third.hash, "")


def test_what_is_broken_of_a_policy_to_come_closes_when_its_day_comes(directory: Path, first: Policy) -> None:
    second = begin(directory, SECOND, WEDNESDAY, at=NOON)
    rules = watch(directory, NOON + HOUR)
    (directory / "policy" / f"{second.hash}.council.json").unlink()
    assert not rules.look(NOON + 2 * HOUR)
    assert rules.look(MIDNIGHT + DAY)
    assert told(rules) == (first.hash, "policy.signature.missing")


def _edit_text(directory: Path, policy: Policy) -> None:
    path = directory / "policy" / f"{policy.hash}.toml"
    path.write_bytes(path.read_bytes().replace(b"P14D", b"P15D"))


@pytest.mark.parametrize("spoil", [_edit_text, _lose_text])
def test_a_broken_text_of_a_policy_to_come_is_said_at_once_and_leaves_the_one_in_force_alone(
    directory: Path, first: Policy, spoil: Callable[[Path, Policy], None], caplog: pytest.LogCaptureFixture
) -> None:
    second = begin(directory, SECOND, date(2026, 11, 26), at=NOON)
    rules = watch(directory, NOON + HOUR)
    whole = contents(directory)
    spoil(directory, second)
    for seconds in (2, 4, 6):
        assert not rules.look(NOON + HOUR + seconds * SECOND_LONG)
    assert told(rules) == (first.hash, "")
    (line,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert "has not the hash by which its file is named" in line.message
    assert vars(line)["policy"] == second.hash[:8]
    assert not rules.look(MIDNIGHT + 2 * DAY - HOUR)
    assert rules.look(MIDNIGHT + 2 * DAY)
    assert told(rules) == (first.hash, "policy.broken")
    for name, data in whole.items():
        (directory / name).write_bytes(data)
    assert rules.look(MIDNIGHT + 2 * DAY + 2 * SECOND_LONG)
    assert told(rules) == (second.hash, "")


def test_a_text_that_is_put_back_before_its_day_begins_at_its_midnight(directory: Path, first: Policy) -> None:
    second = begin(directory, SECOND, date(2026, 11, 26), at=NOON)
    text = directory / "policy" / f"{second.hash}.toml"
    whole = text.read_bytes()
    text.unlink()
    rules = watch(directory, NOON + HOUR)
    assert told(rules) == (first.hash, "")
    text.write_bytes(whole)
    assert not rules.look(NOON + 2 * HOUR)
    assert rules.look(MIDNIGHT + 2 * DAY)
    assert told(rules) == (second.hash, "")


def test_a_text_of_long_ago_that_is_gone_does_not_hide_when_the_next_policy_begins(
    directory: Path, first: Policy
) -> None:
    second = begin(directory, SECOND, WEDNESDAY, at=NOON)
    third = begin(directory, THIRD, date(2026, 11, 26), at=NOON)
    _lose_text(directory, first)
    rules = watch(directory, MIDNIGHT + DAY + HOUR)
    assert told(rules) == (second.hash, "")
    assert rules.look(MIDNIGHT + 2 * DAY)
    assert told(rules) == (third.hash, "")


@pytest.mark.parametrize(
    "spoil, says, named",
    [(_edit, "has not the hash by which its file is named", True), (_break_active, "`policy/active` cannot be", False)],
)
def test_the_log_says_which_file_is_broken(  # noqa: PLR0913 - the fixtures of the file
    directory: Path,
    first: Policy,
    spoil: Callable[[Path, Policy], None],
    says: str,
    named: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    rules = watch(directory, NOON)
    spoil(directory, first)
    assert rules.look(NOON + 2 * SECOND_LONG)
    (line,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert says in line.message
    assert vars(line).get("policy") == (first.hash[:8] if named else None)


# -- clocks --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule, jump", [("clock.ahead", 30 * DAY), ("clock.ahead", HOUR), ("clock.back", -HOUR)])
def test_a_wrong_clock_puts_no_policy_in_force_and_asks_nobody(
    directory: Path, first: Policy, rule: str, jump: timedelta
) -> None:
    second = begin(directory, SECOND, WEDNESDAY, at=NOON)
    clock, eve = Clock(), MIDNIGHT + DAY - timedelta(minutes=30)
    rules = watch(directory, eve, clock)
    clock.rule = rule
    assert rules.look(eve + jump)
    assert told(rules) == (first.hash, rule)
    assert not rules.look(eve + jump + SECOND_LONG)
    clock.rule = ""
    assert rules.look(eve + 2 * SECOND_LONG)
    assert told(rules) == (first.hash, "")
    assert rules.look(MIDNIGHT + DAY)
    assert told(rules) == (second.hash, "")


@pytest.mark.parametrize("rule, jump", [("clock.ahead", 30 * DAY), ("clock.back", -HOUR)])
def test_a_start_by_a_wrong_clock_holds_what_was_in_force_when_it_was_right(
    directory: Path, first: Policy, rule: str, jump: timedelta
) -> None:
    second = begin(directory, SECOND, WEDNESDAY, at=NOON)
    served, clock = MIDNIGHT + DAY + timedelta(minutes=30), Clock()
    watch(directory, served).look(served + SECOND_LONG)
    third = begin(directory, THIRD, date(2026, 12, 10), at=served + HOUR)
    clock.rule = rule
    rules = watch(directory, served + jump, clock)
    assert told(rules) == (second.hash, rule)
    clock.rule = ""
    assert rules.look(served + HOUR)
    assert told(rules) == (second.hash, "")
    assert third.hash not in told(rules)
    assert first.hash not in told(rules)


def test_a_first_start_by_a_wrong_clock_asks_nobody_until_it_is_right(directory: Path, first: Policy) -> None:
    clock = Clock()
    clock.rule = "clock.ahead"
    rules = watch(directory, NOON + 30 * DAY, clock)
    assert told(rules) == (first.hash, "clock.ahead")
    clock.rule = ""
    assert rules.look(NOON)
    assert told(rules) == (first.hash, "")


@pytest.mark.parametrize(
    "away, rule",
    [
        (timedelta(minutes=1), ""),
        (6 * DAY, ""),
        (30 * DAY, "clock.ahead"),
        (timedelta(minutes=-6), "clock.back"),
    ],
)
def test_after_a_start_the_clock_is_held_against_when_the_site_was_served_last(
    directory: Path, first: Policy, away: timedelta, rule: str
) -> None:
    config = parse_config("", directory)
    watch_of(config, now=NOON, monotonic=lambda: 0.0).look(NOON + SECOND_LONG)
    later = begin(directory, SECOND, date(2026, 12, 10), at=NOON)
    rules = watch_of(config, now=NOON + away, monotonic=lambda: 0.0)
    assert told(rules) == (first.hash, rule)
    assert later.hash not in told(rules)


def test_a_running_keeper_holds_the_clock_against_monotonic_time(directory: Path, first: Policy) -> None:
    seconds, config = [1_000.0], parse_config("", directory)
    second = begin(directory, SECOND, WEDNESDAY, at=NOON)
    rules = watch_of(config, now=NOON, monotonic=lambda: seconds[0])
    for wall in (30 * DAY, -HOUR, 14 * HOUR, timedelta(minutes=6)):
        seconds[0] += 2
        rules.look(NOON + wall)
        assert told(rules)[0] == first.hash
        assert told(rules)[1].startswith("clock.")
    seconds[0] = 1_000.0 + 12 * 3_600
    assert rules.look(NOON + 12 * HOUR)
    assert told(rules) == (second.hash, "")


# -- trials --------------------------------------------------------------------------------------------


def test_a_trial_uses_what_nobody_signed_and_notes_nothing(directory: Path) -> None:
    policy = propose(directory, FIRST)
    force(directory, (policy, None))
    rules = watch(directory, NOON, trial=True)
    assert told(rules) == (policy.hash, "")
    assert not rules.look(NOON + SECOND_LONG)
    assert not (directory / "policy" / "served").exists()
    with pytest.raises(ConfigError, match=r"officer has not signed it .*; next: `mitschnitt policy sign"):
        watch(directory, NOON)


def test_a_note_that_cannot_be_written_or_read_is_said(
    directory: Path, first: Policy, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_args: object) -> None:
        raise OSError(28, os.strerror(28))

    rules = watch(directory, NOON)
    with monkeypatch.context() as patch:
        patch.setattr("mitschnitt.keeper.policy_watch.replace_file", full)
        assert not rules.look(NOON + SECOND_LONG)
    assert "could not be noted" in caplog.text
    assert told(rules) == (first.hash, "")
    (directory / "policy" / "served").mkdir()
    with pytest.raises(ConfigError, match="cannot read"):
        watch(directory, NOON)


@pytest.mark.parametrize("text, says", UNSOUND.items())
def test_what_nobody_can_carry_out_never_follows_and_nothing_starts_by_it(
    directory: Path, text: bytes, says: str
) -> None:
    first = begin(directory, FIRST, TUESDAY, at=MONDAY)
    rules = watch(directory, NOON)
    unsound = propose(directory, text, *SIGNERS)
    force(directory, (first, TUESDAY), (unsound, WEDNESDAY))
    assert rules.look(NOON + DAY)
    assert (rules.current.policy, rules.closed) == (first, "policy.broken")
    with pytest.raises(ConfigError, match=says):
        watch(directory, NOON + DAY)
