"""The draw: the step that adds its tables and forgets in which order calls came, and its refusal to go back."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from mitschnitt.store import upgrade as upgrading
from mitschnitt.store.engine import open_engine
from mitschnitt.store.migrations.versions import v0004_draw

CALLS = ("2" * 26, "1" * 26)  # in the order in which they came


def test_the_step_has_no_way_back() -> None:
    assert v0004_draw.revision == "0004"
    with pytest.raises(NotImplementedError, match="only moves forward"):
        v0004_draw.downgrade()


def test_calls_of_before_keep_all_that_they_had_but_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = open_engine(tmp_path / "d.sqlite")
    newest = command.upgrade
    with monkeypatch.context() as patch:
        patch.setattr(command, "upgrade", lambda configuration, _: newest(configuration, "0003"))
        upgrading.upgrade(engine)
    with engine.begin() as connection:
        for number, call in enumerate(CALLS):
            row = f"'{call}', 1, {number}, '2026-11-23', 'live', 'training', 'h', NULL, NULL"
            connection.execute(text(f"INSERT INTO calls VALUES ({row})"))  # noqa: S608 - of this file
            party = f"'{call}', 0, 'caller', 0, '{{}}', 'm', 1, 's', 't', 2, 'u', 'ended', 'a', 'b', 'bound'"
            connection.execute(text(f"INSERT INTO parties VALUES ({party})"))  # noqa: S608 - of this file
            connection.execute(text(f"INSERT INTO ladders VALUES ('{call}', '[]')"))  # noqa: S608 - of this file
        before = [connection.execute(text(f"SELECT * FROM {name}")).all() for name in ("calls", "parties", "ladders")]  # noqa: S608 - of this file
        assert [row[0] for row in connection.execute(text("SELECT call_id FROM calls ORDER BY rowid"))] == list(CALLS)
    upgrading.upgrade(engine)
    with engine.connect() as connection:
        for name, rows in zip(("calls", "parties", "ladders"), before, strict=True):
            after = connection.execute(text(f"SELECT * FROM {name}")).all()  # noqa: S608 - of this file
            later = [None] if name == "parties" else []  # agents of these calls have no pseudonym
            assert [list(row) for row in after] == [[*row, *later] for row in sorted(rows)]
        with pytest.raises(OperationalError, match="no such column"):
            connection.execute(text("SELECT rowid FROM calls"))
