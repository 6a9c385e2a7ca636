"""The step that counts calls of a day beside the draws: what was drawn before it is counted once."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text

from mitschnitt.store import draw_queries
from mitschnitt.store.engine import open_engine
from mitschnitt.store.migrations.versions import v0005_seen
from mitschnitt.store.upgrade import upgrade


def test_what_was_drawn_before_is_counted(tmp_path: Path) -> None:
    engine = open_engine(tmp_path / "d.sqlite")
    upgrade(engine)
    with engine.begin() as connection:
        # The database as the step before left it, in the middle of a day.
        connection.execute(text("DROP TABLE seen"))
        connection.execute(text("UPDATE alembic_version SET version_num = '0004'"))
        for n, stratum in enumerate((0, 1, None), 1):
            row = {"n": n, "stratum": stratum, "exclusion": 65533 if stratum is None else None}
            connection.execute(
                text(
                    "INSERT INTO draws (day, source, n, stratum, exclusion, verdict) "
                    "VALUES ('2026-11-26', 'keeper', :n, :stratum, :exclusion, 'not_drawn')"
                ),
                row,
            )
    assert upgrade(engine) == v0005_seen.revision
    with engine.begin() as connection:
        assert draw_queries.seen_of_day(connection, "2026-11-26") == 2
        assert draw_queries.seen_of_day(connection, "2026-11-27") == 0


def test_the_step_goes_forward_only() -> None:
    with pytest.raises(NotImplementedError, match="only moves forward"):
        v0005_seen.downgrade()
