"""Checks a backward draw from its two files: what was published first, and what was drawn later.

Imports nothing of what draws. What it cannot see: whether a call that is said to be gone is gone, and when which of
the files was published.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from mitschnitt.errors import MalformedPacket, NotAllowed, TooLarge
from mitschnitt.proof.drand import chain_named, verify_round

MAX_FILE_BYTES = 256 << 20  # some 5 million kept calls of one period
ROLES = ("council", "officer", "operator")
TICKET = b"mitschnitt/v1/backward" + bytes(10)
ROOT = b"mitschnitt/v1/backward/population|"


def check_backward(record: bytes, result: bytes) -> list[str]:
    """What is wrong, a sentence each; nothing when the draw is as it must be.

    MalformedPacket or TooLarge for files that are none.
    """
    promised, drawn = _read(record, "record"), _read(result, "result")
    try:
        return list(_problems(promised, drawn, record))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise MalformedPacket("the files of a backward draw have other fields than these") from error


def _read(data: bytes, what: str) -> Mapping[str, Any]:
    if len(data) > MAX_FILE_BYTES:
        raise TooLarge(f"the {what} has {len(data)} bytes, at most {MAX_FILE_BYTES} are read")
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise MalformedPacket(f"the {what} of a backward draw is JSON; this is not") from error
    if not isinstance(found, dict) or found.get("kind") != "backward":
        raise MalformedPacket(f"the {what} is not one of a backward draw")
    return found


def _problems(promised: Mapping[str, Any], drawn: Mapping[str, Any], record: bytes) -> list[str]:
    found = []
    digest = hashlib.sha256(record).digest()
    names = [name for name, _ in promised["strata"]]
    population = [(bytes.fromhex(identifier), names[place]) for identifier, place in drawn["population"]]
    if drawn["record"] != digest.hex() or drawn["period"] != promised["period"]:
        found.append("the result belongs to another record than the one that was published first")
    if [item for item, _ in population] != sorted({item for item, _ in population}):
        found.append("the population is not in order, or a call stands in it twice")
    if _root(population).hex() != promised["root"]:
        found.append("the population is not the one whose root was published: a call was added, dropped or moved")
    counts = [[name, sum(stratum == name for _, stratum in population)] for name in names]
    if counts != promised["strata"]:
        found.append("the counts of the strata are not those that were published")
    found += _beacon_problems(promised, drawn["beacon"])
    gone = {bytes.fromhex(item) for item in drawn["gone"]}
    if not gone <= {item for item, _ in population}:
        found.append("a call is said to be gone that never was in the population")
    expected = _picks(population, digest, bytes.fromhex(drawn["beacon"]["value"]), promised["take"], gone)
    if drawn["picks"] != expected:
        found.append("what was picked are not the smallest tickets of those that are still there")
    return found


def _root(population: list[tuple[bytes, str]]) -> bytes:
    digest = hashlib.sha256(ROOT)
    for identifier, stratum in population:
        digest.update(identifier + len(stratum.encode()).to_bytes(2, "big") + stratum.encode())
    return digest.digest()


def _picks(
    population: list[tuple[bytes, str]], record: bytes, beacon: bytes, take: int, gone: set[bytes]
) -> dict[str, list[str]]:
    ordered = sorted(population, key=lambda item: hashlib.sha256(TICKET + record + beacon + item[0]).digest())
    names = {stratum for _, stratum in population}
    return {
        name: [item.hex() for item, stratum in ordered if stratum == name and item not in gone][:take] for name in names
    }


def _beacon_problems(promised: Mapping[str, Any], told: Mapping[str, Any]) -> list[str]:
    """The beacon follows from what was promised before, and from nothing else."""
    before, value, subject = promised["beacon"], bytes.fromhex(told["value"]), f"backward-{promised['period']}"
    if told["kind"] != before["kind"] or told["kind"] not in ("commit", "drand"):
        return ["the beacon is of another kind than the one that was promised"]
    if told["kind"] == "drand":
        return _round_problems(before, told, value)
    values = {role: bytes.fromhex(told["shares"][role]["value"]) for role in ROLES}
    found = [
        f"the value of {role} is not the one that was committed to before"
        for role in ROLES
        if hashlib.sha256(f"mitschnitt/v1/beacon/value|{subject}|{role}|".encode() + values[role]).hexdigest()
        != before["commitments"][role]
    ]
    whole = b"".join(values[role] for role in ROLES)
    if hashlib.sha256(f"mitschnitt/v1/beacon/commit|{subject}|".encode() + whole).digest() != value:
        found.append("the beacon is not the one that its values make")
    return found


def _round_problems(before: Mapping[str, Any], told: Mapping[str, Any], value: bytes) -> list[str]:
    number, signature = before["round"], bytes.fromhex(told["signature"])
    try:
        verify_round(chain_named(before["chain"]), number, signature)
    except NotAllowed as error:
        return [f"the beacon's round does not verify: {error}"]
    expected = hashlib.sha256(b"mitschnitt/v1/beacon/drand|" + number.to_bytes(8, "big") + signature).digest()
    return [] if told["round"] == number and expected == value else ["the beacon is not the one that its round makes"]
