"""A second check of the lists of the draw, from the words of docs/draw-lists.md: plain Python, no numpy.

Shares no code with mitschnitt. Answers with pairs (cheat, file): what is found, and from which file.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import math
import tomllib
from collections import Counter, defaultdict
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any

SPECIAL = {65533: "unmatched", 65534: "failed", 65535: "none"}
Found = set[tuple[str, str]]


class Broken(Exception):  # noqa: N818 - says what was found
    """A list that cannot be read."""


def taken_apart(data: bytes) -> tuple[dict[str, Any], list[bytes]]:
    length = int.from_bytes(data[8:12], "big")
    text, body = data[12 : 12 + length], data[12 + length :]
    try:
        header = json.loads(text)
    except ValueError as error:
        raise Broken from error
    if len(body) != 18 * header["seen"]:
        raise Broken
    return header, [body[at : at + 18] for at in range(0, len(body), 18)]


def digits(text: str) -> Fraction:
    above, below = text.split("/")
    return Fraction(int(above), int(below))


def wins(header: dict[str, Any], draw_id: bytes, place: int) -> bool:
    block = b"mitschnitt/v1/draw".ljust(32, b"\0") + bytes.fromhex(header["policy_hash"])
    ticket = hashlib.sha256(block + bytes.fromhex(header["beacon"]["value"]) + draw_id).digest()
    return int.from_bytes(ticket, "big") < math.floor(digits(header["strata"][place]["rate"]) * 2**256)


def check(files: list[bytes], records: list[bytes] = [], policies: list[bytes] = []) -> Found:  # noqa: B006 - only read
    """Everything that is wrong with these files."""
    found: Found = set()
    lists: dict[str, dict[str, tuple[dict[str, Any], list[bytes]]]] = {"public": {}, "council": {}}
    for data in files:
        kind = {b"P": "public", b"C": "council"}[data[6:7]]
        try:
            header, rows = taken_apart(data)
        except Broken:
            found.add(("broken", kind))
            continue
        if lists[kind].setdefault(header["day"], (header, rows))[0] != header:
            found.add(("redrawn", kind))
    told = {json.loads(text)["day"]: json.loads(text) for text in records}
    for kind, by_day in lists.items():
        for day, (header, rows) in sorted(by_day.items()):
            found |= {(cheat, kind) for cheat in beacon(header) | rules(header, policies)}
            found |= {(cheat, "day") for cheat in promised(header, told.get(day))}
            if hashlib.sha256(b"".join(rows)).hexdigest() != header["records_sha256"]:
                found.add(("broken", kind))
            if kind == "public":
                found |= {(cheat, kind) for cheat in public(header, rows)}
    found |= {(cheat, "council") for cheat in council(lists["council"], lists["public"])}
    return found | failures(lists["public"], lists["council"])


def beacon(header: dict[str, Any]) -> set[str]:
    shares, joined = header["beacon"]["shares"], b""
    for role in ("council", "officer", "operator"):
        value = bytes.fromhex(shares[role]["value"])
        text = f"mitschnitt/v1/beacon/value|{header['day']}|{role}|".encode() + value
        if hashlib.sha256(text).hexdigest() != shares[role]["commitment"]:
            return {"redrawn"}
        joined += value
    text = b"mitschnitt/v1/beacon/commit|" + header["day"].encode() + b"|" + joined
    return set() if hashlib.sha256(text).hexdigest() == header["beacon"]["value"] else {"redrawn"}


def rules(header: dict[str, Any], policies: list[bytes]) -> set[str]:
    own = [text for text in policies if hashlib.sha256(text).hexdigest() == header["policy_hash"]]
    if not own:
        return {"policy"} if policies else set()
    top, found = tomllib.loads(own[0].decode(), parse_float=Decimal), set()
    if [(row["name"], digits(row["rate"])) for row in header["strata"]] != [
        (row["name"], Fraction(row["rate"])) for row in top["stratum"]
    ]:
        found.add("policy")
    counted = [row["name"] for row in header["exclusions"] if row["number"] not in SPECIAL]
    if counted != [row["name"] for row in top["exclusion"]]:
        found.add("filter")
    wanted = {name: str(Fraction(value)) for name, value in top.get("caps", {}).items()}
    told = {name: value for name, value in header.get("caps", {}).items() if value is not None}
    if "caps" in header and {name: str(Fraction(value)) for name, value in told.items()} != wanted:
        found.add("policy")
    if not wanted:
        return found | ({"cap"} if any(row["capped"] for row in header["strata"]) else set())
    if sum(row["drawn"] for row in header["strata"]) > max(
        1, math.floor(Fraction(top["caps"]["share"]) * header["seen"])
    ):
        found.add("cap")
    return found


def promised(header: dict[str, Any], record: dict[str, Any] | None) -> set[str]:
    if record is None:
        return set()
    kinds = {"policy_hash": "policy", "key_sha256": "ground"}
    found = {cheat for name, cheat in kinds.items() if record[name] != header[name]}
    committed = {role: share["commitment"] for role, share in header["beacon"]["shares"].items()}
    return found if record["commitments"] == committed else found | {"redrawn"}


def public(header: dict[str, Any], rows: list[bytes]) -> set[str]:
    found = set()
    ids = [row[:16] for row in rows]
    if ids != sorted(set(ids)):
        found.add("broken")
    by_class = Counter(int.from_bytes(row[16:], "big") for row in rows)
    for place, row in enumerate(header["strata"]):
        if by_class.pop(place, 0) != row["seen"]:
            found.add("broken")
        won = sum(wins(header, own[:16], place) for own in rows if own[16:] == place.to_bytes(2, "big"))
        if won != row["drawn"] + row["capped"]:
            found.add("misdrawn")
    for row in header["exclusions"]:
        if by_class.pop(row["number"] if row["number"] in SPECIAL else 0x8000 + row["number"], 0) != row["count"]:
            found.add("filter")
    found |= {"filter" if place >= 0x8000 else "broken" for place in by_class}
    numbers = [row["number"] for row in header["exclusions"]]
    if numbers != [*range(len(numbers) - 3), *SPECIAL]:
        found.add("filter")
    if sum(row["seen"] for row in header["strata"]) + sum(row["count"] for row in header["exclusions"]) != len(rows):
        found.add("filter")
    for row in [*header["strata"], header["outcomes"] or {"kept": None}]:
        if row["kept"] is not None and row["kept"] + row["failed"] + row["not_agreed"] != row["drawn"]:
            found.add("dropped")
    return found


def council(bundles: dict[str, Any], publics: dict[str, Any]) -> set[str]:
    found: set[str] = set()
    calls: Counter[bytes] = Counter()
    drawn: Counter[bytes] = Counter()
    for day, (header, rows) in sorted(bundles.items()):
        draws = [taken(header, row) for row in rows]
        found |= numbers(header, draws)
        found |= verdicts(header, draws)
        if day in publics:
            found |= beside(header, draws, *publics[day])
        for _, _, place, tag, verdict, _ in draws:
            if any(tag):
                calls[tag] += place < 0x8000
                drawn[tag] += verdict == 2
        found |= units(header, draws, calls, drawn)
    return found


def taken(header: dict[str, Any], row: bytes) -> tuple[str, int, int, bytes, int, bool]:
    source = header["sources"][int.from_bytes(row[:2], "big")]
    return source, int.from_bytes(row[2:6], "big"), int.from_bytes(row[6:8], "big"), row[8:16], row[16], row[17] == 1


def numbers(header: dict[str, Any], draws: list[Any]) -> set[str]:
    found = set()
    by_source = defaultdict(list)
    for source, n, *_ in draws:
        by_source[source].append(n)
    for own in by_source.values():
        if len(set(own)) < len(own):
            found.add("redrawn")
        if set(own) != set(range(1, max(own) + 1)):
            found.add("dropped")
    if hashlib.sha256(bytes.fromhex(header["day_key"])).hexdigest() != header["key_sha256"]:
        found.add("ground")
    return found


def id_of(header: dict[str, Any], source: str, n: int) -> bytes:
    return hmac.new(bytes.fromhex(header["day_key"]), f"{source}|{n}".encode(), "sha256").digest()[:16]


def verdicts(header: dict[str, Any], draws: list[Any]) -> set[str]:
    found = set()
    for source, n, place, _, verdict, _ in draws:
        if place >= 0x8000:
            right = verdict == 0
        elif wins(header, id_of(header, source, n), place):
            right = verdict >= 2
        else:
            right = verdict == 1
        if not right:
            found.add("misdrawn")
    for place, row in enumerate(header["strata"]):
        own = [draw for draw in draws if draw[2] == place]
        many = len(own), sum(draw[4] == 2 for draw in own), sum(draw[4] > 2 for draw in own)
        if many != (row["seen"], row["drawn"], row["capped"]):
            found.add("misdrawn")
        if row["failed"] is not None and row["failed"] != sum(draw[5] for draw in own):
            found.add("failures")
    merged = header["outcomes"]
    if merged and merged["failed"] != sum(draw[5] for draw in draws if draw[2] in merged["strata"]):
        found.add("failures")
    return found


def beside(header: dict[str, Any], draws: list[Any], other: dict[str, Any], rows: list[bytes]) -> set[str]:
    found = set()
    listed = {row[:16]: int.from_bytes(row[16:], "big") for row in rows}
    own = {id_of(header, source, n): place for source, n, place, *_ in draws}
    gone, more = len(own.keys() - listed.keys()), len(listed.keys() - own.keys())
    found |= {"ground"} if gone and more else set()
    found |= {"dropped"} if gone > more else {"added"} if more > gone else set()
    if any(listed.get(draw_id, place) != place for draw_id, place in own.items()):
        found.add("misdrawn")
    for name, cheat in (
        ("policy_hash", "policy"),
        ("beacon", "redrawn"),
        ("key_sha256", "ground"),
        ("exclusions", "filter"),
        ("strata", "misdrawn"),
        ("seen", "misdrawn"),
        ("outcomes", "misdrawn"),
    ):
        if header[name] != other[name]:
            found.add(cheat)
    return found


def units(header: dict[str, Any], draws: list[Any], calls: Counter[bytes], drawn: Counter[bytes]) -> set[str]:
    """Caps on agents, from Monday to this day."""
    day, caps = header["day"], header["caps"]
    if any(verdict in (3, 4) and not any(tag) for _, _, _, tag, verdict, _ in draws):
        return {"cap"}
    if caps == {"agent_week": None, "agent_share": None, "share": None}:
        return set()
    own = [lease for lease in header["allowances"] if lease[1] != "share"]
    for tag in calls:
        bound = min(caps["agent_week"], max(1, math.floor(digits(caps["agent_share"]) * calls[tag])))
        mine = [lease for lease in own if lease[3] == tag.hex()]
        if max(drawn[tag], sum(lease[5] for lease in mine)) > bound:
            return {"cap"}
        if drawn[tag] > sum(lease[6] for lease in mine) or any(lease[6] > lease[5] for lease in mine):
            return {"cap"}
        for source, n, _, who, verdict, _ in draws:
            there = [lease for lease in mine if lease[2] == source]
            known = sum(lease[5] for lease in there if lease[0] < day or lease[4] + 256 <= n)
            if source != "keeper" and who == tag and verdict in (3, 4) and known > sum(lease[6] for lease in there):
                return {"cap"}
    return share_of_all(header, draws)


def share_of_all(header: dict[str, Any], draws: list[Any]) -> set[str]:
    leases = [lease for lease in header["allowances"] if lease[1] == "share" and lease[0] == header["day"]]
    share = digits(header["caps"]["share"])
    bound = max(1, math.floor(share * sum(draw[2] < 0x8000 for draw in draws)))
    if max(sum(lease[5] for lease in leases), sum(draw[4] == 2 for draw in draws)) > bound:
        return {"cap"}
    elsewhere = sum(lease[5] for lease in leases if lease[2] != "keeper")
    for source in header["sources"]:
        least = most = seen = 0
        for _, n, place, _, verdict, _ in (draw for draw in draws if draw[0] == source):
            seen += place < 0x8000
            lent = sum(lease[5] for lease in leases if lease[2] == source and lease[4] <= n)
            heard = sum(lease[5] for lease in leases if lease[2] == source and lease[4] + 256 <= n)
            free = max(1, math.floor(share * seen)) - elsewhere if source == "keeper" else heard
            if verdict == 5 and free > most:
                return {"cap"}
            least, most = least + (verdict == 2), most + (verdict in (2, 3, 4))
            if verdict == 2 and source != "keeper" and least > lent:
                return {"cap"}
    return set()


def chance(failed: int, drawn: int, all_failed: int, all_drawn: int) -> Fraction:
    """Exactly: of all ways to pick `drawn` of `all_drawn`, how many hold `failed` or more of the failed."""
    ways = sum(
        math.comb(all_failed, many) * math.comb(all_drawn - all_failed, drawn - many)
        for many in range(failed, min(drawn, all_failed) + 1)
        if drawn - many <= all_drawn - all_failed
    )
    return Fraction(ways, math.comb(all_drawn, drawn))


def failures(publics: dict[str, Any], bundles: dict[str, Any]) -> Found:
    strata: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    weeks: dict[str, dict[bytes, list[int]]] = defaultdict(lambda: defaultdict(lambda: [0, 0]))
    for header, _ in publics.values():
        alone = [row for row in header["strata"] if row["kept"] is not None]
        more = [{**header["outcomes"], "name": None}] if header["outcomes"] and alone else []
        for row in alone + more:
            strata[row["name"]][0] += row["failed"]
            strata[row["name"]][1] += row["drawn"]
    for header, rows in bundles.values():
        week = str(date.fromisoformat(header["day"]).isocalendar()[:2])
        for _, _, _, tag, verdict, failed in (taken(header, row) for row in rows):
            if any(tag) and verdict == 2:
                weeks[week][tag][0] += failed
                weeks[week][tag][1] += 1
    families: list[tuple[str, list[list[int]]]] = [("public", [*strata.values()])]
    families += [("council", [*agents.values()]) for agents in weeks.values()]
    families = [(kind, groups) for kind, groups in families if len(groups) > 1]
    limit = Fraction(1, 100) / max(1, sum(len(groups) for _, groups in families))
    found: Found = set()
    for kind, groups in families:
        all_failed, all_drawn = sum(group[0] for group in groups), sum(group[1] for group in groups)
        if any(chance(failed, drawn, all_failed, all_drawn) < limit for failed, drawn in groups):
            found.add(("failures", kind))
    return found
