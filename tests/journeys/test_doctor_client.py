"""`mitschnitt doctor --client` against a whole site: our own client makes a test call with one flaw at a time."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from journeys.flawed_client import ALLOW, STEP_SECONDS, Flaw, FlawedClient, replacing
from journeys.ivr import NO, YES, Ivr, Ringing
from journeys.running import Site, running_site
from mitschnitt.gateways import cast

pytestmark = [pytest.mark.journey, pytest.mark.timeout(120)]

TESTER = cast.caller(0).aor
Course = Callable[["Trial", FlawedClient, Ringing], Awaitable[None]]


@dataclass
class Trial:
    """A site, and whoever speaks to its callers."""

    site: Site
    ivr: Ivr

    async def doctor(self, client: FlawedClient, course: Course, *more: str) -> tuple[int, list[dict[str, Any]], str]:
        """Runs the command, and the call once it waits: (exit code, rows, what it said while it waited)."""
        port = await client.open()
        arguments = ["doctor", "--dir", str(self.site.demo.directory), "--client", f"127.0.0.1:{port}", "--json"]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "mitschnitt", *arguments, "--wait", "30", *more),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            said = (await asyncio.wait_for(process.stderr.readline(), 3 * STEP_SECONDS)).decode()
            assert "waiting" in said, said
            ringing = await asyncio.to_thread(self.ivr.announce, answer_by=client.flaw.answers_by)
            await client.dial(ringing.session)
            await course(self, client, ringing)
            told, _ = await asyncio.wait_for(process.communicate(), 3 * STEP_SECONDS)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
            await client.close()
        assert process.returncode is not None
        return process.returncode, json.loads(told), said


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    """One site for the whole file."""
    with running_site(tmp_path_factory.mktemp("site")) as site:
        yield Trial(site, Ivr(site))


async def hangs_up(_trial: Trial, client: FlawedClient, _ringing: Ringing) -> None:
    """Nobody answers the question."""
    await client.speak()
    await client.hang_up()


async def agrees(trial: Trial, client: FlawedClient, ringing: Ringing) -> None:
    """The tester agrees, speaks, and hangs up."""
    await asyncio.to_thread(trial.ivr.press, ringing, YES)
    await asyncio.wait_for(client.opened.wait(), STEP_SECONDS)
    await client.speak()
    await client.hang_up()


async def withdraws(trial: Trial, client: FlawedClient, ringing: Ringing) -> None:
    """The tester agrees and takes it back; whoever refuses our BYE hangs up later."""
    await asyncio.to_thread(trial.ivr.press, ringing, YES)
    await asyncio.wait_for(client.opened.wait(), STEP_SECONDS)
    await asyncio.to_thread(trial.ivr.withdraw, ringing)
    await asyncio.sleep(0)


def codes(rows: list[dict[str, Any]], about: str = "call") -> list[str]:
    return [row["code"] for row in rows if row["about"] == about]


PLAIN = replacing(b"a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\n", b"a=rtpmap:101 CN/8000\r\n")
OLD = replacing(b"urn:ietf:params:xml:ns:recording:1", b"urn:ietf:params:xml:ns:recording")
FLAWS: dict[str, tuple[Flaw, Course, list[str]]] = {
    "none": (Flaw(), agrees, ["trial.good"]),
    "no siprec": (Flaw(headers=()), hangs_up, ["require.missing", "contact.feature.missing"]),
    "metadata of a draft": (Flaw(metadata=OLD), hangs_up, ["dialect.namespace"]),
    "a label twice": (Flaw(sdp=replacing(b"a=label:2", b"a=label:1")), hangs_up, ["labels.doubled"]),
    "a label that is unknown": (Flaw(sdp=replacing(b"a=label:2", b"a=label:9")), hangs_up, ["labels.unknown"]),
    "a mixed stream": (
        Flaw(metadata=replacing(b"<send>stream-2</send>", b"<send>stream-1</send>")),
        hangs_up,
        ["labels.unknown", "stream.mixed"],
    ),
    "nobody is an agent": (Flaw(agent=cast.THIRD), hangs_up, ["agents.none"]),
    "no telephone-event": (Flaw(sdp=PLAIN), hangs_up, ["events.missing"]),
    "SRTP": (Flaw(sdp=replacing(b"RTP/AVP", b"RTP/SAVP")), hangs_up, ["invite.refused", "srtp.offered"]),
    "its clock": (Flaw(clock=timedelta(seconds=90)), hangs_up, ["time.ahead"]),
    "re-INVITE refused": (Flaw(offer_status=488), agrees, ["refused"]),
    "BYE refused": (Flaw(allow=tuple(m for m in ALLOW if m != "BYE")), withdraws, ["refused"]),
    "no media": (Flaw(sends=False), agrees, ["rtp.missing"]),
    "media although closed": (Flaw(leaks=True), hangs_up, ["rtp.leak"]),
    "keys are not forwarded": (Flaw(answers_by="digit"), hangs_up, ["events.silent"]),
}


@pytest.mark.parametrize("name", FLAWS)
def test_a_flaw_of_the_testers_own_call_is_said_in_words(trial: Trial, name: str) -> None:
    flaw, course, expected = FLAWS[name]
    code, rows, said = asyncio.run(
        trial.doctor(FlawedClient(flaw, trial.site.demo.sip_port), course, "--caller", TESTER)
    )
    found = codes(rows)
    assert [one for one in found if one in expected or one not in ("labels.unknown", "rtp.missing")] == expected
    assert "with your own telephone" in said
    wrong = any(row["severity"] == "wrong" for row in rows)
    assert code == (1 if wrong else 0)
    assert cast.caller(0).name not in json.dumps(rows) + said
    assert "+4930" not in json.dumps(rows) + said


def test_what_it_announces_is_explained_before(trial: Trial) -> None:
    client = FlawedClient(Flaw(allow=tuple(m for m in ALLOW if m != "UPDATE")), trial.site.demo.sip_port)
    _, rows, _ = asyncio.run(trial.doctor(client, hangs_up, "--caller", TESTER))
    announced = codes(rows, "options")
    assert announced[:2] == ["options.answered", "options.product"]
    assert "allow.update.missing" in announced


async def refuses(trial: Trial, client: FlawedClient, ringing: Ringing) -> None:
    """The caller says no."""
    await asyncio.to_thread(trial.ivr.press, ringing, NO)
    await client.hang_up()


@pytest.mark.parametrize("course", [hangs_up, agrees, refuses, withdraws], ids=lambda course: course.__name__)
def test_of_anybody_elses_call_the_same_is_told_whatever_became_of_it(trial: Trial, course: Course) -> None:
    """Media although closed, and none when open, would tell whether it was opened: so neither is told."""
    client = FlawedClient(Flaw(leaks=True, sends=False, clock=timedelta(seconds=90)), trial.site.demo.sip_port)
    code, rows, _ = asyncio.run(trial.doctor(client, course))
    assert (code, codes(rows)) == (1, ["time.ahead", "trial.anonymous"])


def test_a_call_without_metadata_is_nobodys_and_says_so(trial: Trial) -> None:
    client = FlawedClient(Flaw(has_metadata=False), trial.site.demo.sip_port)
    code, rows, _ = asyncio.run(trial.doctor(client, hangs_up, "--caller", TESTER))
    assert code == 1
    assert codes(rows) == ["metadata.missing"]


def test_the_ladder_of_a_kept_call_is_shown_and_of_another_it_is_not(trial: Trial) -> None:
    async def both() -> list[str]:
        calls = []
        for course in (agrees, refuses):
            client = FlawedClient(Flaw(), trial.site.demo.sip_port)
            await client.open()
            ringing = await asyncio.to_thread(trial.ivr.announce)
            await client.dial(ringing.session)
            await course(trial, client, ringing)
            await client.close()
            calls.append(ringing.call)
        return calls

    first, second = asyncio.run(both())
    assert trial.site.wait_outcome(first) == "kept"
    assert trial.site.wait_outcome(second) == "not_kept"
    (ladder,) = trial.site.door.get(f"/calls/{first}", **{"as": "operator"})["ladders"]
    messages = [(rung["way"], rung["message"], rung["sdp"]) for rung in ladder["rungs"]]
    assert messages[0] == ("in", "INVITE", "sendonly")
    assert ("out", "200", "closed") in messages
    assert ("out", "INVITE", "recvonly") in messages
    assert messages[-1] == ("out", "200", "")
    assert "ladders" not in trial.site.door.get(f"/calls/{first}", **{"as": "coach"})
    for role in ("operator", "officer", "coach", "council"):
        assert trial.site.door.get(f"/calls/{second}", **{"as": role}) == {"call": second, "state": "not_kept"}
