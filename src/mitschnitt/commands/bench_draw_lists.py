"""`mitschnitt bench draw`, the list: many draws are written as the keeper writes them, and verified from the files.

Each measurement is a process of its own, so that time and memory are its own; the floor hashes the same records and
does nothing else. A slow machine gives poor figures; only a finding is wrong.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import date
from fractions import Fraction
from pathlib import Path
from typing import Any

from mitschnitt.keeper.draw_list_header import Header, ListRules
from mitschnitt.keeper.draw_list_records import Scratch, SortedById, write_records
from mitschnitt.keeper.draw_lists import COUNCIL, PUBLIC, publish
from mitschnitt.proof.draw_format import BLOCK_RECORDS
from mitschnitt.proof.draw_tickets import commit_beacon, commitment, draw_ids, winners
from mitschnitt.store.list_queries import Amount, Held, ListDay

DAY = date(2026, 11, 23)
KEY = bytes(range(32))
POLICY_HASH = hashlib.sha256(b"bench").digest()
VALUES = {role: hashlib.sha256(role.encode()).digest() for role in ("council", "officer", "operator")}
RATES = (Fraction(1, 50), Fraction(3, 100), Fraction(1, 1000))
RULES = ListRules(tuple((f"stratum {n}", rate) for n, rate in enumerate(RATES)), ("excluded",), None, None, None, 20)
SOURCE = "keeper"
EXCLUDED_EVERY = 20  # one call of so many is excluded
OUTCOMES = ("kept", "kept", "not_agreed", "kept")
WHOSE = tuple(Held(n % len(RATES), n.to_bytes(8, "big"), 1, n % 2) for n in range(500))  # each stratum may be told

Alike = tuple[int | None, int | None, str, str | None]
Row = tuple[str, int, int | None, int | None, str, bytes | None, str | None]


def beacon() -> dict[str, Any]:
    """A day's beacon of three values."""
    day = DAY.isoformat()
    shares = {
        role: {"commitment": commitment(day, role, value).hex(), "value": value.hex()} for role, value in VALUES.items()
    }
    return {"kind": "commit", "value": commit_beacon(day, VALUES).hex(), "shares": shares}


def drawn_blocks(many: int, amounts: dict[Alike, int]) -> Iterator[Sequence[Row]]:
    """So many honest draws, as the database gives them; counts what is alike."""
    value = commit_beacon(DAY.isoformat(), VALUES)
    for first in range(1, many + 1, BLOCK_RECORDS):
        numbers = range(first, min(first + BLOCK_RECORDS, many + 1))
        ids = draw_ids(KEY, SOURCE, numbers)
        won = [winners(POLICY_HASH, value, ids, rate) for rate in RATES]
        rows: list[Row] = []
        for at, n in enumerate(numbers):
            if n % EXCLUDED_EVERY == 0:
                row: Row = (SOURCE, n, None, 0, "excluded", None, None)
            elif won[stratum := n % len(RATES)][at]:
                row = (SOURCE, n, stratum, None, "drawn", (n % 500).to_bytes(8, "big"), OUTCOMES[n % 4])
            else:
                row = (SOURCE, n, stratum, None, "not_drawn", (n % 500).to_bytes(8, "big"), None)
            rows.append(row)
            alike = row[2], row[3], row[4], row[6]
            amounts[alike] = amounts.get(alike, 0) + 1
        yield rows


def make_lists(folder: Path, many: int) -> None:
    """Both lists of a day with so many draws."""
    amounts: dict[Alike, int] = {}
    with (
        tempfile.TemporaryFile(dir=folder) as first,
        tempfile.TemporaryFile(dir=folder) as second,
        tempfile.TemporaryFile(dir=folder) as third,
    ):
        council, public, ids = Scratch(first), Scratch(second), SortedById(third)
        write_records(drawn_blocks(many, amounts), [SOURCE], KEY, council, ids)
        for block in ids.blocks():
            public.write(block)
        day = ListDay(DAY.isoformat(), POLICY_HASH.hex(), hashlib.sha256(KEY).hexdigest())
        found = [Amount(*alike, count) for alike, count in amounts.items()]
        header = Header(day, beacon(), RULES, found, whose=WHOSE)
        publish(folder / COUNCIL, header.council(council.sha256, KEY, [SOURCE], ()), council)
        publish(folder / PUBLIC, header.public(public.sha256), public)


def measured(part: str, paths: Sequence[Path]) -> dict[str, Any]:
    """A part in a process of its own."""
    command = [sys.executable, "-m", "mitschnitt.commands.bench_draw_parts", part, *map(str, paths)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    ended = subprocess.run(command, capture_output=True, check=True, env=environment)
    told: dict[str, Any] = json.loads(ended.stdout)
    return told


def measure(folder: Path, many: int) -> tuple[list[str], dict[str, Any]]:
    """Lines for people, and all figures. The lists are made once and removed with the folder."""
    begin = time.perf_counter()
    make_lists(folder, many)
    made = time.perf_counter() - begin
    figures: dict[str, Any] = {
        "draws": many,
        "made_s": made,
        "floor": measured("floor", [folder / PUBLIC]),
        "public": measured("verify", [folder / PUBLIC]),
        "both": measured("verify", [folder / PUBLIC, folder / COUNCIL]),
    }
    size = (folder / PUBLIC).stat().st_size / 1e6
    lines = [f"{many:,} draws, {size:,.0f} MB a list, made in {made:.1f} s"]
    lines.append("                            seconds  of CPU   draws/s   peak MB   CPU times the floor")
    least = figures["floor"]["cpu_s"]
    for name, what in (("floor", "floor: bare hashlib"), ("public", "public list"), ("both", "and the bundle")):
        told = figures[name]
        rate, times = many / told["seconds"], told["cpu_s"] / least
        spent = f"{told['seconds']:10.2f} {told['cpu_s']:7.2f}"
        lines.append(f"{what:<24} {spent} {rate:9,.0f} {told['peak_mb']:9.0f} {times:21.2f}")
    return lines, figures
