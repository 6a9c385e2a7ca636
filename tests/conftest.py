"""Where skips are forbidden (CI_NO_SKIP=1), a skipped or expected failure is a failure: nothing is left out unseen."""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import TypeVar

import pytest

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)

FORBIDDEN = os.environ.get("CI_NO_SKIP", "") not in ("", "0")


def _forbid(report: Report) -> Report:
    if FORBIDDEN and report.skipped:
        reason = getattr(report, "wasxfail", None) or report.longreprtext
        report.outcome = "failed"
        report.longrepr = f"left out although CI_NO_SKIP is set: {reason}"
        if hasattr(report, "wasxfail"):
            del report.wasxfail
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that was skipped, by mark or by itself."""
    return _forbid((yield))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """A file that skipped itself whole."""
    return _forbid((yield))
