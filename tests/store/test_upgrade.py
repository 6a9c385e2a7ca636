"""Upgrading: the steps and the tables agree, and nothing goes backwards."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, inspect, text

import ready_database
from mitschnitt.errors import ConfigError
from mitschnitt.store.engine import open_engine
from mitschnitt.store.tables import metadata
from mitschnitt.store.upgrade import database_version, newest_version, upgrade


def definitions(engine: Engine) -> dict[str, str]:
    """Every CREATE statement, without its white space and Alembic's own table."""
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")).all()
    return {
        name: "".join(sql.split()).replace('"', "")
        for name, sql in rows
        if name not in ("alembic_version", "sqlite_sequence")
    }


def test_the_steps_lead_to_the_tables(tmp_path: Path) -> None:
    stepped, made = open_engine(tmp_path / "stepped.sqlite"), open_engine(tmp_path / "made.sqlite")
    assert upgrade(stepped) == newest_version()
    metadata.create_all(made)
    assert definitions(stepped) == definitions(made)
    with stepped.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_a_second_upgrade_changes_nothing(tmp_path: Path) -> None:
    engine = open_engine(tmp_path / "d.sqlite")
    upgrade(engine)
    before = definitions(engine)
    assert upgrade(engine) == newest_version() == database_version(engine)
    assert definitions(engine) == before


def test_a_database_of_a_newer_program_is_refused(tmp_path: Path) -> None:
    engine = open_engine(tmp_path / "d.sqlite")
    upgrade(engine)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ConfigError, match="version 9999; this program knows up to 0005"):
        upgrade(engine)


def test_a_crash_in_a_step_leaves_no_half_shape(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = open_engine(tmp_path / "d.sqlite")

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        # The last thing that a run of steps does is to note the version.
        patch.setattr("alembic.runtime.migration.HeadMaintainer.update_to_step", die)
        with pytest.raises(KeyboardInterrupt):
            upgrade(engine)
    assert inspect(engine).get_table_names() == []
    assert upgrade(engine) == newest_version()


def test_the_database_that_other_tests_take_over_is_the_one_that_the_steps_lead_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    led, taken = open_engine(tmp_path / "led.sqlite"), open_engine(tmp_path / "taken.sqlite")
    assert upgrade(led) == newest_version()
    monkeypatch.setattr(ready_database.Switch, "on", True)
    assert upgrade(taken) == newest_version() == database_version(taken)
    assert ready_database.shape(taken) == ready_database.shape(led)
    for table in metadata.tables:
        for engine in (led, taken):
            with engine.connect() as connection:
                assert connection.exec_driver_sql(f'SELECT count(*) FROM "{table}"').scalar() == 0
    for engine in (led, taken):
        engine.dispose()
