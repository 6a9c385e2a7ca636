"""What fixed a day before it began: the beacon that a list names, reckoned anew, and the day record beside it.

Checks signatures of drand rounds; those of roles are checked where their acts are taken.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from mitschnitt.errors import MalformedPacket, MitschnittError
from mitschnitt.proof.drand import chain_named, verify_round
from mitschnitt.proof.draw_format import HEX32, Header, canonical
from mitschnitt.proof.draw_report import Cheat, From, Report
from mitschnitt.proof.draw_tickets import ZERO_BEACON, commit_beacon, commitment, drand_beacon

ROLES = ("council", "officer", "operator")
ROUND_BEFORE = timedelta(hours=1)
SIGNATURE = re.compile(r"(?:[0-9a-f]{2}){1,200}")


def check_beacon(header: Header, report: Report, source: From) -> None:
    """Whether the beacon is what the values, or the round, that the list names make of this day."""
    try:
        value = _reckoned(header)
    except (KeyError, TypeError, ValueError, MitschnittError) as error:
        report.finds(Cheat.REDRAWN, source, header.day, f"the beacon cannot be reckoned: {error}")
        return
    if value != header.beacon.value:
        report.finds(Cheat.REDRAWN, source, header.day, "the beacon is not the one that its proof makes of this day")


def _reckoned(header: Header) -> bytes:
    proof = header.beacon.proof
    if header.beacon.kind == "none":
        if any(row.rate != 1 for row in header.strata):
            raise MalformedPacket("there is none, and not every rate is 1")
        return ZERO_BEACON
    if header.beacon.kind == "commit":
        shares = _shares(proof)
        for role, (committed, value) in shares.items():
            if commitment(header.day.isoformat(), role, value) != committed:
                raise MalformedPacket(f"the value of {role} is not the one that was committed to")
        return commit_beacon(header.day.isoformat(), {role: value for role, (_, value) in shares.items()})
    number, signature = proof["round"], proof["signature"]
    if not isinstance(number, int) or not SIGNATURE.fullmatch(signature):
        raise MalformedPacket("expected a round and its signature in hex")
    verify_round(chain_named(str(proof["chain"])), number, bytes.fromhex(signature))
    return drand_beacon(number, bytes.fromhex(signature))


def check_round(header: Header, timezone: str, report: Report, source: From) -> None:
    """Whether the round is the day's: the first from one hour before its midnight in the policy's zone on."""
    if header.beacon.kind != "drand":
        return
    midnight = datetime.combine(header.day, time(), ZoneInfo(timezone))
    try:
        expected = chain_named(str(header.beacon.proof.get("chain"))).first_round(
            midnight.astimezone(UTC) - ROUND_BEFORE
        )
    except MitschnittError:
        return  # said where the beacon is reckoned
    if header.beacon.proof.get("round") != expected:
        sentence = f"the beacon is of another round than the day's, which is {expected}"
        report.finds(Cheat.REDRAWN, source, header.day, sentence)


def _shares(proof: Mapping[str, Any]) -> dict[str, tuple[bytes, bytes]]:
    shares = proof["shares"]
    if not isinstance(shares, dict) or tuple(sorted(shares)) != ROLES:
        raise MalformedPacket(f"expected values of {', '.join(ROLES)}")
    found = {}
    for role, share in shares.items():
        if not (HEX32.fullmatch(share["commitment"]) and HEX32.fullmatch(share["value"])):
            raise MalformedPacket("commitments and values have 64 hex digits")
        found[role] = bytes.fromhex(share["commitment"]), bytes.fromhex(share["value"])
    return found


def read_day(text: bytes) -> Mapping[str, Any]:
    """A day record as it was published; MalformedPacket for anything else."""
    top = canonical(text.rstrip(b"\n"))
    if not isinstance(top.get("day"), str) or "key_sha256" not in top:
        raise MalformedPacket("a day record names `day` and `key_sha256`")
    return top


def check_day(header: Header, record: Mapping[str, Any], report: Report) -> None:
    """Whether the list keeps to what was published before the day."""
    for name, cheat, found in (
        ("policy_hash", Cheat.POLICY, header.policy_hash.hex()),
        ("key_sha256", Cheat.GROUND, header.key_sha256.hex()),
    ):
        if record.get(name) != found:
            sentence = f"the list names another `{name}` than the day record that was published before"
            report.finds(cheat, From.DAY, header.day, sentence)
    beacon = record.get("beacon")
    told = beacon if isinstance(beacon, dict) else {"kind": beacon}
    if told.get("kind") != header.beacon.kind:
        report.finds(Cheat.REDRAWN, From.DAY, header.day, "the beacon is of another kind than the day record's")
    _check_promises(header, {**record, **told}, report)


def _check_promises(header: Header, record: Mapping[str, Any], report: Report) -> None:
    """The commitments, or the round, of the record are those of the list."""
    proof = header.beacon.proof
    if header.beacon.kind == "drand":
        same = record.get("round") == proof.get("round")
    elif header.beacon.kind == "commit":
        shares = proof.get("shares")
        own = {role: share.get("commitment") for role, share in shares.items()} if isinstance(shares, dict) else None
        same = record.get("commitments") == own
    else:
        return
    if not same:
        what = "round" if header.beacon.kind == "drand" else "commitments"
        report.finds(Cheat.REDRAWN, From.DAY, header.day, f"the {what} of the beacon are not those of the day record")
