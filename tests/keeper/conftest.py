"""What holds for tests of the keeper: how fast this machine writes is asked of none that does not say so."""

from __future__ import annotations

import pytest

from mitschnitt.keeper import draws


@pytest.fixture(autouse=True)
def _the_database_has_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A draw that a busy machine writes after two seconds would be another draw."""
    monkeypatch.setattr(draws, "ANSWER_SECONDS", 60.0)
