"""The key of pseudonyms: made once, for its owner only."""

from __future__ import annotations

from pathlib import Path

import pytest

from mitschnitt.errors import ConfigError
from mitschnitt.keeper.pseudonym_key import load_pseudonym_key


def test_it_is_made_once_and_read_back(tmp_path: Path) -> None:
    key = load_pseudonym_key(tmp_path)
    assert len(key) == 32
    assert load_pseudonym_key(tmp_path) == key
    assert (tmp_path / "pseudonym.key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("spoil, says", [(0o640, "mode 0640"), (0o600, "has 31 bytes, expected 32")])
def test_a_key_that_others_can_read_or_that_is_short_is_refused(tmp_path: Path, spoil: int, says: str) -> None:
    load_pseudonym_key(tmp_path)
    path = tmp_path / "pseudonym.key"
    path.write_bytes(bytes(31))
    path.chmod(spoil)
    with pytest.raises(ConfigError, match=says):
        load_pseudonym_key(tmp_path)
