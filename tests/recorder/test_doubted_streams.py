"""What a stream itself says against its binding, from the packet to the client's next description.

Rows 35, 36 and 38 of the SIPREC checklist with SIP, media plane and RTCP real; keeper and time are played.
"""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from mitschnitt.core.gate import State
from mitschnitt.recorder.media import Line
from mitschnitt.wire.siprec_xml import METADATA_TYPE, build_metadata
from recorder_stage import (
    CALL,
    TWO,
    TWO_ANEW,
    act,
    asked,
    branch_of,
    is_closed,
    is_open,
    joined,
    offer,
    ports_of,
    state_of,
)
from recorder_wire import AT, Wire, body, wired
from rtcp_client import Client, says_who


def moved_to(*clients: Client, version: int = 2) -> bytes:
    """A client's offer from where these really are."""
    text = offer(*(str(number) for number in range(1, len(clients) + 1)), version=version)
    for number, client in enumerate(clients):
        text = text.replace(b"m=audio %d " % (40_000 + 2 * number), b"m=audio %d " % client.port)
    return text


async def keeping(wire: Wire, *clients: Client) -> str:
    """A call in which everybody agreed; its dialog."""
    for name in ("doubt", "named", "loss"):
        setattr(wire.stage.media, f"_on_{name}", getattr(wire.calls, f"on_{name}"))
        setattr(wire.stage.media.rtcp, f"_on_{name}", getattr(wire.calls, f"on_{name}"))
    wire.stage.link.answers = lambda: joined(asked=[asked()])
    dialog = wire.invite(body(moved_to(*clients)))
    await wire.answered()
    wire.stage.seconds = 6.0
    wire.calls.fact_posted("act", {"call": CALL, **act("1", 5.5)})
    wire.flush()
    assert state_of(wire.session) is State.KEEPING
    return dialog


def lines_of(wire: Wire) -> list[Line]:
    """The lines of the only call."""
    return [leg.line for leg in branch_of(wire.session).legs if leg.line is not None]


def test_row_36_a_mixed_stream_is_inseparable_and_shuts_its_call_until_metadata_says_otherwise(tmp_path: Path) -> None:
    async def scene(wire: Wire) -> None:
        clara, mixer = Client(0x51), Client(0x52)
        dialog = await keeping(wire, clara, mixer)
        clara.says(ports_of(wire.session)[0], 3, csrc=(7,))
        wire.stage.tick(8)
        mixer.says(ports_of(wire.session)[1], 3, csrc=(7, 8), mark=b"INSEPARABLE")
        wire.stage.tick()
        wire.flush()
        assert (state_of(wire.session), wire.session.decision.rule) == (State.PAUSED, "binding.mixed")
        assert is_closed(wire.told[-1])
        assert not wire.stage.holds(b"INSEPARABLE")
        assert wire.calls.counts["doubted_streams"] == 1
        wire.reinvite(dialog, body(moved_to(clara, mixer, version=3), None))
        assert state_of(wire.session) is State.PAUSED  # an offer alone names nobody
        wire.reinvite(dialog, body(moved_to(clara, mixer, version=4), TWO))
        assert state_of(wire.session) is State.PAUSED  # nor does what was told before
        wire.reinvite(dialog, body(moved_to(clara, mixer, version=5), TWO_ANEW))
        assert state_of(wire.session) is State.KEEPING
        assert is_open(wire.told[-1])
        wire.bye(dialog)
        await wire.until(lambda: wire.clean)

    wired(tmp_path, scene)


def test_row_35_a_source_that_changes_its_name_is_told_the_closed_form(tmp_path: Path) -> None:
    async def scene(wire: Wire) -> None:
        clara, jens = Client(0x51), Client(0x51)
        dialog = await keeping(wire, clara, jens)
        ports = ports_of(wire.session)
        for client, port in ((clara, ports[0]), (jens, ports[1])):
            client.says(port, 3)
            client.tells(port, says_who(0x51, b"client"))
        wire.stage.tick(8)
        assert [leg.cname for leg in branch_of(wire.session).legs] == [True, True]
        jens.ssrc = 0x52
        jens.says(ports[1], 3)
        jens.tells(ports[1], says_who(0x52, b"another client"))
        wire.stage.tick(8)
        wire.flush()
        assert (state_of(wire.session), wire.session.decision.rule) == (State.PAUSED, "binding.cname")
        assert [leg.cname for leg in branch_of(wire.session).legs] == [True, False]
        assert is_closed(wire.told[-1])
        assert wire.stage.media.rtcp.sockets == 0
        wire.update(dialog, (METADATA_TYPE, build_metadata(TWO, at=AT)))
        assert state_of(wire.session) is State.PAUSED
        wire.update(dialog, (METADATA_TYPE, build_metadata(TWO_ANEW, at=AT)))
        assert state_of(wire.session) is State.KEEPING
        wire.bye(dialog)
        await wire.until(lambda: wire.clean)

    wired(tmp_path, scene)


def test_row_38_much_loss_is_one_word_in_the_log_for_each_call_and_names_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scene(wire: Wire) -> None:
        clients = Client(0x51), Client(0x52)
        dialog = await keeping(wire, *clients)
        for _ in range(100):
            for client, port in zip(clients, ports_of(wire.session), strict=True):
                client.says(port, 9)
                client.loses()
            wire.stage.tick()
        assert [wire.stage.media.loss(line).lost for line in lines_of(wire)] == [99, 99]
        wire.bye(dialog)
        await wire.until(lambda: wire.clean)
        assert wire.calls.counts["lossy_lines"] == 2
        assert wire.stage.media.counts.lost == 198

    with caplog.at_level(logging.WARNING):
        wired(tmp_path, scene)
    told = [record for record in caplog.records if "loses" in record.getMessage()]
    assert [record.getMessage() for record in told] == ["a call loses packets on their way here; percent"]
    assert vars(told[0])["count"] == 10
    assert CALL not in caplog.text


def test_what_is_said_of_a_line_that_nobody_owns_any_more_changes_nothing(tmp_path: Path) -> None:
    async def scene(wire: Wire) -> None:
        clients = Client(0x51), Client(0x52)
        dialog = await keeping(wire, *clients)
        lines, session = lines_of(wire), wire.session
        for client, port in zip(clients, ports_of(session), strict=True):
            client.says(port, 3)
        wire.stage.tick()
        wire.bye(dialog)
        await wire.until(lambda: wire.clean)
        wire.stage.services.owners.clear()
        wire.calls.on_doubt(lines[0], "binding.mixed", 0)
        wire.calls.on_named(lines[0])
        wire.calls.on_loss(lines[0], wire.stage.media.loss(lines[0]))
        assert session.state is State.ENDED
        assert session.decision.rule == "consent.all"

    wired(tmp_path, scene)
