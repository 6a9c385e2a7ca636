"""The arithmetic of the draw, against answers by openssl and by long division."""

from __future__ import annotations

import hashlib
import hmac
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitschnitt.proof.draw_tickets import (
    DOMAIN,
    SPACE,
    commit_beacon,
    commitment,
    drand_beacon,
    draw_ids,
    limit_of,
    winners,
)

KEY = bytes(range(32))


@given(st.binary(min_size=32, max_size=32), st.integers(1, 2**32 - 1))
def test_draw_ids_are_the_hmac_of_source_and_number(key: bytes, number: int) -> None:
    expected = hmac.new(key, f"recorder-3|{number}".encode(), "sha256").digest()[:16]
    assert draw_ids(key, "recorder-3", [number]) == [expected]


def test_domain_and_policy_hash_fill_one_block_of_sha_256() -> None:
    assert len(DOMAIN) + 32 == hashlib.sha256().block_size


@given(st.binary(min_size=16, max_size=16), st.fractions(0, 1))
def test_a_ticket_wins_iff_it_is_below_the_rate_s_share_of_all(draw_id: bytes, rate: Fraction) -> None:
    ticket = hashlib.sha256(b"mitschnitt/v1/draw" + bytes(14) + KEY + bytes(32) + draw_id).digest()
    expected = int.from_bytes(ticket, "big") < rate.numerator * SPACE // rate.denominator
    assert winners(KEY, bytes(32), [draw_id], rate) == [expected]


def test_rate_one_draws_all_and_rate_zero_none() -> None:
    ids = [bytes([number]) * 16 for number in range(20)]
    assert all(winners(KEY, KEY, ids, Fraction(1)))
    assert not any(winners(KEY, KEY, ids, Fraction(0)))
    assert limit_of(Fraction(1)) is None
    assert limit_of(Fraction(1, 3)) == bytes([0x55]) * 32


def test_a_ticket_at_the_limit_is_not_drawn() -> None:
    ticket = int.from_bytes(hashlib.sha256(DOMAIN + KEY + KEY + KEY[:16]).digest(), "big")
    assert winners(KEY, KEY, [KEY[:16]], Fraction(ticket, SPACE)) == [False]
    assert winners(KEY, KEY, [KEY[:16]], Fraction(ticket + 1, SPACE)) == [True]


@pytest.mark.parametrize("order", [("council", "officer", "operator"), ("operator", "council", "officer")])
def test_the_beacon_of_values_does_not_depend_on_who_came_first(order: tuple[str, ...]) -> None:
    values = {role: role.encode().ljust(32, b".") for role in order}
    text = b"mitschnitt/v1/beacon/commit|2026-11-23|" + b"".join(values[role] for role in sorted(order))
    assert commit_beacon("2026-11-23", values) == hashlib.sha256(text).digest()


def test_a_commitment_is_of_one_day_and_one_role() -> None:
    text = b"mitschnitt/v1/beacon/value|2026-11-23|officer|" + KEY
    assert commitment("2026-11-23", "officer", KEY) == hashlib.sha256(text).digest()


def test_the_beacon_of_a_round_holds_its_number_and_signature() -> None:
    text = b"mitschnitt/v1/beacon/drand|" + (1000).to_bytes(8, "big") + b"signature"
    assert drand_beacon(1000, b"signature") == hashlib.sha256(text).digest()
