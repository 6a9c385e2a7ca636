"""What holds for every test: nothing is left out unseen, and no log says who called, who answered, what was pressed.

Where skips are forbidden (CI_NO_SKIP=1), a skipped or expected failure is a failure.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Generator, Iterator
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, settings

import cheap_passwords
import ready_commands
import ready_database
from log_watch import WATCH

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)

FORBIDDEN = os.environ.get("CI_NO_SKIP", "") not in ("", "0")
WATCH.begin()
cheap_passwords.begin()
ready_database.begin()
ready_commands.begin()
# How long one example takes is the machine's, and a busy one is no finding; everything else stays as it was chosen.
settings.register_profile(
    "patient",
    settings.get_profile(settings.get_current_profile_name()),
    deadline=None,
    suppress_health_check=(HealthCheck.too_slow,),
)
settings.load_profile("patient")


# What is imported and collected stays to the end. Without this the garbage collector walks through it during the
# whole run, and finds nothing.
gc.disable()


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """From here on, only what the tests themselves leave behind is looked at."""
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True)
def _no_log_says_who_called() -> Iterator[None]:
    """A test that logs a number, a name, a digit, a call or a rule fails, whatever it tests."""
    yield
    assert list(WATCH.take()) == []


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
