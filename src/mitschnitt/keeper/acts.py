"""Signed acts: canonical JSON (RFC 8785) under an Ed25519 signature. What agents and roles do of their own will.

Signs, reads and checks bytes; knows no person, keeps nothing. What is signed begins with a domain, so that a
signature for one thing is none for another.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import rfc8785
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from mitschnitt.errors import MalformedPacket, TooLarge

VERSION = 1
MAX_ACT_BYTES = 4_096  # an act names who, what, some times and hashes
MAX_FILE_BYTES = 2 * MAX_ACT_BYTES  # an act and its signature in one file
SIGNATURE_BYTES = 64  # Ed25519 (RFC 8032, 5.1.6)


@dataclass(frozen=True, slots=True)
class SignedAct:
    """An act as its bytes, and the signature over them."""

    act: bytes
    signature: bytes


def sign_act(key: Ed25519PrivateKey, domain: bytes, fields: Mapping[str, Any]) -> SignedAct:
    """These fields as canonical JSON, signed for this domain."""
    data = rfc8785.dumps(dict(fields))
    return SignedAct(data, key.sign(domain + data))


def is_signed(public: Ed25519PublicKey, domain: bytes, signed: SignedAct) -> bool:
    """Whether this key signed exactly this act for this domain."""
    try:
        public.verify(signed.signature, domain + signed.act)
    except InvalidSignature:
        return False
    return True


def read_fields(act: bytes, shapes: Mapping[str, frozenset[str]]) -> Mapping[str, Any]:
    """The fields of an act, unchecked by any signature: `shapes` names the fields that each kind of act has.

    MalformedPacket or TooLarge for what is none. All fields but `v` are texts.
    """
    if len(act) > MAX_ACT_BYTES:
        raise TooLarge(f"an act has at most {MAX_ACT_BYTES} bytes, found {len(act)}")
    try:
        fields: dict[str, Any] = json.loads(act)
        canonical = isinstance(fields, dict) and rfc8785.dumps(fields) == act
    except (ValueError, RecursionError) as error:
        raise MalformedPacket("an act is canonical JSON (RFC 8785); this is not") from error
    if not canonical or fields.get("v") != VERSION:
        raise MalformedPacket(f"an act is a canonical JSON object with v {VERSION} (RFC 8785)")
    kind = fields.get("act")
    if not isinstance(kind, str) or kind not in shapes or set(fields) != shapes[kind]:
        raise MalformedPacket(f"an act is one of {', '.join(shapes)} with exactly its own fields")
    if not all(isinstance(value, str) for name, value in fields.items() if name != "v"):
        raise MalformedPacket("the fields of an act are texts")
    return fields


def time_in(fields: Mapping[str, Any], name: str) -> datetime:
    """The RFC 3339 time in this field, with its zone; MalformedPacket when it is none."""
    try:
        at = datetime.fromisoformat(fields[name])
    except ValueError as error:
        raise MalformedPacket(f"`{name}` of an act must be an RFC 3339 time") from error
    if at.tzinfo is None:
        raise MalformedPacket(f"`{name}` of an act must name its zone")
    return at


def act_to_file(signed: SignedAct) -> bytes:
    """One line of canonical JSON that people can read: `{"act": {...}, "signature": "<base64>"}`."""
    signature = base64.b64encode(signed.signature).decode()
    return rfc8785.dumps({"act": json.loads(signed.act), "signature": signature}) + b"\n"


def act_from_file(data: bytes) -> SignedAct:
    """The act in such a file, unchecked; MalformedPacket or TooLarge for anything that `act_to_file` does not write."""
    if len(data) > MAX_FILE_BYTES:
        raise TooLarge(f"a signed act has at most {MAX_FILE_BYTES} bytes, found {len(data)}")
    try:
        top = json.loads(data)
        signed = SignedAct(rfc8785.dumps(top["act"]), base64.b64decode(top["signature"], validate=True))
        same = isinstance(top["act"], dict) and act_to_file(signed) == data
    except (ValueError, TypeError, KeyError, RecursionError, binascii.Error) as error:
        raise MalformedPacket("a signed act is one line of canonical JSON with `act` and `signature`") from error
    if not same or len(signed.signature) != SIGNATURE_BYTES:
        raise MalformedPacket(f"a signed act is canonical, with {SIGNATURE_BYTES} bytes of signature; this is not")
    return signed
