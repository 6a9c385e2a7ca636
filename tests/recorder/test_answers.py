"""What the recorder answers when (reference 3.3): a reason to go elsewhere, or the closed form, never a no.

SIP is real on both sides (`recorder_wire`); keeper and time are played.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from mitschnitt.core.gate import State
from mitschnitt.wire.sip.config import AgentConfig
from mitschnitt.wire.siprec_xml import METADATA_TYPE, build_metadata
from recorder_stage import (
    CALL,
    CLARA,
    act,
    asked,
    branch_of,
    decision,
    is_closed,
    joined,
    metadata,
    offer,
    state_of,
)
from recorder_wire import AT, Wire, body, wired
from sip_pair import Pair

KEPT = ("arrived", "track", "track", "sealed", "sealed", "closed")


async def keeping(wire: Wire) -> str:
    """A call in which everybody agreed; the client's dialog."""
    wire.stage.link.answers = lambda: joined(asked=[asked()])
    dialog = wire.invite()
    await wire.answered()
    wire.stage.seconds = 6.0
    wire.calls.fact_posted("act", {"call": CALL, **act("1", 5.5)})
    wire.flush()
    assert state_of(wire.session) is State.KEEPING
    return dialog


@pytest.mark.parametrize("change", [(b"RTP/AVP", b"RTP/SAVP"), (b"m=audio", b"m=video"), (b"8 101", b"96 101")])
def test_an_offer_of_which_nothing_could_be_recorded_is_not_acceptable(
    tmp_path: Path, change: tuple[bytes, bytes]
) -> None:
    async def scene(wire: Wire) -> None:
        wire.invite(body(offer("1", "2").replace(*change).replace(b"a=rtpmap:8 PCMA/8000\r\n", b"")))
        assert wire.pair.last_response(488).status == 488
        assert wire.clean

    wired(tmp_path, scene)


@pytest.mark.parametrize("status", [405, 488])
def test_a_client_that_refuses_to_be_opened_is_shut_and_nothing_is_kept_by_its_rule(
    tmp_path: Path, status: int
) -> None:
    async def scene(wire: Wire) -> None:
        wire.stage.link.answers = lambda: joined(asked=[asked()])
        dialog = wire.invite()
        await wire.answered()
        wire.answers = [status]
        wire.stage.seconds = 6.0
        wire.calls.fact_posted("act", {"call": CALL, **act("1", 5.5)})
        wire.flush()
        assert state_of(wire.session) is State.FAILED
        assert [leg.kept for leg in branch_of(wire.session).legs] == [False, False]
        assert is_closed(wire.told[-1])
        wire.bye(dialog)
        await wire.until(lambda: wire.clean)
        told = decision((await wire.stage.journalled(*KEPT))[-1])
        assert (told["outcome"], told["rule"]) == ("not_kept", "client.refused")

    wired(tmp_path, scene)


def test_a_call_without_a_single_packet_is_not_kept(tmp_path: Path) -> None:
    async def scene(wire: Wire) -> None:
        wire.bye(await keeping(wire))
        await wire.until(lambda: wire.clean)
        told = decision((await wire.stage.journalled(*KEPT))[-1])
        assert (told["outcome"], told["rule"]) == ("not_kept", "call.empty")

    wired(tmp_path, scene)


def test_an_update_that_shuts_is_answered_before_our_own_offer_goes_out(tmp_path: Path) -> None:
    async def scene(wire: Wire) -> None:
        dialog = await keeping(wire)
        before = len(wire.pair.log)
        wire.update(dialog, (METADATA_TYPE, build_metadata(metadata(("1", CLARA)), at=AT)))
        log = wire.pair.log[before:]
        assert log.index("< 200 UPDATE") < log.index("< INVITE")
        assert state_of(wire.session) is State.PAUSED
        assert is_closed(wire.told[-1])

    wired(tmp_path, scene)


def test_a_recorder_without_siprec_says_so(tmp_path: Path) -> None:
    async def scene(wire: Wire) -> None:
        wire.pair = Pair(server=AgentConfig(understood=frozenset()))
        wire.invite()
        assert wire.pair.last_response(420).headers.get("Unsupported") == "siprec"
        assert wire.clean

    wired(tmp_path, scene)


def test_a_body_of_an_unknown_type_is_told_which_types_are_read(tmp_path: Path) -> None:
    async def scene(wire: Wire) -> None:
        wire.invite(("application/isup", b"x"))
        accepted = wire.pair.last_response(415).headers.get("Accept") or ""
        assert {"application/sdp", METADATA_TYPE} <= set(accepted.split(", "))
        assert wire.clean

    wired(tmp_path, scene)


@pytest.mark.parametrize("told", [b"<recording", b"<other/>", b"", None])
def test_metadata_that_is_missing_or_cannot_be_read_is_answered_200_and_stays_closed(
    tmp_path: Path, told: bytes | None
) -> None:
    async def scene(wire: Wire) -> None:
        wire.stage.link.answers = lambda: joined(asked=[asked()], acts=[act("1", 5.5)])
        wire.stage.seconds = 6.0
        wire.invite(body(offer("1", "2"), told))
        await wire.answered()
        assert is_closed(wire.told[-1])
        assert wire.session.facts.unbound == "binding.missing"

    wired(tmp_path, scene)


def test_a_call_that_is_not_to_be_recorded_gets_the_closed_form_and_never_a_no(tmp_path: Path) -> None:
    async def scene(wire: Wire) -> None:
        wire.stage.link.answers = lambda: {"call": None, "rule": "call.unmatched"}
        wire.invite()
        await wire.answered()
        assert state_of(wire.session) is State.NOT_ASKED
        assert is_closed(wire.told[-1])
        assert [line for line in wire.pair.log if line.startswith("< ") and line[2] in "3456"] == []

    wired(tmp_path, scene)
