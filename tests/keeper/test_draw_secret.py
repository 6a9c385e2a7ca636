"""The secret of the draw: made once, private, and never silently another."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from keeper.site_on_disk import make_site
from mitschnitt.errors import ConfigError
from mitschnitt.keeper.draw_secret import NAME, load_secret, make_secret


def test_init_makes_it_and_a_start_finds_it(tmp_path: Path) -> None:
    secrets = make_site(tmp_path).directory / "secrets"
    made = (secrets / NAME).read_bytes()
    assert stat.S_IMODE((secrets / NAME).stat().st_mode) == 0o600
    assert load_secret(secrets, drew_before=True) == made
    assert len(made) == 32


def test_an_older_site_gets_one_at_its_start(tmp_path: Path) -> None:
    assert load_secret(tmp_path, drew_before=False) == load_secret(tmp_path, drew_before=False)


def test_a_second_one_is_never_made(tmp_path: Path) -> None:
    make_secret(tmp_path)
    with pytest.raises(ConfigError, match="exists; a second secret would belie"):
        make_secret(tmp_path)


def test_a_lost_one_is_not_replaced_where_days_were_drawn(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is missing, and days were drawn with it"):
        load_secret(tmp_path, drew_before=True)
    assert not (tmp_path / NAME).exists()


def test_one_that_is_open_to_others_or_cut_is_refused(tmp_path: Path) -> None:
    make_secret(tmp_path)
    (tmp_path / NAME).chmod(0o640)
    with pytest.raises(ConfigError, match="secret of the draw"):
        load_secret(tmp_path, drew_before=True)
    (tmp_path / NAME).chmod(0o600)
    (tmp_path / NAME).write_bytes(bytes(31))
    with pytest.raises(ConfigError, match="has 31 bytes, expected 32"):
        load_secret(tmp_path, drew_before=True)
