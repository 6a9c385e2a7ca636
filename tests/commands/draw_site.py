"""A site's published files of a week: lists, day records, policy, signatures, keys; no database and no process."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from second.draw_cheats import Files
from second.draw_lists import POLICY, canonical

ROLES = ("officer", "council")
KEYS = {role: Ed25519PrivateKey.from_private_bytes(bytes([number + 1] * 32)) for number, role in enumerate(ROLES)}
SIGNED_AT = "2026-11-20T10:00:00.000000Z"


def signature(role: str, *, policy: bytes = POLICY.encode(), signed_at: str = SIGNED_AT, by: str = "") -> bytes:
    """The file with a role's signature on a policy."""
    policy_hash = hashlib.sha256(policy).hexdigest()
    act = {"v": 1, "act": "sign", "role": role, "policy": policy_hash, "signed_at": signed_at}
    signed = KEYS[by or role].sign(b"mitschnitt/v1/policy\n" + canonical(act))
    return json.dumps({"act": act, "signature": base64.b64encode(signed).decode()}).encode() + b"\n"


def publish(site: Path, files: Files) -> Path:
    """Writes all of them where a site has them; the site."""
    for name, data in {**files.lists, **files.records}.items():
        path = site / "draw" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    policy_hash = hashlib.sha256(files.policy).hexdigest()
    (site / "policy").mkdir()
    (site / "roles").mkdir()
    (site / "policy" / f"{policy_hash}.toml").write_bytes(files.policy)
    for role in ROLES:
        (site / "policy" / f"{policy_hash}.{role}.json").write_bytes(signature(role, policy=files.policy))
        (site / "roles" / f"{role}.ed25519.pub").write_bytes(KEYS[role].public_key().public_bytes_raw())
    return site
