"""What a person has to do next until a policy is in force, as the command to type. Changes nothing, decides nothing."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from mitschnitt.core.policy import Policy
from mitschnitt.errors import ConfigError, NotAllowed
from mitschnitt.keeper.policies import Policies
from mitschnitt.keeper.role_keys import load_public


def next_step(policies: Policies, directory: Path, *, now: datetime) -> str:
    """`next: ...` for the policy that was activated last, or for the only one that was proposed."""
    lines = policies.files.activations()
    known = [lines[-1].hash] if lines else policies.files.known()
    if not known:
        return f"next: `mitschnitt policy propose FILE --dir {directory}`"
    if len(known) > 1:
        return f"next: `mitschnitt policy show --dir {directory}` names the policies that were proposed; sign one"
    return f"next: {step_of(policies, policies.get(known[0]), directory, now=now)}"


def step_of(policies: Policies, policy: Policy, directory: Path, *, now: datetime) -> str:
    """The command that brings this policy one step further."""
    short, where = policy.hash[:8], f"--dir {directory}"
    for role in policy.signed_by:
        try:
            load_public(directory, role)
        except ConfigError:
            return f"`mitschnitt policy key --as {role} --out FILE {where}`"
        try:
            signature = policies.signatures.of(policy, role)
        except NotAllowed:
            signature = None
        if signature is None:
            return f"`mitschnitt policy sign {short} --as {role} --key FILE {where}`"
    tenure = policies.tenure_at(now)
    if tenure is not None and tenure.hash == policy.hash:
        return f"sign anew what is missing, then `mitschnitt policy activate {short} {where}` for a later day"
    return f"`mitschnitt policy activate {short} {where}`"
