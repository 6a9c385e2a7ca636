"""What holds around one call: all that holds around every call, but the policy that this call began with.

A policy that comes into force while a call runs is the next call's. Decides nothing.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from mitschnitt.core.gate import Surroundings
from mitschnitt.core.policy import Policy
from mitschnitt.core.policy_text import parse_policy
from mitschnitt.core.view import View
from mitschnitt.errors import ConfigError

UNKNOWN = "policy.unknown"


class Pinned:
    """Called, it gives the `Surroundings` of its call."""

    def __init__(self, surroundings: Callable[[], Surroundings]) -> None:
        self._surroundings = surroundings
        self._begun = False
        self._own: tuple[Policy, bytes] | None = None
        self._newest: View | None = None  # of which `_view` was made
        self._view: View | None = None

    @property
    def policy(self) -> Policy | None:
        """The call's policy; None before it began, or while no view has come."""
        return None if self._own is None else self._own[0]

    @property
    def policy_hash(self) -> str:
        """Its hash, "" while nobody told us of any."""
        return self._own[0].hash if self._own is not None else ""

    def begin(self, told: Mapping[str, Any]) -> str:
        """The call begins, by the policy that the keeper asked it by, or by the newest; the rule if there is none.

        `told` is the keeper's `joined`: `policy` is a hash, and `policy_text` comes with one that is not in force
        any more.
        """
        self._begun = True
        digest, view = told.get("policy"), self._surroundings().view
        if view is None or not digest or digest == view.policy.hash:
            self()
            return ""
        self._own = _read(told.get("policy_text"))
        if self._own is None or self._own[0].hash != digest:
            self._own = (view.policy, view.policy_text)
            return UNKNOWN
        return ""

    def __call__(self) -> Surroundings:
        around = self._surroundings()
        view = around.view
        if not self._begun or view is None:
            return around
        if self._own is None:
            self._own = (view.policy, view.policy_text)
        if view is not self._newest:
            policy, text = self._own
            same = policy.hash == view.policy.hash
            self._newest, self._view = view, view if same else replace(view, policy=policy, policy_text=text)
        return around if self._view is view else replace(around, view=self._view)


def _read(text: object) -> tuple[Policy, bytes] | None:
    try:
        data = base64.b64decode(text, validate=True) if isinstance(text, str) else b""
        return parse_policy(data), data
    except (binascii.Error, ValueError, ConfigError):
        return None
