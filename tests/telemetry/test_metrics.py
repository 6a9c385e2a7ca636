"""Figures as Prometheus reads them: both formats, closed sets, and nothing from which one call could be read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import prometheus_client
from prometheus_client import Metric
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from mitschnitt.telemetry.metrics import FRESH_SECONDS, LEAST_CALLS, OTHER, Buckets, Figure, Kind, Page, Told

TABLE = (
    Figure("recorder_calls", Kind.GAUGE, "calls that run"),
    Figure("recorder_late", Kind.COUNTER, "late turns"),
    Figure("recorder_refused", Kind.COUNTER, "refused, by reason", "reason", ("SHORT", "VERSION")),
    Figure("recorder_kept", Kind.COUNTER, "packets kept", told=Told.IN_BATCHES),
    Figure("recorder_turn_seconds", Kind.HISTOGRAM, "how long a turn took"),
)


def families(text: str) -> list[Metric]:
    return list(text_string_to_metric_families(text))


@dataclass
class Process:
    """What is read, and how many calls have ended."""

    values: dict[str, Any] = field(default_factory=dict)
    ended: int = 0
    now: float = 100.0

    def page(self) -> Page:
        return Page(TABLE, lambda: self.values, ended=lambda: self.ended, clock=lambda: self.now)

    def shown(self, page: Page) -> dict[str, float]:
        self.now += FRESH_SECONDS
        text = page.text("")[0].decode()
        return {
            sample.name + "".join(f"[{value}]" for value in sample.labels.values()): sample.value
            for family in families(text)
            for sample in family.samples
        }


def test_a_page_shows_what_was_read_under_one_prefix() -> None:
    process = Process({"recorder_calls": 3, "recorder_late": 2})
    shown = process.shown(process.page())
    assert shown == {"mitschnitt_recorder_calls": 3, "mitschnitt_recorder_late_total": 2}


def test_openmetrics_is_spoken_to_whoever_asks_for_it_and_text_to_all_others() -> None:
    process = Process({"recorder_calls": 3, "recorder_late": 2})
    page = process.page()
    text, content_type = page.text("application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert text.endswith(b"# EOF\n")
    read: Any = openmetrics.text_string_to_metric_families
    assert [family.name for family in read(text.decode())] == ["mitschnitt_recorder_calls", "mitschnitt_recorder_late"]
    assert page.text("*/*")[1].startswith("text/plain; version=0.0.4")


def test_what_is_in_no_closed_set_is_told_as_other() -> None:
    process = Process({"recorder_refused": {"SHORT": 1, "sip:+49305550100@x": 2}})
    shown = process.shown(process.page())
    name = "mitschnitt_recorder_refused_total"
    assert shown == {f"{name}[SHORT]": 1, f"{name}[VERSION]": 0, f"{name}[{OTHER}]": 2}


def test_a_figure_that_tells_of_open_gates_waits_until_enough_calls_have_ended() -> None:
    process = Process({"recorder_kept": 0})
    page, name = process.page(), "mitschnitt_recorder_kept_total"
    process.values["recorder_kept"] = 500
    assert process.shown(page)[name] == 0
    process.ended = LEAST_CALLS - 1
    assert process.shown(page)[name] == 0
    process.ended = LEAST_CALLS
    assert process.shown(page)[name] == 500
    process.values["recorder_kept"] = 900
    process.ended = 2 * LEAST_CALLS - 1
    assert process.shown(page)[name] == 500


def test_a_batch_is_not_changed_by_what_is_counted_later() -> None:
    counted = Buckets((1.0,))
    table = (Figure("x_seconds", Kind.HISTOGRAM, "x", told=Told.IN_BATCHES),)
    page = Page(table, lambda: {"x_seconds": counted}, ended=lambda: 0, clock=lambda: 0.0)
    counted.add(0.5)
    assert b"mitschnitt_x_seconds_count 0.0" in page.text("")[0]


def test_durations_fall_into_buckets_that_add_up() -> None:
    turns = Buckets((0.01, 0.1))
    for seconds in (0.01, 0.05, 3.0):
        turns.add(seconds)
    process = Process({"recorder_turn_seconds": turns})
    shown = process.shown(process.page())
    name = "mitschnitt_recorder_turn_seconds"
    assert shown[f"{name}_bucket[0.01]"] == 1
    assert shown[f"{name}_bucket[0.1]"] == 2
    assert shown[f"{name}_bucket[+Inf]"] == shown[f"{name}_count"] == 3
    assert round(shown[f"{name}_sum"], 6) == 3.06


def test_who_asks_often_gets_the_same_page() -> None:
    process = Process({"recorder_calls": 1})
    page = process.page()
    first = page.text("")
    process.values["recorder_calls"] = 2
    process.now += FRESH_SECONDS / 2
    assert page.text("") == first
    process.now += FRESH_SECONDS
    assert page.text("") != first


def test_nothing_is_registered_with_the_whole_process() -> None:
    before = prometheus_client.generate_latest()
    Process({"recorder_calls": 1}).page()
    assert b"mitschnitt" not in before + prometheus_client.generate_latest()


def test_a_figure_knows_the_name_that_a_query_uses() -> None:
    assert [figure.sample for figure in TABLE[:2]] == ["mitschnitt_recorder_calls", "mitschnitt_recorder_late_total"]


def test_two_pages_of_one_process_do_not_meet() -> None:
    one, other = Process({"recorder_calls": 1}), Process({"recorder_calls": 2})
    first, second = one.page(), other.page()
    assert one.shown(first) != other.shown(second)
