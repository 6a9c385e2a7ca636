"""Here the steps of the upgrade themselves are tried, so every new database is led through them."""

from __future__ import annotations

import pytest

import ready_database


@pytest.fixture(autouse=True)
def _every_step_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ready_database.Switch, "on", False)
