"""Debian's sipp as a recording client against a whole site: our own scenarios over UDP and TCP.

The scenarios compare every description of the recorder whole; what became of the call is asked at the door.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from journeys.ivr import NO, YES, Ringing
from journeys.running import bound_udp_ports
from journeys.sipp_centre import Centre, running_centre, unannounced
from journeys.sipp_run import SCENARIOS, SippRun, Told, sipp_path
from journeys.speaker import ports_of_site, speaking

pytestmark = [pytest.mark.journey, pytest.mark.timeout(120)]

TRANSPORTS = ["UDP", "TCP"]
OPENED = ["our_reinvite", "pause_resume", "lf_only", "odd_boundary", "missing_siprec"]
NEVER_OPENED = {"mixed_line": "binding.mixed", "missing_metadata": "binding.missing"}  # by which rule
UNTOUCHED = ["ordinary", "options", "no_offer", "unknown_require", "unknown_dialog"]  # nothing is written down
OTHERS = [
    "update_partial", "two_lines", "pause_closed", "bye_refused", "cancel", "unacknowledged", "at_capacity", "held",
    "digest",
]  # fmt: skip
ENDED_BY_US_SECONDS = 60  # of an unacknowledged 200: 64 * T1 = 32 s, and its BYE


@pytest.fixture(scope="module")
def centre(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Centre]:
    """One site for the whole file; skips before it is made when there is no sipp."""
    sipp_path()
    with running_centre(tmp_path_factory.mktemp("site")) as running:
        yield running


@pytest.fixture(scope="module", autouse=True)
def unacknowledged(centre: Centre, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Ringing, SippRun]]:
    """Calls that wait for a BYE while all other tests run."""
    directory = tmp_path_factory.mktemp("unacknowledged")
    runs = []
    for transport in TRANSPORTS:
        ringing = centre.ivr.announce()
        runs.append(
            (ringing, centre.dial("unacknowledged", transport, directory, ringing, seconds=ENDED_BY_US_SECONDS))
        )
    return runs


def test_every_scenario_is_run() -> None:
    assert {path.stem for path in SCENARIOS.glob("*.xml")} == {*OPENED, *NEVER_OPENED, *UNTOUCHED, *OTHERS}


def kept_after_a_yes(centre: Centre, scenario: str, transport: str, directory: Path) -> list[Told]:
    """The caller agrees once the client has its closed answer; what the recorder told it, when the call is kept."""
    ringing = centre.ivr.announce()
    run = centre.dial(scenario, transport, directory, ringing)
    run.wait_for("ACK sip:")
    with speaking(ports_of_site(centre.site.demo.directory / "config.toml")):
        centre.ivr.press(ringing, YES)
        run.finish()
    assert centre.site.wait_outcome(ringing.call) == "kept"
    assert centre.site.rule(ringing.call) == "consent.all"
    shown = centre.site.door.get(f"/calls/{ringing.call}", **{"as": "coach"})
    assert [party["role"] for party in shown["parties"]] == ["caller", "agent"]
    return run.told()


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("scenario", OPENED)
def test_a_call_is_closed_until_the_caller_agrees_and_then_kept_on_fresh_ports(
    scenario: str, transport: str, centre: Centre, tmp_path: Path
) -> None:
    closed, opened = kept_after_a_yes(centre, scenario, transport, tmp_path)[:2]
    assert (closed.direction, opened.direction) == ("inactive", "recvonly")
    assert not closed.ports & opened.ports


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_who_joins_closes_the_call_and_when_they_leave_it_is_opened_on_fresh_ports_again(
    transport: str, centre: Centre, tmp_path: Path
) -> None:
    told = kept_after_a_yes(centre, "update_partial", transport, tmp_path)
    assert [one.direction for one in told] == ["inactive", "recvonly", "inactive", "recvonly"]
    assert not told[3].ports & (told[0].ports | told[1].ports | told[2].ports)


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
    before = centre.calls()
    centre.dial("two_lines", transport, tmp_path, unannounced(), unannounced()).finish()
    new = centre.wait_new(before, 2)
    assert len(new) == 2
    for call in new:
        assert centre.site.wait_outcome(call) == "not_kept"
        assert centre.site.rule(call) == "call.unmatched"


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("scenario", UNTOUCHED)
def test_what_asks_for_no_recording_leaves_nothing_behind(
    scenario: str, transport: str, centre: Centre, tmp_path: Path
) -> None:
    before = centre.calls()
    centre.dial(scenario, transport, tmp_path, unannounced(), unannounced(), unannounced()).finish()
    # A recorder tells of its calls in order: once this one is known, so is what was before it.
    ringing = centre.ivr.announce()
    centre.dial("two_lines", transport, tmp_path, ringing).finish()
    assert centre.wait_new(before, 1) == {ringing.call}


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
    # A call that was over before the keeper had named it is written down nowhere.
    for call in centre.calls() & {ringing.call for ringing in calls}:
        assert centre.site.wait_outcome(call) == "not_kept"


def test_a_full_recorder_names_the_time_to_come_again_and_ends_its_calls_when_it_stops(tmp_path: Path) -> None:
    with running_centre(tmp_path, max_calls=1) as full:
        ringing = full.ivr.announce()
        held = full.dial("held", "UDP", tmp_path, ringing)
        held.wait_for("ACK sip:")
        for transport in TRANSPORTS:
            full.dial("at_capacity", transport, tmp_path, full.ivr.announce()).finish()
        assert full.wait_new(set(), 1) == {ringing.call}
        assert full.site.stop() == 0
        held.finish()


def test_an_old_client_that_knows_md5_only_is_let_in_where_that_is_allowed_and_no_other(tmp_path: Path) -> None:
    ha1 = hashlib.md5(b"old-sbc:mitschnitt:opensesame", usedforsecurity=False).hexdigest()
    keys, users = ('digest_realm = "mitschnitt"', "digest_md5 = true"), f"old-sbc:mitschnitt:MD5:{ha1}\n"
    with running_centre(tmp_path, sip=keys, users=users) as guarded:
        for transport in TRANSPORTS:
            ringing = guarded.ivr.announce()
            guarded.ivr.press(ringing, NO)
            guarded.dial("digest", transport, tmp_path, ringing).finish()
            assert guarded.site.wait_outcome(ringing.call) == "not_kept"
        before = guarded.calls()
        stranger = guarded.dial("two_lines", "UDP", tmp_path, guarded.ivr.announce())
        assert stranger.wait_for_end() != 0
        assert "SIP/2.0 401 Unauthorized" in stranger.messages
        assert guarded.calls() == before
        assert "Traceback" not in guarded.site.log.read_text(encoding="utf-8")


def test_two_sessions_of_one_call_are_written_down_as_one(tmp_path: Path) -> None:
    with running_centre(tmp_path) as one:
        twice, later = one.ivr.announce(), one.ivr.announce()
        held = one.dial("held", "UDP", tmp_path, twice, twice)
        held.wait_for("ACK sip:", 2)
        # A recorder tells of its calls in order: once the later one is known, so is what was before it.
        one.dial("two_lines", "UDP", tmp_path, later).finish()
        assert one.wait_new(set(), 2) == {twice.call, later.call}
        assert one.site.stop() == 0
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
