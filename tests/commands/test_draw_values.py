"""A role's file of values: its own, private, and nothing else is taken for it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mitschnitt.commands.draw_values import MAX_FILE_BYTES, load_values, save_values, values_path
from mitschnitt.errors import ConfigError, NoSpace

VALUES = {"2026-11-28": b"b" * 32, "2026-11-27": b"a" * 32}


def test_what_is_saved_is_loaded_and_nobody_else_can_read_it(tmp_path: Path) -> None:
    path = tmp_path / "officer.values"
    save_values(path, "officer", VALUES)
    assert load_values(path, "officer") == VALUES
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "officer.values"
    save_values(path, "officer", VALUES)
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="expected mode 0600"):
        load_values(path, "officer")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff",
        b" " * (MAX_FILE_BYTES + 1),
        json.dumps({"v": 2, "role": "officer", "values": {}}).encode(),
        json.dumps({"v": 1, "role": "officer", "values": []}).encode(),
        json.dumps({"v": 1, "role": "officer", "values": {"2026-11-27": "ab"}}).encode(),
        json.dumps({"v": 1, "role": "officer", "values": {"someday": "ab" * 32}}).encode(),
    ],
)
def test_what_is_no_such_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "officer.values"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="is not a file that `mitschnitt draw commit` wrote"):
        load_values(path, "officer")


def test_a_file_that_is_not_there_or_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        load_values(tmp_path / "none", "officer")
    with pytest.raises(NoSpace, match="cannot write"):
        save_values(tmp_path / "none" / "none", "officer", VALUES)


def test_the_file_lies_beside_the_key_and_never_in_the_site(tmp_path: Path) -> None:
    site, key = tmp_path / "site", tmp_path / "hands" / "officer.pem"
    assert values_path(site, key, None) == tmp_path / "hands" / "officer.pem.values"
    assert values_path(site, key, tmp_path / "mine") == tmp_path / "mine"
    with pytest.raises(ConfigError, match="lies inside"):
        values_path(site, site / "officer.pem", None)
