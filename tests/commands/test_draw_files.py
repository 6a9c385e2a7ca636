"""Which files a name means: a period of a site, a folder, a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from commands.draw_site import publish
from mitschnitt.commands.draw_files import content, find, keys_of, policies_of
from mitschnitt.errors import ConfigError
from second.draw_cheats import case
from second.draw_lists import honest_week

WEEK = honest_week(2, 40, 5)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return publish(tmp_path, case(WEEK).files())


def test_a_period_means_the_public_lists_and_records_of_its_days(site: Path) -> None:
    found = find(["2026-11"], site, council=False)
    assert [path.parent.name for path in found.lists] == ["2026-11-23", "2026-11-24"]
    assert {path.name for path in found.lists} == {"public.mdl"}
    assert [path.name for path in found.records] == ["day.json", "day.json"]
    assert len(found.missing) == 28
    assert found.site == site


def test_the_bundles_come_only_when_they_are_wanted(site: Path) -> None:
    found = find(["2026-11-23"], site, council=True)
    assert [path.name for path in found.lists] == ["public.mdl", "council.mdl"]


def test_a_site_a_folder_of_days_and_a_day_are_folders(site: Path) -> None:
    for folder, many in ((site, 2), (site / "draw", 2), (site / "draw" / "2026-11-23", 1)):
        assert len(find([str(folder)], Path("/nowhere"), council=False).lists) == many


def test_files_are_told_apart_by_their_names_end(site: Path) -> None:
    day = site / "draw" / "2026-11-23"
    found = find([str(day / "public.mdl"), str(day / "day.json")], Path("/nowhere"), council=False)
    assert (len(found.lists), len(found.records), found.site) == (1, 1, None)


@pytest.mark.parametrize("name", ["2026-11-30", "gone.mdl", "never"])
def test_what_means_nothing_is_said_and_expected_named(site: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="no list for|no file|found 'never'"):
        find([name], site, council=False)


def test_policies_come_with_their_signatures_and_keys_with_their_roles(site: Path) -> None:
    policy_hash = WEEK[0].policy_hash.hex()
    policies = list(policies_of(site, [policy_hash, policy_hash, "00" * 32]))
    assert [(policy.name, len(signed)) for policy, signed in policies] == [(f"{policy_hash}.toml", 2)]
    assert [role for role, _ in keys_of(site / "roles")] == ["council", "officer"]


def test_what_is_too_large_for_a_small_file_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"x" * 11)
    assert content(tmp_path / "large", 11) == b"x" * 11
    with pytest.raises(ConfigError, match="more than 10 bytes"):
        content(tmp_path / "large", 10)
    with pytest.raises(ConfigError, match="cannot read"):
        content(tmp_path / "gone")
