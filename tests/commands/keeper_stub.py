"""A door without a keeper behind it: tests of commands say what it answers and see what it was asked."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from mitschnitt.errors import MitschnittError

CALL = "0" * 25 + "1"
OTHER = "0" * 25 + "2"


@dataclass
class StubDoor:
    """Answers by method and path; an answer that is an error is raised."""

    answers: dict[tuple[str, str], Any] = field(default_factory=dict)
    asked: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)

    def get(self, path: str, **query: str) -> Any:
        return self._answer("GET", path, query)

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        return self._answer("POST", path, body)

    def bytes_of(self, path: str, **query: Any) -> bytes:
        answer: bytes = self._answer("BYTES", path, query)
        return answer

    def delete(self, path: str, **query: str) -> None:
        self._answer("DELETE", path, query)

    @contextlib.contextmanager
    def kept_open(self) -> Iterator[None]:
        yield

    def _answer(self, method: str, path: str, sent: Mapping[str, Any]) -> Any:
        self.asked.append((method, path, dict(sent)))
        answer = self.answers[(method, path)]
        if callable(answer):
            answer = answer(sent)
        if isinstance(answer, MitschnittError):
            raise answer
        return answer

    def behind(self, monkeypatch: pytest.MonkeyPatch, module: Any) -> None:
        """Let the module's commands come to this door, whatever directory they name."""

        def door(_directory: Path) -> StubDoor:
            return self

        monkeypatch.setattr(module, "Door", door)
