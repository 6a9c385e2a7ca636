"""The four families of errors, and that a sentence carries its rule."""

from __future__ import annotations

import inspect

import pytest

from mitschnitt import errors
from mitschnitt.errors import (
    ConfigError,
    Damaged,
    KeyGone,
    MalformedPacket,
    MitschnittError,
    NoSpace,
    NotAllowed,
    PeerError,
    TooLarge,
    VaultError,
)


@pytest.mark.parametrize(
    "kind, family",
    [
        (MalformedPacket, PeerError),
        (TooLarge, PeerError),
        (KeyGone, VaultError),
        (Damaged, VaultError),
        (NoSpace, VaultError),
        (PeerError, MitschnittError),
        (NotAllowed, MitschnittError),
        (ConfigError, MitschnittError),
        (VaultError, MitschnittError),
    ],
)
def test_every_error_has_its_family(kind: type[Exception], family: type[Exception]) -> None:
    assert kind.__bases__ == (family,)


def test_the_tree_in_the_docstring_names_every_error() -> None:
    drawn = errors.__doc__ or ""
    names = [name for name, kind in inspect.getmembers(errors, inspect.isclass) if kind.__module__ == errors.__name__]
    assert names
    assert [name for name in names if name not in drawn] == []


def test_a_refusal_carries_its_rule() -> None:
    refusal = NotAllowed("consent.agent.none", "nobody may hear this")
    assert refusal.rule == "consent.agent.none"
    assert str(refusal) == "nobody may hear this [consent.agent.none]"
    assert str(NotAllowed("consent.agent.none")) == "consent.agent.none"


def test_a_familys_error_is_not_anothers() -> None:
    families = (PeerError, NotAllowed, ConfigError, VaultError)
    assert all(not issubclass(one, other) for one in families for other in families if one is not other)
