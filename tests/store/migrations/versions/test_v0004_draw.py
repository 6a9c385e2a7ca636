"""The draw: the step that adds them, and its refusal to go back."""

from __future__ import annotations

import pytest

from mitschnitt.store.migrations.versions import v0004_draw


def test_the_step_has_no_way_back() -> None:
    assert v0004_draw.revision == "0004"
    with pytest.raises(NotImplementedError, match="only moves forward"):
        v0004_draw.downgrade()
