"""Policies on disk: named by their text, begun at local midnight, read as they were written or not at all."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from keeper.signed_site import FIRST, MIDNIGHT, SECOND, TUESDAY, contents
from mitschnitt.core.policy_life import BEGINNING, Activation, Tenure
from mitschnitt.core.policy_text import parse_policy
from mitschnitt.errors import ConfigError, NoSpace
from mitschnitt.keeper.policy_files import PolicyFiles, begin_of, today_of

POLICY = parse_policy(FIRST)


@pytest.fixture(name="files")
def in_a_directory(tmp_path: Path) -> PolicyFiles:
    (tmp_path / "policy").mkdir()
    return PolicyFiles(tmp_path)


def test_a_policy_lies_under_the_hash_of_its_text(files: PolicyFiles) -> None:
    digest = files.write(FIRST)
    assert digest == POLICY.hash
    assert files.read(digest) == (POLICY, FIRST)
    assert files.text_path(digest).stat().st_mode & 0o077 == 0
    before = files.text_path(digest).stat()
    assert files.write(FIRST) == digest
    assert files.text_path(digest).stat().st_ino == before.st_ino


def test_a_text_that_was_changed_is_refused_and_written_anew(files: PolicyFiles) -> None:
    digest = files.write(FIRST)
    files.text_path(digest).write_bytes(SECOND)
    with pytest.raises(
        ConfigError,
        match=r"was changed; its text has the hash .* policy propose FILE. with the text that was signed puts it back",
    ):
        files.read(digest)
    assert files.write(FIRST) == digest
    assert files.read(digest).text == FIRST


def test_a_policy_is_named_by_its_hash_or_by_the_beginning_of_it(files: PolicyFiles) -> None:
    digest = files.write(FIRST)
    assert files.named(digest).policy == files.named(digest[:8]).policy == POLICY


@pytest.mark.parametrize(
    "name, says",
    [
        ("", "64 lower-case hex digits"),
        ("abcdefg", "found 'abcdefg'"),
        ("../../../etc/passwd", "lower-case hex digits"),
        ("0" * 8, "no policy of .* begin with 00000000"),
        ("0" * 64, "cannot read .*: No such file"),
    ],
)
def test_a_name_that_is_none_is_refused(files: PolicyFiles, name: str, says: str) -> None:
    files.write(FIRST)
    with pytest.raises(ConfigError, match=says):
        files.named(name)


def test_a_beginning_that_two_policies_share_names_neither(files: PolicyFiles) -> None:
    for end in ("0", "1"):
        files.text_path("ab" * 4 + "0" * 55 + end).touch()
    with pytest.raises(ConfigError, match="2 policies of"):
        files.named("ab" * 4)


def test_nothing_was_ever_activated_and_then_lines_are_there(files: PolicyFiles) -> None:
    assert files.activations() == ()
    digest = files.write(FIRST)
    lines = (Activation(digest, None), Activation(digest, TUESDAY))
    files.activate(lines)
    assert files.activations() == lines
    assert [files.tenure(line) for line in lines] == [Tenure(digest, BEGINNING), Tenure(digest, MIDNIGHT)]
    files.active_path.unlink()
    files.active_path.symlink_to("nowhere")
    with pytest.raises(ConfigError, match="cannot read"):
        files.activations()


@pytest.mark.parametrize(
    "zone, day, begins",
    [
        ("Europe/Berlin", date(2026, 11, 24), datetime(2026, 11, 23, 23, tzinfo=UTC)),
        ("Europe/Berlin", date(2026, 7, 1), datetime(2026, 6, 30, 22, tzinfo=UTC)),
        ("Europe/Berlin", date(2026, 3, 30), datetime(2026, 3, 29, 22, tzinfo=UTC)),
        ("America/Sao_Paulo", date(2026, 11, 24), datetime(2026, 11, 24, 3, tzinfo=UTC)),
        ("Asia/Kolkata", date(2026, 11, 24), datetime(2026, 11, 23, 18, 30, tzinfo=UTC)),
    ],
)
def test_a_day_begins_at_midnight_in_the_policys_time_zone(zone: str, day: date, begins: datetime) -> None:
    policy = replace(POLICY, timezone=zone)
    assert begin_of(policy, day) == begins
    assert today_of(policy, begins) == day


@pytest.mark.parametrize("zone", ["Europe/Atlantis", "../../etc/passwd", ""])
def test_a_time_zone_that_nobody_knows_is_refused(zone: str) -> None:
    with pytest.raises(ConfigError, match="knows no time zone"):
        begin_of(replace(POLICY, timezone=zone), TUESDAY)


def test_a_directory_that_takes_nothing_says_so(files: PolicyFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mitschnitt.keeper.policy_files.replace_file", full)
    before = contents(files.directory)
    with pytest.raises(NoSpace, match="No space left"):
        files.write(FIRST)
    assert contents(files.directory) == before


def test_only_names_that_are_hashes_are_policies(files: PolicyFiles) -> None:
    digest = files.write(FIRST)
    (files.directory / "draft.toml").write_bytes(FIRST)
    os.mkfifo(files.directory / "active.new")
    assert files.known() == [digest]
