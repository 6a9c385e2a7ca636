"""Documents in every dialect that was met, and those that must bind nothing (RFC 7865; reference 3.4)."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitschnitt.wire.siprec import (
    Association,
    Doubt,
    Metadata,
    MetadataBroken,
    Participant,
    Session,
    Stream,
    StreamRoles,
    Unbound,
    bind,
)
from mitschnitt.wire.siprec_xml import (
    MAX_ELEMENTS,
    MAX_METADATA_BYTES,
    MAX_PARTICIPANTS,
    SNAPSHOT_REQUEST,
    build_metadata,
    escape_names,
    read_metadata,
)

VECTORS = Path(__file__).parents[1] / "vectors" / "sip"
CASES = json.loads((VECTORS / "metadata.json").read_text())
COMPLETE = (VECTORS / "metadata-complete.xml").read_bytes()


def read(name: str) -> Metadata:
    update = read_metadata((VECTORS / f"metadata-{name}.xml").read_bytes())
    assert isinstance(update, Metadata)
    return update


def binds(update: Metadata | MetadataBroken, labels: list[str]) -> dict[str, str]:
    bound = bind(update, labels).labels
    return {label: who.id if isinstance(who, Participant) else str(who) for label, who in bound.items()}


@pytest.mark.parametrize("name", sorted(CASES))
def test_a_document_binds_what_its_vector_says(name: str) -> None:
    case = CASES[name]
    assert binds(read_metadata((VECTORS / name).read_bytes()), case["labels"]) == case["binds"]


def test_every_document_is_listed() -> None:
    assert {path.name for path in VECTORS.glob("metadata-*.xml")} == set(CASES)


def test_only_what_a_binding_needs_is_read() -> None:
    view = read("complete")
    assert view.sip_session_ids == ("call-4711@192.0.2.10",)
    assert [(who.aor, who.name) for who in view.participants.values()] == [
        ("sip:anna@192.0.2.30:5061", "Anna Beispiel"),
        ("sip:agent7@192.0.2.10:5060", "Platz Sieben"),
    ]
    extended = COMPLETE.replace(b"<nameID", b"<extensiondata><secret>1234</secret></extensiondata><nameID")
    assert "1234" not in repr(read_metadata(extended))


@pytest.mark.parametrize(
    "name, doubts",
    [
        ("old-namespace", {Doubt.OLD_NAMESPACE, Doubt.MODE_CAMEL, Doubt.TIME_ODD}),
        ("no-mode", {Doubt.MODE_MISSING, Doubt.TIME_ODD}),
        ("unescaped-names", {Doubt.NAMES_ESCAPED, Doubt.TIME_ODD}),
        ("draft", {Doubt.OLD_NAMESPACE, Doubt.OLD_WRAPPER, Doubt.MODE_CAMEL, Doubt.TIME_ODD}),
        ("partial-join", set()),
    ],
)
def test_each_dialect_is_noted(name: str, doubts: set[Doubt]) -> None:
    assert read(name).doubts == doubts


@pytest.mark.parametrize(
    "mode, partial",
    [("", False), ("<datamode>complete</datamode>", False), ("<dataMode>Partial</dataMode>", True)],
)
def test_row_20_without_a_mode_a_document_is_complete_and_both_spellings_are_read(mode: str, *, partial: bool) -> None:
    update = read_metadata(f"<recording>{mode}</recording>".encode())
    assert isinstance(update, Metadata)
    assert update.partial is partial


def test_row_24_the_same_id_twice_in_one_document_is_an_error() -> None:
    assert isinstance(read_metadata((VECTORS / "metadata-same-id-twice.xml").read_bytes()), MetadataBroken)


@pytest.mark.parametrize(
    "time, is_odd",
    [
        ("2026-11-23T16:53:51.250+01:00", False),
        ("2026-11-23T16:53:51Z", False),
        ("2026-11-23T16:53:51+0100", True),
        ("2026-11-23T16:53:51", True),
        ("Mon, 23 Nov 2026", True),
        ("", True),
    ],
)
def test_row_25_odd_times_are_read_and_noted(time: str, *, is_odd: bool) -> None:
    document = (VECTORS / "metadata-times.xml").read_bytes().replace(b"2026-11-23T16:53:51Z", time.encode())
    update = read_metadata(document)
    assert isinstance(update, Metadata)
    assert update.doubts == ({Doubt.TIME_ODD} if is_odd else set())
    assert binds(update, ["1"]) == {"1": "pa-1"}


def test_row_30_after_a_transfer_only_the_parties_of_the_new_session_are_on_the_line() -> None:
    view = read("transfer")
    assert [(one.group, one.ended) for one in view.sessions.values()] == [("g-1", True), ("g-1", False)]
    assert [who.id for who in bind(view, ["1", "2"]).participants] == ["pa-1", "pa-3"]


def test_row_30_a_session_that_left_the_recording_takes_its_parties_along() -> None:
    assert [who.id for who in bind(read("session-left"), ["2"]).participants] == ["pa-2"]


def test_membership_within_the_participant_is_less_than_an_association() -> None:
    gone = b'<participantsessionassoc participant_id="pa-1" session_id="cs-71">' + (
        b"<disassociate-time>2026-11-23T16:58:00Z</disassociate-time></participantsessionassoc></recording>"
    )
    document = (VECTORS / "metadata-roles-in-participants.xml").read_bytes()
    update = read_metadata(document.replace(b"</recording>", gone))
    assert isinstance(update, Metadata)
    assert [who.id for who in bind(update, ["10", "20"]).participants] == ["pa-2"]
    ended = read_metadata(
        document.replace(b"<associate-time>2026-11-23T16:53:51</associate-time></session>", b"<stop-time/></session>")
    )
    assert isinstance(ended, Metadata)
    assert bind(ended, ["10", "20"]).participants == ()


def test_what_a_binding_rests_on_is_told() -> None:
    inline = bind(read("roles-in-participants"), ["10", "20", "30"])
    assert inline.rests_on == {"10": Association.INLINE, "20": Association.INLINE}
    assert set(bind(read("complete"), ["0", "1"]).rests_on.values()) == {Association.ELEMENT}


def test_names_that_a_client_forgot_to_escape_are_kept_as_they_were_meant() -> None:
    anna = next(iter(read("unescaped-names").participants.values()))
    assert (anna.name, anna.aor) == ("Al & <ice>", '"Al & <ice>" <sip:anna@192.0.2.30>')


def test_a_name_that_speaks_our_vocabulary_is_never_repaired() -> None:
    forged = COMPLETE.replace(b"Anna Beispiel", b"x & <participantstreamassoc>")
    assert escape_names(forged) == forged
    assert isinstance(read_metadata(forged), MetadataBroken)


def test_row_19_partial_documents_join_hold_and_leave() -> None:
    labels = ["0", "1"]
    start = read("complete")
    joined = start.apply(read("partial-join"))
    assert bind(joined, labels).labels["1"] is Unbound.MIXED
    left = joined.apply(read("partial-leave"))
    assert binds(left, labels) == CASES["metadata-complete.xml"]["binds"]
    held = left.apply(read("partial-hold"))
    assert bind(held, labels).labels["1"] is Unbound.MISSING


def test_row_27_the_charset_of_the_mime_type_beats_the_declaration() -> None:
    latin = COMPLETE.replace(b"Anna Beispiel", "Jürgen".encode("latin-1"))
    assert isinstance(read_metadata(latin), MetadataBroken)
    update = read_metadata(latin, charset="iso-8859-1")
    assert isinstance(update, Metadata)
    assert "Jürgen" in {who.name for who in update.participants.values()}
    assert isinstance(read_metadata(COMPLETE, charset="no-such-charset"), MetadataBroken)


@pytest.mark.parametrize(
    "data, why",
    [
        (b"", "well-formed"),
        (b"\x00\xff", "well-formed"),
        (b"<other/>", "another root"),
        (b"<recording><datamode>some</datamode></recording>", "datamode"),
        (b"<recording><datamode>partial</datamode><datamode>complete</datamode></recording>", "datamode"),
        (b"<recording><participant/></recording>", "expected an id"),
        (b"<recording>" + b"<a/>" * MAX_ELEMENTS + b"</recording>", "elements"),
        (b"<recording>" + b"<a>" * 20 + b"</a>" * 20 + b"</recording>", "deep"),
        (b"<recording>" + b"<a/>" * (3 * MAX_ELEMENTS) + b"</recording>", "elements"),
        (b" " * (MAX_METADATA_BYTES + 1), "bytes"),
        (
            b"<recording>"
            + b"".join(b'<participant participant_id="%d"/>' % n for n in range(MAX_PARTICIPANTS + 1))
            + b"</recording>",
            "participants",
        ),
        (b'<recording><participant participant_id="' + b"x" * 2000 + b'"/></recording>', "characters"),
        (b"<recording><session session_id='a'/><session session_id='a'/></recording>", "same id"),
    ],
)
def test_a_document_that_cannot_be_trusted_says_why(data: bytes, why: str) -> None:
    update = read_metadata(data)
    assert isinstance(update, MetadataBroken)
    assert why in update.why


def test_what_a_client_of_ours_builds_is_read_back() -> None:
    view = Metadata(
        participants={"p/1=": Participant("p/1=", 'sip:a&b@x"y', "Al & <ice>")},
        streams={"s+1": Stream("s+1", "cs", "0")},
        sessions={"cs": Session("cs", ("call-1",))},
        roles={"p/1=": StreamRoles(frozenset({"s+1"}), frozenset({"s+2"}))},
        left={("p/1=", "cs"): False},
    )
    at = datetime(2026, 11, 23, 16, 53, 51, tzinfo=UTC)
    assert read_metadata(build_metadata(view, at=at)) == view
    leaving = Metadata(partial=True, left={("p/1=", "cs"): True}, sessions={"cs": Session("cs", ended=True)})
    assert read_metadata(build_metadata(leaving, at=at)) == leaving
    assert b"2026-11-23T16:53:51Z" in build_metadata(view, at=at)


def test_the_snapshot_request_is_a_document_of_its_own() -> None:
    assert SNAPSHOT_REQUEST.count(b"requestsnapshot") == 2
    assert isinstance(read_metadata(SNAPSHOT_REQUEST), MetadataBroken)


@given(st.text(st.characters(exclude_categories=["Cc", "Cs", "Cn"]), max_size=30))
def test_any_name_survives_building_and_reading(name: str) -> None:
    view = Metadata(participants={"p": Participant("p", "sip:a@x", name)})
    update = read_metadata(build_metadata(view, at=datetime(2026, 1, 1, tzinfo=UTC)))
    assert isinstance(update, Metadata)
    assert update.participants["p"].name == name.strip()


@given(st.integers(0, len(COMPLETE)), st.binary(max_size=8), st.integers(0, 40))
def test_no_change_to_a_document_makes_the_reader_raise(position: int, inserted: bytes, removed: int) -> None:
    update = read_metadata(COMPLETE[:position] + inserted + COMPLETE[position + removed :])
    assert isinstance(update, Metadata | MetadataBroken)
    assert len(bind(update, ["0", "1"]).labels) == 2


@pytest.mark.parametrize("charset", ["\udcfc", "a\0b", "zip", "undefined", "no-such", "x" * 5_000])
def test_a_charset_that_is_none_breaks_the_document_and_raises_nothing(charset: str) -> None:
    assert isinstance(read_metadata(b"<recording/>", charset=charset), MetadataBroken)
