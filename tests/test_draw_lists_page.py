"""docs/draw-lists.md says what the files hold: its tables take a stored list apart, key by key and byte by byte."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from mitschnitt.proof.draw_format import MAX_HEADER_BYTES, SPECIAL, VERDICTS
from mitschnitt.proof.draw_report import Cheat
from second.draw_lists import honest_week
from source import ROOT

PAGE = (ROOT / "docs" / "draw-lists.md").read_text(encoding="utf-8")
VECTORS = ROOT / "tests" / "vectors" / "draw_lists" / "honest" / "2026-11-23"
BYTES = re.compile(r"^\| (\d+)(?: to (\d+)|, (\d+))? \| (.+?) \|$", re.MULTILINE)
RECORD_BYTES = 18


def section(title: str) -> str:
    return PAGE.split(f"## {title}\n")[1].split("\n## ")[0]


def fields(text: str) -> list[tuple[int, int, str]]:
    """(first byte, one after the last, what) of each row of a table of records."""
    return [(int(row[1]), int(row[2] or row[3] or row[1]) + 1, row[4]) for row in BYTES.finditer(text)]


def taken_apart(name: str) -> tuple[bytes, dict[str, Any], list[bytes]]:
    data = (VECTORS / name).read_bytes()
    length = int.from_bytes(data[8:12], "big")
    records = data[12 + length :]
    cut = [records[at : at + RECORD_BYTES] for at in range(0, len(records), RECORD_BYTES)]
    return data[:8], json.loads(data[12 : 12 + length]), cut


def test_the_first_bytes_and_the_limit_of_a_header_are_those_of_the_page() -> None:
    both = section("Both files")
    assert {f"`{taken_apart(name)[0].decode()}`" for name in ("public.mdl", "council.mdl")} <= set(both.split())
    assert f"{MAX_HEADER_BYTES:,}" in both


def test_the_keys_of_a_header_are_those_of_the_page_and_no_others() -> None:
    first, more = section("Headers").split("The council's header has")
    keys = [set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)) for text in (first, more)]
    assert set(taken_apart("public.mdl")[1]) == keys[0]
    assert set(taken_apart("council.mdl")[1]) == keys[0] | keys[1]


@pytest.mark.parametrize("key", ["strata", "exclusions", "outcomes"])
def test_the_keys_within_are_named_in_their_row(key: str) -> None:
    row = next(line for line in section("Headers").splitlines() if line.startswith(f"| `{key}` |"))
    value = taken_apart("public.mdl")[1][key]
    inner = value[0] if isinstance(value, list) else value
    assert {f"`{name}`" for name in inner} <= set(re.findall(r"`\w+`", row))


def test_each_byte_of_a_record_has_one_meaning() -> None:
    for part in section("Records").split("Council, "):
        found = fields(part)
        assert [first for first, _, _ in found] == [0, *(end for _, end, _ in found[:-1])]
        assert found[-1][1] == RECORD_BYTES


def test_a_council_record_read_by_the_page_is_the_draw_that_was_made() -> None:
    _, header, records = taken_apart("council.mdl")
    rows = fields(section("Records").split("Council, ")[1])
    week = honest_week(2, 240, 14)
    made = {(draw.source, draw.n): draw for draw in week[0].draws}
    for record in records:
        source, n, place, tag, verdict, flags = (record[first:end] for first, end, _ in rows)
        draw = made[header["sources"][int.from_bytes(source, "big")], int.from_bytes(n, "big")]
        assert (int.from_bytes(place, "big"), tag, VERDICTS[verdict[0]]) == (draw.place, draw.tag, draw.verdict)
        assert flags[0] == (draw.outcome == "failed")


def test_verdicts_special_exclusions_and_findings_are_those_of_the_verifier() -> None:
    verdicts = next(what for _, _, what in fields(section("Records")) if what.startswith("verdict"))
    assert verdicts == "verdict: " + ", ".join(f"{number} {name}" for number, name in enumerate(VERDICTS))
    assert all(f"0x{number:X} `{name}`" in section("Records") for number, name in SPECIAL.items())
    assert set(re.findall(r"^\| `(\w+)`", section("What is found, and from which file"), re.MULTILINE)) == set(Cheat)
