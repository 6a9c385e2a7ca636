"""`init` makes a whole site that loads, closed to others, or changes nothing."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import tomllib
from fractions import Fraction
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from mitschnitt.commands.init import activate, policy_text, provision, run
from mitschnitt.config import load_config
from mitschnitt.core.criteria import Traits, compile_criteria
from mitschnitt.core.policy import Asking, BeaconKind
from mitschnitt.core.policy_check import check_policy
from mitschnitt.core.policy_text import parse_policy
from mitschnitt.errors import ConfigError, NoSpace
from mitschnitt.gateways.speech import prompt, prompt_entries
from mitschnitt.keeper.clock import wall_clock
from mitschnitt.keeper.policy_files import PolicyFiles
from mitschnitt.keeper.policy_watch import watch_of
from source import ROOT


@pytest.fixture(scope="module", name="trial")
def made_for_trials(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("init") / "trial"
    provision(directory, allow_unsigned_policy=True)
    return directory


@pytest.fixture(scope="module", name="site")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("init") / "site"
    provision(directory, allow_unsigned_policy=False)
    return directory


def test_the_configuration_loads_and_loosens_nothing(site: Path) -> None:
    assert not load_config(site).gate.allow_unsigned_policy


def test_the_active_policy_is_one_that_parses_under_its_own_hash(trial: Path) -> None:
    digest = (trial / "policy" / "active").read_text().strip()
    policy = parse_policy((trial / "policy" / f"{digest}.toml").read_bytes())
    assert policy.hash == digest
    assert policy.asking is Asking.ANNOUNCED


def test_every_prompt_of_the_policy_lies_beside_it_with_its_hash(trial: Path) -> None:
    digest = (trial / "policy" / "active").read_text().strip()
    policy = parse_policy((trial / "policy" / f"{digest}.toml").read_bytes())
    assert {item.language for item in policy.prompts} == {"de", "en"}
    for item in policy.prompts:
        audio = (trial / "prompts" / f"{item.name}.{item.language}.pcma").read_bytes()
        assert hashlib.sha256(audio).hexdigest() == item.sha256
        assert len(audio) // 8 == item.length_ms  # PCMA: 8 bytes a millisecond


def test_no_agent_and_no_consent_stands_in_the_agents_file(site: Path) -> None:
    text = (site / "agents.toml").read_text()
    assert tomllib.loads(text) == {}
    assert "No consent stands in this file" in text


def test_the_officers_keys_belong_together_and_the_private_one_lies_elsewhere(site: Path) -> None:
    private = load_pem_private_key(site.with_name("site.officer").joinpath("officer.x25519.pem").read_bytes(), None)
    assert isinstance(private, X25519PrivateKey)
    public = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    assert (site / "secrets" / "officer.x25519.pub").read_bytes() == public
    assert not list(site.rglob("*.pem"))


def test_everything_is_for_the_owner_only(site: Path) -> None:
    places = [site, *site.rglob("*"), site.with_name("site.keys"), *site.with_name("site.keys").rglob("*")]
    assert len(places) > 10
    assert [str(path) for path in places if stat.S_IMODE(path.lstat().st_mode) & 0o077] == []


def test_the_kek_lies_outside_the_directory(site: Path) -> None:
    assert any(site.with_name("site.keys").iterdir())


def test_what_exists_is_never_touched(site: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in site.rglob("*")}
    with pytest.raises(ConfigError, match="exists; init makes a new directory"):
        provision(site, allow_unsigned_policy=False)
    assert {path: path.stat().st_mtime_ns for path in site.rglob("*")} == before


@pytest.mark.parametrize("left_over", ["new.keys", "new.officer"])
def test_keys_of_another_directory_are_not_used_again(tmp_path: Path, left_over: str) -> None:
    (tmp_path / left_over).mkdir()
    with pytest.raises(ConfigError, match="keys of another directory are not reused"):
        provision(tmp_path / "new", allow_unsigned_policy=False)
    assert not (tmp_path / "new").exists()


def test_a_configuration_that_is_wrong_makes_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown key"):
        provision(tmp_path / "new", allow_unsigned_policy=False, config_text="[sip]\nnonsense = 1\n")
    assert list(tmp_path.iterdir()) == []


def test_the_command_says_where_everything_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path / "new", allow_unsigned_policy=True, as_json=False)
    told = capsys.readouterr().out
    assert re.search(r"officer's private key: \S+/new\.officer/officer\.x25519\.pem", told)
    assert load_config(tmp_path / "new").gate.allow_unsigned_policy


def test_a_policy_is_activated_by_its_hash_also_after_a_crash_in_between(trial: Path) -> None:
    text = policy_text([prompt(entry["name"], entry["language"]) for entry in prompt_entries()], mode="asserted")
    first = (trial / "policy" / "active").read_text().strip()
    # A crash after the policy's file and the new pointer were written, and before the pointer took effect.
    (trial / "policy" / f"{hashlib.sha256(text).hexdigest()}.toml").write_bytes(text)
    (trial / "policy" / "active.new").write_text("half")
    digest = activate(trial, text)
    assert digest != first
    assert (trial / "policy" / "active").read_text().strip() == digest
    assert parse_policy(text).asking is Asking.ASSERTED
    assert not (trial / "policy" / "active.new").exists()


def test_the_command_says_the_same_in_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path / "new", allow_unsigned_policy=False, as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert {name: Path(path).exists() for name, path in told.items()} == {
        "directory": True,
        "keys": True,
        "officer_key": True,
    }


def test_without_the_switch_it_is_said_that_serve_will_refuse(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path / "new", allow_unsigned_policy=False, as_json=False)
    told = capsys.readouterr().out
    assert "until then `mitschnitt serve` refuses to start" in told
    for step in ("propose FILE", "key --as officer", "key --as council", "sign HASH --as council", "activate HASH"):
        assert f"  mitschnitt policy {step}" in told
    with pytest.raises(ConfigError, match="none is active; next: `mitschnitt policy key --as officer --out FILE --dir"):
        watch_of(load_config(tmp_path / "new"), now=wall_clock(), monotonic=lambda: 0.0)


def test_the_proposed_policy_draws_few_is_not_active_and_nothing_speaks_against_it(site: Path) -> None:
    assert not (site / "policy" / "active").exists()
    (digest,) = PolicyFiles(site).known()
    policy = PolicyFiles(site).read(digest).policy
    assert {stratum.name: stratum.rate for stratum in policy.strata}["all others"] == Fraction(2, 100)
    assert (policy.beacon, policy.caps.agent_week) == (BeaconKind.COMMIT, 3)
    assert compile_criteria(policy).place(Traits("q", "in", 9, 1)).stratum == 1
    assert [finding for finding in check_policy(policy) if finding.is_error] == []


def test_a_path_too_long_for_its_sockets_is_refused_now_and_not_when_serving(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="its sockets would take .* bytes, at most 107"):
        provision(tmp_path / ("x" * 100), allow_unsigned_policy=False)
    assert list(tmp_path.iterdir()) == []


def test_a_place_where_nothing_can_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(NoSpace, match="init: cannot make .*/file/new: Not a directory$"):
        provision(tmp_path / "file" / "new", allow_unsigned_policy=False)


def test_a_disk_that_fills_up_half_way_is_said_with_what_to_remove(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_config: object) -> None:
        raise OSError(28, "No space left on device", str(tmp_path / "new" / "db"))

    monkeypatch.setattr("mitschnitt.commands.init.init_keeper_state", full)
    with pytest.raises(NoSpace, match="No space left on device; remove what was begun: ") as failure:
        provision(tmp_path / "new", allow_unsigned_policy=False)
    begun = str(failure.value).rpartition(": ")[2].split(", ")
    assert sorted(begun) == sorted(str(path) for path in tmp_path.iterdir())
    assert not os.path.lexists(tmp_path / "new" / "db" / "domain.sqlite")


def test_the_page_that_the_configuration_names_exists(site: Path) -> None:
    named = re.findall(r"docs/[a-z]+\.md", (site / "config.toml").read_text())
    assert named
    assert [name for name in named if not (ROOT / name).is_file()] == []
