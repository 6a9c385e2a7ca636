from __future__ import annotations

from itertools import pairwise

import pytest

from mitschnitt.recorder.report_log import ReportLog, ntp_to_ns
from mitschnitt.vault.artefact import MAX_REPORTS, Report


def report(number: int) -> Report:
    return Report(number * 5_000_000_000, 7, number, number * 40_000)


@pytest.mark.parametrize("count", [0, 1, 2, 255, 256, 257, 720, 10_000])
def test_a_call_of_any_length_has_its_first_and_newest_report_and_others_evenly_between(count: int) -> None:
    log = ReportLog()
    for number in range(count):
        log.add(report(number))
    told = log.told()
    assert len(told) <= MAX_REPORTS
    assert set(told) <= {report(number) for number in range(count)}
    if count:
        assert (told[0], told[-1]) == (report(0), report(count - 1))
    steps = [later.ntp_ns - earlier.ntp_ns for earlier, later in pairwise(told)]
    assert len(set(steps[:-1])) <= 1
    assert not steps or steps[-1] <= max(steps[:-1], default=steps[-1])
    assert count < MAX_REPORTS or len(told) >= MAX_REPORTS // 2


def test_a_few_are_all_kept() -> None:
    log = ReportLog(4)
    for number in range(3):
        log.add(report(number))
    assert log.told() == (report(0), report(1), report(2))
    log.add(report(3))
    assert log.told() == (report(0), report(2), report(3))


@pytest.mark.parametrize(
    ("ntp", "ns"),
    [
        (2_208_988_800 << 32, 0),
        ((2_208_988_800 << 32) + (1 << 31), 500_000_000),
        ((3_908_988_800 << 32) + (1 << 30), 1_700_000_000_250_000_000),
        (0, -2_208_988_800_000_000_000),  # a sender without a wall clock (RFC 3550, 6.4.1)
    ],
)
def test_ntp_time_is_told_from_1970(ntp: int, ns: int) -> None:
    assert ntp_to_ns(ntp) == ns
