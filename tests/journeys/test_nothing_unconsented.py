"""Every payload packet of every call is marked; no mark from before consent is found anywhere, ever.

Searched: the memory of every process of `serve` during and after the calls, and every file of data, keys and
temporary directories, also after kill -9. Without the socket filter the same search does find them.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from journeys.memory import files_below, memory_of
from journeys.running import Site, report_rows, running_site
from mitschnitt.gateways.stamp import find_stamps
from played import played
from ring_rig import needs_ring

AGREE = "agreed_by_act=4,agreed_by_digit=4"
REFUSE = "refused_by_act=4,refused_by_digit=4,silent=4,no_agent_consent=2"
CALLS = 22
ENOUGH_LOOKS = 10
ENOUGH_BYTES = 100_000

pytestmark = [
    pytest.mark.journey,
    pytest.mark.timeout(480),
    pytest.mark.skipif(os.geteuid() != 0, reason="reading the memory of an undumpable process needs root"),
]


@dataclass
class Finds:
    """Which packets were seen: stream to counters."""

    in_memory: dict[int, set[int]] = field(default_factory=lambda: defaultdict(set))
    in_files: list[str] = field(default_factory=list)
    looks: int = 0

    def look(self, site: Site, *roots: Path) -> None:
        """Search once."""
        self.looks += 1
        for pid in site.pids():
            try:
                for piece in memory_of(pid):
                    for _, stream, counter in find_stamps(piece):
                        self.in_memory[int(stream)].add(int(counter))
            except (FileNotFoundError, ProcessLookupError):
                continue  # ended while we looked
        self.look_at_files(*roots)

    def look_at_files(self, *roots: Path) -> None:
        """Search files only."""
        for path, data in files_below(*roots):
            if len(find_stamps(data)):
                self.in_files.append(str(path))


def allowed_from(report: Path) -> Mapping[int, int]:
    """For each stream of an agreed call the first counter after the act; streams of other calls are missing."""
    first: dict[int, int] = {}
    for row in report_rows(report):
        assert not row["errors"], row["errors"]
        if not row["scenario"].startswith("agreed"):
            continue
        answer = next(mark for mark in row["marks"] if mark["what"] == "answer")
        for stream in row["streams"]:
            first[stream["stream"]] = answer["counters"][stream["label"]]
    return first


def unconsented(found: Mapping[int, set[int]], allowed: Mapping[int, int]) -> list[tuple[int, int]]:
    """(stream, counter) of packets that must not have been seen."""
    return [
        (stream, counter)
        for stream, counters in found.items()
        for counter in sorted(counters)
        if stream not in allowed or counter < allowed[stream]
    ]


def play_and_look(site: Site, root: Path, mix: str) -> tuple[Finds, Path]:
    """Play all calls, leaking on purpose, and search all the while."""
    report, finds = root / "report.jsonl", Finds()
    temporary = Path(tempfile.gettempdir())
    places = (site.demo.directory, site.demo.directory.with_name("site.keys"), *temporary.glob("mitschnitt*"))
    centre = site.centre(
        "--calls", str(CALLS), "--rate", "8", "--mix", mix, "--stamp", "--leaky", "--report", str(report)
    )
    try:
        while True:
            try:
                centre.communicate(timeout=0.5)
                break
            except subprocess.TimeoutExpired:
                finds.look(site, *places)
    finally:
        if centre.poll() is None:
            centre.terminate()
            centre.wait(60)
    assert centre.returncode == 0
    finds.look(site, *places)
    return finds, report


@pytest.mark.parametrize(
    "rtp",
    [pytest.param((), id="sockets"), pytest.param(('receiver = "ring"', "ring_mib = 4"), id="ring", marks=needs_ring)],
)
def test_no_packet_from_before_consent_is_ever_in_our_memory_or_files(tmp_path: Path, rtp: Sequence[str]) -> None:
    looks = 0
    while looks < ENOUGH_LOOKS:  # a busy machine searches seldom: then the whole is played again
        looks += searched_run(tmp_path / f"after-{looks}-looks", rtp)


def searched_run(root: Path, rtp: Sequence[str]) -> int:
    """One site and its calls; how often it was searched."""
    root.mkdir()
    with running_site(root, rtp=rtp) as site:
        told = (site.demo.directory / "run" / "recorder-1.receiver").read_text(encoding="utf-8")
        assert told == ("ring\n" if rtp else "sockets\n")
        finds, report = play_and_look(site, root, f"{AGREE},{REFUSE}")
        allowed = allowed_from(report)
        sent = sum(stream["audio"] for row in report_rows(report) for stream in row["streams"])
        assert len(allowed) >= 16
        assert sent > 10_000
        assert unconsented(finds.in_memory, allowed) == []
        assert finds.in_files == []
        site.wait_closed(CALLS)
        opened = opened_stamps(site)
        assert set(opened) == set(allowed)
        assert unconsented(opened, allowed) == []
        assert all(len(counters) > 100 for counters in opened.values())
        return finds.looks


def opened_stamps(site: Site, *, only: Container[str] | None = None) -> dict[int, set[int]]:
    """What lies in the vault once it is opened through the one door: stream to counters."""
    opened: dict[int, set[int]] = defaultdict(set)
    for call in site.calls():
        if call["state"] != "kept" or (only is not None and call["call"] not in only):
            continue
        for party in played(site.door, call["call"]):
            for _, stream, counter in find_stamps(party.payload):
                opened[int(stream)].add(int(counter))
    return opened


def test_after_kill_9_no_file_holds_a_packet_in_the_clear(tmp_path: Path) -> None:
    with running_site(tmp_path) as site:
        centre = site.centre("--calls", "10", "--rate", "10", "--mix", AGREE, "--stamp", "--leaky")
        try:
            while kept_bytes(site) <= ENOUGH_BYTES:  # 10 s on an idle machine; while all calls run
                with pytest.raises(subprocess.TimeoutExpired):
                    centre.communicate(timeout=0.5)
            for pid in reversed(site.pids()):
                os.kill(pid, signal.SIGKILL)
        finally:
            centre.terminate()
            centre.communicate(timeout=60)
        finds = Finds()
        finds.look_at_files(tmp_path, *Path(tempfile.gettempdir()).glob("mitschnitt*"), *core_files())
        assert finds.in_files == []
        assert kept_bytes(site) > ENOUGH_BYTES, "nothing was kept, so nothing was tested"


def kept_bytes(site: Site) -> int:
    """Of the slices of calls that run."""
    return sum(path.stat().st_size for path in site.demo.directory.glob("recorder/1/journal/*.sec"))


def core_files() -> list[Path]:
    """Core files that the kernel may have left in the working directory."""
    return [path.parent for path in Path.cwd().glob("core*") if path.is_file()]


@pytest.mark.parametrize("unfiltered", ["", "1"], ids=["filter on", "filter off"])
def test_it_is_the_filter_that_keeps_them_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unfiltered: str) -> None:
    """The same recorder keeps what reaches it: with the filter nothing is found, without it the marks are."""
    monkeypatch.setenv("UNFILTERED", unfiltered)
    with running_site(tmp_path, module="unwiped", paths=[Path(__file__).parent]) as site:
        finds, report = play_and_look(site, tmp_path, REFUSE)
        found = unconsented(finds.in_memory, allowed_from(report))
        print(f"\nfilter {'off' if unfiltered else 'on'}: {len(found)} packets found in {finds.looks} looks")
        assert (found != []) is bool(unfiltered)
        assert finds.in_files == []
