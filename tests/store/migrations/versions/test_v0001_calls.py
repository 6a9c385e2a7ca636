"""The first step and its refusal to go back."""

from __future__ import annotations

import pytest

from mitschnitt.store.migrations.versions import v0001_calls


def test_the_first_step_has_no_step_before_it_and_no_way_back() -> None:
    assert (v0001_calls.revision, v0001_calls.down_revision) == ("0001", None)
    with pytest.raises(NotImplementedError, match="only moves forward"):
        v0001_calls.downgrade()
