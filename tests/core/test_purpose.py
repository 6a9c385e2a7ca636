"""Purposes are names that are agreed to."""

from __future__ import annotations

from mitschnitt.core.purpose import ACCOUNTABILITY, TRAINING


def test_training_and_accountability_are_two_purposes() -> None:
    assert TRAINING == "training"
    assert ACCOUNTABILITY == "accountability"
    assert len({TRAINING, ACCOUNTABILITY}) == 2
