"""TLS files: what serves, what is refused and why, who is on the list, and what an exchange of files does."""

from __future__ import annotations

import hashlib
import logging
import ssl
from pathlib import Path

import pytest

from certificates import Authority, Issued, write_files
from mitschnitt.errors import ConfigError
from mitschnitt.recorder.tls import Tls, TlsFiles, allow_list, load_credentials, names_of

AUTHORITY = Authority()
OURS = AUTHORITY.issue("recorder.example")
CLIENT = AUTHORITY.issue("sbc.example", uri="sip:SBC.example")
EXCHANGED = AUTHORITY.issue("recorder.example")


@pytest.fixture
def files(tmp_path: Path) -> TlsFiles:
    return write_files(tmp_path, OURS, AUTHORITY, "sbc.example")


def test_a_certificate_goes_by_its_fingerprint_its_dns_names_and_its_uris() -> None:
    assert names_of(CLIENT.der) == {CLIENT.fingerprint, "sbc.example", "sip:sbc.example"}
    assert names_of(b"no certificate") == {f"sha256:{hashlib.sha256(b'no certificate').hexdigest()}"}


@pytest.mark.parametrize(
    "entry",
    ["sbc.example", "SBC.Example", "sip:sbc.example", "{fingerprint}", "{colons}", "sbc.example  # the old one"],
)
def test_a_listed_client_is_admitted_by_any_of_its_names(entry: str, files: TlsFiles) -> None:
    digits = CLIENT.fingerprint.removeprefix("sha256:")
    colons = "SHA256:" + ":".join(digits[at : at + 2] for at in range(0, 64, 2)).upper()
    files.clients.write_text(entry.format(fingerprint=CLIENT.fingerprint, colons=colons), encoding="utf-8")
    assert load_credentials(files).admits(CLIENT.der)


def test_row_31_a_name_that_is_written_like_another_certificates_fingerprint_does_not_count(files: TlsFiles) -> None:
    listed = AUTHORITY.issue("sbc.example")
    forged = AUTHORITY.issue("other.example", uri=listed.fingerprint)
    files.clients.write_text(listed.fingerprint + "\n", encoding="utf-8")
    admits = load_credentials(files).admits
    assert (admits(listed.der), admits(forged.der)) == (True, False)


def test_who_is_not_listed_or_shows_no_certificate_is_not_admitted(files: TlsFiles) -> None:
    credentials = load_credentials(files)
    assert not credentials.admits(AUTHORITY.issue("other.example").der)
    assert not credentials.admits(AUTHORITY.issue("sbc.example.evil").der)
    assert not credentials.admits(None)


def test_row_31_tls_1_2_is_the_least_and_a_certificate_is_always_wanted(files: TlsFiles) -> None:
    credentials = load_credentials(files)
    for context in (credentials.server, credentials.client):
        assert context.minimum_version is ssl.TLSVersion.TLSv1_2
        assert context.verify_mode is ssl.CERT_REQUIRED
        offered = {cipher["name"] for cipher in context.get_ciphers()}
        assert all(name.startswith(("TLS_", "ECDHE-")) for name in offered)
        assert not any("CBC" in name or name.endswith("-SHA") for name in offered)


@pytest.mark.parametrize(
    "text, why",
    [
        ("", "is empty"),
        ("# nobody yet\n\n", "is empty"),
        ("sha256:abc\n", "line 1 .* sha256: and 64 hex digits"),
        ("sbc.example\n*.example\n", "line 2 .* one exact name"),
        ("sbc one\n", "line 1 .* one exact name"),
    ],
)
def test_a_list_that_lets_nobody_in_or_cannot_be_compared_is_refused(text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        allow_list(text)


def _locked(files: TlsFiles) -> None:
    files.key.write_bytes(
        b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIHjME4GCSqGSIb3DQEFDTBB\n-----END ENCRYPTED PRIVATE KEY-----\n"
    )


@pytest.mark.parametrize(
    "damage, why",
    [
        (lambda files: files.certificate.unlink(), "no pair"),
        (lambda files: files.certificate.write_bytes(CLIENT.pem), "no pair"),
        (lambda files: files.key.unlink(), r"cannot read .*key\.pem"),
        (lambda files: files.key.chmod(0o640), "mode 0640; expected 0600"),
        (lambda files: files.key.write_bytes(b"nothing"), "no pair"),
        (_locked, "no pair"),
        (lambda files: files.client_ca.write_bytes(b""), "holds no certificates"),
        (lambda files: files.client_ca.unlink(), "holds no certificates"),
        (lambda files: files.clients.unlink(), "cannot read .*clients"),
        (lambda files: files.clients.write_bytes(b"\xff\xfe"), "not UTF-8"),
    ],
)
def test_files_that_do_not_serve_are_refused_with_what_is_wrong(damage, why: str, files: TlsFiles) -> None:  # type: ignore[no-untyped-def]  # lambdas
    damage(files)
    with pytest.raises(ConfigError, match=why):
        Tls(files)


def test_files_that_did_not_change_are_not_read_again(files: TlsFiles) -> None:
    held = Tls(files)
    before = held.current
    assert not held.renew()
    assert held.current is before


def test_an_exchanged_list_is_in_force_at_the_next_look(files: TlsFiles) -> None:
    held = Tls(files)
    files.clients.write_text("other.example\n", encoding="utf-8")
    assert held.renew()
    assert not held.current.admits(CLIENT.der)


def test_broken_files_leave_the_old_ones_in_force_and_are_told_once(
    files: TlsFiles, caplog: pytest.LogCaptureFixture
) -> None:
    held = Tls(files)
    before = held.current
    files.certificate.write_bytes(EXCHANGED.pem)  # its key is not there yet
    with caplog.at_level(logging.INFO):
        assert not held.renew()
        assert not held.renew()
    assert held.current is before
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    files.key.write_bytes(EXCHANGED.key_pem)
    assert held.renew()
    assert held.current is not before


def test_a_file_that_is_gone_leaves_the_old_ones_in_force(files: TlsFiles) -> None:
    held = Tls(files)
    files.client_ca.unlink()
    assert not held.renew()
    assert held.current.admits(CLIENT.der)


def test_the_certificates_of_tests_are_what_they_say() -> None:
    assert isinstance(CLIENT, Issued)
    assert CLIENT.der != EXCHANGED.der != OURS.der
