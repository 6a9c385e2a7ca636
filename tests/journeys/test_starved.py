"""What is forgiven a promise of seconds, and what is not: a product that sleeps, or that is in its own way."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from journeys import starved
from journeys.starved import TICKS, Note, Waits, look

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def forgiven(*notes: tuple[float, float, float], first: float = 0.0, last: float = 2.0) -> float:
    """Of notes as (seconds after noon, waited, others)."""
    return Waits([], [Note(at(seconds), waited, others) for seconds, waited, others in notes]).between(
        at(first), at(last)
    )


def test_who_sleeps_is_forgiven_nothing() -> None:
    assert forgiven((0, 5, 100), (2, 5, 104)) == 0


def test_who_waited_while_others_ran_is_forgiven_what_it_waited() -> None:
    assert forgiven((0, 5, 100), (1, 5.25, 102), (2, 6, 104)) == 1


def test_who_waited_for_itself_alone_is_forgiven_nothing() -> None:
    assert forgiven((0, 5, 100), (2, 6.5, 100)) == 0
    assert forgiven((0, 5, 100), (2, 6.5, 100.25)) == 0.25


def test_many_who_wait_at_once_are_forgiven_no_more_than_passed() -> None:
    assert forgiven((0, 5, 100), (1, 25, 102), (2, 25, 104)) == 1


def test_a_thread_that_ended_takes_nothing_back() -> None:
    assert forgiven((0, 5, 100), (1, 5.5, 102), (2, 3, 104)) == 0.5


def test_only_what_lies_between_is_looked_at() -> None:
    notes = [(second, 5 + second / 2, 100 + second) for second in range(10)]
    assert forgiven(*notes, first=2.5, last=5.5) == 2  # from the note before to the note after
    assert forgiven(*notes, first=7, last=99) == 1


def test_what_is_noted_is_what_the_kernel_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starved, "PROC", tmp_path)
    (tmp_path / "stat").write_text("cpu  1000 200 30 9999 8888 4 5 6 0 0\ncpu0 1 2 3\n")
    for pid, user, system in ((7, 100, 20), (8, 30, 4)):
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "stat").write_text(f"{pid} (a b) c) R {'0 ' * 10}{user} {system} 0 0 20 0 3 0\n")
        for task, waited in ((pid, 1_500_000_000), (pid + 100, 250_000_000)):
            (tmp_path / str(pid) / "task" / str(task)).mkdir(parents=True)
            (tmp_path / str(pid) / "task" / str(task) / "schedstat").write_text(f"999 {waited} 3\n")
    note = look([7, 8, 9])  # 9 has ended
    assert note.waited == pytest.approx(2 * 1.75 + 6 / TICKS)
    assert note.others == pytest.approx((1245 - 154) / TICKS)
