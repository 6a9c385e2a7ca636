"""Part of `bench draw`: what a decision at arrival costs, in memory and with the commit that makes its number durable.

The floor, in the same run, is the bare HMAC-SHA-256 and SHA-256 of the same bytes.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import tempfile
import time
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from mitschnitt.commands.demo_site import prepare
from mitschnitt.config import load_config
from mitschnitt.core.criteria import Traits, compile_criteria
from mitschnitt.core.draw import DOMAIN, KEEPER, Day, decide
from mitschnitt.core.policy_text import parse_policy
from mitschnitt.keeper.clock import wall_clock
from mitschnitt.keeper.keeper import Keeper
from mitschnitt.keeper.policy_watch import watch_of
from mitschnitt.keeper.process import opened
from mitschnitt.keeper.site import load_site

ROUNDS = 5  # of each; the median is told, for a machine does other things, too
CONCURRENT = (1, 64)
DAY = Day("2026-11-26", "00" * 32, b"k" * 32, b"b" * 32)
CRITERIA = b"""
[[stratum]]
name = "newcomers"
when = 'tenure_days >= 0 && tenure_days < 90'
rate = 0.5
[[stratum]]
name = "by day"
when = 'queue == "hotline" && direction == "inbound" && hour >= 8 && hour < 20'
rate = 0.02
[[stratum]]
name = "else"
when = "true"
rate = 0.01
"""
RATES = (Fraction(1, 2), Fraction(1, 50), Fraction(1, 100))
TRAITS = Traits("hotline", "inbound", 9, 4, 400)


def measure(count: int) -> tuple[list[str], dict[str, Any]]:
    """Lines for people, and all figures: microseconds each."""
    # Where the system has its scratch: a path of a site must be short, for its sockets lie in it.
    with tempfile.TemporaryDirectory(prefix="m-") as scratch:
        memory = _in_memory(Path(scratch), count)
        durable = _durable(Path(scratch), max(64, count // 100))
    floor, ours = memory["floor"], memory["decision"]
    lines = [
        f"a decision in memory: {ours:.1f} us, of which criteria {memory['criteria']:.1f} us; "
        f"the bare hashes {floor:.1f} us (ratio {ours / floor:.1f})",
        *(f"numbered and durable, {at} at once: {durable[at]:.0f} us each" for at in CONCURRENT),
    ]
    return lines, {**memory, **{f"durable_{at}": durable[at] for at in CONCURRENT}}


def _median_us(work: Callable[[int], None], count: int) -> float:
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        work(count)
        times.append((time.perf_counter() - began) / count * 1e6)
    return sorted(times)[ROUNDS // 2]


def _in_memory(scratch: Path, count: int) -> dict[str, float]:
    site = prepare(scratch / "policy-of")
    text = next((site.directory / "policy").glob("*.toml")).read_bytes()
    head, _, tail = text.partition(b"[[stratum]]")
    rest = tail[tail.index(b"\n[") :]
    policy = parse_policy(head.replace(b'beacon = "none"', b'beacon = "commit"') + CRITERIA + rest)
    criteria = compile_criteria(policy)

    def decisions(many: int) -> None:
        for n in range(1, many + 1):
            decide(DAY, KEEPER, n, criteria.place(TRAITS), rates=RATES, spent=None)

    def places(many: int) -> None:
        for _ in range(many):
            criteria.place(TRAITS)

    def hashes(many: int) -> None:
        for n in range(1, many + 1):
            lot = hmac.digest(DAY.day_key, b"keeper|%d" % n, "sha256")[:16]
            hashlib.sha256(DOMAIN + bytes(32) + b"b" * 32 + lot).digest()

    return {name: _median_us(work, count) for name, work in zip(NAMES, (decisions, places, hashes), strict=True)}


NAMES = ("decision", "criteria", "floor")


def _durable(scratch: Path, count: int) -> dict[int, float]:
    site = prepare(scratch / "site")
    config = load_config(site.directory)
    rules = watch_of(config, now=wall_clock(), monotonic=time.monotonic)
    with opened(config, load_site(config, rules.current.policy), rules) as (keeper, _, _, _):
        return asyncio.run(_announced(keeper, count, CONCURRENT))


async def _announced(keeper: Keeper, count: int, concurrent: Sequence[int]) -> dict[int, float]:
    await keeper.renew_draw()
    found = {}
    for at_once in concurrent:
        began = time.perf_counter()
        for _ in range(count // at_once):
            calls = (_one(keeper) for _ in range(at_once))
            if not all(await asyncio.gather(*calls)):
                raise RuntimeError("a call of the bench was not drawn")
        found[at_once] = (time.perf_counter() - began) / (count // at_once * at_once) * 1e6
    return found


async def _one(keeper: Keeper) -> bool:
    told = await keeper.drawing.draws.announced(
        keeper.view, queue="hotline", direction="inbound", agent=None, now=wall_clock()
    )
    return told.drawn
