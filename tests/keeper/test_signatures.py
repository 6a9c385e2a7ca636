"""A signature counts for its role, its policy and the enrolled key, or for nothing; refused, it changes no file."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from keeper.signed_site import FIRST, KEYS, MONDAY, SECOND, STRANGER, contents, directory_of, enrol, propose
from mitschnitt.core.policy_life import Signature
from mitschnitt.core.policy_text import parse_policy
from mitschnitt.errors import ConfigError, NotAllowed
from mitschnitt.keeper.acts import act_to_file, sign_act
from mitschnitt.keeper.clock import rfc3339
from mitschnitt.keeper.policy_files import PolicyFiles
from mitschnitt.keeper.signatures import DOMAIN, Signatures


@pytest.fixture(name="directory")
def with_roles(tmp_path: Path) -> Path:
    return directory_of(tmp_path)


def act(role: str, policy: str, **changes: object) -> dict[str, object]:
    return {"v": 1, "act": "sign", "role": role, "policy": policy, "signed_at": rfc3339(MONDAY), **changes}


def test_what_both_signed_is_found(directory: Path) -> None:
    policy = propose(directory, FIRST, "officer")
    signatures = Signatures(directory)
    assert signatures.all_of(policy) == (Signature("officer", policy.hash, MONDAY),)
    assert signatures.of(policy, "council") is None
    signature, is_new = signatures.sign(policy, "council", KEYS["council"], now=MONDAY + timedelta(hours=1))
    assert (is_new, signature.at) == (True, MONDAY + timedelta(hours=1))
    assert [item.role for item in signatures.all_of(policy)] == ["officer", "council"]


def test_a_signature_that_counts_stays_as_it_is(directory: Path) -> None:
    policy = propose(directory, FIRST, "officer")
    before = contents(directory)
    again = Signatures(directory).sign(policy, "officer", KEYS["officer"], now=MONDAY + timedelta(days=1))
    assert again == (Signature("officer", policy.hash, MONDAY), False)
    assert contents(directory) == before


@pytest.mark.parametrize(
    "role, key, rule",
    [
        ("operator", KEYS["officer"], "policy.signer"),
        ("officer", KEYS["council"], "role.other_key"),
        ("officer", STRANGER, "role.other_key"),
    ],
)
def test_who_may_not_sign_changes_nothing(directory: Path, role: str, key: object, rule: str) -> None:
    policy = propose(directory, FIRST)
    before = contents(directory)
    with pytest.raises(NotAllowed) as refused:
        Signatures(directory).sign(policy, role, key, now=MONDAY)  # type: ignore[arg-type]  # keys of three kinds
    assert refused.value.rule == rule
    assert contents(directory) == before


def test_a_role_without_a_key_or_that_does_not_exist_signs_nothing(tmp_path: Path) -> None:
    policy = propose(directory_of(tmp_path), FIRST)
    (tmp_path / "site" / "roles" / "council.ed25519.pub").unlink()
    with pytest.raises(ConfigError, match="no key is enrolled for council"):
        Signatures(tmp_path / "site").sign(policy, "council", KEYS["council"], now=MONDAY)
    with pytest.raises(ConfigError, match="found 'coach'"):
        Signatures(tmp_path / "site").sign(policy, "coach", KEYS["council"], now=MONDAY)


HASH = parse_policy(FIRST).hash
GOOD = act_to_file(sign_act(KEYS["council"], DOMAIN, act("council", HASH)))
NONE_OF_COUNCIL = {
    "another policy": (KEYS["council"], DOMAIN, act("council", parse_policy(SECOND).hash)),
    "another role": (KEYS["officer"], DOMAIN, act("officer", HASH)),
    "the officer's key": (KEYS["officer"], DOMAIN, act("council", HASH)),
    "an unenrolled key": (STRANGER, DOMAIN, act("council", HASH)),
    "another domain": (KEYS["council"], b"mitschnitt/v1/grant\n", act("council", HASH)),
    "another kind": (KEYS["council"], DOMAIN, act("council", HASH, act="read")),
    "one field more": (KEYS["council"], DOMAIN, act("council", HASH, note="x")),
    "no time": (KEYS["council"], DOMAIN, act("council", HASH, signed_at="today")),
}
BROKEN = {
    "cut": GOOD[:-9],
    "empty": b"",
    "dated otherwise": GOOD.replace(b"2026-11-23", b"2026-11-22"),
    "not canonical": GOOD.replace(b",", b", "),
    "a list": b"[1]\n",
    **{name: act_to_file(sign_act(*made)) for name, made in NONE_OF_COUNCIL.items()},
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_signature_of_this_role_on_this_policy_counts_for_nothing(directory: Path, name: str) -> None:
    policy = propose(directory, FIRST)
    files, signatures = PolicyFiles(directory), Signatures(directory)
    files.write_signature(policy.hash, "council", GOOD)
    assert signatures.of(policy, "council") is not None
    files.write_signature(policy.hash, "council", BROKEN[name])
    with pytest.raises(NotAllowed, match=r"policy\.signature"):
        signatures.of(policy, "council")


def test_with_another_key_of_the_role_the_old_signature_counts_no_longer_and_is_given_anew(directory: Path) -> None:
    policy = propose(directory, FIRST, "council")
    enrol(directory, "council", STRANGER)
    with pytest.raises(NotAllowed, match="the enrolled key of council did not make"):
        Signatures(directory).of(policy, "council")
    assert Signatures(directory).sign(policy, "council", STRANGER, now=MONDAY)[1]
    assert Signatures(directory).of(policy, "council") is not None
