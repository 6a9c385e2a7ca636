"""Views of recording metadata and whose voice a label carries (RFC 7865)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mitschnitt.wire.siprec import (
    MAX_VIEW_CHARS,
    Doubt,
    Metadata,
    MetadataBroken,
    Participant,
    Session,
    Stream,
    StreamRoles,
    Unbound,
    Update,
    bind,
)

ANNA, AGENT, COACH = (Participant(key, f"sip:{key}@x") for key in ("anna", "agent", "coach"))


def view() -> Metadata:
    """Two parties, two streams, one session."""
    return Metadata(
        participants={"anna": ANNA, "agent": AGENT},
        streams={"s0": Stream("s0", "cs", "0"), "s1": Stream("s1", "cs", "1")},
        sessions={"cs": Session("cs", ("call-1",))},
        roles={
            "anna": StreamRoles(frozenset({"s0"}), frozenset({"s1"})),
            "agent": StreamRoles(frozenset({"s1"}), frozenset({"s0"})),
        },
        left={("anna", "cs"): False, ("agent", "cs"): False},
    )


def joined() -> Metadata:
    """The coach joins the agent's stream."""
    return Metadata(
        partial=True,
        participants={"coach": COACH},
        roles={"coach": StreamRoles(frozenset({"s1"}))},
        left={("coach", "cs"): False},
    )


def test_each_label_is_bound_to_its_sender_in_the_order_of_the_lines() -> None:
    binding = bind(view(), ["1", "0"])
    assert dict(binding.labels) == {"1": AGENT, "0": ANNA}
    assert binding.certain
    assert binding.sip_session_ids == ("call-1",)


@pytest.mark.parametrize("metadata", [None, MetadataBroken("no XML"), Metadata()])
def test_without_metadata_nothing_is_bound(metadata: Metadata | MetadataBroken | None) -> None:
    binding = bind(metadata, ["0", None])
    assert dict(binding.labels) == {"0": Unbound.MISSING, "#1": Unbound.MISSING}
    assert not binding.certain


def test_a_session_without_lines_is_not_certain() -> None:
    assert not bind(view(), []).certain


def test_a_third_party_who_joins_makes_its_stream_mixed_until_it_leaves() -> None:
    mixed = view().apply(joined())
    binding = bind(mixed, ["0", "1"])
    assert binding.labels["1"] is Unbound.MIXED
    assert set(binding.participants) == {ANNA, AGENT, COACH}
    assert binding.reasons == {Unbound.MIXED}
    after = mixed.apply(Metadata(partial=True, left={("coach", "cs"): True}))
    assert bind(after, ["0", "1"]).certain
    assert COACH not in bind(after, ["0", "1"]).participants


def test_a_party_who_only_listens_is_on_the_line() -> None:
    listening = Metadata(partial=True, participants={"coach": COACH}, left={("coach", "cs"): False})
    binding = bind(view().apply(listening), ["0", "1"])
    assert binding.certain
    assert COACH in binding.participants


def test_row_21_an_association_without_send_ends_the_sending() -> None:
    held = view().apply(Metadata(partial=True, roles={"agent": StreamRoles()}))
    assert bind(held, ["1"]).labels["1"] is Unbound.MISSING


def test_row_18_a_complete_update_replaces_and_a_partial_one_deletes_nothing() -> None:
    assert view().apply(Metadata()).participants == {}
    assert view().apply(Metadata(partial=True)) == view()


def test_row_19_a_partial_element_keeps_what_it_does_not_say() -> None:
    update = Metadata(
        partial=True,
        participants={"anna": Participant("anna", name="Anna B.")},
        streams={"s0": Stream("s0")},
        sessions={"cs": Session("cs", group="g")},
    )
    merged = view().apply(update)
    assert merged.participants["anna"] == Participant("anna", "sip:anna@x", "Anna B.")
    assert merged.streams["s0"] == Stream("s0", "cs", "0")
    assert merged.sessions["cs"] == Session("cs", ("call-1",), "g")


def test_contradictions_are_ambiguous() -> None:
    two_streams = view().apply(Metadata(partial=True, streams={"s2": Stream("s2", "cs", "0")}))
    assert bind(two_streams, ["0"]).labels["0"] is Unbound.AMBIGUOUS
    stranger = view().apply(Metadata(partial=True, roles={"x": StreamRoles(frozenset({"s0"})), "anna": StreamRoles()}))
    assert bind(stranger, ["0"]).labels["0"] is Unbound.AMBIGUOUS
    assert bind(view(), ["0", "0"]).labels["0"] is Unbound.AMBIGUOUS


def test_a_stream_that_says_mixed_is_mixed_with_one_sender_too() -> None:
    mixed = view().apply(Metadata(partial=True, streams={"s0": Stream("s0", "cs", "0", mixed=True)}))
    assert bind(mixed, ["0"]).labels["0"] is Unbound.MIXED


def test_streams_of_an_ended_session_bind_nothing() -> None:
    ended = view().apply(Metadata(partial=True, sessions={"cs": Session("cs", ended=True)}))
    assert bind(ended, ["0"]).labels["0"] is Unbound.MISSING
    assert bind(ended, ["0"]).participants == ()


def test_row_30_a_transfer_moves_a_label_to_the_stream_of_the_new_session() -> None:
    transferred = view().apply(
        Metadata(
            partial=True,
            participants={"coach": COACH},
            streams={"s9": Stream("s9", "cs2", "1")},
            sessions={"cs": Session("cs", ended=True), "cs2": Session("cs2", ("call-2",))},
            roles={"coach": StreamRoles(frozenset({"s9"}))},
            left={("coach", "cs2"): False, ("anna", "cs2"): False},
        )
    )
    binding = bind(transferred, ["1"])
    assert binding.labels["1"] == COACH
    assert set(binding.participants) == {ANNA, COACH}
    assert binding.sip_session_ids == ("call-1", "call-2")


def test_doubts_are_kept_with_the_view() -> None:
    odd = Metadata(partial=True, doubts=frozenset({Doubt.TIME_ODD}))
    assert view().apply(odd).doubts == {Doubt.TIME_ODD}


def test_a_view_that_updates_make_too_large_is_broken_and_says_both_sizes() -> None:
    told: Update = view()
    for number in range(MAX_VIEW_CHARS):
        assert isinstance(told, Metadata)
        update = Metadata(partial=True, sessions={str(number): Session(str(number), ("x" * 1000,))})
        told = told.apply(update).bounded()
        if isinstance(told, MetadataBroken):
            break
    assert isinstance(told, MetadataBroken)
    assert str(MAX_VIEW_CHARS) in told.why
    assert number > 100


def test_a_view_of_an_ordinary_call_is_whole() -> None:
    assert view().bounded() == view()


def test_an_update_tells_anew_of_the_streams_that_it_names_and_of_whom_it_names() -> None:
    assert view().told_anew(view()) == {"0", "1"}
    assert view().told_anew(Metadata(partial=True)) == frozenset()
    assert view().told_anew(Metadata(partial=True, left={("agent", "cs"): False})) == frozenset()
    assert view().told_anew(Metadata(partial=True, participants={"agent": AGENT})) == {"1"}
    assert view().told_anew(Metadata(partial=True, streams={"s0": Stream("s0", "cs", "0")})) == {"0"}
    assert view().told_anew(joined()) == {"1"}


def test_a_whole_view_tells_of_those_voices_anew_that_are_others_than_before() -> None:
    assert view().told_differently(view()) == frozenset()
    other = replace(view(), participants={**view().participants, "agent": replace(AGENT, aor="sip:other@example.com")})
    assert other.told_differently(view()) == {"1"}
    assert replace(view(), roles={}).told_differently(view()) == {"0", "1"}
    renamed = {"s9": Stream("s9", "cs", "0"), **{key: one for key, one in view().streams.items() if one.label != "0"}}
    assert replace(view(), streams=renamed).told_differently(view()) == {"0"}
    named = {key: replace(who, name="somebody") for key, who in view().participants.items()}
    assert replace(view(), participants=named).told_differently(view()) == frozenset()
    assert view().told_differently(Metadata()) == {"0", "1"}
