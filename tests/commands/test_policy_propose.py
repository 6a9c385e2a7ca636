"""`policy propose`: a sound policy lies under its hash afterwards; of any other nothing does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from keeper.signed_site import FIRST as ASKS_WITHOUT_NOTICE
from keeper.signed_site import contents, directory_of
from mitschnitt.commands.init import SOME, policy_text
from mitschnitt.commands.policy_propose import run
from mitschnitt.core.policy_text import parse_policy
from mitschnitt.errors import ConfigError, NotAllowed
from mitschnitt.gateways.speech import prompt, prompt_entries

FIRST = policy_text([prompt(entry["name"], entry["language"]) for entry in prompt_entries()], draw=SOME)


@pytest.fixture(name="site")
def a_site(tmp_path: Path) -> Path:
    directory = directory_of(tmp_path)
    (directory / "config.toml").touch()
    return directory


def test_it_prints_the_hash_who_must_sign_and_the_next_command(
    site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "new.toml").write_bytes(FIRST)
    run(site, tmp_path / "new.toml", as_json=False)
    said, digest = capsys.readouterr().out, parse_policy(FIRST).hash
    assert f"proposed {digest}" in said
    assert "needs signatures of officer and council" in said
    assert f"next: `mitschnitt policy sign {digest[:8]} --as officer --key FILE --dir {site}`" in said
    assert (site / "policy" / f"{digest}.toml").read_bytes() == FIRST
    assert not (site / "policy" / "active").exists()
    run(site, tmp_path / "new.toml", as_json=True)
    assert json.loads(capsys.readouterr().out)["policy"] == digest


@pytest.mark.parametrize(
    "text, says",
    [
        (b"[[purpose", "not TOML"),
        (FIRST.replace(b"timezone", b"timezome"), "timezome"),
        (FIRST.replace(b"Europe/Berlin", b"Europe/Atlantis"), "Europe/Atlantis"),
        (FIRST.replace(b'when = "true"', b'when = "agent == 1"'), "agent"),
        (FIRST.replace(b'when = "true"', b'when = "hour"'), "must be true or false, found int"),
        (FIRST.replace(b'when = "true"', b'when = "' + b"(" * 240 + b"true" + b")" * 240 + b'"'), "nested too deeply"),
        (FIRST.replace(b'when = "true"', b"when = \"queue.matches('(a+)+$')\""), "undeclared reference to 'matches'"),
        (FIRST.replace(b"P30D", b"P99999D"), "at most 30 years"),
        (FIRST.replace(b"P30D", b"P0D"), "longer than nothing"),
        (FIRST.replace(b"P30D", b"-P30D"), "whole days"),
        (b"#" * 300_000, "at most"),
    ],
)
def test_what_is_no_sound_policy_is_refused_and_nothing_is_changed(
    site: Path, tmp_path: Path, text: bytes, says: str
) -> None:
    (tmp_path / "new.toml").write_bytes(text)
    before = contents(site)
    with pytest.raises(ConfigError, match=says):
        run(site, tmp_path / "new.toml", as_json=False)
    assert contents(site) == before


def test_what_speaks_against_a_policy_keeps_it_from_being_proposed(site: Path, tmp_path: Path) -> None:
    (tmp_path / "new.toml").write_bytes(ASKS_WITHOUT_NOTICE)
    before = contents(site)
    with pytest.raises(NotAllowed, match=r"`mitschnitt policy check .*new\.toml` says .*policy\.check"):
        run(site, tmp_path / "new.toml", as_json=False)
    assert contents(site) == before


def test_a_file_that_is_not_there_and_a_directory_that_is_no_site_are_named(site: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        run(site, tmp_path / "none.toml", as_json=False)
    (tmp_path / "new.toml").write_bytes(FIRST)
    with pytest.raises(ConfigError, match=r"holds no config\.toml"):
        run(tmp_path / "elsewhere", tmp_path / "new.toml", as_json=False)
    assert not (tmp_path / "elsewhere").exists()
