"""Acts of roles towards the draw: a commitment to a value, the value, the date. Signed with the role's own key.

Signs, reads and checks; whether an act comes in its turn is decided elsewhere. Keeps nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mitschnitt.core.backward import SUBJECT
from mitschnitt.core.beacon import ROLES
from mitschnitt.core.periods import parse_period
from mitschnitt.errors import ConfigError, MalformedPacket, NotAllowed
from mitschnitt.keeper.acts import VERSION, SignedAct, read_fields
from mitschnitt.keeper.role_keys import check, load_public, sign
from mitschnitt.store.day_queries import ShareRow

DOMAIN = b"mitschnitt/v1/draw\n"  # what is signed begins with it: a signature for something else is none here
HEX32 = re.compile(r"[0-9a-f]{64}")
COMMIT, REVEAL, CLOCK = "commit_value", "tell_value", "confirm_day"
SHAPES = {
    COMMIT: frozenset({"v", "act", "role", "day", "commitment"}),
    REVEAL: frozenset({"v", "act", "role", "day", "value", "record"}),
    CLOCK: frozenset({"v", "act", "role", "day"}),
}
WITNESSES = ("council", "officer")  # who may say which day it is: not who sets the clock


def sign_commitment(key: Ed25519PrivateKey, *, role: str, day: str, commitment: bytes) -> SignedAct:
    """The role commits to a value for this day."""
    return sign(key, DOMAIN, _act(COMMIT, role, day, commitment=commitment.hex()))


def sign_reveal(key: Ed25519PrivateKey, *, role: str, day: str, value: bytes, record: bytes) -> SignedAct:
    """The role tells its value, after having seen the day's record, whose SHA-256 is `record`."""
    return sign(key, DOMAIN, _act(REVEAL, role, day, value=value.hex(), record=record.hex()))


def sign_clock(key: Ed25519PrivateKey, *, role: str, day: str) -> SignedAct:
    """The role says that today is this day."""
    return sign(key, DOMAIN, _act(CLOCK, role, day))


def _act(kind: str, role: str, day: str, **more: str) -> dict[str, Any]:
    return {"v": VERSION, "act": kind, "role": role, "day": day, **more}


def check_commitment(directory: Path, signed: SignedAct) -> ShareRow:
    """The commitment in an act that its role signed. NotAllowed or MalformedPacket as `_checked` says."""
    fields = _checked(directory, signed, COMMIT, ROLES)
    return ShareRow(fields["day"], fields["role"], _hex(fields, "commitment"), signed.act, signed.signature)


def check_reveal(directory: Path, signed: SignedAct) -> tuple[ShareRow, bytes]:
    """The value in an act that its role signed, and the hash of the record that it is told for."""
    fields = _checked(directory, signed, REVEAL, ROLES)
    row = ShareRow(
        fields["day"],
        fields["role"],
        "",
        b"",
        b"",
        value=_hex(fields, "value"),
        reveal_act=signed.act,
        reveal_signature=signed.signature,
    )
    return row, bytes.fromhex(_hex(fields, "record"))


def check_clock(directory: Path, signed: SignedAct) -> date:
    """The day that works council or officer say it is."""
    return date.fromisoformat(_checked(directory, signed, CLOCK, WITNESSES)["day"])


def _checked(directory: Path, signed: SignedAct, kind: str, roles: tuple[str, ...]) -> Mapping[str, Any]:
    """The fields of an act of this kind, signed with the key that is enrolled for its role.

    MalformedPacket for what is no such act; NotAllowed with `draw.commit.role` for another role, `role.unenrolled`
    where no key is enrolled, `role.signature` for another key.
    """
    fields = read_fields(signed.act, SHAPES)
    if fields["act"] != kind:
        raise MalformedPacket(f"expected an act {kind}, found {fields['act']}")
    if fields["role"] not in roles:
        raise NotAllowed("draw.commit.role", f"this act is one of {', '.join(roles)}")
    try:
        public = load_public(directory, fields["role"])
    except ConfigError as error:
        raise NotAllowed("role.unenrolled", str(error)) from error
    check(public, DOMAIN, signed.act, signed.signature)
    subject = fields["day"]
    if kind != CLOCK and subject.startswith(SUBJECT):
        parse_period(subject.removeprefix(SUBJECT))
    elif not is_day(subject):
        raise MalformedPacket("`day` of an act must be a day such as 2026-11-26")
    return fields


def is_day(name: str) -> bool:
    """Whether this is a day in the one spelling that counts, `2026-11-26`."""
    try:
        return date.fromisoformat(name).isoformat() == name
    except ValueError:
        return False


def _hex(fields: Mapping[str, Any], name: str) -> str:
    value: str = fields[name]
    if not HEX32.fullmatch(value):
        raise MalformedPacket(f"`{name}` of an act must be 64 lower-case hex digits")
    return value
