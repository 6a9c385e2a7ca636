"""`call list|show|why|erase`: what is asked of the keeper and printed, and what is wrong before anybody is asked."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from commands.keeper_stub import CALL, OTHER, StubDoor
from mitschnitt.commands import call as command
from mitschnitt.commands.call_ladder import NO_LADDER
from mitschnitt.errors import ConfigError, Damaged, NotAllowed
from mitschnitt.keeper.ladders import shown_ladders
from mitschnitt.vault.decision import seal_decision
from mitschnitt.vault.envelope import pad, seal_to
from mitschnitt.wire.sip.ladder import ladder_from_json

PARTY = {
    "party": 0,
    "role": "caller",
    "started_at": "2026-11-23T09:00:00Z",
    "ended_at": "2026-11-23T09:01:00Z",
    "reason": "ended",
    "media_size": 480_000,
    "timeline_size": 300,
}
LADDERS = Path(__file__).parents[1] / "vectors" / "ladder"
LADDER = json.loads((LADDERS / "kept.json").read_text(encoding="utf-8"))
DRAWN = (LADDERS / "drawn.txt").read_text(encoding="utf-8")
KEPT = {"call": CALL, "state": "kept", "purpose": "training", "parties": [PARTY]}
OFFICER = X25519PrivateKey.from_private_bytes(b"o" * 32)
DECISION = {"v": 1, "rule": "consent.caller.silent"}


@pytest.fixture(name="door")
def stub_door(monkeypatch: pytest.MonkeyPatch) -> StubDoor:
    sealed = seal_to(
        OFFICER.public_key().public_bytes_raw(),
        pad(json.dumps(DECISION).encode(), 256),
        context=b"mitschnitt/v1/decision/" + CALL.encode(),
    )
    words = {CALL: "kept", OTHER: "live"}

    def listed(sent: Mapping[str, Any]) -> dict[str, Any]:
        when = {"day": "2026-11-23"} if sent["as"] == "officer" else {"month": "2026-11"}
        return {"calls": [{"call": call, **when, "state": word} for call, word in words.items()]}

    door = StubDoor(
        {
            ("GET", "/calls"): listed,
            ("GET", f"/calls/{CALL}"): KEPT,
            ("GET", f"/calls/{CALL}/decision"): {"call": CALL, "decision": base64.b64encode(sealed).decode()},
            ("POST", f"/calls/{CALL}/erase"): {"call": CALL, "state": "not_kept", "epoch": 7},
        }
    )
    door.behind(monkeypatch, command)
    return door


def key_file(path: Path, key: X25519PrivateKey | Ed25519PrivateKey, password: bytes = b"") -> Path:
    how = BestAvailableEncryption(password) if password else NoEncryption()
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how))
    return path


def test_the_list_is_one_line_a_call_with_its_one_word(door: StubDoor, capsys: pytest.CaptureFixture[str]) -> None:
    command.list_calls(Path(), role="operator", as_json=False)
    assert capsys.readouterr().out == f"{CALL}  2026-11  kept\n{OTHER}  2026-11  live\n"
    command.list_calls(Path(), role="officer", as_json=False)
    assert capsys.readouterr().out == f"{CALL}  2026-11-23  kept\n{OTHER}  2026-11-23  live\n"
    command.list_calls(Path(), role="officer", as_json=True)
    assert [row["state"] for row in json.loads(capsys.readouterr().out)] == ["kept", "live"]
    assert [sent for _, _, sent in door.asked] == [{"as": "operator"}, {"as": "officer"}, {"as": "officer"}]


def test_an_empty_list_says_so_to_people_and_is_empty_json(door: StubDoor, capsys: pytest.CaptureFixture[str]) -> None:
    door.answers[("GET", "/calls")] = {"calls": []}
    command.list_calls(Path(), role="operator", as_json=False)
    assert capsys.readouterr().out == "no calls yet\n"
    command.list_calls(Path(), role="operator", as_json=True)
    assert json.loads(capsys.readouterr().out) == []


def test_a_call_is_shown_with_a_line_for_each_party(door: StubDoor, capsys: pytest.CaptureFixture[str]) -> None:
    command.show(CALL, Path(), role="operator", as_json=True)
    assert json.loads(capsys.readouterr().out) == KEPT
    command.show(CALL, Path(), role="operator", as_json=False)
    told = capsys.readouterr().out
    assert "purpose      training\n" in told
    assert "party 0      caller, 2026-11-23T09:00:00Z to 2026-11-23T09:01:00Z (ended), 480000 bytes\n" in told


def test_to_whom_no_times_are_told_a_party_has_a_length(door: StubDoor, capsys: pytest.CaptureFixture[str]) -> None:
    party = {"party": 0, "role": "caller", "reason": "ended", "minutes": 2}
    door.answers[("GET", f"/calls/{CALL}")] = {**KEPT, "month": "2026-11", "parties": [party]}
    command.show(CALL, Path(), role="coach", as_json=False)
    told = capsys.readouterr().out
    assert "month        2026-11\n" in told
    assert "party 0      caller, up to 2 min (ended)\n" in told


def test_the_ladders_of_a_call_are_drawn_for_whom_the_keeper_gives_them(
    door: StubDoor, capsys: pytest.CaptureFixture[str]
) -> None:
    door.answers[("GET", f"/calls/{CALL}")] = {**KEPT, "ladders": shown_ladders([LADDER, LADDER])}
    command.show(CALL, Path(), role="operator", as_json=False)
    assert capsys.readouterr().out.count(DRAWN) == 2
    command.show(CALL, Path(), role="operator", as_json=True)
    assert len(json.loads(capsys.readouterr().out)["ladders"]) == 2


def test_a_kept_call_without_a_ladder_says_why_it_has_none(door: StubDoor, capsys: pytest.CaptureFixture[str]) -> None:
    door.answers[("GET", f"/calls/{CALL}")] = {**KEPT, "ladders": []}
    command.show(CALL, Path(), role="operator", as_json=False)
    assert capsys.readouterr().out.endswith(f"{NO_LADDER}\n")


def test_to_a_role_that_sees_no_ladder_none_is_mentioned(door: StubDoor, capsys: pytest.CaptureFixture[str]) -> None:
    command.show(CALL, Path(), role="coach", as_json=False)
    assert "ladder" not in capsys.readouterr().out
    assert door.asked


def test_what_binds_a_party_is_told_field_by_field(door: StubDoor, capsys: pytest.CaptureFixture[str]) -> None:
    first = {"label": "1", "session": 0, "association": "participantstreamassoc", "cname": None}
    bindings = [first, {**first, "label": "2", "cname": True}]
    door.answers[("GET", f"/calls/{CALL}")] = {**KEPT, "parties": [{**PARTY, "binding": bindings}]}
    command.show(CALL, Path(), role="operator", as_json=False)
    told = capsys.readouterr().out
    line = 'binding {} of party 0 label "{}", session 0, association "participantstreamassoc", cname {}\n'
    assert line.format(1, 1, "null") in told
    assert line.format(2, 2, "true") in told


def test_a_call_that_is_not_kept_is_one_word(door: StubDoor, capsys: pytest.CaptureFixture[str]) -> None:
    door.answers[("GET", f"/calls/{CALL}")] = {"call": CALL, "state": "not_kept"}
    command.show(CALL, Path(), role="coach", as_json=False)
    assert capsys.readouterr().out.split() == ["call", CALL, "state", "not_kept"]


def test_why_is_told_to_whoever_holds_the_officers_key(
    door: StubDoor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = key_file(tmp_path / "officer.pem", OFFICER)
    command.why(CALL, Path(), key=key, role="officer", as_json=False)
    assert "rule         consent.caller.silent\n" in capsys.readouterr().out
    command.why(CALL, Path(), key=key, role="officer", as_json=True)
    assert json.loads(capsys.readouterr().out) == DECISION
    assert door.asked[0] == ("GET", f"/calls/{CALL}/decision", {"as": "officer"})


def test_the_ladder_of_a_call_that_was_not_kept_is_in_its_decision(
    door: StubDoor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = {"call": CALL, "outcome": "not_kept", "rule": "r.x", "party": "", "policy": "", "acts": []}
    sealed = seal_decision(OFFICER.public_key().public_bytes_raw(), CALL, told, [ladder_from_json(LADDER)])
    door.answers[("GET", f"/calls/{CALL}/decision")] = {"decision": base64.b64encode(sealed).decode()}
    key = key_file(tmp_path / "officer.pem", OFFICER)
    command.why(CALL, Path(), key=key, role="officer", as_json=False)
    assert capsys.readouterr().out.endswith(DRAWN)
    command.why(CALL, Path(), key=key, role="officer", as_json=True)
    assert json.loads(capsys.readouterr().out)["ladders"] == shown_ladders([LADDER])


def test_another_key_opens_nothing_and_the_sentence_says_which_would(door: StubDoor, tmp_path: Path) -> None:
    other = key_file(tmp_path / "other.pem", X25519PrivateKey.from_private_bytes(b"x" * 32))
    with pytest.raises(Damaged, match="does not open with this key; expected the officer's"):
        command.why(CALL, Path(), key=other, role="officer", as_json=False)
    assert door.asked


def test_a_key_file_that_is_none_is_said_before_the_keeper_is_asked(door: StubDoor, tmp_path: Path) -> None:
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("no key at all")
    cases = {
        tmp_path / "nowhere.pem": "cannot read .*nowhere.pem: No such file",
        tmp_path: "Is a directory",
        garbage: "holds no unencrypted private key in PEM form",
        key_file(tmp_path / "locked.pem", OFFICER, b"secret"): "holds no unencrypted private key in PEM form",
        key_file(
            tmp_path / "agent.pem", Ed25519PrivateKey.from_private_bytes(b"a" * 32)
        ): "expected the officer's, X25519",
    }
    for path, sentence in cases.items():
        with pytest.raises(ConfigError, match=sentence):
            command.why(CALL, Path(), key=path, role="officer", as_json=False)
    assert door.asked == []


def test_an_erasure_says_what_was_reached(door: StubDoor, capsys: pytest.CaptureFixture[str]) -> None:
    command.erase(CALL, Path(), role="officer", as_json=False)
    assert capsys.readouterr().out == f"{CALL}: not_kept; no key opens it, its files are gone\n"
    command.erase(CALL, Path(), role="officer", as_json=True)
    assert json.loads(capsys.readouterr().out) == {"call": CALL, "state": "not_kept", "epoch": 7}
    assert door.asked[0] == ("POST", f"/calls/{CALL}/erase", {"role": "officer"})


def test_a_refusal_of_the_keeper_comes_through(door: StubDoor) -> None:
    door.answers[("POST", f"/calls/{CALL}/erase")] = NotAllowed("erase.role", "this recording is not erased")
    with pytest.raises(NotAllowed, match=r"not erased \[erase.role\]"):
        command.erase(CALL, Path(), role="coach", as_json=False)


@pytest.mark.parametrize("wrong", ["", "1", "o" * 26, "Z" * 26, CALL + "0", "../" + CALL])
def test_what_is_no_call_id_is_wrong_usage(wrong: str, door: StubDoor) -> None:
    with pytest.raises(ConfigError, match="call: a call id has"):
        command.show(wrong, Path(), role="operator", as_json=False)
    with pytest.raises(ConfigError, match="call: a call id has"):
        command.erase(wrong, Path(), role="officer", as_json=False)
    assert door.asked == []


def test_a_role_that_does_not_exist_is_wrong_usage_and_the_roles_are_named(door: StubDoor) -> None:
    with pytest.raises(ConfigError, match="role: expected one of caller, agent, coach.*; found 'boss'"):
        command.list_calls(Path(), role="boss", as_json=False)
    assert door.asked == []
