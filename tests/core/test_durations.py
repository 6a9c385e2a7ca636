"""Spans of the calendar: what reads, what does not, and on which day they end."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitschnitt.core.durations import MAX_DAYS, Duration, parse_duration
from mitschnitt.errors import ConfigError


@pytest.mark.parametrize(
    "text, expected",
    [
        ("P30D", Duration(days=30)),
        ("P6M", Duration(months=6)),
        ("P1Y", Duration(years=1)),
        ("P2W", Duration(days=14)),
        ("P1Y2M3W4D", Duration(1, 2, 25)),
        ("P0Y1M", Duration(months=1)),
        ("P10980D", Duration(days=MAX_DAYS)),
    ],
)
def test_a_span_reads_as_it_is_written(text: str, expected: Duration) -> None:
    assert parse_duration(text) == expected


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("", "whole days"),
        ("P", "whole days"),
        ("30", "whole days"),
        ("P30", "whole days"),
        ("P-30D", "whole days"),
        ("p30d", "whole days"),
        ("P30D ", "whole days"),
        ("P1D1M", "whole days"),
        ("PT1H", "whole days"),
        ("P1.5M", "whole days"),
        ("P٣D", "whole days"),
        ("P0D", "longer than nothing"),
        ("P0Y0M0W0D", "longer than nothing"),
        ("P10981D", "at most 30 years"),
        ("P30Y1D", "at most 30 years"),
        ("P361M", "at most 30 years"),
        ("P99999D", "at most 30 years"),
        ("P123456D", "whole days"),
    ],
)
def test_what_is_no_span_is_refused_and_told_why(text: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        parse_duration(text)


@pytest.mark.parametrize(
    "begin, span, end",
    [
        ("2026-01-01", "P30D", "2026-01-31"),
        ("2026-01-31", "P1M", "2026-02-28"),
        ("2028-01-31", "P1M", "2028-02-29"),
        ("2028-02-29", "P1Y", "2029-02-28"),
        ("2026-11-30", "P3M", "2027-02-28"),
        ("2026-12-31", "P1M1D", "2027-02-01"),
        ("2026-10-05", "P5Y", "2031-10-05"),
    ],
)
def test_a_span_ends_on_the_same_day_or_on_the_last_of_a_shorter_month(begin: str, span: str, end: str) -> None:
    at = datetime.fromisoformat(f"{begin}T08:30:00+00:00")
    assert parse_duration(span).after(at) == datetime.fromisoformat(f"{end}T08:30:00+00:00")


SPANS = st.builds(
    Duration, st.integers(min_value=0, max_value=8), st.integers(min_value=0, max_value=30), st.integers(1, 400)
)
TIMES = st.datetimes(datetime(2000, 1, 1), datetime(2199, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - naive bounds, zone is added


@given(SPANS, TIMES)
def test_no_span_lasts_longer_than_its_most_days(span: Duration, begin: datetime) -> None:
    assert 0 < (span.after(begin) - begin).days <= span.most_days


@pytest.mark.parametrize("zone", ["Africa/Cairo", "America/Santiago", "Europe/Berlin"])
def test_a_span_is_the_same_from_whichever_clock_its_begin_was_read(zone: str) -> None:
    begin = datetime(2026, 1, 30, 23, 30, tzinfo=UTC)  # the next day in Cairo and Berlin
    for span in (Duration(days=90), Duration(months=1), Duration(years=1, months=3, days=7)):
        assert span.after(begin.astimezone(ZoneInfo(zone))) == span.after(begin)


@given(SPANS)
def test_what_is_written_reads_as_the_same(span: Duration) -> None:
    assert parse_duration(str(span)) == span


@given(st.text(alphabet="P0123456789YMWDT-. ", max_size=12))
def test_any_text_is_a_span_or_a_config_error(text: str) -> None:
    try:
        span = parse_duration(text)
    except ConfigError as error:
        assert "a duration must be" in str(error)  # noqa: PT017 - either outcome is checked
    else:
        assert 0 < span.most_days <= MAX_DAYS
