"""`policy show`: how the site stands, and one policy, in words that somebody who signs understands."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest

from keeper.signed_site import (
    FIRST,
    KEYS,
    MIDNIGHT,
    MONDAY,
    SECOND,
    SIGNERS,
    THIRD,
    TUESDAY,
    begin,
    contents,
    directory_of,
    force,
    propose,
)
from mitschnitt.commands import policy_show
from mitschnitt.commands.policy_show import run, standing
from mitschnitt.keeper.policies import Policies
from mitschnitt.keeper.role_keys import fingerprint


@pytest.fixture(name="site")
def a_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = directory_of(tmp_path)
    (directory / "config.toml").touch()
    monkeypatch.setattr(policy_show, "wall_clock", lambda: MIDNIGHT)
    return directory


def shown(site: Path, capsys: pytest.CaptureFixture[str], name: str = "") -> str:
    run(site, name, as_json=False)
    return capsys.readouterr().out


def test_in_force_coming_and_proposed_each_have_their_signatures(
    site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = begin(site, FIRST, TUESDAY, at=MONDAY)
    second = begin(site, SECOND, date(2026, 12, 1), at=MONDAY)
    third = propose(site, THIRD, "council")
    before = contents(site)
    said = shown(site, capsys)
    assert contents(site) == before
    assert f"in force: {first.hash} ('t')\n  officer: signed 2026-11-23T09:00:00.000000Z\n  council: signed" in said
    assert f"from 2026-12-01 on: {second.hash}" in said
    assert f"proposed: {third.hash} ('t')\n  officer: has not signed\n  council: signed" in said
    assert f"key of council  {fingerprint(KEYS['council'].public_key())}\n" in said
    assert "key of operator none enrolled" in said


def test_why_nothing_is_in_force_is_said(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "in force: none, nobody is asked (no policy is in force [policy.none])" in shown(site, capsys)
    first = begin(site, FIRST, TUESDAY, at=MONDAY)
    (site / "policy" / f"{first.hash}.council.json").write_bytes(b"{}")
    assert "[policy.signature])" in shown(site, capsys)
    (site / "policy" / f"{first.hash}.toml").write_bytes(SECOND)
    assert "was changed" in shown(site, capsys)


def test_what_cannot_be_read_among_policies_to_come_is_named(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    begin(site, FIRST, TUESDAY, at=MONDAY)
    second = begin(site, SECOND, date(2026, 12, 1), at=MONDAY)
    third = propose(site, THIRD)
    for policy in (second, third):
        (site / "policy" / f"{policy.hash}.toml").write_bytes(b"x")
    policies = Policies(site)
    told = standing(policies, site, MIDNIGHT)
    assert "was changed" in told["coming"][0]["because"]
    assert "was changed" in told["proposed"][0]["because"]
    assert f"proposed: {third.hash} cannot be used" in "\n".join(policy_show._block("proposed", told["proposed"][0]))
    assert policies.files.activations()[-1].hash == second.hash


def test_a_trial_says_that_it_is_one(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (site / "config.toml").write_text("[gate]\nallow_unsigned_policy = true\n")
    force(site, (propose(site, FIRST), None))
    said = shown(site, capsys)
    assert "this is a trial" in said
    assert "officer: has not signed" in said


def test_one_policy_is_told_in_words_with_the_next_command(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policy = propose(site, FIRST, *SIGNERS)
    said = shown(site, capsys, policy.hash[:8])
    for line in ("records for  training", "kept for     P30D", "controller   Centre Ltd", "time zone    Europe/Berlin"):
        assert line in said
    assert f"next: `mitschnitt policy activate {policy.hash[:8]} --dir {site}`" in said


def test_json_tells_the_same(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policy = begin(site, FIRST, TUESDAY, at=MONDAY)
    run(site, "", as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert told["in_force"]["policy"] == policy.hash
    assert set(told["in_force"]["signatures"]) == {"officer", "council"}
    run(site, policy.hash, as_json=True)
    assert json.loads(capsys.readouterr().out)["policy"] == policy.hash
