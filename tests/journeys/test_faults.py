"""Rows 2 and 3 of the failure table with whole processes: a locked database, a stopped keeper, no control API.

Limits of time are the product's own. What was said while nothing was wrong, or went on, is compared packet by packet.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pysqlite3
import pytest

from journeys.ivr import YES, Ringing
from journeys.sipp_centre import Centre, running_centre
from journeys.sipp_run import SippRun, sipp_path
from journeys.test_sipp_sessions import BEGIN, OPENED, bye, scenario
from journeys.voices import Voices, heard
from mitschnitt.core.gate import VIEW_TOO_OLD_FOR_KEEPING

pytestmark = [pytest.mark.journey, pytest.mark.timeout(240)]

LOCKED_SECONDS = 20.0  # of the database
TALK_PACKETS = 150
HELD_PACKETS = 100  # newest ones that a shut line takes back: 1.5 s, and what a tick takes
CLOSED = '<?part closed meanwhile="nothing"?>'
PATIENCE_SECONDS = 60.0


def waits(seconds: float) -> str:
    """The client does nothing for so long."""
    return f'<pause milliseconds="{round(seconds * 1000)}"/>'


@pytest.fixture(scope="module")
def centre(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Centre]:
    """One site for the whole file."""
    sipp_path()
    with running_centre(tmp_path_factory.mktemp("site")) as running:
        yield running


def until(holds: Callable[[], bool], what: str, *, seconds: float = PATIENCE_SECONDS) -> None:
    """Waits for something that is to come."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"{what} did not come within {seconds:.0f} s"
        time.sleep(0.05)


def opened(centre: Centre, ringing: Ringing, run: SippRun, voices: Voices) -> None:
    """The caller agrees, and the voices speak to where the opening says."""
    run.wait_for("CSeq: 2 ACK")
    centre.ivr.press(ringing, YES)
    until(lambda: len(run.told()) > 1, "the opening")
    voices.aim(run.told()[1].in_order)


@contextlib.contextmanager
def locked_database(centre: Centre) -> Iterator[None]:
    """Another process holds the lock, exclusively."""
    path = centre.site.demo.directory / "db" / "domain.sqlite"
    other = pysqlite3.dbapi2.connect(str(path), isolation_level=None)
    other.execute("PRAGMA busy_timeout=10000")
    other.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


def test_row_2_with_a_locked_database_calls_go_on_end_sealed_and_are_withdrawn_and_none_begins(
    centre: Centre, tmp_path: Path
) -> None:
    site = centre.site
    ringing, taken_back, late = (centre.ivr.announce(asked=False) for _ in range(3))
    for early in (ringing, taken_back):
        centre.ivr.ask(early)
    with Voices() as voices, Voices() as others:
        text = scenario(BEGIN, OPENED, waits(9), bye(3))
        run = centre.dial("locked", "UDP", tmp_path, ringing, text=text, given=voices.given, seconds=60)
        opened(centre, ringing, run, voices)
        text = scenario(BEGIN, OPENED, CLOSED, "<?part ended?>")
        other = centre.dial("withdrawn", "UDP", tmp_path, taken_back, text=text, given=others.given, seconds=60)
        opened(centre, taken_back, other, others)
        first = voices.counters()
        with locked_database(centre):
            began = time.monotonic()
            until(lambda: site.door.get("/status")["store_locked"] == 1, "the alarm")
            epoch = site.door.get("/status")["epoch"]
            centre.ivr.withdraw(taken_back)
            until(lambda: site.door.get("/status")["epoch"] > epoch, "the puncture")
            other.finish()
            centre.ivr.ask(late)
            refused = centre.dial("late", "UDP", tmp_path, late, text=scenario(BEGIN, waits(4), bye(3)), seconds=60)
            refused.wait_for("CSeq: 2 ACK")
            centre.ivr.press(late, YES)
            last = voices.counters()
            run.finish()
            refused.finish()
            time.sleep(max(0.0, LOCKED_SECONDS - (time.monotonic() - began)))
            assert {call["state"] for call in site.calls()} <= {"live"}, "the database was not locked"
        assert len(refused.told()) == 1, "it was opened"
    assert site.wait_outcome(ringing.call) == "kept"
    assert site.wait_outcome(taken_back.call) == "not_kept"
    assert site.wait_outcome(late.call) == "not_kept"
    assert site.rule(late.call) == "store.locked"
    assert site.rule(taken_back.call) == "consent.withdrawn"
    for stream, begin, end in zip(voices.streams, first, last, strict=True):
        (kept,) = (found for streams in heard(site, ringing.call).values() for found in streams.values()
                   if stream.setup.stream in streams)  # fmt: skip
        assert set(range(begin, end)) <= kept
    until(lambda: site.door.get("/status")["store_locked"] == 0, "the end of the alarm")
    assert site.door.get("/status")["journal_lag"] == 0


def test_row_2_a_stopped_keeper_ends_nothing_for_a_minute_then_calls_pause_and_go_on_when_it_does(
    centre: Centre, tmp_path: Path
) -> None:
    site, pid = centre.site, centre.site.pid("keeper")
    ringing, late = centre.ivr.announce(), centre.ivr.announce()
    known = centre.calls()
    limit = VIEW_TOO_OLD_FOR_KEEPING.total_seconds()
    with Voices() as voices:
        # The newest view is up to 5 s old when the keeper stops: the closing comes 55 to 62 s after that.
        text = scenario(BEGIN, OPENED, waits(limit - 10), CLOSED, OPENED, waits(4), bye(3))
        run = centre.dial("stopped", "UDP", tmp_path, ringing, text=text, given=voices.given, seconds=120)
        opened(centre, ringing, run, voices)
        first = voices.counters()
        os.kill(pid, signal.SIGSTOP)
        try:
            stopped_at = time.monotonic()
            refused = centre.dial("late", "UDP", tmp_path, late, text=scenario(BEGIN, waits(5), bye(3)), seconds=60)
            refused.finish()
            assert len(refused.told()) == 1
            time.sleep(max(0.0, limit - 8 - (time.monotonic() - stopped_at)))
            assert len(run.told()) == 2, "a running call goes on for a minute"
            before = voices.counters()
            until(lambda: len(run.told()) > 2, "the pause", seconds=15)
            assert run.told()[2].direction == "inactive"
            paused = voices.counters()
            voices.speak(50)
        finally:
            os.kill(pid, signal.SIGCONT)
        until(lambda: len(run.told()) > 3, "the going on", seconds=15)
        resumed = voices.counters()
        voices.aim(run.told()[3].in_order)
        voices.speak(TALK_PACKETS)
        last = voices.counters()
        run.finish(seconds=60)
    assert site.wait_outcome(ringing.call) == "kept"
    # Nobody could say which announced call it was, so it has a name of its own.
    (unheard,) = centre.wait_new(known | {ringing.call}, 1)
    assert site.wait_outcome(unheard) == "not_kept"
    assert site.rule(unheard) == "keeper.gone"
    told = heard(site, ringing.call)
    for place, stream in enumerate(voices.streams):
        (kept,) = (streams[stream.setup.stream] for streams in told.values() if stream.setup.stream in streams)
        assert set(range(first[place], before[place] - HELD_PACKETS)) <= kept
        assert not kept & set(range(paused[place] + 2, resumed[place])), "something was kept during the pause"
        assert set(range(resumed[place] + 2, last[place])) <= kept
    assert site.door.get("/status")["journal_lag"] == 0
