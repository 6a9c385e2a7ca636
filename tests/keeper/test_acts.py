"""Acts are canonical, signed for one domain, and a file of one says exactly one thing."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from mitschnitt.errors import MalformedPacket, MitschnittError, TooLarge
from mitschnitt.keeper.acts import (
    SignedAct,
    act_from_file,
    act_to_file,
    is_signed,
    read_fields,
    sign_act,
    time_in,
)

KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
DOMAIN = b"mitschnitt/v1/test\n"
SHAPES = {"eat": frozenset({"v", "act", "what"})}
EAT: dict[str, Any] = {"v": 1, "act": "eat", "what": "bread"}


def test_an_act_is_signed_for_its_domain_by_its_key_and_as_it_stands() -> None:
    signed = sign_act(KEY, DOMAIN, EAT)
    public = KEY.public_key()
    assert signed.act == b'{"act":"eat","v":1,"what":"bread"}'
    assert is_signed(public, DOMAIN, signed)
    assert not is_signed(public, b"mitschnitt/v1/grant\n", signed)
    assert not is_signed(public, DOMAIN, SignedAct(signed.act.replace(b"bread", b"cakes"), signed.signature))
    assert not is_signed(public, DOMAIN, SignedAct(signed.act, b"short"))
    assert not is_signed(Ed25519PrivateKey.from_private_bytes(b"o" * 32).public_key(), DOMAIN, signed)


def test_the_fields_of_an_act_are_those_of_its_kind() -> None:
    assert read_fields(rfc8785.dumps(EAT), SHAPES) == EAT


@pytest.mark.parametrize(
    "act, error, says",
    [
        (b"{", MalformedPacket, "canonical JSON"),
        (b"[" * 4_000, MalformedPacket, "canonical JSON"),
        (b"[]", MalformedPacket, "canonical JSON object"),
        (b'{"act":"eat", "v":1,"what":"bread"}', MalformedPacket, "canonical JSON object"),
        (b'{"act":"eat","v":1,"what":"bread","what":"cake"}', MalformedPacket, "canonical JSON object"),
        (b" " * 5_000, TooLarge, "at most 4096 bytes, found 5000"),
        (rfc8785.dumps({**EAT, "v": 2}), MalformedPacket, "with v 1"),
        (rfc8785.dumps({**EAT, "act": "drink"}), MalformedPacket, "one of eat with exactly its own fields"),
        (rfc8785.dumps({**EAT, "act": ["eat"]}), MalformedPacket, "one of eat with exactly its own fields"),
        (rfc8785.dumps({**EAT, "why": "hunger"}), MalformedPacket, "exactly its own fields"),
        (rfc8785.dumps({**EAT, "what": 7}), MalformedPacket, "are texts"),
    ],
)
def test_what_is_no_act_is_refused(act: bytes, error: type[MitschnittError], says: str) -> None:
    with pytest.raises(error, match=says):
        read_fields(act, SHAPES)


@pytest.mark.parametrize(
    "text, says", [("yesterday", "RFC 3339"), ("2026-11-26T09:00:00", "name its zone"), ("", "RFC 3339")]
)
def test_a_time_without_zone_is_none(text: str, says: str) -> None:
    with pytest.raises(MalformedPacket, match=says):
        time_in({"at": text}, "at")


def test_a_file_holds_the_act_and_its_signature_for_people_to_read() -> None:
    signed = sign_act(KEY, DOMAIN, EAT)
    data = act_to_file(signed)
    assert json.loads(data)["act"] == EAT
    assert act_from_file(data) == signed


def spoiled(**changes: Any) -> bytes:
    return rfc8785.dumps({**json.loads(act_to_file(sign_act(KEY, DOMAIN, EAT))), **changes}) + b"\n"


@pytest.mark.parametrize(
    "data, error",
    [
        (b"", MalformedPacket),
        (b"[" * 8_000, MalformedPacket),
        (b"[1]\n", MalformedPacket),
        (act_to_file(sign_act(KEY, DOMAIN, EAT)).rstrip(), MalformedPacket),
        (act_to_file(sign_act(KEY, DOMAIN, EAT)) + b"\n", MalformedPacket),
        (spoiled(extra=1), MalformedPacket),
        (spoiled(act="eat"), MalformedPacket),
        (spoiled(signature="?"), MalformedPacket),
        (spoiled(signature=7), MalformedPacket),
        (spoiled(signature=base64.b64encode(b"short").decode()), MalformedPacket),
        (b" " * 9_000, TooLarge),
    ],
)
def test_a_file_that_we_would_not_have_written_is_refused(data: bytes, error: type[MitschnittError]) -> None:
    with pytest.raises(error):
        act_from_file(data)


@given(st.binary(max_size=300))
def test_any_bytes_are_an_act_or_a_named_error(data: bytes) -> None:
    try:
        signed = act_from_file(data)
    except (MalformedPacket, TooLarge):
        return
    assert act_to_file(signed) == data
