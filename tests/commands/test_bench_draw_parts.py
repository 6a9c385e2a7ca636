"""The measured parts tell seconds, memory and findings of files, in the process that runs them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mitschnitt.commands import bench_draw_parts
from mitschnitt.commands.bench_draw_lists import make_lists


def test_a_part_tells_its_figures_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_lists(tmp_path, 2_000)
    for arguments in (["floor", "public.mdl"], ["verify", "public.mdl"], ["verify", "public.mdl", "council.mdl"]):
        assert bench_draw_parts.main([arguments[0], *(str(tmp_path / name) for name in arguments[1:])]) == 0
        told = json.loads(capsys.readouterr().out)
        assert set(told) == {"seconds", "cpu_s", "peak_mb", "findings"}
        assert told["findings"] == []
        assert told["peak_mb"] > 1


def test_what_is_wrong_with_a_list_is_told(tmp_path: Path) -> None:
    make_lists(tmp_path, 2_000)
    public = tmp_path / "public.mdl"
    public.write_bytes(public.read_bytes()[:-1] + b"\x01")
    assert bench_draw_parts.verify([public])["findings"] != []
