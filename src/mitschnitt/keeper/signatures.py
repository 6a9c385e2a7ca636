"""Signatures of roles on policies: acts that lie beside the policy, one file a role. Whether they suffice core says.

A signature counts for the role that it names, the policy that it names and the key that is enrolled, or for nothing.
"""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mitschnitt.core.policy import Policy
from mitschnitt.core.policy_life import Signature
from mitschnitt.errors import ConfigError, MalformedPacket, NotAllowed, TooLarge
from mitschnitt.keeper.acts import (
    MAX_FILE_BYTES,
    VERSION,
    SignedAct,
    act_from_file,
    act_to_file,
    read_fields,
    time_in,
)
from mitschnitt.keeper.clock import rfc3339
from mitschnitt.keeper.policy_files import PolicyFiles
from mitschnitt.keeper.role_keys import check, checked_signer, fingerprint, load_public, sign

DOMAIN = b"mitschnitt/v1/policy\n"
SHAPES = {"sign": frozenset({"v", "act", "role", "policy", "signed_at"})}


class Signatures:
    """What roles signed in one directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._files = PolicyFiles(directory)

    def sign(self, policy: Policy, role: str, key: Ed25519PrivateKey, *, now: datetime) -> tuple[Signature, bool]:
        """The role signs; its signature, and whether it is new. One that counts already stays as it is.

        NotAllowed, and nothing is changed, with `policy.signer` for a role that the policy does not name and
        `role.other_key` for a key that is not the enrolled one. A file that counts for nothing is replaced.
        """
        if checked_signer(role) not in policy.signed_by:
            raise NotAllowed("policy.signer", f"this policy is signed by {', '.join(policy.signed_by)}, not by {role}")
        enrolled = load_public(self._directory, role)
        if enrolled.public_bytes_raw() != key.public_key().public_bytes_raw():
            raise NotAllowed("role.other_key", f"this is not the {role}'s enrolled key, {fingerprint(enrolled)}")
        before = self._counting(policy, role)
        if before is not None:
            return before, False
        act = {"v": VERSION, "act": "sign", "role": role, "policy": policy.hash, "signed_at": rfc3339(now)}
        self._files.write_signature(policy.hash, role, act_to_file(sign(key, DOMAIN, act)))
        return Signature(role, policy.hash, now), True

    def _counting(self, policy: Policy, role: str) -> Signature | None:
        try:
            return self.of(policy, role)
        except NotAllowed:
            return None

    def of(self, policy: Policy, role: str) -> Signature | None:
        """The role's signature on this policy, None when it has not signed.

        NotAllowed with `policy.signature` when what lies there is no signature of this role on this policy by the
        enrolled key; ConfigError when no key is enrolled.
        """
        path = self._files.signature_path(policy.hash, checked_signer(role))
        if not os.path.lexists(path):
            return None
        try:
            with path.open("rb") as file:
                signed = act_from_file(file.read(MAX_FILE_BYTES + 1))
            return self._read(signed, policy, role)
        except OSError as error:
            raise ConfigError(f"policy: cannot read {path}: {error.strerror}") from error
        except (MalformedPacket, TooLarge) as error:
            raise NotAllowed("policy.signature", f"{path.name} holds no signature: {error}") from error

    def _read(self, signed: SignedAct, policy: Policy, role: str) -> Signature:
        fields = read_fields(signed.act, SHAPES)
        if (fields["role"], fields["policy"]) != (role, policy.hash):
            raise NotAllowed("policy.signature", f"what lies there as signature of {role} is one for something else")
        try:
            check(load_public(self._directory, role), DOMAIN, signed.act, signed.signature)
        except NotAllowed as error:
            raise NotAllowed("policy.signature", f"the enrolled key of {role} did not make this signature") from error
        return Signature(role, policy.hash, time_in(fields, "signed_at"))

    def all_of(self, policy: Policy) -> tuple[Signature, ...]:
        """Those of all roles whom the policy names; raises as `of` does for the first that does not check."""
        found = (self.of(policy, role) for role in policy.signed_by)
        return tuple(signature for signature in found if signature is not None)
