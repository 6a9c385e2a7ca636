"""Token buckets: never more than promised, in bounded memory, whoever floods."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitschnitt.wire.sip.rates import MAX_SOURCES, Rate, SourceBuckets, TokenBucket, source_of

STEPS = st.lists(st.floats(0, 3), min_size=1, max_size=120)
RATES = st.builds(Rate, per_second=st.floats(0.2, 50), burst=st.integers(1, 20))


def admitted(rate: Rate, steps: list[float]) -> list[float]:
    """When tokens were taken by somebody who tries after each step."""
    bucket, now, taken = TokenBucket(rate), 0.0, []
    for step in steps:
        now += step
        if bucket.take(now):
            taken.append(now)
    return taken


@given(RATES, STEPS)
def test_no_window_ever_holds_more_than_rate_times_time_and_the_burst(rate: Rate, steps: list[float]) -> None:
    taken = admitted(rate, steps)
    for first, begin in enumerate(taken):
        for last in range(first, len(taken)):
            most = rate.per_second * (taken[last] - begin) + rate.burst
            assert last - first + 1 <= most + 1e-6


@given(RATES, STEPS)
def test_no_token_is_withheld_that_is_there(rate: Rate, steps: list[float]) -> None:
    level, last, now, expected = float(rate.burst), 0.0, 0.0, []
    for step in steps:  # the same told as a level that rises with time
        now += step
        level, last = min(rate.burst, level + (now - last) * rate.per_second), now
        if level >= 1 - 1e-6:
            expected.append(now)
            level -= 1
    taken = admitted(rate, steps)
    assert len(taken) >= len(expected) - 1  # sums of floats may differ by the last one
    assert len(taken) <= len(expected)


def test_a_burst_is_given_at_once_and_then_the_rate_alone() -> None:
    bucket = TokenBucket(Rate(per_second=10, burst=300))
    assert sum(bucket.take(5.0) for _ in range(400)) == 300
    assert not bucket.has(5.0)
    assert [bucket.take(now) for now in (5.05, 5.11, 5.12, 5.21)] == [False, True, False, True]


def test_asking_takes_nothing() -> None:
    bucket = TokenBucket(Rate(1, 1))
    assert [bucket.has(0), bucket.has(0), bucket.take(0), bucket.has(0)] == [True, True, True, False]


def test_each_source_has_its_own_bucket() -> None:
    buckets = SourceBuckets(Rate(1, 2))
    assert [buckets.take("a", 0) for _ in range(3)] == [True, True, False]
    assert not buckets.has("a", 0)
    assert buckets.has("b", 0)
    assert buckets.take("b", 0)
    assert len(buckets) == 2


def test_a_source_that_is_quiet_is_forgotten() -> None:
    buckets = SourceBuckets(Rate(1, 2))
    buckets.take("a", 0)
    assert buckets.take("b", 0.5)
    assert buckets.take("c", 9)
    assert len(buckets) == 1


def test_a_hundred_thousand_sources_stay_within_the_table_and_share_what_is_left() -> None:
    buckets = SourceBuckets(Rate(1, 1))
    taken = sum(buckets.take(f"s{number}", 0.0) for number in range(100_000))
    assert len(buckets) == MAX_SOURCES
    assert taken == MAX_SOURCES + 1  # one bucket for all the others
    assert not buckets.has("another", 0.0)
    assert buckets.has("another", 1.5)  # all are full again: there is room


def test_whoever_has_a_bucket_keeps_it_while_others_flood() -> None:
    buckets = SourceBuckets(Rate(1, 5), most=3)
    assert buckets.take("sbc", 0.0)
    for number in range(50):
        buckets.take(f"s{number}", 0.0)
    assert [buckets.take("sbc", 0.0) for _ in range(5)] == [True] * 4 + [False]


@pytest.mark.parametrize(
    "host, source",
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:0:1::5", "2001:db8:0:1::/64"),
        ("2001:db8:0:1:ffff::9", "2001:db8:0:1::/64"),
        ("2001:db8:0:2::5", "2001:db8:0:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("SBC.example", "sbc.example"),
        ("", ""),
    ],
)
def test_an_ipv6_network_is_one_source(host: str, source: str) -> None:
    assert source_of(host) == source
