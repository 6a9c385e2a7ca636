"""Whether the roles that a policy names signed it, and before the first day that it was drawn by.

Reads signed acts and public keys with a reader of its own; which key belongs to which person, people compare by its
fingerprint.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any
from zoneinfo import ZoneInfo

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from mitschnitt.errors import ConfigError
from mitschnitt.proof.draw_policy import DrawRules
from mitschnitt.proof.draw_report import Cheat, From, Report

DOMAIN = b"mitschnitt/v1/policy\n"  # what is signed begins with it
MAX_SIGNATURE_BYTES = 8_192  # of a file with one signed act
FIELDS = {"v", "act", "role", "policy", "signed_at"}
FINGERPRINT_CHARS = 32


@dataclass(frozen=True, slots=True)
class PolicySignature:
    """One act of one role: what it says, its bytes, and the signature over them."""

    role: str
    policy: bytes
    signed_at: datetime
    act: bytes
    signature: bytes


def read_signature(text: bytes, name: str) -> PolicySignature:
    """The act in a file; ConfigError for a file that holds no signature on a policy."""
    try:
        if len(text) > MAX_SIGNATURE_BYTES:
            raise ValueError(f"{len(text)} bytes, at most {MAX_SIGNATURE_BYTES} are read")
        top = json.loads(text)
        fields: dict[str, Any] = top["act"]
        signed_at = datetime.fromisoformat(fields["signed_at"])
        if set(fields) != FIELDS or (fields["v"], fields["act"]) != (1, "sign") or signed_at.tzinfo is None:
            raise ValueError("it says something else")
        act = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        signature = base64.b64decode(top["signature"], validate=True)
        return PolicySignature(str(fields["role"]), bytes.fromhex(fields["policy"]), signed_at, act, signature)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, binascii.Error) as error:
        raise ConfigError(f"{name}: no signature on a policy: {type(error).__name__} {error}") from error


def fingerprint(key: bytes) -> str:
    """A key's name for people who compare it: 32 hex digits in groups of four."""
    digest = hashlib.sha256(key).hexdigest()[:FINGERPRINT_CHARS]
    return " ".join(digest[at : at + 4] for at in range(0, FINGERPRINT_CHARS, 4))


def check_signatures(
    rules: DrawRules, first: date, given: list[PolicySignature], keys: Mapping[str, bytes], report: Report
) -> None:
    """Each role that the policy names signed it before `first`, the first day in hand that was drawn by it."""
    begin = datetime.combine(first, time(), ZoneInfo(rules.timezone))
    name = f"policy {rules.hash.hex()[:16]}…"
    if not rules.signed_by:
        report.finds(Cheat.POLICY, From.SIGNATURES, first, f"{name} names nobody who signs it")
    for role in rules.signed_by:
        own = [signature for signature in given if (signature.role, signature.policy) == (role, rules.hash)]
        if not own:
            report.finds(Cheat.POLICY, From.SIGNATURES, first, f"{role} has not signed {name}")
            continue
        if all(signature.signed_at >= begin for signature in own):
            report.finds(Cheat.POLICY, From.SIGNATURES, first, f"{role} signed {name} only when the day had begun")
        key = keys.get(role)
        if key is None:
            report.leaves_open(f"without the key of {role}: that this role made its signature")
        elif not all(_is_by(key, signature) for signature in own):
            report.finds(Cheat.POLICY, From.SIGNATURES, first, f"a signature of {role} on {name} is not by its key")
        else:
            report.proves(
                f"{role} signed {name} before {first}; the key's fingerprint is {fingerprint(key)}", Cheat.POLICY
            )


def _is_by(key: bytes, signature: PolicySignature) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature.signature, DOMAIN + signature.act)
    except (InvalidSignature, ValueError):
        return False
    return True
