"""The environment of the steps runs on the connection that it was given."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import inspect

from mitschnitt.store.engine import open_engine
from mitschnitt.store.upgrade import upgrade


def test_the_steps_touch_the_given_database_only(tmp_path: Path) -> None:
    engine, other = open_engine(tmp_path / "d.sqlite"), open_engine(tmp_path / "other.sqlite")
    upgrade(engine)
    assert "calls" in inspect(engine).get_table_names()
    assert inspect(other).get_table_names() == []
