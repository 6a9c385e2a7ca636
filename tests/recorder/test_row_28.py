"""Row 28 of the SIPREC checklist: no entities, no DTD, and 413 above the size cap, before anything is recorded."""

from __future__ import annotations

from pathlib import Path

import pytest

from mitschnitt.core.gate import State
from mitschnitt.wire.sdp import Form
from mitschnitt.wire.siprec import MetadataBroken
from mitschnitt.wire.siprec_xml import MAX_METADATA_BYTES, read_metadata
from recorder_stage import CALL, act, asked, joined, offer, state_of
from recorder_wire import Wire, body, wired

# Expanded, this has 10^11 characters: what tried to read it would not come back.
BOMB = b"".join(
    [
        b'<!DOCTYPE recording [<!ENTITY a0 "ha">',
        *(b'<!ENTITY a%d "%s">' % (level, b"&a%d;" % (level - 1) * 10) for level in range(1, 12)),
        b"]><recording><name>&a11;</name></recording>",
    ]
)
REFUSED = {
    "entities in entities": BOMB,
    "one long entity, often": b'<!DOCTYPE r [<!ENTITY a "' + b"x" * 30_000 + b'">]><r>' + b"&a;" * 9_000 + b"</r>",
    "a DTD without entities": b'<!DOCTYPE recording SYSTEM "recording.dtd"><recording/>',
    "a file of ours": b'<!DOCTYPE r [<!ENTITY a SYSTEM "file:///etc/hostname">]><recording><name>&a;</name></recording>',
    "a parameter entity": b'<!DOCTYPE r [<!ENTITY % a SYSTEM "http://192.0.2.1/x">%a;]><recording/>',
}
HUGE = b"<recording>" + b" " * MAX_METADATA_BYTES + b"</recording>"


@pytest.mark.parametrize("name", REFUSED)
def test_row_28_entities_and_dtds_are_refused_at_once(name: str) -> None:
    found = read_metadata(REFUSED[name])
    assert isinstance(found, MetadataBroken)
    assert "DTD or entities" in found.why


def test_row_28_an_invite_with_metadata_above_the_cap_is_answered_413_and_leaves_nothing(tmp_path: Path) -> None:
    async def scene(wire: Wire) -> None:
        wire.invite(body(offer("1", "2"), HUGE))
        assert wire.pair.last_response(413).cseq.method == "INVITE"
        assert list(wire.calls) == []
        assert wire.clean

    wired(tmp_path, scene)


@pytest.mark.parametrize("by", ["reinvite", "update"])
def test_row_28_metadata_above_the_cap_within_a_call_shuts_the_gate_and_is_answered_413(
    tmp_path: Path, by: str
) -> None:
    async def scene(wire: Wire) -> None:
        wire.stage.link.answers = lambda: joined(asked=[asked()])
        dialog = wire.invite()
        await wire.answered()
        wire.stage.seconds = 6.0
        wire.calls.fact_posted("act", {"call": CALL, **act("1", 5.5)})
        wire.flush()
        assert state_of(wire.session) is State.KEEPING
        getattr(wire, by)(dialog, body(offer("1", "2", version=2), HUGE))
        assert wire.pair.last_response(413).status == 413
        assert state_of(wire.session) is not State.KEEPING
        assert wire.session.form() is Form.CLOSED

    wired(tmp_path, scene)


def test_row_28_metadata_with_a_dtd_within_the_cap_is_answered_and_never_opens(tmp_path: Path) -> None:
    async def scene(wire: Wire) -> None:
        wire.stage.link.answers = lambda: joined(asked=[asked()])
        wire.invite(body(offer("1", "2"), BOMB))
        await wire.answered()
        wire.stage.seconds = 6.0
        wire.calls.fact_posted("act", {"call": CALL, **act("1", 5.5)})
        wire.flush()
        assert state_of(wire.session) is not State.KEEPING

    wired(tmp_path, scene)
