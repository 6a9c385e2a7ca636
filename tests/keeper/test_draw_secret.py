"""The secret of the draw: made once, for its owner only, never made anew once something was drawn with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mitschnitt.errors import ConfigError
from mitschnitt.keeper.draw_secret import load_secret, make_secret


def test_it_is_made_once_and_read_back(tmp_path: Path) -> None:
    secret = load_secret(tmp_path, drew_before=False)
    assert len(secret) == 32
    assert load_secret(tmp_path, drew_before=True) == secret
    assert (tmp_path / "draw.key").stat().st_mode & 0o777 == 0o600
    with pytest.raises(ConfigError, match="exists"):
        make_secret(tmp_path)


def test_after_a_draw_a_lost_secret_is_not_made_anew(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is missing, and days were drawn with it"):
        load_secret(tmp_path, drew_before=True)
    assert not (tmp_path / "draw.key").exists()


def test_a_secret_that_others_can_read_or_of_another_length_is_refused(tmp_path: Path) -> None:
    make_secret(tmp_path)
    path = tmp_path / "draw.key"
    path.chmod(0o640)
    with pytest.raises(ConfigError, match="mode 0640"):
        load_secret(tmp_path, drew_before=False)
    path.chmod(0o600)
    path.write_bytes(bytes(31))
    with pytest.raises(ConfigError, match="has 31 bytes, expected 32"):
        load_secret(tmp_path, drew_before=False)
