"""The cost curve of docs/performance.md: drawn from committed figures, and nothing but those."""

from __future__ import annotations

import importlib.util
import json
import xml.etree.ElementTree as ET  # noqa: S405 - reads only what docs/curve.py has just drawn
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).parent.parent / "docs"
RUN = {
    "streams": 500, "receiver": "sockets", "floor_us": 1.0, "ours_us": 1.5, "ratio": 1.5, "cpu_share": 0.25, "lost": 0,
    "sent": 1000, "complete": 10, "files": 10, "rss_mib": 80.2, "party_ms": 2.44, "generator_late_p99_us": 900.0,
    "paced": True, "floor_paced": True, "perfect": True,
}  # fmt: skip


@pytest.fixture(name="curve")
def _curve() -> ModuleType:
    spec = importlib.util.spec_from_file_location("curve", DOCS / "curve.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_committed_picture_and_table_are_the_ones_that_the_figures_give(curve: ModuleType) -> None:
    figures = json.loads((DOCS / "figures" / "capture.json").read_text(encoding="utf-8"))
    runs, page = figures["runs"], (DOCS / "performance.md").read_text(encoding="utf-8")
    assert (DOCS / "pictures" / "capture.svg").read_text(encoding="utf-8") == curve.picture(runs)
    assert curve.table(runs) in page
    assert curve.told(figures) in page


def test_each_receiver_has_its_curve_and_the_floor_one_mark_a_step(curve: ModuleType) -> None:
    runs = [{**RUN, "streams": streams, "receiver": name} for streams in (500, 1000) for name in ("sockets", "ring")]
    root = ET.fromstring(curve.picture(runs))  # noqa: S314 - as above
    groups = {group.get("class"): group for group in root.iter("{http://www.w3.org/2000/svg}g")}
    assert list(groups) == ["floor", "sockets", "ring"]
    assert [len(group.findall("{*}circle")) for group in groups.values()] == [2, 2, 2]
    names = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"streams of 50 packets a second", "CPU per packet, microseconds", "bare C loop"} <= set(names)


def test_a_step_that_was_not_sent_evenly_is_hollow_and_named(curve: ModuleType) -> None:
    late = {**RUN, "paced": False, "generator_late_p99_us": 7_300.0}
    assert 'class="uneven"' in curve.picture([late])
    assert 'class="uneven"' not in curve.picture([RUN])
    assert "| 7.3, not even |" in curve.table([late])
    assert curve.table([RUN]).endswith("| 0 of 1,000 | 10 of 10 | 80 | 2.4 | 0.9 |")


def test_steps_whose_generator_was_late_are_named_and_no_others(curve: ModuleType) -> None:
    machine = dict.fromkeys(("day", "cpu", "cores", "memory_gib", "system", "python", "network"), "x")
    late = [{**RUN, "streams": 2000, "paced": False}, {**RUN, "streams": 1000, "floor_paced": False}]
    told = curve.told({"seconds": 4, "syncs_per_second": 99, "machine": machine, "runs": [RUN, *late]})
    assert "At 1,000, 2,000 streams a generator could not send evenly" in told
    even = curve.told({"seconds": 4, "syncs_per_second": 99, "machine": machine, "runs": [RUN]})
    assert "evenly" not in even


def test_sizes_are_half_of_what_a_core_held_without_loss(curve: ModuleType) -> None:
    def run(streams: int, share: float, rss: float, **more: object) -> dict[str, object]:
        return {**RUN, "streams": streams, "cpu_share": share, "rss_mib": rss, **more}

    other = {"receiver": "another", "streams": 10, "samples": [{"rss_mib": 999.0}]}
    held = [run(1000, 0.1, 81.0), run(8000, 0.8, 256.0)]
    beyond = [run(20_000, 1.9, 900.0, perfect=False), run(12_000, 0.5, 900.0, receiver="ring")]
    assert curve.sizes([*held, *beyond], "sockets", other) == curve.Sizes(calls=2000, base_mib=60, stream_kib=28)
    full = [run(1000, 0.1, 81.0), run(8000, 1.25, 256.0)]
    assert curve.sizes(full, "sockets", other).calls == 1600
    with pytest.raises(ValueError, match="expected two runs of ring without loss, found 1"):
        curve.sizes([*held, *beyond], "ring", other)


def test_calls_that_came_and_went_for_long_say_more_than_a_run_of_seconds(curve: ModuleType) -> None:
    held = [{**RUN, "streams": 1000, "rss_mib": 81.0}, {**RUN, "streams": 8000, "cpu_share": 0.8, "rss_mib": 256.0}]
    soak = {"receiver": "sockets", "streams": 4000, "samples": [{"rss_mib": 160.0}, {"rss_mib": 300.0}]}
    assert curve.sizes(held, "sockets", soak) == curve.Sizes(calls=1500, base_mib=60, stream_kib=64)
    idle = {"receiver": "sockets", "streams": 40_000, "samples": [{"rss_mib": 60.0}]}
    assert curve.sizes(held, "sockets", idle) == curve.Sizes(calls=2000, base_mib=60, stream_kib=28)


def test_the_soak_that_is_told_of_lost_nothing(curve: ModuleType) -> None:
    soak = json.loads((DOCS / "figures" / "soak.json").read_text(encoding="utf-8"))
    last = soak["samples"][-1]
    assert (last["lost"], last["kernel_drops"], last["failed"]) == (0, 0, 0)
    assert last["at_s"] >= 30 * 60
    told = (DOCS / "performance.md").read_text(encoding="utf-8")
    assert f"`{soak['command']}`" in told
    assert f"{last['kept']:,}, 0, 0" in told
