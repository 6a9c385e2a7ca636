"""What `bench draw` measures is a list as the keeper writes it, without a finding."""

from __future__ import annotations

from pathlib import Path

from mitschnitt.commands.bench_draw_lists import make_lists
from second.draw_check import check


def test_the_lists_of_the_bench_are_sound_by_the_second_check_too(tmp_path: Path) -> None:
    make_lists(tmp_path, 3_000)
    files = [(tmp_path / name).read_bytes() for name in ("public.mdl", "council.mdl")]
    # The bench's day has no caps; the second check reckons with them always.
    assert check(files[:1]) == set()
    assert {path.name for path in tmp_path.iterdir()} == {"public.mdl", "council.mdl"}
