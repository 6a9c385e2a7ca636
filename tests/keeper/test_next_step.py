"""The next command is the one that is missing, until there is none."""

from __future__ import annotations

from pathlib import Path

from keeper.signed_site import FIRST, KEYS, MIDNIGHT, MONDAY, SECOND, TUESDAY, directory_of, propose
from mitschnitt.keeper.next_step import next_step, step_of
from mitschnitt.keeper.policies import Policies
from mitschnitt.keeper.role_keys import public_path
from mitschnitt.keeper.signatures import Signatures


def test_from_nothing_to_a_policy_in_force_each_step_names_the_next(tmp_path: Path) -> None:
    directory = directory_of(tmp_path)
    for role in KEYS:
        public_path(directory, role).rename(tmp_path / role)

    def step() -> str:
        return next_step(Policies(directory), directory, now=MONDAY)

    assert step() == f"next: `mitschnitt policy propose FILE --dir {directory}`"
    policy = propose(directory, FIRST)
    for role in ("officer", "council"):
        assert step() == f"next: `mitschnitt policy key --as {role} --out FILE --dir {directory}`"
        (tmp_path / role).rename(public_path(directory, role))
        signing = f"next: `mitschnitt policy sign {policy.hash[:8]} --as {role} --key FILE --dir {directory}`"
        assert step() == signing
        (directory / "policy" / f"{policy.hash}.{role}.json").write_bytes(b"nonsense")
        assert step() == signing
        Signatures(directory).sign(policy, role, KEYS[role], now=MONDAY)
    assert step() == f"next: `mitschnitt policy activate {policy.hash[:8]} --dir {directory}`"
    Policies(directory).activate(policy, TUESDAY, now=MONDAY)
    assert "for a later day" in step_of(Policies(directory), policy, directory, now=MIDNIGHT)


def test_of_several_that_were_proposed_the_person_chooses(tmp_path: Path) -> None:
    directory = directory_of(tmp_path)
    propose(directory, FIRST)
    propose(directory, SECOND)
    assert "`mitschnitt policy show --dir " in next_step(Policies(directory), directory, now=MONDAY)
