"""Debian's sipp as a recording client against a whole site: our own scenarios over UDP and TCP.

The scenarios compare every description of the recorder whole; what became of the call is asked at the door.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from journeys.ivr import NO, YES, Ivr, Ringing
from journeys.running import Site, running_site
from journeys.sipp_run import SCENARIOS, SippRun, start_sipp

pytestmark = [pytest.mark.journey, pytest.mark.timeout(120)]

TRANSPORTS = ["UDP", "TCP"]
OPENED = ["our_reinvite", "pause_resume", "update_partial", "lf_only", "odd_boundary", "missing_siprec"]
NEVER_OPENED = {"mixed_line": "binding.mixed", "missing_metadata": "binding.missing"}  # by which rule
UNTOUCHED = ["ordinary", "options", "no_offer", "unknown_require", "unknown_dialog"]  # nothing is written down
OTHERS = [
    "two_lines", "pause_closed", "bye_refused", "cancel", "unacknowledged", "at_capacity", "held",
]  # fmt: skip
ENDED_BY_US_SECONDS = 60  # of an unacknowledged 200: 64 * T1 = 32 s, and its BYE
SECOND_SITE_RTP_PORT = 24_000


class Centre:
    """A running site, and whoever speaks to its callers."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.ivr = Ivr(site)

    def dial(
        self, scenario: str, transport: str, directory: Path, *calls: Ringing, seconds: int = 20
    ) -> SippRun:
        """sipp in the background, one call for each that rings."""
        fields = [(ringing.session, ringing.call) for ringing in calls]
        return start_sipp(
            scenario, transport, self.site.demo.sip_port, directory / f"{scenario}-{transport}", fields, seconds=seconds
        )


@pytest.fixture(scope="module")
def centre(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Centre]:
    """One site for the whole file."""
    with running_site(tmp_path_factory.mktemp("site")) as site:
        yield Centre(site)


@pytest.fixture(scope="module", autouse=True)
def unacknowledged(
    centre: Centre, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[tuple[Ringing, SippRun]]]:
    """Calls that wait for a BYE while all other tests run."""
    runs = []
    for transport in TRANSPORTS:
        ringing = centre.ivr.announce()
        directory = tmp_path_factory.mktemp("unacknowledged")
        runs.append(
            (ringing, centre.dial("unacknowledged", transport, directory, ringing, seconds=ENDED_BY_US_SECONDS))
        )
    yield runs
    for _, run in runs:
        run.stop()


def bound_udp_ports() -> set[int]:
    """Every local port of a UDP socket of this machine."""
    rows = Path("/proc/net/udp").read_text(encoding="ascii").splitlines()[1:]
    return {int(row.split()[1].rpartition(":")[2], 16) for row in rows}


def test_every_scenario_is_run() -> None:
    assert {path.stem for path in SCENARIOS.glob("*.xml")} == {*OPENED, *NEVER_OPENED, *UNTOUCHED, *OTHERS}


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("scenario", OPENED)
def test_a_call_is_closed_until_the_caller_agrees_and_then_kept_on_fresh_ports(
    scenario: str, transport: str, centre: Centre, tmp_path: Path
) -> None:
    ringing = centre.ivr.announce()
    run = centre.dial(scenario, transport, tmp_path, ringing)
    run.wait_for("ACK sip:")
    centre.ivr.press(ringing, YES)
    run.finish()
    assert centre.site.wait_outcome(ringing.call) == "kept"
    assert centre.site.rule(ringing.call) == "consent.given"
    closed, opened = run.told()[:2]
    assert (closed.direction, opened.direction) == ("inactive", "recvonly")
    assert not closed.ports & opened.ports


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("scenario", NEVER_OPENED)
def test_where_voices_cannot_be_told_apart_no_yes_opens(
    scenario: str, transport: str, centre: Centre, tmp_path: Path
) -> None:
    ringing = centre.ivr.announce()
    centre.ivr.press(ringing, YES)
    centre.dial(scenario, transport, tmp_path, ringing).finish()
    assert centre.site.wait_outcome(ringing.call) == "not_kept"
    assert centre.site.rule(ringing.call) == NEVER_OPENED[scenario]


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("scenario", ["two_lines", "pause_closed"])
def test_a_no_keeps_every_answer_closed_until_the_end(
    scenario: str, transport: str, centre: Centre, tmp_path: Path
) -> None:
    ringing = centre.ivr.announce()
    centre.ivr.press(ringing, NO)
    run = centre.dial(scenario, transport, tmp_path, ringing)
    run.finish()
    assert {told.direction for told in run.told()} == {"inactive"}
    assert centre.site.wait_outcome(ringing.call) == "not_kept"
    assert centre.site.rule(ringing.call) == "consent.caller.refused"


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_session_that_nobody_announced_is_closed_until_its_end(
    transport: str, centre: Centre, tmp_path: Path
) -> None:
    before = {call["call"] for call in centre.site.calls()}
    sessions = [(uuid.uuid4().hex, ""), (uuid.uuid4().hex, "")]
    start_sipp("two_lines", transport, centre.site.demo.sip_port, tmp_path / "sipp", sessions).finish()
    new = {call["call"] for call in centre.site.calls()} - before
    assert len(new) == len(sessions)
    for call in new:
        assert centre.site.wait_outcome(call) == "not_kept"
        assert centre.site.rule(call) == "call.unmatched"


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("scenario", UNTOUCHED)
def test_what_asks_for_no_recording_leaves_nothing_behind(
    scenario: str, transport: str, centre: Centre, tmp_path: Path
) -> None:
    before = {call["call"] for call in centre.site.calls()}
    fields = [("", "")] * 3
    start_sipp(scenario, transport, centre.site.demo.sip_port, tmp_path / "sipp", fields).finish()
    assert {call["call"] for call in centre.site.calls()} == before


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_after_a_withdrawal_a_refused_bye_closes_the_ports_all_the_same(
    transport: str, centre: Centre, tmp_path: Path
) -> None:
    ringing = centre.ivr.announce()
    run = centre.dial("bye_refused", transport, tmp_path, ringing)
    run.wait_for("ACK sip:")
    centre.ivr.press(ringing, YES)
    run.wait_for("a=recvonly")
    opened = run.told()[1].ports
    assert opened <= bound_udp_ports()
    run.wait_for("ACK sip:", 2)
    centre.ivr.withdraw(ringing)
    run.wait_for("SIP/2.0 405")
    assert centre.site.wait_outcome(ringing.call) == "not_kept"
    assert not any(told.ports & bound_udp_ports() for told in run.told())
    assert "BYE sip:recorder" not in run.messages, "the client ended the call itself before we looked"
    run.finish()
    assert centre.site.rule(ringing.call) == "consent.withdrawn"


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_call_that_ends_before_the_answer_is_cancelled(transport: str, centre: Centre, tmp_path: Path) -> None:
    calls = [centre.ivr.announce() for _ in range(5)]
    run = centre.dial("cancel", transport, tmp_path, *calls)
    run.wait_for_end()
    # sipp may be too late for one or another of them, and then ends it with a BYE.
    assert "SIP/2.0 487" in run.messages
    for ringing in calls:
        assert centre.site.wait_outcome(ringing.call) == "not_kept"


def test_a_full_recorder_names_the_time_to_come_again_and_ends_its_calls_when_it_stops(tmp_path: Path) -> None:
    with running_site(tmp_path, first_rtp_port=SECOND_SITE_RTP_PORT, max_calls=1) as site:
        full = Centre(site)
        ringing = full.ivr.announce()
        held = full.dial("held", "UDP", tmp_path, ringing)
        held.wait_for("ACK sip:")
        for transport in TRANSPORTS:
            full.dial("at_capacity", transport, tmp_path, full.ivr.announce()).finish()
        assert [call["call"] for call in site.calls()] == [ringing.call]
        assert site.stop() == 0
        held.finish()


def test_a_200_that_is_never_acknowledged_ends_with_our_bye(
    centre: Centre, unacknowledged: list[tuple[Ringing, SippRun]]
) -> None:
    for ringing, run in unacknowledged:
        run.finish(ENDED_BY_US_SECONDS)
        assert centre.site.wait_outcome(ringing.call) == "not_kept"


def test_none_of_it_was_an_error(centre: Centre) -> None:
    log = centre.site.log.read_text(encoding="utf-8")
    assert '"level": "error"' not in log
    assert "Traceback" not in log
    assert log.count('"event": "ready"') == 1, "the recorder was started again"
