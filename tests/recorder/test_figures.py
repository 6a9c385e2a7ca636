"""A recorder's figures: every counter has its line or its reason, and no line tells whether one call was agreed to."""

from __future__ import annotations

import asyncio
import dataclasses
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from mitschnitt.recorder import figures
from mitschnitt.recorder.counts import MediaCounts
from mitschnitt.recorder.figures import MEDIA, RTCP, TABLE, WITHHELD, Parts, alive, read, ready
from mitschnitt.recorder.rtcp import RtcpCounts
from mitschnitt.telemetry.metrics import LEAST_CALLS, Kind, Page, Told
from mitschnitt.telemetry.process import ProcessFigures
from recorder_stage import Stage, act, asked, branch_of, joined, ports_of, stage_on

# All that may change at once: sizes and ages of the machine, and alarms.
AT_ONCE = {
    "ring", "ring_lacking",
    "calls", "calls_begun", "calls_limit", "sip_shed", "sip_refused", "sip_connections", "sip_half_open", "troubles",
    "journal_refuses", "keeper_connected", "view_age_seconds", "clock_steady", "clock_jumps", "draining",
    "packets_dropped", "late_turns", "build_info", "start_time_seconds", "cpu_seconds", "resident_bytes",
    "open_files_limit", "disk_free_bytes", "disk_refusals", "rtp_buffer_asked_bytes", "rtp_buffer_granted_bytes",
}  # fmt: skip


def parts_of(stage: Stage, **other: Any) -> Parts:
    """The stage's media plane, ledger and journal; what else there is says that all is well."""
    calls = SimpleNamespace(running=0, limit=10, counts=Counter(calls=0), is_draining=False)
    server = SimpleNamespace(
        shed=0, refused=Counter(), requests=Counter(), responses=Counter(),
        streams=SimpleNamespace(connections={}), agent=SimpleNamespace(pressure=(0, 0, 0)),
    )  # fmt: skip
    made = {
        "media": stage.media, "calls": calls, "server": server, "ledger": stage.ledger, "slices": stage.media._journal,
        "link": SimpleNamespace(connected=True), "outlook": SimpleNamespace(view_age=1.0, is_fresh=True),
        "clock": SimpleNamespace(steady=True, jumps=0),
        "process": ProcessFigures("recorder", Path("/"), now=lambda: 0.0),
    }  # fmt: skip
    return Parts(**cast(Any, {**made, **other}))


def on_stage(tmp_path: Path, scene: Callable[[Stage], None]) -> None:
    async def run() -> None:
        with stage_on(tmp_path) as stage:
            scene(stage)

    asyncio.run(run())


@pytest.mark.parametrize("counts, table", [(MediaCounts, MEDIA), (RtcpCounts, RTCP)], ids=["media", "rtcp"])
def test_every_counter_has_its_line_or_the_reason_why_it_has_none(counts: type, table: dict[str, Any]) -> None:
    fields = {field.name for field in dataclasses.fields(counts)}
    assert fields - set(table) - set(WITHHELD) == set(), "give it a line in recorder/figures.py, or say why not"
    assert not set(table) & set(WITHHELD)
    assert set(table) <= fields


def test_names_are_those_that_prometheus_advises() -> None:
    names = [figure.name for figure in TABLE]
    assert len(names) == len(set(names))
    assert all(name.startswith("recorder_") and name.islower() for name in names)
    assert all(figure.help and not figure.help.endswith(".") for figure in TABLE)
    histograms = [figure.name for figure in TABLE if figure.kind is Kind.HISTOGRAM]
    assert [name for name in histograms if not name.endswith("_seconds")] == []


def test_no_label_could_carry_a_call_a_number_or_a_person() -> None:
    labels = {figure.label for figure in TABLE if figure.label}
    assert labels == {"version", "reason", "cause", "transport", "method", "class", "kind"}
    assert all(figure.values for figure in TABLE if figure.label)


def test_only_what_is_the_same_for_a_call_that_agreed_and_one_that_did_not_is_told_at_once() -> None:
    at_once = {figure.name.removeprefix("recorder_") for figure in TABLE if figure.told is Told.AT_ONCE}
    assert at_once == AT_ONCE


def test_every_line_is_read_and_nothing_without_a_line(tmp_path: Path) -> None:
    def scene(stage: Stage) -> None:
        assert sorted(read(parts_of(stage))) == sorted(figure.name for figure in TABLE)

    on_stage(tmp_path, scene)


def test_a_call_that_is_kept_changes_nothing_that_can_be_seen_before_others_have_ended(tmp_path: Path) -> None:
    def scene(stage: Stage) -> None:
        ended = [0]
        parts = parts_of(stage)
        # What changes by itself between two readings, whatever anybody says.
        restless = ("cpu_seconds", "resident_bytes")

        def reading() -> dict[str, Any]:
            return {name: value for name, value in read(parts).items() if not name.endswith(restless)}

        now = iter(range(100))
        page = Page(TABLE, reading, ended=lambda: ended[0], clock=lambda: float(next(now)))
        session = stage.session()  # its lines are there, closed, as they are for a call that nobody agrees to
        stage.seconds = 6.0
        before = page.text("")[0]
        stage.link.answer(joined(asked=[asked()]))
        session.post("act", act("1", 5.5))
        branch_of(session).moved()
        stage.voices["clara"].says(ports_of(session)[0], 50)
        stage.tick(8)
        assert stage.media.counts.kept == 50
        assert page.text("")[0] == before
        ended[0] = LEAST_CALLS
        assert b"mitschnitt_recorder_packets_kept_total 50.0\n" in page.text("")[0]

    on_stage(tmp_path, scene)


def test_media_that_stands_still_is_not_alive(tmp_path: Path) -> None:
    def scene(stage: Stage) -> None:
        parts = parts_of(stage)
        assert alive(parts, stage.media.turned_at + figures.STALLED_SECONDS) == []
        assert alive(parts, stage.media.turned_at + figures.STALLED_SECONDS + 1) == ["media_stalled"]

    on_stage(tmp_path, scene)


CALLS = SimpleNamespace(running=0, limit=10, counts=Counter(calls=0), is_draining=False)


@pytest.mark.parametrize(
    "reason, other",
    [
        ("draining", {"calls": SimpleNamespace(**{**vars(CALLS), "is_draining": True})}),
        ("calls_full", {"calls": SimpleNamespace(**{**vars(CALLS), "running": 10})}),
        ("keeper_gone", {"link": SimpleNamespace(connected=False)}),
        ("view_stale", {"outlook": SimpleNamespace(is_fresh=False)}),
        ("clock_jumped", {"clock": SimpleNamespace(steady=False)}),
        ("journal_refuses", {"ledger": SimpleNamespace(refuses=True)}),
        ("disk_full", {"process": ProcessFigures("recorder", Path("/nowhere"), now=lambda: 0.0)}),
        (
            "ports_none",
            {"media": SimpleNamespace(lines=SimpleNamespace(pool=SimpleNamespace(free=0)))},
        ),
    ],
)
def test_a_recorder_is_not_ready_for_a_reason_with_a_name(tmp_path: Path, reason: str, other: dict[str, Any]) -> None:
    def scene(stage: Stage) -> None:
        assert ready(parts_of(stage)) == []
        assert ready(parts_of(stage, **other)) == [reason]

    on_stage(tmp_path, scene)
