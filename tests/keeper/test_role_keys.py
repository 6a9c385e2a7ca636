"""Keys of roles: enrolled once, replaced only on purpose, opened by their person alone."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mitschnitt.errors import ConfigError, NoSpace, NotAllowed
from mitschnitt.keeper.role_keys import (
    ROLES,
    check,
    fingerprint,
    load_private,
    load_public,
    make_key,
    public_path,
    sign,
)

PASSWORD = b"correct-horse-7"
DOMAIN = b"mitschnitt/v1/test\n"


@pytest.fixture(name="site")
def a_site(tmp_path: Path) -> Path:
    directory = tmp_path / "site"
    directory.mkdir(mode=0o700)
    (directory / "config.toml").touch()
    return directory


def files(directory: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in directory.parent.rglob("*") if path.is_file()}


@pytest.mark.parametrize("role", ROLES)
def test_a_key_signs_and_its_enrolled_half_checks(site: Path, tmp_path: Path, role: str) -> None:
    out = tmp_path / "key.pem"
    public = make_key(site, role, out, PASSWORD)
    assert fingerprint(load_public(site, role)) == fingerprint(public)
    signed = sign(load_private(out, PASSWORD), DOMAIN, {"v": 1, "act": "x", "role": role})
    check(load_public(site, role), DOMAIN, signed.act, signed.signature)
    with pytest.raises(NotAllowed, match=r"role\.signature"):
        check(load_public(site, role), DOMAIN, signed.act + b" ", signed.signature)
    with pytest.raises(NotAllowed, match=r"role\.signature"):
        check(load_public(site, role), b"mitschnitt/v1/other\n", signed.act, signed.signature)


def test_both_halves_are_closed_to_others(site: Path, tmp_path: Path) -> None:
    make_key(site, "council", tmp_path / "key.pem", PASSWORD)
    for path in (tmp_path / "key.pem", public_path(site, "council")):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((site / "roles").stat().st_mode) == 0o700
    assert b"ENCRYPTED" in (tmp_path / "key.pem").read_bytes()


def test_a_second_key_needs_a_word_and_then_the_first_signs_nothing_any_more(site: Path, tmp_path: Path) -> None:
    make_key(site, "officer", tmp_path / "1.pem", PASSWORD)
    before = files(site)
    with pytest.raises(ConfigError, match=r"--replace .* no signature of the former key counts"):
        make_key(site, "officer", tmp_path / "2.pem", PASSWORD)
    assert files(site) == before
    make_key(site, "officer", tmp_path / "2.pem", PASSWORD, replace=True)
    signed = sign(load_private(tmp_path / "1.pem", PASSWORD), DOMAIN, {"v": 1, "act": "x"})
    with pytest.raises(NotAllowed, match=r"role\.signature"):
        check(load_public(site, "officer"), DOMAIN, signed.act, signed.signature)


def test_a_key_takes_the_place_of_no_file_and_lies_outside_the_directory(site: Path, tmp_path: Path) -> None:
    (tmp_path / "there.pem").write_bytes(b"mine")
    (tmp_path / "dangling.pem").symlink_to(tmp_path / "nowhere")
    before = files(site)
    for out, says in (
        (tmp_path / "there.pem", "exists"),
        (tmp_path / "dangling.pem", "exists"),
        (site / "key.pem", "lies inside"),
    ):
        with pytest.raises(ConfigError, match=says):
            make_key(site, "council", out, PASSWORD)
    with pytest.raises(NoSpace, match="cannot write"):
        make_key(site, "council", tmp_path / "no" / "such" / "place.pem", PASSWORD)
    assert files(site) == before


@pytest.mark.parametrize(
    "role, password, says",
    [
        ("coach", PASSWORD, "expected one of council, officer, operator that can sign; found 'coach'"),
        ("../officer", PASSWORD, "found '../officer'"),
        ("council", b"short", "has 5 bytes, expected at least 10"),
    ],
)
def test_an_unknown_role_and_a_short_password_make_no_key(
    site: Path, tmp_path: Path, role: str, password: bytes, says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        make_key(site, role, tmp_path / "key.pem", password)
    assert not (tmp_path / "key.pem").exists()
    assert not (site / "roles").exists()


def test_a_directory_that_is_no_site_gets_no_key(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no config"):
        make_key(tmp_path / "site", "council", tmp_path / "key.pem", PASSWORD)


def test_an_enrolled_key_that_is_missing_or_none_says_what_to_do(site: Path) -> None:
    with pytest.raises(ConfigError, match="policy key --as council --out FILE"):
        load_public(site, "council")
    (site / "roles").mkdir()
    public_path(site, "council").write_bytes(b"x" * 31)
    with pytest.raises(ConfigError, match="has 31 bytes, expected 32"):
        load_public(site, "council")


def test_a_private_key_is_read_only_where_nobody_else_can(site: Path, tmp_path: Path) -> None:
    out = tmp_path / "key.pem"
    make_key(site, "council", out, PASSWORD)
    for mode in (0o640, 0o604, 0o660):
        out.chmod(mode)
        with pytest.raises(ConfigError, match=f"has mode {mode:04o}"):
            load_private(out, PASSWORD)
    out.chmod(0o400)
    assert isinstance(load_private(out, PASSWORD), Ed25519PrivateKey)
    (tmp_path / "link.pem").symlink_to(out)
    os.mkfifo(tmp_path / "pipe.pem", 0o600)
    for name, says in (("link.pem", "cannot read"), ("pipe.pem", "is no file"), ("none.pem", "cannot read")):
        with pytest.raises(ConfigError, match=says):
            load_private(tmp_path / name, PASSWORD)


def test_a_wrong_password_is_told_with_the_file_and_without_the_password(site: Path, tmp_path: Path) -> None:
    make_key(site, "council", tmp_path / "key.pem", PASSWORD)
    with pytest.raises(ConfigError, match=r"key\.pem: wrong password") as refused:
        load_private(tmp_path / "key.pem", b"wrong-horse-88")
    assert "wrong-horse-88" not in str(refused.value)
