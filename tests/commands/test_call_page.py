"""`call why|list` for caller and agent: what the own page says, and how little somebody else's says."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from commands.keeper_stub import CALL, OTHER, StubDoor
from mitschnitt.commands import call_page as command
from mitschnitt.core.receipt_code import read_code, write_code
from mitschnitt.errors import ConfigError, Damaged, NotAllowed
from mitschnitt.vault.page import key_of_code, public_of, public_of_signer, seal_for_nobody, seal_page

CODE = write_code(37 * 10**20)
CODE_KEY = public_of(key_of_code(read_code(CODE)))
ANNA, BEN = (Ed25519PrivateKey.from_private_bytes(name * 32) for name in (b"a", b"b"))
THIRD = "0" * 25 + "3"
DRAW = {"day": "2026-11-26", "id": "ab" * 16, "drawn": True}
PAGE: dict[str, Any] = {
    "v": 1,
    "outcome": "not_kept",
    "rule": "consent.others",
    "draw": DRAW,
    "asked": [{"at": "2026-11-26T09:30:04Z", "whole": True}],
    "acts": [{"what": "yes", "at": "2026-11-26T09:30:06Z"}],
}


def pem(path: Path, key: Any) -> Path:
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return path


def signer(key: Ed25519PrivateKey) -> bytes:
    return public_of_signer(key.public_key().public_bytes_raw())


def told(person: str, call: str, readers: list[bytes], page: Mapping[str, Any]) -> str:
    return base64.b64encode(seal_page(person, call, readers, page)).decode()


class Calls(StubDoor):
    """A door with one call's page, and pages of three calls in the list."""

    def has(self, page: Mapping[str, Any], *, state: str = "not_kept") -> None:
        self.answers[("GET", f"/calls/{CALL}")] = {"call": CALL, "state": state}
        self.answers[("GET", f"/calls/{CALL}/page")] = lambda sent: {
            "page": told(sent["as"], CALL, [CODE_KEY if sent["as"] == "caller" else signer(ANNA)], page)
        }


@pytest.fixture(name="door")
def page_door(monkeypatch: pytest.MonkeyPatch) -> Calls:
    door = Calls()
    door.has(PAGE)
    kept = {"outcome": "kept", "rule": "consent.all", "due_at": "2026-12-23T09:30:00Z"}
    listed = [
        {"call": CALL, "month": "2026-12", "page": told("agent", CALL, [signer(BEN), signer(ANNA)], kept)},
        {"call": OTHER, "month": "2026-11", "page": base64.b64encode(seal_for_nobody("agent", OTHER)).decode()},
        {"call": THIRD, "month": "2026-11", "page": told("agent", THIRD, [signer(ANNA)], {**kept, "due_at": ""})},
    ]
    door.answers[("GET", "/pages")] = lambda sent: {"pages": [one for one in listed if one["call"] > sent["after"]][:2]}
    door.behind(monkeypatch, command)
    monkeypatch.setenv(command.CODE_VARIABLE, CODE)
    return door


def why(role: str, means: command.Means, *, as_json: bool = False) -> None:
    command.why(CALL, Path(), means, role=role, as_json=as_json)


def test_a_caller_reads_draw_question_own_answer_and_one_sentence(
    door: Calls, capsys: pytest.CaptureFixture[str]
) -> None:
    why("caller", command.Means())
    assert capsys.readouterr().out.splitlines() == [
        "Nicht aufbewahrt.",
        "Warum: Es wurde nichts aufbewahrt: Nicht alle Beteiligten haben zugestimmt, oder es war technisch nicht "
        "möglich.",
        f"Los {DRAW['id']} vom 2026-11-26: gezogen. Nachprüfen: mitschnitt draw verify 2026-11-26 --id {DRAW['id']}",
        "Gefragt: 26.11.2026, 09:30:04 (UTC)",
        "Ja: 26.11.2026, 09:30:06 (UTC)",
    ]
    why("caller", command.Means(language="en"))
    assert capsys.readouterr().out.splitlines()[3] == "Asked: 26 Nov 2026, 09:30:04 (UTC)"
    assert {sent["as"] for _, _, sent in door.asked} == {"caller"}


def test_as_json_the_page_stands_beside_what_holds_now(door: Calls, capsys: pytest.CaptureFixture[str]) -> None:
    why("caller", command.Means(language="en"), as_json=True)
    said = json.loads(capsys.readouterr().out)
    assert {**said, "says": ""} == {
        **PAGE,
        "call": CALL,
        "state": "not_kept",
        "gone": False,
        "says": "",
    }
    assert said["says"].startswith("Nothing was kept")
    assert door.asked


@pytest.mark.parametrize(
    "page, state, lines",
    [
        (
            {"outcome": "kept", "rule": "consent.all", "due_at": "then"},
            "kept",
            ["Kept until then.", "Why: Everybody on the call agreed. "],
        ),
        (
            {"outcome": "kept", "rule": "consent.all"},
            "not_kept",
            ["Not kept.", "Everybody had agreed, and there was a recording. It has been destroyed since."],
        ),
        (
            {"outcome": "", "rule": "recorder.lost"},
            "kept",
            ["Kept.", "Why: The recording was broken off by a"],
        ),
        (
            {"outcome": "not_kept", "rule": "draw.not_drawn", "draw": {**DRAW, "drawn": False}},
            "not_kept",
            ["Not kept.", "Why: The draw did not choose this call.", "Lot abab"],
        ),
        (
            {"outcome": "not_kept", "rule": "consent.caller.prompt.cut", "asked": [{"at": "t", "whole": False}]},
            "not_kept",
            ["Not kept.", "Why: The question was not played", "Asked: t (the question was not heard to its end)"],
        ),
    ],
)
def test_what_happened_is_said_in_plain_words(
    door: Calls, capsys: pytest.CaptureFixture[str], page: dict[str, Any], state: str, lines: list[str]
) -> None:
    door.has(page, state=state)
    why("caller", command.Means(language="en"))
    found = capsys.readouterr().out.splitlines()
    assert len(found) == len(lines)
    assert all(line.startswith(begin) for line, begin in zip(found, lines, strict=True))


def test_a_code_comes_from_a_file_from_standard_input_or_is_asked_for(
    door: Calls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(command.CODE_VARIABLE)
    file = tmp_path / "code"
    file.write_text(CODE.lower() + "\n")
    why("caller", command.Means(code_file=file))
    monkeypatch.setattr("sys.stdin", io.StringIO(CODE + "\n"))
    why("caller", command.Means(code_file=Path("-")))
    monkeypatch.setattr("typer.prompt", lambda _text, *, hide_input: CODE if hide_input else "")
    why("caller", command.Means())
    assert capsys.readouterr().out.count("Nicht aufbewahrt.") == 3
    assert len(door.asked) == 6


@pytest.mark.parametrize("code", ["", "GEHEIM", CODE[:-1] + "Z"])
def test_what_is_no_code_is_refused_without_a_symbol_of_it(door: Calls, tmp_path: Path, code: str) -> None:
    (tmp_path / "code").write_text(code)
    with pytest.raises(ConfigError, match="^code: ") as refused:
        why("caller", command.Means(code_file=tmp_path / "code"))
    assert not code or code not in str(refused.value)
    with pytest.raises(ConfigError, match="cannot read"):
        why("caller", command.Means(code_file=tmp_path / "none"))
    assert door.asked == []


def test_the_code_of_another_call_opens_nothing(door: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(command.CODE_VARIABLE, write_code(0))
    with pytest.raises(Damaged, match="does not open with this receipt code"):
        why("caller", command.Means())
    assert len(door.asked) == 1


def test_an_agent_reads_the_own_page_and_somebody_elses_is_as_one_that_is_not_kept(
    door: Calls, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    door.has({"outcome": "kept", "rule": "consent.all", "due_at": "then"}, state="kept")
    why("agent", command.Means(key=pem(tmp_path / "anna.pem", ANNA)))
    assert capsys.readouterr().out.startswith("Aufbewahrt bis then.\nWarum: Alle Beteiligten haben zugestimmt.")
    refusals = []
    for state in ("kept", "not_kept"):
        door.has({"outcome": state, "rule": "consent.all"}, state=state)
        with pytest.raises(NotAllowed) as refused:
            why("agent", command.Means(key=pem(tmp_path / "ben.pem", BEN)))
        refusals.append(str(refused.value))
    assert len(set(refusals)) == 1
    assert capsys.readouterr().out == ""


def test_an_agent_lists_the_own_kept_calls_and_no_number_of_others(
    door: Calls, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = command.load_page_key(pem(tmp_path / "anna.pem", ANNA))
    reading = pem(tmp_path / "reading.pem", X25519PrivateKey.from_private_bytes(own))
    for key in (tmp_path / "anna.pem", reading):
        command.list_calls(Path(), key=key, role="agent", as_json=False)
        assert capsys.readouterr().out == (
            f"{THIRD}  2026-11  kept\n{CALL}  2026-12  kept until 2026-12-23T09:30:00Z\n"
        )
    command.list_calls(Path(), key=pem(tmp_path / "ben.pem", BEN), role="agent", as_json=True)
    assert json.loads(capsys.readouterr().out) == [
        {"call": CALL, "month": "2026-12", "state": "kept", "due_at": "2026-12-23T09:30:00Z"}
    ]
    nobody = pem(tmp_path / "nobody.pem", Ed25519PrivateKey.from_private_bytes(b"n" * 32))
    command.list_calls(Path(), key=nobody, role="agent", as_json=False)
    assert capsys.readouterr().out == "no calls of yours are kept\n"
    assert {path for _, path, _ in door.asked} == {"/pages"}


def test_what_is_wrong_is_said_before_anybody_is_asked(door: Calls, tmp_path: Path) -> None:
    for role in ("agent", "officer", "operator"):
        with pytest.raises(ConfigError, match=f"--as {role} needs --key FILE"):
            why(role, command.Means())
    with pytest.raises(ConfigError, match="--as agent needs --key FILE"):
        command.list_calls(Path(), key=None, role="agent", as_json=False)
    with pytest.raises(ConfigError, match="expected one of de, en; found 'fr'"):
        why("caller", command.Means(language="fr"))
    with pytest.raises(ConfigError, match="role: expected one of"):
        why("boss", command.Means())
    (tmp_path / "text").write_text("no key")
    for path, said in (
        (tmp_path / "none", "cannot read"),
        (tmp_path / "text", "no unencrypted private key"),
        (pem(tmp_path / "ec", generate_private_key(SECP256R1())), "another kind of key"),
    ):
        with pytest.raises(ConfigError, match=said):
            why("agent", command.Means(key=path))
    assert door.asked == []
