"""Which policy is in force: signed by all, begun, and as it was written; anything else is refused by its rule (R18)."""

from __future__ import annotations

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
from mitschnitt.core.policy_life import Activation
from mitschnitt.errors import ConfigError, MitschnittError, NotAllowed
from mitschnitt.keeper import policies as module
from mitschnitt.keeper.policies import Policies

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture(name="directory")
def with_roles(tmp_path: Path) -> Path:
    return directory_of(tmp_path)


# -- activating ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [None, TUESDAY, date(2026, 12, 1)])
def test_what_all_have_signed_begins_tomorrow_or_on_a_later_day(directory: Path, first: date | None) -> None:
    policy = propose(directory, FIRST, *SIGNERS)
    line = Policies(directory).activate(policy, first, now=MONDAY)
    assert line == Activation(policy.hash, first or TUESDAY)
    assert Policies(directory).files.activations() == (line,)


def test_tomorrow_is_tomorrow_where_the_policy_applies(directory: Path) -> None:
    policy = propose(directory, FIRST, *SIGNERS)
    late = datetime.fromisoformat("2026-11-23T23:30:00+00:00")  # Tuesday, half past midnight, in Berlin
    assert Policies(directory).activate(policy, None, now=late).first == date(2026, 11, 25)
    with pytest.raises(NotAllowed, match=r"policy\.day\.begun"):
        Policies(directory).activate(policy, TUESDAY, now=late)


def test_activated_twice_is_activated_once(directory: Path) -> None:
    policy = begin(directory, FIRST, TUESDAY, at=MONDAY)
    before = contents(directory)
    Policies(directory).activate(policy, TUESDAY, now=MONDAY)
    assert contents(directory) == before


@pytest.mark.parametrize(
    "signers, first, rule",
    [
        (SIGNERS, date(2026, 11, 22), "policy.day.begun"),
        (SIGNERS, date(2026, 11, 23), "policy.day.begun"),
        (SIGNERS, date(2062, 11, 24), "policy.day.far"),
        (("officer",), TUESDAY, "policy.signature.missing"),
        (("council",), TUESDAY, "policy.signature.missing"),
        ((), TUESDAY, "policy.signature.missing"),
    ],
)
def test_yesterday_today_and_a_single_signature_are_refused_and_nothing_is_changed(
    directory: Path, signers: tuple[str, ...], first: date, rule: str
) -> None:
    policy = propose(directory, FIRST, *signers)
    before = contents(directory)
    with pytest.raises(NotAllowed) as refused:
        Policies(directory).activate(policy, first, now=MONDAY)
    assert refused.value.rule == rule
    assert contents(directory) == before


def test_a_signature_from_the_future_is_refused_and_nothing_is_changed(directory: Path) -> None:
    policy = propose(directory, FIRST, *SIGNERS, at=MONDAY + HOUR)
    before = contents(directory)
    with pytest.raises(NotAllowed, match=r"at a time that has not come yet .*policy\.signature\.future"):
        Policies(directory).activate(policy, TUESDAY, now=MONDAY)
    assert contents(directory) == before


def activate(directory: Path, digest: str) -> None:
    policies = Policies(directory)
    policies.activate(policies.files.named(digest).policy, TUESDAY, now=MONDAY)


def _lose(directory: Path, digest: str) -> None:
    (directory / "policy" / f"{digest}.council.json").unlink()


def _swap(directory: Path, digest: str) -> None:
    officers = (directory / "policy" / f"{digest}.officer.json").read_bytes()
    (directory / "policy" / f"{digest}.council.json").write_bytes(officers)


def _replace_key(directory: Path, _digest: str) -> None:
    enrol(directory, "council", STRANGER)


def _edit(directory: Path, digest: str) -> None:
    path = directory / "policy" / f"{digest}.toml"
    path.write_bytes(path.read_bytes().replace(b"P30D", b"P60D"))


SPOILED = [
    (_lose, NotAllowed, r"council has not signed it \[policy\.signature\.missing\]"),
    (_swap, NotAllowed, r"policy\.signature\b"),
    (_replace_key, NotAllowed, r"policy\.signature\b"),
    (_edit, ConfigError, "was changed; its text has the hash"),
]


@pytest.mark.parametrize("spoil, error, says", SPOILED)
def test_what_does_not_check_is_not_activated(
    directory: Path, spoil: Callable[[Path, str], None], error: type[MitschnittError], says: str
) -> None:
    policy = propose(directory, FIRST, *SIGNERS)
    spoil(directory, policy.hash)
    before = contents(directory)
    with pytest.raises(error, match=says):
        activate(directory, policy.hash)
    assert contents(directory) == before


@pytest.mark.parametrize("text, says", UNSOUND.items())
def test_what_nobody_can_carry_out_is_not_activated_though_all_have_signed_it(
    directory: Path, text: bytes, says: str
) -> None:
    policy = propose(directory, text, *SIGNERS)
    before = contents(directory)
    with pytest.raises(ConfigError, match=says):
        Policies(directory).activate(policy, TUESDAY, now=MONDAY)
    assert contents(directory) == before


# -- in force ------------------------------------------------------------------------------------------


def test_a_policy_is_in_force_from_its_midnight_until_the_next_begins(directory: Path) -> None:
    first = begin(directory, FIRST, TUESDAY, at=MONDAY)
    second = begin(directory, SECOND, date(2026, 11, 26), at=MONDAY + HOUR)
    policies = Policies(directory)
    with pytest.raises(NotAllowed, match=r"policy\.none"):
        policies.in_force(MIDNIGHT - timedelta(microseconds=1))
    assert policies.in_force(MIDNIGHT) == (first, FIRST)
    assert policies.in_force(MIDNIGHT + 2 * DAY - timedelta(microseconds=1)).policy == first
    assert policies.in_force(MIDNIGHT + 2 * DAY).policy == second
    assert [policies.on(date(2026, 11, day)) for day in (23, 24, 25, 26)] == [None, first, first, second]


@pytest.mark.parametrize("text, says", UNSOUND.items())
def test_no_day_is_planned_by_what_nobody_can_carry_out(directory: Path, text: bytes, says: str) -> None:
    first = begin(directory, FIRST, TUESDAY, at=MONDAY)
    unsound = propose(directory, text, *SIGNERS)
    force(directory, (first, TUESDAY), (unsound, date(2026, 11, 26)))
    policies = Policies(directory)
    assert policies.on(date(2026, 11, 25)) == first
    for _ in range(2):
        with pytest.raises(ConfigError, match=says):
            policies.on(date(2026, 11, 26))
    assert policies.get(unsound.hash) == unsound  # a call that names it finds it; a day does not
    with pytest.raises(ConfigError, match=says):
        policies.on(date(2026, 11, 26))


def test_a_day_is_planned_without_reading_its_policy_anew(directory: Path) -> None:
    first = begin(directory, FIRST, TUESDAY, at=MONDAY)
    policies = Policies(directory)
    assert policies.on(TUESDAY) == first
    policies.files.text_path(first.hash).unlink()
    assert policies.on(date(2026, 12, 24)) == first


def test_a_broken_text_of_a_policy_to_come_speaks_of_no_day_before_its_own(directory: Path) -> None:
    first = begin(directory, FIRST, TUESDAY, at=MONDAY)
    second = begin(directory, SECOND, date(2026, 11, 26), at=MONDAY)
    text = directory / "policy" / f"{second.hash}.toml"
    text.write_bytes(text.read_bytes() + b"# changed\n")
    policies, begins = Policies(directory), MIDNIGHT + 2 * DAY
    assert policies.on(date(2026, 11, 25)) == first
    with pytest.raises(ConfigError, match="was changed"):
        policies.on(date(2026, 11, 26))
    early = begins - 13 * HOUR  # where days begin first; the text that named the zone is gone
    assert policies.in_force(early - timedelta(microseconds=1)).policy == first
    with pytest.raises(ConfigError, match=rf"{second.hash[:8]}….toml was changed"):
        policies.in_force(early)
    ((tenure, fault),) = policies.coming(MIDNIGHT)
    assert (tenure.hash, tenure.begins) == (second.hash, early)
    assert "`mitschnitt policy propose FILE` with the text that was signed puts it back" in fault


def test_who_read_a_text_once_knows_when_it_begins_though_it_is_broken_now(directory: Path) -> None:
    first = begin(directory, FIRST, TUESDAY, at=MONDAY)
    second = begin(directory, SECOND, date(2026, 11, 26), at=MONDAY)
    policies, begins = Policies(directory), MIDNIGHT + 2 * DAY
    assert [item.tenure.begins for item in policies.coming(MIDNIGHT)] == [begins]
    text = directory / "policy" / f"{second.hash}.toml"
    text.write_bytes(text.read_bytes() + b"# changed\n")
    assert policies.in_force(begins - timedelta(microseconds=1)).policy == first
    with pytest.raises(ConfigError, match="was changed"):
        policies.in_force(begins)


def test_what_comes_is_what_was_activated_after_what_is_in_force(directory: Path) -> None:
    begin(directory, FIRST, date(2026, 12, 1), at=MONDAY)
    second = begin(directory, SECOND, TUESDAY, at=MONDAY)
    third = begin(directory, THIRD, date(2026, 11, 30), at=MONDAY)
    policies = Policies(directory)
    assert [item.tenure.hash for item in policies.coming(MIDNIGHT)] == [third.hash]
    assert [item.tenure.hash for item in policies.coming(MONDAY)][:2] == [third.hash, second.hash]


def test_who_activates_anew_takes_back_what_was_to_come(directory: Path) -> None:
    begin(directory, FIRST, date(2026, 12, 1), at=MONDAY)
    second = begin(directory, SECOND, TUESDAY, at=MONDAY)
    assert Policies(directory).in_force(MIDNIGHT + 30 * DAY).policy == second


@pytest.mark.parametrize("text, says", UNSOUND.items())
@pytest.mark.parametrize("allow_unsigned", [True, False])
def test_what_nobody_can_carry_out_is_never_in_force(
    directory: Path, text: bytes, says: str, allow_unsigned: bool
) -> None:
    force(directory, (propose(directory, text, *SIGNERS), TUESDAY))
    with pytest.raises(ConfigError, match=says):
        Policies(directory, allow_unsigned=allow_unsigned).in_force(MIDNIGHT)


@pytest.mark.parametrize("spoil, error, says", SPOILED)
def test_signatures_are_checked_whenever_a_policy_is_loaded(
    directory: Path, spoil: Callable[[Path, str], None], error: type[MitschnittError], says: str
) -> None:
    policy = begin(directory, FIRST, TUESDAY, at=MONDAY)
    spoil(directory, policy.hash)
    with pytest.raises(error, match=says):
        Policies(directory).in_force(MIDNIGHT)


def test_a_signature_given_after_the_begin_is_late_however_the_line_came_there(directory: Path) -> None:
    policy = propose(directory, FIRST, *SIGNERS, at=MIDNIGHT + HOUR)
    force(directory, (policy, TUESDAY))
    with pytest.raises(NotAllowed, match=r"signed it only after it began .*policy\.signature\.late"):
        Policies(directory).in_force(MIDNIGHT + 2 * HOUR)


def test_a_bare_hash_is_for_trials_only(directory: Path) -> None:
    policy = propose(directory, FIRST, *SIGNERS)
    force(directory, (policy, None))
    with pytest.raises(NotAllowed, match=r"policy\.signature\.late"):
        Policies(directory).in_force(MONDAY)
    assert Policies(directory, allow_unsigned=True).in_force(MONDAY).policy == policy


@pytest.mark.parametrize("switch", ["true", "false"])
def test_the_switch_stands_in_the_configuration(directory: Path, switch: str) -> None:
    config = parse_config(f"[gate]\nallow_unsigned_policy = {switch}\n", directory)
    assert Policies.of(config).allow_unsigned == (switch == "true")


def test_texts_of_policies_that_are_over_need_not_be_there(directory: Path) -> None:
    first = begin(directory, FIRST, TUESDAY, at=MONDAY)
    second = begin(directory, SECOND, date(2026, 11, 25), at=MONDAY)
    (directory / "policy" / f"{first.hash}.toml").unlink()
    assert Policies(directory).in_force(MIDNIGHT + DAY).policy == second
    with pytest.raises(ConfigError, match="cannot read"):
        Policies(directory).in_force(MIDNIGHT)


# -- by hash -------------------------------------------------------------------------------------------


def test_a_call_finds_its_policy_by_hash_signed_or_not(directory: Path) -> None:
    policy = propose(directory, FIRST)
    assert Policies(directory).get(policy.hash) == policy
    for digest in ("0" * 64, "../../config", ""):
        with pytest.raises(ConfigError):
            Policies(directory).get(digest)


def test_what_was_read_once_is_remembered_and_not_for_ever(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_REMEMBERED", 2)
    policies = Policies(directory)
    known = [propose(directory, text) for text in (FIRST, SECOND, THIRD)]
    for policy in known:
        assert policies.get(policy.hash) == policy
    for path in (directory / "policy").glob("*.toml"):
        path.unlink()
    assert [policies.get(policy.hash) for policy in known[1:]] == known[1:]
    with pytest.raises(ConfigError):
        policies.get(known[0].hash)
