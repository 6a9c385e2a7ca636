"""Habits of recording clients in the field, each as a scenario of sipp, with real RTP where it matters.

Stamped packets tell whose voice was kept, from when on, and that nothing of the rest is anywhere.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from journeys.ivr import YES, Ringing
from journeys.running import bound_udp_ports
from journeys.sipp_centre import Centre, running_centre
from journeys.sipp_run import SCENARIOS, WAIT_SECONDS, SippRun, sipp_path
from journeys.speaker import ports_told, speaking
from journeys.test_nothing_unconsented import Finds
from journeys.voices import Voices, heard
from mitschnitt.wire.g711 import Law

pytestmark = [pytest.mark.journey, pytest.mark.timeout(180)]

TRANSPORTS = ["UDP", "TCP"]
TALK_PACKETS = 75  # a second and a half: more than the hold, and than what an alarm waits for
LEAK_PACKETS = 120  # of two streams: above what the alarm waits for (recorder/branch.py)
GIVEN_UP_SECONDS = 90  # of an offer that is never answered: 64 * T1 = 32 s, and its BYE
FILES = {
    "glare", "gone_at_once", "in_the_field", "refused_opening", "repeated", "second_offer", "told_by_update",
    "unanswered",
}  # fmt: skip
# What a client does with its own call: each is an offer, with the direction that it asks for.
OFFERS = {"pause": "inactive", "resume": "sendonly"}  # hold and unhold: as it was
REST = 'meanwhile="nothing" contact="<<sip:192.0.2.99:9>;+sip.src>"'
RESUME = '<?part invite cseq="4"'
BYE = "<?part bye"
PAUSE_A_WHILE = '<pause milliseconds="1000"/>\n'
WALKS: list[tuple[str, ...]] = [
    (),
    ("hold", "unhold"),
    ("pause", "resume"),
    ("hold", "pause", "resume", "unhold"),
    ("pause", "hold", "unhold", "resume"),
]


@pytest.fixture(scope="module")
def centre(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Centre]:
    """One site for the whole file; skips before it is made when there is no sipp."""
    sipp_path()
    with running_centre(tmp_path_factory.mktemp("site")) as running:
        yield running


@pytest.fixture(scope="module", autouse=True)
def unanswered(centre: Centre, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Ringing, SippRun]]:
    """Calls whose client is silent when the recorder opens; they wait while all other tests run."""
    directory = tmp_path_factory.mktemp("unanswered")
    runs = []
    for transport in TRANSPORTS:
        ringing = centre.ivr.announce()
        run = centre.dial("habits/unanswered", transport, directory, ringing, seconds=GIVEN_UP_SECONDS)
        run.wait_for("ACK sip:")
        centre.ivr.press(ringing, YES)
        runs.append((ringing, run))
    return runs


def test_every_habit_is_run() -> None:
    assert {path.stem for path in (SCENARIOS / "habits").glob("*.xml")} == FILES


def agreed(centre: Centre, run: SippRun, ringing: Ringing, *, offers: int = 0) -> None:
    """The caller agrees after the closed answer and so many more offers of the client."""
    run.wait_for(f"CSeq: {2 + offers} ACK")
    centre.ivr.press(ringing, YES)


# -- what it writes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("labels", ["01", "10"])
def test_row_16_voices_go_by_label_though_they_share_an_ssrc_come_in_any_order_and_names_are_not_escaped(
    labels: str, transport: str, centre: Centre, tmp_path: Path
) -> None:
    ringing = centre.ivr.announce()
    with Voices(same_ssrc=True, law=Law.PCMU) as voices:
        given = {**voices.given, "label0": labels[0], "label1": labels[1], "payload": "0", "codec": "PCMU"}
        run = centre.dial("habits/in_the_field", transport, tmp_path, ringing, given={**given, "talk": "4000"})
        agreed(centre, run, ringing)
        run.wait_for("ACK sip:", 2)  # ours, too: the malformed Contact has moved nothing
        opened = run.told()[1]
        voices.aim(opened.in_order)
        voices.speak(TALK_PACKETS)
        run.finish()
    assert centre.site.wait_outcome(ringing.call) == "kept"
    roles = {"0": "caller", "1": "agent"}
    found = heard(centre.site, ringing.call)
    assert {role: set(streams) for role, streams in found.items()} == {
        roles[label]: {stream.setup.stream} for label, stream in zip(labels, voices.streams, strict=True)
    }
    for streams in found.values():
        for counters in streams.values():
            assert set(range(TALK_PACKETS)) <= counters, "a voice has a gap"


# -- when it writes ------------------------------------------------------------------------------------


def offered(number: int, direction: str, answer: str) -> str:
    """The client's offer in the middle of a call, and the whole answer that it must get."""
    offer = f'<?part invite cseq="{number}" to="[peer_tag_param]" direction="{direction}"?>'
    if answer == "closed":
        return f'{offer}<?part closed_answer cseq="{number}"?>'
    return f'{offer}<?part answered cseq="{number}" address="%here%" direction="{answer}"?>'


def walk(before: Sequence[str], after: Sequence[str], *, ours: str = "sendonly") -> str:
    """A scenario: the client's own offers before and after the recorder's opening, each with its one right answer."""
    steps = ['<?part invite cseq="2" to="" direction="sendonly"?><?part closed_answer cseq="2"?>']
    steps += [offered(number, direction, "closed") for number, direction in enumerate(directions(before), 3)]
    steps.append(f'<?part reinvited address="%here%" direction="recvonly" ours="{ours}" {REST}?>')
    first = 3 + len(before)
    for number, direction in enumerate(directions(after), first):
        steps.append(offered(number, direction, "inactive" if direction == "inactive" else "recvonly"))
    steps.append(f'<?part bye cseq="{first + len(after)}"?><Reference variables="1"/>')
    return "\n".join(['<?xml version="1.0" encoding="UTF-8"?>', '<scenario name="walk">', *steps, "</scenario>", ""])


def directions(offers: Sequence[str]) -> list[str]:
    """What each offer asks for: a paused client stays paused, whoever is put on hold, until it resumes."""
    found: list[str] = []
    for what in offers:
        was = found[-1] if found else "sendonly"
        found.append(OFFERS.get(what, was))
    return found


@pytest.mark.parametrize("before", WALKS, ids=lambda offers: "-".join(offers) or "nothing")
def test_a_client_holds_and_pauses_before_and_after_the_opening_as_it_likes(
    before: Sequence[str], centre: Centre, tmp_path: Path
) -> None:
    runs = []
    for place, after in enumerate(WALKS):
        ringing = centre.ivr.announce()
        transport = TRANSPORTS[place % 2]
        run = centre.dial(f"walk{place}", transport, tmp_path, ringing, seconds=60, text=walk(before, after))
        runs.append((after, ringing, run))
    with speaking(ports_told(*(run for _, _, run in runs))):
        for _, ringing, run in runs:
            agreed(centre, run, ringing, offers=len(before))
        for _, _, run in runs:
            run.finish()
    for after, ringing, run in runs:
        told = run.told()
        closed, opened = told[: 1 + len(before)], told[1 + len(before) :]
        assert len(opened) == 1 + len(after)
        assert {one.direction for one in closed} == {"inactive"}
        assert {one.in_order for one in opened} == {opened[0].in_order}, "ports moved though nothing was closed"
        assert not opened[0].ports & {port for one in closed for port in one.ports}
        assert centre.site.wait_outcome(ringing.call) == "kept"


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_row_11_who_has_paused_before_the_opening_is_heard_from_the_resume_on(
    transport: str, centre: Centre, tmp_path: Path
) -> None:
    ringing = centre.ivr.announce()
    text = walk(["pause"], ["resume"], ours="inactive").replace(RESUME, PAUSE_A_WHILE + RESUME)
    text = text.replace(BYE, PAUSE_A_WHILE * 4 + BYE)
    with Voices() as voices:
        run = centre.dial("resumed", transport, tmp_path, ringing, given=voices.given, text=text)
        agreed(centre, run, ringing, offers=1)
        run.wait_for("a=recvonly", 2)  # ours was answered inactive; its resume is answered so
        voices.aim(run.told()[-1].in_order)
        voices.speak(TALK_PACKETS)
        run.finish()
    assert centre.site.wait_outcome(ringing.call) == "kept"
    kept = heard(centre.site, ringing.call)
    assert {role: list(streams) for role, streams in kept.items()} == {
        "caller": [voices.streams[0].setup.stream],
        "agent": [voices.streams[1].setup.stream],
    }


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_second_offer_before_the_acknowledgement_of_the_first_is_answered(
    transport: str, centre: Centre, tmp_path: Path
) -> None:
    ringing = centre.ivr.announce()
    run = centre.dial("habits/second_offer", transport, tmp_path, ringing)
    with speaking(ports_told(run)):
        agreed(centre, run, ringing)
        run.finish()
    assert centre.site.wait_outcome(ringing.call) == "kept"
    assert [one.direction for one in run.told()] == ["inactive", "recvonly", "inactive", "recvonly"]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_row_39_when_both_offer_at_once_the_recorder_comes_again_and_opens(
    transport: str, centre: Centre, tmp_path: Path
) -> None:
    ringing = centre.ivr.announce()
    run = centre.dial("habits/glare", transport, tmp_path, ringing)
    with speaking(ports_told(run)):
        agreed(centre, run, ringing)
        run.finish()
    assert centre.site.wait_outcome(ringing.call) == "kept"


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_updates_without_a_body_and_with_all_metadata_again_change_nothing(
    transport: str, centre: Centre, tmp_path: Path
) -> None:
    ringing = centre.ivr.announce()
    run = centre.dial("habits/told_by_update", transport, tmp_path, ringing)
    run.wait_for("CSeq: 3 UPDATE", 2)
    with speaking(ports_told(run)):
        centre.ivr.press(ringing, YES)
        run.finish()
    assert centre.site.wait_outcome(ringing.call) == "kept"
    assert [one.direction for one in run.told()] == ["inactive", "recvonly"]


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("scenario", ["repeated", "gone_at_once"])
def test_a_call_that_comes_twice_or_is_over_before_its_200_is_one_call_and_not_kept(
    scenario: str, transport: str, centre: Centre, tmp_path: Path
) -> None:
    ringing = centre.ivr.announce()
    before = centre.calls()
    # Over TCP nothing is waited for that comes twice (RFC 3261, timer J): its dialog is over. Without -nr, sipp would
    # answer the second 200 with a third BYE, and so on.
    given = {"again": "200" if transport == "UDP" else "481"}
    centre.dial(f"habits/{scenario}", transport, tmp_path, ringing, given=given, options=["-nr"]).finish()
    after = centre.ivr.announce()
    centre.dial("two_lines", transport, tmp_path, after).finish()  # a recorder tells of its calls in order
    assert centre.site.wait_outcome(after.call) == "not_kept"
    new = centre.calls() - before
    assert new <= {ringing.call, after.call}, "one session was taken for two"
    if ringing.call in new:
        assert centre.site.wait_outcome(ringing.call) == "not_kept"


# -- what it does not do -------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("refusal", ["488 Not Acceptable Here", "500 Server Internal Error"])
def test_an_opening_that_the_client_refuses_lets_no_voice_in(
    refusal: str, transport: str, centre: Centre, tmp_path: Path
) -> None:
    ringing = centre.ivr.announce()
    with Voices() as voices:
        given = {**voices.given, "refusal": refusal}
        run = centre.dial("habits/refused_opening", transport, tmp_path, ringing, given=given)
        agreed(centre, run, ringing)
        run.wait_for("a=recvonly")
        voices.aim(run.told()[0].in_order)  # the closed answer's, which stands
        run.finish()
        assert all(voices.counters())
    assert centre.site.wait_outcome(ringing.call) == "not_kept"
    assert centre.site.rule(ringing.call) == "client.refused"


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.skipif(os.geteuid() != 0, reason="reading the memory of an undumpable process needs root")
def test_row_12_media_to_a_closed_answer_raises_the_alarm_and_is_nowhere_and_after_the_yes_only_new_ports_count(
    transport: str, centre: Centre, tmp_path: Path
) -> None:
    ringing, finds = centre.ivr.announce(), Finds()
    with Voices() as voices:
        text = walk([], []).replace(BYE, PAUSE_A_WHILE * 6 + BYE)
        alarms = leak_alarms(centre)
        run = centre.dial("leaks", transport, tmp_path, ringing, given=voices.given, text=text)
        run.wait_for("ACK sip:")
        closed = run.told()[0]
        assert closed.ports <= bound_udp_ports(), "nobody would count what comes"
        voices.aim(closed.in_order)
        voices.speak(LEAK_PACKETS)
        finds.look(centre.site, centre.site.demo.directory)
        voices.aim(closed.in_order)
        wait_for_alarm(centre, alarms)
        centre.ivr.press(ringing, YES)
        run.wait_for("ACK sip:", 2)
        voices.speak(TALK_PACKETS)  # still to the old ports, which are nobody's now
        between = voices.counters()
        voices.aim(run.told()[1].in_order)
        voices.speak(TALK_PACKETS)
        run.finish()
    assert {stream.setup.stream for stream in voices.streams} & set(finds.in_memory) == set()
    assert finds.in_files == []
    assert centre.site.wait_outcome(ringing.call) == "kept"
    found = heard(centre.site, ringing.call)
    for role, stream, first in zip(("caller", "agent"), voices.streams, between, strict=True):
        counters = found[role][stream.setup.stream]
        assert min(counters) >= first, "what went to a closed port was kept"
        assert len(counters) > TALK_PACKETS // 2


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_client_that_restarts_its_media_on_its_next_offer_is_still_closed_and_raises_the_alarm(
    transport: str, centre: Centre, tmp_path: Path
) -> None:
    ringing = centre.ivr.announce()
    text = walk_closed("hold").replace(BYE, PAUSE_A_WHILE * 4 + BYE)
    with Voices() as voices:
        alarms = leak_alarms(centre)
        run = centre.dial("restarts", transport, tmp_path, ringing, given=voices.given, text=text)
        run.wait_for("CSeq: 3 ACK")
        voices.aim(run.told()[1].in_order)
        voices.speak(LEAK_PACKETS)
        wait_for_alarm(centre, alarms)
        run.finish()
    assert {one.direction for one in run.told()} == {"inactive"}
    assert centre.site.wait_outcome(ringing.call) == "not_kept"


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_client_that_ignores_the_pause_is_not_heard_until_its_ports_are_opened_anew(
    transport: str, centre: Centre, tmp_path: Path
) -> None:
    ringing = centre.ivr.announce()
    text = joined_and_left()
    with Voices() as voices:
        run = centre.dial("ignores", transport, tmp_path, ringing, given=voices.given, text=text)
        agreed(centre, run, ringing)
        run.wait_for("ACK sip:127", 1)
        voices.aim(run.told()[1].in_order)
        run.wait_for("CSeq: 2 ACK", 2)  # ours, of the closed form
        shut = voices.counters()
        run.wait_for("CSeq: 3 ACK")
        voices.aim(run.told()[3].in_order)
        again = voices.counters()
        run.finish()
    assert [one.direction for one in run.told()] == ["inactive", "recvonly", "inactive", "recvonly"]
    assert centre.site.wait_outcome(ringing.call) == "kept"
    found = heard(centre.site, ringing.call)
    for role, stream, first, last in zip(("caller", "agent"), voices.streams, shut, again, strict=True):
        counters = found[role][stream.setup.stream]
        assert any(counter < first for counter in counters)
        assert any(counter >= last for counter in counters)
        assert last > first + TALK_PACKETS // 2, "it did not go on while it should have been silent"
        assert not any(first <= counter < last for counter in counters), "what came while it was shut was kept"


def walk_closed(*offers: str) -> str:
    """A scenario: the client's own offers while nobody agrees."""
    steps = ['<?part invite cseq="2" to="" direction="sendonly"?><?part closed_answer cseq="2"?>']
    steps += [offered(number, direction, "closed") for number, direction in enumerate(directions(offers), 3)]
    steps.append(f'<?part bye cseq="{3 + len(offers)}"?><Reference variables="1"/>')
    return "\n".join(['<?xml version="1.0" encoding="UTF-8"?>', '<scenario name="closed">', *steps, "</scenario>", ""])


def joined_and_left() -> str:
    """A scenario: once opened, a third party joins, whom nobody has asked, and leaves again two seconds later."""
    left = "<disassociate-time>2026-11-23T17:01:00Z</disassociate-time>"
    ok = '<recv response="200"/>'
    steps = [
        '<?part invite cseq="2" to="" direction="sendonly"?><?part closed_answer cseq="2"?>',
        '<?part opened meanwhile="nothing"?>',
        PAUSE_A_WHILE * 3,
        f'<?part update cseq="3" more=""?>{ok}<?part closed meanwhile="nothing"?>',
        PAUSE_A_WHILE * 2,
        f'<?part update cseq="4" more="{left}"?>{ok}<?part opened meanwhile="nothing"?>',
        PAUSE_A_WHILE * 3,
        '<?part bye cseq="5"?><Reference variables="1"/>',
    ]
    return "\n".join(['<?xml version="1.0" encoding="UTF-8"?>', '<scenario name="ignores">', *steps, "</scenario>", ""])


def leak_alarms(centre: Centre) -> int:
    """How often the alarm was raised so far."""
    return centre.site.log.read_text(encoding="utf-8").count('"event": "leak"')


def wait_for_alarm(centre: Centre, before: int) -> None:
    """Until it was raised once more."""
    deadline = time.monotonic() + WAIT_SECONDS
    while leak_alarms(centre) <= before:
        assert time.monotonic() < deadline, "no alarm was raised"
        time.sleep(0.05)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_media_that_goes_on_after_a_refused_bye_meets_closed_ports_and_nothing_is_kept(
    transport: str, centre: Centre, tmp_path: Path
) -> None:
    ringing = centre.ivr.announce()
    with Voices() as voices:
        run = centre.dial("bye_refused", transport, tmp_path, ringing, given=voices.given)
        agreed(centre, run, ringing)
        run.wait_for("ACK sip:", 2)
        voices.aim(run.told()[1].in_order)
        voices.speak(TALK_PACKETS)
        centre.ivr.withdraw(ringing)
        run.wait_for("SIP/2.0 405")
        assert centre.site.wait_outcome(ringing.call) == "not_kept"
        voices.speak(TALK_PACKETS)
        assert not any(told.ports & bound_udp_ports() for told in run.told())
        run.finish()
    assert centre.site.rule(ringing.call) == "consent.withdrawn"


def test_an_offer_that_is_never_answered_ends_the_call_and_closes_its_ports(
    centre: Centre, unanswered: list[tuple[Ringing, SippRun]]
) -> None:
    for ringing, run in unanswered:
        run.finish(GIVEN_UP_SECONDS)
        assert centre.site.wait_outcome(ringing.call) in ("kept", "not_kept")  # others spoke to its open ports, too
        assert not any(told.ports & bound_udp_ports() for told in run.told())


def test_none_of_it_was_an_error(centre: Centre) -> None:
    log = centre.site.log.read_text(encoding="utf-8")
    assert '"level": "error"' not in log
    assert "Traceback" not in log
    assert log.count('"event": "ready"') == 1, "the recorder was started again"
