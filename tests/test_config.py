"""The configuration: what an empty file means, and every way in which a file is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitschnitt.config import SECTIONS, Config, load_config, parse_config
from mitschnitt.errors import ConfigError

HOME = Path("/srv/site-a")


def test_an_empty_file_is_a_closed_house_on_loopback() -> None:
    config = parse_config("", HOME)
    assert {config.sip.host, config.rtp.host, config.control.host} == {"127.0.0.1"}
    assert not config.gate.allow_unsigned_policy
    assert (config.sip.digest_realm, config.sip.digest_md5) == ("", False)
    assert (config.sip.port, config.control.port) == (5060, 8471)
    assert (config.rtp.first_port, config.rtp.last_port) == (10_000, 32_767)


def test_places_follow_from_the_directory() -> None:
    config = parse_config("", HOME)
    assert config.kek_dir == Path("/srv/site-a.keys")
    assert config.state_copies == (HOME / "secrets" / "tree",)
    assert config.audio == HOME / "audio" / "training"
    assert config.database == HOME / "db" / "domain.sqlite"
    assert config.run == HOME / "run"
    assert config.sip_users == HOME / "secrets" / "sip-users"
    assert config.sip_accounts == HOME / "secrets" / "sip-accounts"
    assert config.journal(3) == HOME / "recorder" / "3" / "journal"


def test_what_stands_in_the_file_is_what_applies() -> None:
    text = """
    [sip]
    host = "10.1.2.3"
    port = 15060
    [keys]
    kek_dir = "/media/token"
    state_copies = ["/mnt/second/tree"]
    [gate]
    allow_unsigned_policy = true
    """
    config = parse_config(text, HOME)
    assert (config.sip.host, config.sip.port) == ("10.1.2.3", 15060)
    assert config.kek_dir == Path("/media/token")
    assert config.state_copies == (HOME / "secrets" / "tree", Path("/mnt/second/tree"))
    assert config.gate.allow_unsigned_policy


def test_tls_files_lie_in_the_directory_under_the_names_that_it_gives() -> None:
    config = parse_config('[sip]\ntls_port = 5061\ntls_key = "mine/k.pem"\n', HOME)
    names = ("tls/certificate.pem", "mine/k.pem", "tls/client-ca.pem", "tls/clients")
    assert config.tls_files == tuple(HOME / name for name in names)


WRONG = {
    "a TLS port that is none": ("[sip]\ntls_port = 65536", "`tls_port` must be 1 to 65535, or 0"),
    "two recorders on one port": (
        "[sip]\nport = 5060\ntls_port = 5061\n[limits]\nrecorders = 2",
        "must lie 2 apart, one for each recorder",
    ),
    "no way in": ("[sip]\nplain = false", "`plain` is false and `tls_port` is 0"),
    "not TOML": ("[sip", "not TOML"),
    "nested beyond reason": ("a = " + "[" * 40_000, "not TOML"),
    "an unknown section": ("[sipp]", r"unknown section \[sipp\]; known are control, draw, gate, keys"),
    "a section that is a value": ("sip = 5060", r"\[sip\] must be a section"),
    "an unknown key": ("[sip]\nprot = 1", r"unknown key `prot` in \[sip\]; known are call_header, calls_per_second"),
    "a text for a number": ('[sip]\nport = "5060"', "`port` must be int, found '5060'"),
    "a switch for a number": ("[sip]\nport = true", "`port` must be int, found True"),
    "a number for a switch": ("[gate]\nallow_unsigned_policy = 1", "must be bool, found 1"),
    "a text for a list": ('[keys]\nstate_copies = "x"', "must be tuple"),
    "a list of numbers": ("[keys]\nstate_copies = [1]", "must be tuple"),
    "a host by name": ('[sip]\nhost = "localhost"', "must be an IP address"),
    "every address of the machine": ('[sip]\nhost = "0.0.0.0"', "loopback or private"),
    "an address of the open net": ('[rtp]\nhost = "8.8.8.8"', "loopback or private"),
    "sessions that end before they may": ("[sip]\nmin_se_s = 900", "not fall, found 900 and 600"),
    "a session interval that no standard allows": ("[sip]\nmin_se_s = 89", "between 90 and 86400"),
    "sessions that never end": ("[sip]\nsession_expires_s = 86_401", "between 90 and 86400"),
    "the control API off loopback": ('[control]\nhost = "10.1.2.3"', r"\[control\] `host` must be loopback"),
    "port 0": ("[sip]\nport = 0", "1 to 65535, found 0"),
    "a port above all": ("[control]\nport = 65536", "1 to 65535"),
    "a range that falls": ("[rtp]\nfirst_port = 20000\nlast_port = 10000", "must rise"),
    "a range below 1024": ("[rtp]\nfirst_port = 1000", "between 1024"),
    "no recorder": ("[limits]\nrecorders = 0", "`recorders` must be 1 to 64"),
    "too many recorders": ("[limits]\nrecorders = 65", "`recorders` must be 1 to 64"),
    "no call at all": ("[sip]\nmax_calls = 0", "`max_calls` must be 1 to"),
    "no call a second": ("[sip]\ncalls_per_second = 0", "`calls_per_second` must be 1 to"),
    "no call a second from anybody": ("[sip]\ncalls_per_second_per_source = 0", "_per_source` must be 1 to"),
    "a realm that no line can hold": ('[sip]\ndigest_realm = "a:b"', "`digest_realm` has no colon"),
    "a realm that no header can hold": ("[sip]\ndigest_realm = 'a\"b'", "`digest_realm` has no colon"),
    "an empty lease": ("[keys]\nlease_block = 0", "`lease_block` must be 1 to"),
    "a keep-alive that floods": ("[rtp]\nkeepalive_s = 14", "`keepalive_s` must be 0, or 15 to 60"),
    "a keep-alive that comes too late": ("[rtp]\nkeepalive_s = 61", "`keepalive_s` must be 0, or 15 to 60"),
    "a source that nobody knows": ('[rtp]\nsource = "any"', "`source` must be signalled or first, found 'any'"),
    "a receive buffer of nothing": ("[rtp]\nreceive_buffer_bytes = -1", "`receive_buffer_bytes` must be 1 to"),
    "a receiver that nobody knows": ('[rtp]\nreceiver = "dpdk"', '`receiver` must be one of "sockets", "ring", found'),
    "a ring of nothing": ("[rtp]\nring_mib = 0", "`ring_mib` must be 1 to 4096"),
    "no announced call": ("[limits]\nannounced_calls = 0", "`announced_calls` must be 1 to"),
    "a KEK inside the directory": ('[keys]\nkek_dir = "/srv/site-a/keys"', "must lie outside"),
    "a KEK inside by a detour": ('[keys]\nkek_dir = "/srv/b/../site-a/keys"', "must lie outside"),
    "a KEK that is the directory": ('[keys]\nkek_dir = "/srv/site-a"', "must lie outside"),
    "audio outside the directory": ('[vault]\naudio = "../audio"', "must lie inside"),
    "audio at an absolute place": ('[vault]\naudio = "/tmp/audio"', "must lie inside"),
}


@pytest.mark.parametrize("phrase", WRONG)
def test_a_file_that_is_wrong_is_refused_and_told_why(phrase: str) -> None:
    text, sentence = WRONG[phrase]
    with pytest.raises(ConfigError, match=sentence):
        parse_config(text, HOME)


@given(st.text(max_size=60))
def test_any_text_is_a_configuration_or_a_config_error(text: str) -> None:
    try:
        config = parse_config(text, HOME)
    except ConfigError as error:
        told = str(error)
    else:
        told = ""
        assert config.directory == HOME
    assert not told or told.startswith("config: ")


def test_every_section_of_the_dataclass_can_be_written() -> None:
    fields = {item.name for item in dataclasses.fields(Config)} - {"directory"}
    assert fields == set(SECTIONS)


def test_a_kek_directory_that_is_a_link_into_the_directory_is_refused(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "inside").mkdir(parents=True)
    (tmp_path / "outside").symlink_to(home / "inside")
    with pytest.raises(ConfigError, match="must lie outside"):
        parse_config(f'[keys]\nkek_dir = "{tmp_path / "outside"}"', home)


def test_a_missing_file_says_what_makes_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*config\.toml.*`mitschnitt init DIR` makes one"):
        load_config(tmp_path)


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="is not UTF-8"):
        load_config(tmp_path)


def test_a_file_is_read_from_its_directory(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[sip]\nport = 15060\n", encoding="utf-8")
    assert load_config(tmp_path).sip.port == 15060
