"""Signatures on policies: all that it names, by their keys, before the first day."""

from __future__ import annotations

from datetime import date

import pytest

from commands.draw_site import KEYS, signature
from mitschnitt.errors import ConfigError
from mitschnitt.proof.draw_policy import read_policy
from mitschnitt.proof.draw_report import Report
from mitschnitt.proof.draw_signatures import check_signatures, fingerprint, read_signature
from proof.drawn_lists import said
from second.draw_lists import POLICY

RULES = read_policy(POLICY.encode(), "policy.toml")
PUBLIC = {role: key.public_key().public_bytes_raw() for role, key in KEYS.items()}
FIRST = date(2026, 11, 23)


def checked(*files: bytes, keys: dict[str, bytes] = PUBLIC, first: date = FIRST) -> Report:
    report = Report()
    check_signatures(RULES, first, [read_signature(file, "file") for file in files], keys, report)
    return report


def test_a_policy_that_all_signed_in_time_is_proved_with_the_keys_fingerprints() -> None:
    report = checked(signature("officer"), signature("council"))
    assert report.findings == []
    assert any(fingerprint(PUBLIC["council"]) in sentence for sentence in report.proved)


def test_a_signature_that_is_missing_late_or_somebody_elses_is_found() -> None:
    officer = signature("officer")
    assert "council has not signed" in said(checked(officer))
    late = signature("council", signed_at="2026-11-23T00:00:00.000000+01:00")
    assert "only when the day had begun" in said(checked(officer, late))
    in_time = signature("council", signed_at="2026-11-22T23:59:59.000000+01:00")
    assert checked(officer, in_time).findings == []
    assert "is not by its key" in said(checked(officer, signature("council", by="officer")))


def test_a_signature_on_another_policy_is_none_on_this() -> None:
    assert "council has not signed" in said(checked(signature("officer"), signature("council", policy=b"other")))


def test_without_a_key_it_is_left_open_who_signed() -> None:
    report = checked(signature("officer"), signature("council"), keys={"officer": PUBLIC["officer"]})
    assert report.findings == []
    assert report.unproved == ["without the key of council: that this role made its signature"]
    broken = checked(signature("officer"), signature("council"), keys={**PUBLIC, "officer": b"short"})
    assert "is not by its key" in said(broken)


@pytest.mark.parametrize(
    "text",
    [b"", b"{}", b"[]", b'{"act":{},"signature":""}', b"x" * 9_000, signature("officer").replace(b"sign", b"grant")],
)
def test_what_is_no_signature_is_a_wrong_file(text: bytes) -> None:
    with pytest.raises(ConfigError, match="no signature on a policy"):
        read_signature(text, "file")
