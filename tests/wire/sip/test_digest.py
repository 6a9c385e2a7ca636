"""Digest arithmetic and header fields against printed and independent answers (RFC 7616; RFC 2617; RFC 8760)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitschnitt.errors import MalformedPacket, TooLarge
from mitschnitt.wire.sip.digest import Algorithm, Challenge, Credentials, hash_of, read_fields, secret_of
from source import ROOT

VECTORS = ROOT / "tests" / "vectors" / "digest"
ANSWERS = json.loads((VECTORS / "answers.json").read_text(encoding="utf-8"))
LINES = json.loads((VECTORS / "lines.json").read_text(encoding="utf-8"))
NO_QUOTES = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF, exclude_characters="\x7f"), min_size=1)


def credentials_of(row: dict[str, Any]) -> Credentials:
    """The credentials of a row of answers.json."""
    return Credentials(
        row["username"],
        row["realm"],
        row["nonce"],
        row["uri"],
        row["response"],
        Algorithm(row["algorithm"]),
        qop=row.get("qop", ""),
        cnonce=row.get("cnonce", ""),
        count=int(row.get("nc", "0"), 16),
    )


@pytest.mark.parametrize("row", ANSWERS, ids=lambda row: row["source"])
def test_known_answers(row: dict[str, Any]) -> None:
    secret = secret_of(Algorithm(row["algorithm"]), row["username"], row["realm"], row["password"])
    assert secret == row["ha1"]
    assert credentials_of(row).expected(secret, row["method"]) == row["response"]


@pytest.mark.parametrize("row", ANSWERS, ids=lambda row: row["source"])
def test_what_is_written_reads_as_what_it_was(row: dict[str, Any]) -> None:
    assert Credentials.parse(str(credentials_of(row))) == credentials_of(row)


def test_an_algorithm_says_how_long_its_hash_is() -> None:
    assert [len(hash_of(algorithm, "")) for algorithm in Algorithm] == [algorithm.digits for algorithm in Algorithm]


@pytest.mark.parametrize("row", LINES["challenges"], ids=lambda row: row["case"])
def test_a_challenge_is_read(row: dict[str, Any]) -> None:
    found = Challenge.parse(row["line"])
    shown = (
        None
        if found is None
        else [found.realm, found.nonce, found.algorithm, found.opaque, list(found.qop), found.stale]
    )
    assert shown == row["reads"]


@pytest.mark.parametrize("row", LINES["credentials"], ids=lambda row: row["case"])
def test_credentials_are_read(row: dict[str, Any]) -> None:
    found = Credentials.parse(row["line"])
    shown = None if found is None else [found.username, found.response, found.algorithm, found.qop, found.count]
    assert shown == row["reads"]


@pytest.mark.parametrize("row", LINES["broken"], ids=lambda row: row["case"])
def test_broken_credentials_are_refused_and_told_why(row: dict[str, Any]) -> None:
    with pytest.raises(MalformedPacket, match=row["told"]):
        Credentials.parse(row["line"])


def test_a_challenge_is_written_as_rfc_7616_shows_it() -> None:
    challenge = Challenge("a realm", "n", Algorithm.SHA256, "o", ("auth",), stale=True)
    written = 'Digest realm="a realm", nonce="n", opaque="o", algorithm=SHA-256, stale=true, qop="auth"'
    assert str(challenge) == written
    assert Challenge.parse(written) == challenge


@given(NO_QUOTES, NO_QUOTES, st.sampled_from(Algorithm), st.booleans())
def test_any_challenge_reads_as_what_it_was(realm: str, nonce: str, algorithm: Algorithm, stale: bool) -> None:
    challenge = Challenge(realm, nonce, algorithm, None, ("auth",), stale)
    assert Challenge.parse(str(challenge)) == challenge


@given(st.text(max_size=80), st.sampled_from(["Digest ", "digest\t", "", "Basic "]))
def test_any_text_is_fields_another_scheme_or_an_error_of_the_peers(text: str, scheme: str) -> None:
    try:
        read = read_fields(scheme + text)
    except (MalformedPacket, TooLarge):
        read = None
    assert read is None or all(name == name.lower() for name in read)
