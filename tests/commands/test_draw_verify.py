"""`draw verify` as a person runs it: names of periods, folders and files; words, JSON and exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from commands.draw_site import publish, signature
from mitschnitt import cli
from second.draw_cheats import CHEATS, case, files_of, first
from second.draw_lists import honest_week
from source import PACKAGE

WEEK = honest_week()
MONDAY = "2026-11-23"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return publish(tmp_path / "site", case(WEEK).files())


def run(*arguments: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    monkeypatch.setattr(sys, "argv", ["mitschnitt", "draw", "verify", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    told = capsys.readouterr()
    return int(ended.value.code or 0), told.out + told.err


@pytest.fixture
def verify(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    return lambda *arguments: run(*map(str, arguments), monkeypatch=monkeypatch, capsys=capsys)


def test_a_week_of_a_site_is_verified_with_all_that_lies_beside_it(site: Path, verify: Any) -> None:
    code, told = verify("2026-W48", "--dir", site, "--council")
    assert code == 0
    assert "3 days, 1,200 calls" in told
    assert "officer signed policy" in told
    assert "the key's fingerprint is" in told
    assert "2026-11-26: there is no list" in told
    assert told.rstrip().endswith("nothing is wrong")


def test_who_takes_the_sites_word_for_whose_the_keys_are_is_told_so(site: Path, tmp_path: Path, verify: Any) -> None:
    code, told = verify(MONDAY, "--dir", site)
    assert code == 0
    assert "? whose the keys of roles are: they came from the site itself" in told
    assert "--keys DIR" in told
    assert any("came from the site" in line for line in json.loads(verify(site, "--json")[1])["not_proved"])
    own = tmp_path / "own"
    own.mkdir()
    for path in (site / "roles").glob("*.pub"):
        (own / path.name).write_bytes(path.read_bytes())
    code, told = verify(MONDAY, "--dir", site, "--keys", own)
    assert (code, "the key's fingerprint is" in told, "came from the site" in told) == (0, True, False)


def test_a_site_that_put_its_own_keys_in_the_place_of_the_roles_is_found_by_whoever_has_theirs(
    site: Path, tmp_path: Path, verify: Any
) -> None:
    own = tmp_path / "own"
    own.mkdir()
    for path in (site / "roles").glob("*.pub"):
        (own / path.name).write_bytes(bytes(31) + b"\1")
    code, told = verify(MONDAY, "--dir", site, "--keys", own)
    assert code == 4
    assert "is not by its key" in told


def test_where_no_key_was_used_nothing_is_said_of_keys(site: Path, verify: Any) -> None:
    told = verify(site / "draw" / MONDAY / "public.mdl")[1]
    assert "came from the site" not in told


@pytest.mark.parametrize("name", ["drops_a_call_from_the_public_list", "edits_the_policy_in_mid_period"])
def test_a_cheat_ends_with_four_and_says_from_which_file_it_is_known(name: str, tmp_path: Path, verify: Any) -> None:
    site = publish(tmp_path / "site", files_of(name, WEEK))
    code, told = verify("2026-W48", "--dir", site, "--council")
    _, what, where = CHEATS[name]
    assert code == 4
    assert f": {what}: " in told
    assert {"council": "(from the council's bundle)", "day": "(from the day record)"}[where] in told


def test_without_council_the_bundle_is_not_opened(site: Path, verify: Any) -> None:
    (site / "draw" / MONDAY / "council.mdl").write_bytes(b"MSDRAWC1 broken")
    code, told = verify(MONDAY, "--dir", site)
    assert code == 0
    assert "without the council's bundle" in told
    assert verify(MONDAY, "--dir", site, "--council")[0] == 4


def test_folders_and_files_are_verified_as_well_as_periods(site: Path, verify: Any) -> None:
    for name in (site, site / "draw", site / "draw" / MONDAY, site / "draw" / MONDAY / "public.mdl"):
        code, told = verify(name)
        assert code == 0, told
    code, told = verify(site / "draw" / MONDAY / "public.mdl", site / "draw" / MONDAY / "day.json")
    assert "key, policy and beacon are those of the day record" in told


def test_one_file_needs_no_site_no_database_and_no_configuration(site: Path, tmp_path: Path) -> None:
    alone = tmp_path / "elsewhere"
    alone.mkdir()
    (alone / "list").write_bytes((site / "draw" / MONDAY / "public.mdl").read_bytes())
    command = [sys.executable, "-m", "mitschnitt", "draw", "verify", "list"]
    environment = {"PYTHONPATH": str(PACKAGE.parent), "PATH": "/usr/bin"}
    ended = subprocess.run(command, cwd=alone, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "nothing is wrong" in ended.stdout
    assert [path.name for path in alone.iterdir()] == ["list"]


def test_a_caller_asks_for_the_own_draw_id(site: Path, verify: Any) -> None:
    draw = first(WEEK[0], "not_drawn", place=0)
    code, told = verify(MONDAY, "--dir", site, "--id", WEEK[0].id_of(draw).hex())
    assert code == 0
    assert "in the list, stratum `hotline`, not drawn" in told
    code, told = verify(MONDAY, "--dir", site, "--id", "ab" * 16, "--json")
    assert code == 4
    assert json.loads(told)["ids"] == [
        {
            "id": "ab" * 16,
            "is": "absent",
            "sentence": "in none of these lists; if the receipt names their day, a call was dropped",
        }
    ]


def test_json_says_what_was_found_proved_and_left_open(tmp_path: Path, verify: Any) -> None:
    site = publish(tmp_path / "site", files_of("publishes_a_second_list", WEEK))
    there = site / "draw" / MONDAY
    code, told = verify(there / "public.mdl", there / "other.mdl", "--json")
    answer = json.loads(told)
    assert code == 4
    assert answer["findings"][0]["cheat"] == "redrawn"
    assert answer["findings"][0]["from"] == "from the public list"
    assert answer["days"] == [MONDAY]
    assert answer["not_proved"]


def test_a_policy_that_is_handed_over_counts_instead_of_the_sites(site: Path, tmp_path: Path, verify: Any) -> None:
    other = tmp_path / "policy.toml"
    text = next((site / "policy").glob("*.toml")).read_bytes()
    other.write_bytes(text.replace(b"0.20", b"0.10"))
    code, told = verify(MONDAY, "--dir", site, "--policy", other)
    assert code == 4
    assert "which none of the given files is" in told


@pytest.mark.parametrize(
    "changed, words",
    [
        ({"signed_at": f"{MONDAY}T00:00:00.000000+01:00"}, "signed policy"),
        ({"by": "officer"}, "is not by its key"),
        ({"policy": b"another"}, "council has not signed"),
    ],
)
def test_a_policy_is_signed_by_all_it_names_by_their_keys_and_before_its_first_day(
    changed: dict[str, Any], words: str, site: Path, verify: Any
) -> None:
    next((site / "policy").glob("*.council.json")).write_bytes(signature("council", **changed))
    code, told = verify(MONDAY, "--dir", site)
    assert code == 4
    assert words in told
    assert "(from the signatures)" in told


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["2026-13"], "expected a day 2026-11-26, week 2026-W48 or month 2026-11; found '2026-13'"),
        (["2026-12"], "no list for 2026-12"),
        (["nowhere.mdl"], "there is no file nowhere.mdl"),
        ([MONDAY, "--id", "xyz"], "32 hex digits"),
        ([MONDAY, "--policy", "{site}/draw/2026-11-23/day.json"], "no policy that draws"),
        ([MONDAY, "--signatures", "{site}/draw/2026-11-23/day.json"], "no signature on a policy"),
        (["{site}/policy/no_list"], "no list of the draw; one begins with MSDRAWP1 or MSDRAWC1"),
    ],
)
def test_what_cannot_be_verified_at_all_is_wrong_usage(
    arguments: list[str], words: str, site: Path, verify: Any
) -> None:
    (site / "policy" / "no_list").write_bytes(b"%PDF-1.7")
    code, told = verify(*(argument.format(site=site) for argument in arguments), "--dir", site)
    assert code == 2
    assert words in told
    assert told.count("\n") == 1
