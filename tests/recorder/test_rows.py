"""Rows of the SIPREC checklist (docs/siprec.md) that only a whole call shows: SIP, media and journal are real.

The vectors are metadata documents of our own; keeper and time are played unless a test says otherwise.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from socket import AF_INET, SOCK_DGRAM, socket

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from dialogue import POLICY_TEXT
from keeper.site_on_disk import make_site, open_holdings
from mitschnitt.core.call import decode_call_id
from mitschnitt.core.gate import State
from mitschnitt.keeper.apply import Applier
from mitschnitt.recorder.link import LeasedKey
from mitschnitt.store import queries
from mitschnitt.vault.artefact import Timeline, parse_timeline
from mitschnitt.vault.derive import FACTS_LEAF, Kind, artefact_context, artefact_key
from mitschnitt.vault.keytree import leaf_key
from mitschnitt.vault.sealed import HEADER_BYTES, Opener, plain_size, read_range
from mitschnitt.wire.sdp import Direction, parse_sdp
from mitschnitt.wire.siprec import Metadata, StreamRoles
from mitschnitt.wire.siprec_xml import METADATA_TYPE, build_metadata, read_metadata
from recorder_stage import (
    CALL,
    CLARA,
    JENS_AOR,
    TAREK,
    TWO,
    Stage,
    act,
    asked,
    branch_of,
    decision,
    is_closed,
    is_open,
    joined,
    metadata,
    offer,
    over,
    play,
    ports_of,
    said_at,
    state_of,
)
from recorder_wire import AT, Wire, body, wired

VECTORS = Path(__file__).parents[1] / "vectors" / "sip"
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


def alone(told: Metadata) -> tuple[str, bytes]:
    """Metadata without a description, as an UPDATE carries it."""
    return METADATA_TYPE, build_metadata(told, at=AT)


def test_row_06_and_29_metadata_alone_in_an_update_is_answered_200_and_applied(tmp_path: Path) -> None:
    async def scene(wire: Wire) -> None:
        dialog = await keeping(wire)
        three = metadata(("1", CLARA), ("2", JENS_AOR), listeners=[TAREK])
        wire.update(dialog, alone(three))
        assert "< 200 UPDATE" in wire.pair.log
        assert state_of(wire.session) is State.PAUSED
        assert is_closed(wire.told[-1])
        wire.update(dialog, alone(TWO))
        assert state_of(wire.session) is State.KEEPING
        assert is_open(wire.told[-1])

    wired(tmp_path, scene)


def test_row_29_an_update_that_only_asks_for_life_changes_nothing(tmp_path: Path) -> None:
    async def scene(wire: Wire) -> None:
        dialog = await keeping(wire)
        offers = len(wire.requests("INVITE"))
        wire.update(dialog)
        assert wire.pair.log[-1] == "< 200 UPDATE"
        assert state_of(wire.session) is State.KEEPING
        assert len(wire.requests("INVITE")) == offers

    wired(tmp_path, scene)


def test_row_07_a_session_without_metadata_is_closed_until_a_snapshot_binds_it(tmp_path: Path) -> None:
    async def scene(wire: Wire) -> None:
        wire.stage.seconds = 6.0
        wire.stage.link.answers = lambda: joined(asked=[asked()], acts=[act("1", 5.5)])
        dialog = wire.invite(body(offer("1", "2"), None))
        await wire.answered()
        assert is_closed(wire.told[-1])
        wire.update(dialog, alone(TWO))
        assert state_of(wire.session) is State.KEEPING
        assert is_open(wire.told[-1])
        said = wire.stage.voices["clara"].says(ports_of(wire.session)[0], 2)
        wire.stage.tick()
        wire.bye(dialog)
        await wire.until(lambda: wire.clean)
        await wire.stage.journalled(*KEPT)
        assert wire.stage.kept(0) == said

    wired(tmp_path, scene)


def test_row_09_each_voice_of_two_lines_ends_in_the_file_of_its_party(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        session = stage.keeping()
        voices, ports = (stage.voices["clara"], stage.voices["jens"]), ports_of(session)
        said: list[list[bytes]] = [[], []]
        for _ in range(4):
            for number, voice in enumerate(voices):
                said[number] += voice.says(ports[number], 3)
            stage.tick()
        await over(stage, session, *KEPT)
        assert [stage.kept(0), stage.kept(1)] == said

    play(tmp_path, scene)


def test_row_10_an_open_answer_only_receives_and_no_media_comes_back(tmp_path: Path) -> None:
    async def scene(wire: Wire) -> None:
        with socket(AF_INET, SOCK_DGRAM) as client:
            client.bind(("127.0.0.1", 0))
            client.setblocking(False)
            own = str(client.getsockname()[1]).encode()
            wire.stage.link.answers = lambda: joined(asked=[asked()], acts=[act("1", 5.5)])
            wire.stage.seconds = 6.0
            dialog = wire.invite(body(offer("1", "2").replace(b"m=audio 40000", b"m=audio " + own)))
            await wire.until(lambda: state_of(wire.session) is State.KEEPING)
            await wire.answered()
            wire.flush()
            assert {line.direction for line in wire.told[-1].lines} == {Direction.RECVONLY}
            wire.stage.voices["clara"].says(ports_of(wire.session)[0], 20)
            wire.stage.tick(8)
            wire.bye(dialog)
            with pytest.raises(BlockingIOError):
                client.recv(2_048)

    wired(tmp_path, scene)


def test_row_11_a_client_that_pauses_is_answered_inactive_and_resumes_with_sendonly(tmp_path: Path) -> None:
    async def scene(wire: Wire) -> None:
        dialog = await keeping(wire)
        paused = wire.reinvite(dialog, body(offer("1", "2", version=2, direction="inactive")))
        assert paused is not None
        assert {line.direction for line in paused.lines} == {Direction.INACTIVE}
        resumed = wire.reinvite(dialog, body(offer("1", "2", version=3)))
        assert resumed is not None
        assert is_open(resumed)
        said = wire.stage.voices["clara"].says(resumed.lines[0].port, 2)
        wire.stage.tick()
        wire.bye(dialog)
        await wire.until(lambda: wire.clean)
        await wire.stage.journalled(*KEPT)
        assert wire.stage.kept(0) == said

    wired(tmp_path, scene)


def test_row_15_the_place_of_a_disabled_line_is_used_again_by_another_voice(tmp_path: Path) -> None:
    async def scene(wire: Wire) -> None:
        dialog = await keeping(wire)
        gone = wire.reinvite(dialog, body(offer("1", "2", version=2, off="2")))
        assert gone is not None
        assert [line.port > 0 for line in gone.lines] == [True, False]
        others = metadata(("1", CLARA), ("9", TAREK), listeners=[JENS_AOR])
        again = wire.reinvite(dialog, body(offer("1", "9", version=3), others))
        assert again is not None
        assert [(line.label, line.port > 0) for line in again.lines] == [("1", True), ("9", True)]
        assert is_closed(again)  # whose voice it is now has not agreed
        assert [leg.party for leg in branch_of(wire.session).legs] == ["caller", "third-1"]

    wired(tmp_path, scene)


@pytest.mark.parametrize(
    "labels", [("0", "1"), ("10", "20"), ("a_leg", "b_leg"), ("16777227", "16777228"), ("1", "01"), ("-", "x.y+z")]
)
def test_row_17_labels_are_opaque_and_echoed(tmp_path: Path, labels: tuple[str, str]) -> None:
    async def scene(stage: Stage) -> None:
        session = stage.session(*labels, told=metadata((labels[0], CLARA), (labels[1], JENS_AOR)))
        stage.link.answer(joined(asked=[asked()], acts=[act("1", 5)]))
        stage.seconds = 6.0
        session.look()
        assert [leg.party for leg in branch_of(session).legs] == ["caller", "agent"]
        told = parse_sdp(session.body(branch_of(session)))
        assert tuple(line.label for line in told.lines) == labels
        await over(stage, session, *KEPT)

    play(tmp_path, scene)


def test_row_18_whom_a_new_snapshot_does_not_name_has_left(tmp_path: Path) -> None:
    async def scene(wire: Wire) -> None:
        dialog = await keeping(wire)
        wire.update(dialog, alone(metadata(("1", CLARA), ("2", JENS_AOR), listeners=[TAREK])))
        assert len([party for party in wire.session.facts.parties if party.present]) == 3
        wire.update(dialog, alone(TWO))
        assert len([party for party in wire.session.facts.parties if party.present]) == 2

    wired(tmp_path, scene)


def test_row_21_an_association_without_a_stream_leaves_the_line_to_nobody(tmp_path: Path) -> None:
    async def scene(wire: Wire) -> None:
        dialog = await keeping(wire)
        wire.update(dialog, alone(Metadata(partial=True, roles={f"p-{JENS_AOR}": StreamRoles()})))
        assert state_of(wire.session) is State.PAUSED
        assert wire.session.facts.unbound == "binding.missing"

    wired(tmp_path, scene)


def test_row_30_a_transfer_as_a_new_session_of_the_group_asks_whoever_is_new(tmp_path: Path) -> None:
    async def scene(wire: Wire) -> None:
        dialog = await keeping(wire)
        document = (VECTORS / "metadata-transfer.xml").read_bytes()
        for ours, theirs in ((CLARA, b"sip:anna@192.0.2.30"), (JENS_AOR, b"sip:agent7@192.0.2.10")):
            document = document.replace(theirs, ours.encode())
        wire.update(dialog, (METADATA_TYPE, document))
        present = [party.name for party in wire.session.facts.parties if party.present]
        assert present == ["caller", "third-1"]  # the first agent went with the session that ended
        assert state_of(wire.session) is State.PAUSED
        assert is_closed(wire.told[-1])

    wired(tmp_path, scene)


def test_row_41_start_pauses_and_end_stand_in_the_timeline_with_their_times(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        session = stage.keeping()
        stage.voices["clara"].says(ports_of(session)[0], 2)
        stage.tick(8)
        session.post("act", act("", 8.0, kind="pause"))
        stage.seconds = 20.0
        session.post("act", act("", 20.0, kind="resume"))
        stage.voices["clara"].says(ports_of(session)[0], 2)
        stage.tick(4)
        await over(stage, session, *KEPT)
        header = timeline(stage, 0).header
        assert (header["started_at"], header["ended_at"]) == (said_at(6.0), said_at(21.0))
        assert header["pauses"] == [[said_at(8.0), said_at(20.0)]]

    play(tmp_path, scene)


def test_row_42_a_bye_that_comes_after_the_end_finds_a_whole_file(tmp_path: Path) -> None:
    async def scene(wire: Wire) -> None:
        dialog = await keeping(wire)
        said = wire.stage.voices["clara"].says(ports_of(wire.session)[0], 2)
        wire.stage.tick()
        await wire.calls.stop()
        await wire.stage.journalled(*KEPT)
        wire.pair.client.bye(dialog, now=wire.now)  # it crossed ours
        wire.flush()
        wire.calls.fact_posted("act", {"call": CALL, **act("", 7, kind="pause")})
        assert wire.clean
        assert wire.stage.kept(0) == said
        assert len(wire.stage.entries()) == len(KEPT)

    wired(tmp_path, scene)


def test_over_ipv6_a_call_is_closed_opened_and_kept_alike(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        session = stage.session()
        closed = parse_sdp(session.body(branch_of(session)))
        assert {(line.address, line.direction) for line in closed.lines} == {("::", Direction.INACTIVE)}
        assert b"c=IN IP6 ::\r\n" in bytes(closed)
        stage.voices["clara"].says(closed.lines[0].port, 3)
        stage.link.answer(joined(asked=[asked()], acts=[act("1", 5)]))
        stage.seconds = 6.0
        session.look()
        assert state_of(session) is State.KEEPING
        opened = parse_sdp(session.body(branch_of(session)))
        assert {line.address for line in opened.lines} == {"::1"}
        said = stage.voices["clara"].says(opened.lines[0].port, 3)
        stage.tick()
        await over(stage, session, *KEPT)
        assert stage.kept(0) == said

    play(tmp_path, scene, address="::1")


# -- what is not kept of the metadata ------------------------------------------------------------------


def test_row_26_what_the_policy_does_not_name_is_found_nowhere(tmp_path: Path) -> None:
    """Journal, media journal, sealed plaintext and the keeper's own database: no marker, name, address or id."""
    (tmp_path / "keeper").mkdir()
    config = make_site(tmp_path / "keeper")
    document = (VECTORS / "metadata-extensions.xml").read_bytes()
    forbidden = [b"MARKER", b"49305550100", b"jens.albers", b"pa-1", b"47755a9de779"]
    told = read_metadata(document)
    assert isinstance(told, Metadata)

    with open_holdings(config) as holdings:
        block = holdings.leases.lease(1, "boot", 4)
        holdings.policies.files.write(POLICY_TEXT)  # by which the stage's calls run

        async def scene(stage: Stage) -> None:
            stage.link.take_key = lambda: _given(stage, block.first, block.number, block.nodes[0])  # type: ignore[method-assign] # the keeper's own lease
            session = stage.session(told=told)
            stage.link.answer(joined(asked=[asked()], acts=[act("1", 5)]))
            stage.seconds = 6.0
            session.look()
            stage.voices["clara"].says(ports_of(session)[0], 3)
            stage.tick(12)
            await over(stage, session, *KEPT)
            found = decision(stage.entries()[-1])
            assert found["outcome"] == "kept"
            opened = [*plaintexts(stage), json.dumps(found).encode(), *facts(stage)]
            assert [mark for mark in forbidden for text in opened if mark in text] == []

        play(config.journal(1), scene)
        Applier(1, config.journal(1), holdings).drain()
        rows = holdings.writer.submit(lambda connection: repr(queries.parties_of(connection, CALL))).result(10)
        kept = holdings.writer.submit(lambda connection: queries.call_by_id(connection, CALL)).result(10)
    assert kept is not None
    assert kept.state == queries.KEPT
    assert '"label":"1"' in rows
    files = [path for path in (tmp_path / "keeper").rglob("*") if path.is_file() and path.suffix != ".toml"]
    assert config.database in files
    assert [(path.name, mark) for path in files for mark in forbidden if mark in path.read_bytes()] == []
    assert [mark for mark in forbidden if mark in rows.encode()] == []


def _given(stage: Stage, index: int, block: int, node: bytes) -> LeasedKey:
    stage.link.given.append(LeasedKey(index, block, node))
    return stage.link.given[-1]


def opened_file(stage: Stage, number: int, kind: Kind) -> bytes:
    """A sealed file of a party, opened."""
    (name,) = (name for name in stage.blobs.names() if name.endswith(f"{number}.{kind.value}"))
    opener = Opener(
        artefact_key(leaf_key(stage.link.given[0].node, number), kind, number),
        header=stage.blobs.read(name, 0, HEADER_BYTES),
        context=artefact_context(decode_call_id(name.split("/")[1]), number, kind),
    )
    size = stage.blobs.size(name)
    return read_range(
        opener, lambda start, stop: stage.blobs.read(name, start, stop), size=size, start=0, stop=plain_size(size)
    )


def timeline(stage: Stage, number: int) -> Timeline:
    """The timeline of a party, taken apart."""
    return parse_timeline(opened_file(stage, number, Kind.TIMELINE))


def plaintexts(stage: Stage) -> Iterator[bytes]:
    """Everything that lies in the vault, opened."""
    for number in (0, 1):
        for kind in (Kind.MEDIA, Kind.TIMELINE):
            yield opened_file(stage, number, kind)


def facts(stage: Stage) -> Iterator[bytes]:
    """The sealed fields of the journal, opened."""
    key = artefact_key(leaf_key(stage.link.given[0].node, FACTS_LEAF), Kind.FACTS, 0)
    for entry in stage.entries():
        if entry.type == "arrived":
            nonce = (1).to_bytes(4, "big") + entry.seq.to_bytes(8, "big")
            yield AESGCM(key).decrypt(nonce, base64.b64decode(entry.data["sealed"]), b"arrived")
