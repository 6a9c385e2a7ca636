"""Events are facts: frozen, in the past tense, all in one union."""

from __future__ import annotations

import dataclasses
import inspect
from typing import get_args

import pytest

from mitschnitt.wire.sip import events

CLASSES = [cls for _, cls in inspect.getmembers(events, inspect.isclass) if cls.__module__ == events.__name__]


def test_every_event_is_in_the_union() -> None:
    assert set(get_args(events.SipEvent)) == set(CLASSES)


@pytest.mark.parametrize("cls", CLASSES)
def test_an_event_is_a_frozen_fact_with_a_sentence(cls: type) -> None:
    assert dataclasses.is_dataclass(cls)
    assert cls.__doc__
    assert cls.__name__.endswith(("Received", "Out", "Refused", "Ended", "Expired", "Due"))


def test_an_event_cannot_be_changed() -> None:
    event = events.RetryDue("d")
    with pytest.raises(dataclasses.FrozenInstanceError):
        event.dialog = "e"  # type: ignore[misc]
