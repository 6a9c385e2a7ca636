"""What nobody knows is not told as a no. What is counted of a call's lines stands in test_session."""

from __future__ import annotations

import pytest

from mitschnitt.recorder.behaviour import any_known


@pytest.mark.parametrize(
    "found, told",
    [([], None), ([None, None], None), ([None, False], False), ([False, True], True), ([None, True], True)],
)
def test_one_that_is_known_decides(found: list[bool | None], told: bool | None) -> None:  # noqa: FBT001 - a case
    assert any_known(found) is told
