"""A whole site after calls that were not kept for different reasons: nothing that it says or stores tells them apart.

The kinds are refused, silent, refused by the agent, withdrawn, and not to be asked. Then the persons concerned read.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from journeys.running import Site, report_rows, running_site
from mitschnitt.core.access import ROLES
from mitschnitt.core.call import decode_call_id
from mitschnitt.gateways.control_client import read_token
from mitschnitt.keeper.policy_watch import CLOCK, SAYS, UNSIGNED
from mitschnitt.store.engine import open_reader
from mitschnitt.store.tables import metadata
from mitschnitt.vault.journal import Entry
from mitschnitt.vault.journal_files import JournalReader
from test_silence import KNOWN, door, routes

pytestmark = [pytest.mark.journey, pytest.mark.timeout(180)]

MIX = ("refused_by_act", "silent", "no_agent_consent", "withdrew_by_act", "agreed_by_act")
NOT_KEPT = ("not to be asked", *MIX[:-1])
OPENED = "withdrew_by_act"  # the one that was open for a while
EACH = 2
MANY = "GET /calls"  # of the ways in that name no call
NOW = "2026-11-23T09:30:00Z"
POSTS: Mapping[str, Mapping[str, Any]] = {
    "asked": {
        "party": "caller", "prompt": "p", "sha256": "0" * 64, "from": NOW, "to": NOW, "played_ms": 1, "length_ms": 1,
    },
    "acts": {"party": "caller", "kind": "digit", "value": "1", "at": NOW},
    "parties": {"party": "third", "kind": "joined", "at": NOW},
}  # fmt: skip
# Verbs that take a call, and how somebody asks who is neither concerned nor the officer.
VERBS: Mapping[str, Sequence[str]] = {
    "call show": ("--as", "operator"),
    "call why": ("--as", "agent", "--key", "{key}"),
    "call erase": ("--as", "coach"),
    "play": ("--as", "coach", "--purpose", "training", "--out", "{out}"),
}


@dataclass(frozen=True)
class Past:
    """What was played, and where its traces are."""

    site: Site
    calls: Mapping[str, list[str]]  # by kind
    codes: Mapping[str, str]  # by call
    keys: Path

    @property
    def not_kept(self) -> list[str]:
        """All calls of all kinds that are not kept."""
        return [call for kind in NOT_KEPT for call in self.calls[kind]]

    def run(self, *arguments: str, code: str = "") -> tuple[int, str]:
        """A verb, as somebody at a terminal runs it: exit code and all that it prints."""
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "MITSCHNITT_RECEIPT_CODE": code}
        command = [sys.executable, "-m", "mitschnitt", *arguments, "--dir", str(self.site.demo.directory)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)
        return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Past]:
    root = tmp_path_factory.mktemp("silence")
    with running_site(root, agent_keys=root / "keys") as site:
        mix = ",".join(f"{name}=1" for name in MIX)
        told = ("--rate", "5", "--max-talk", "5", "--report", str(root / "report.jsonl"))
        asked = site.centre("--calls", str(EACH * len(MIX)), "--mix", mix, *told)
        asked.communicate(timeout=60)
        arguments = [*site.demo.centre_arguments()[:2], "--calls", str(EACH), "--max-talk", "3"]
        subprocess.run(
            [sys.executable, "-m", "mitschnitt.gateways.centre", *arguments],
            stdout=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            timeout=60,
            check=True,
        )
        closed = {row["call"] for row in site.wait_closed(EACH * len(NOT_KEPT) + EACH)}
        rows = report_rows(root / "report.jsonl")
        calls = {name: [row["control"] for row in rows if row["scenario"] == name] for name in MIX}
        calls["not to be asked"] = sorted(closed - {call for some in calls.values() for call in some})
        yield Past(site, calls, {row["control"]: row["receipt_code"] for row in rows}, root / "keys")


def test_there_are_calls_of_every_kind(past: Past) -> None:
    assert {kind: len(calls) for kind, calls in past.calls.items()} == dict.fromkeys((*MIX, "not to be asked"), EACH)
    assert not [row for row in past.site.calls() if (row["state"] == "kept") != (row["call"] in past.calls[MIX[-1]])]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_that_takes_a_call_says_the_same(past: Past, verb: str, tmp_path: Path) -> None:
    names = {"key": str(next(past.keys.iterdir())), "out": str(tmp_path / "call.wav")}
    said = set()
    for kind in NOT_KEPT:
        call = past.calls[kind][0]
        code, text = past.run(*verb.split(), call, *(part.format(**names) for part in VERBS[verb]))
        said.add((code, text.replace(call, "CALL")))
    assert len(said) == 1
    assert not list(tmp_path.iterdir())


def test_every_verb_that_takes_a_call_is_asked() -> None:
    silent = {verb for verb, answer in KNOWN["verbs"].items() if answer.startswith(("one word for", "one refusal"))}
    assert silent | {"call why", "call erase"} == set(VERBS)


@pytest.mark.parametrize("role", [*ROLES, "outsider"])
def test_every_way_in_at_the_door_answers_the_same(past: Past, role: str) -> None:
    transport = httpx.HTTPTransport(uds=str(past.site.demo.directory / "run" / "door.sock"))
    with httpx.Client(transport=transport, base_url="http://keeper", timeout=30) as client:
        for route in sorted(route for route in routes(door()) if "{call}" in route):
            method, path = route.split(" ")
            body = {"role": role, "purpose": "training"} if "playbacks" in path else {"role": role}
            more: dict[str, Any] = {"json": body} if method == "POST" else {"params": {"as": role}}
            answers = {call: client.request(method, path.format(call=call), **more) for call in past.not_kept}
            assert len({shown(answer, call) for call, answer in answers.items()}) == 1, route
        listed = client.get("/calls", params={"as": role}).json().get("calls", [])
    rows = {json.dumps({**row, "call": ""}) for row in listed if row["call"] in past.not_kept}
    assert len(rows) <= 1


def shown(answer: httpx.Response, call: str) -> tuple[int, str, str]:
    """Status, headers and body without the id; of what is sealed the size."""
    told = json.loads(answer.content.replace(call.encode(), b"CALL"))
    for name in ("decision", "page"):
        if name in told:
            told[name] = len(told[name])
    return answer.status_code, json.dumps(told), str(sorted(answer.headers.items()))


@pytest.mark.parametrize("what", POSTS)
def test_the_control_api_knows_none_of_them_any_more(past: Past, what: str) -> None:
    token = read_token(past.site.demo.directory / "secrets" / "control.token")
    url = f"http://127.0.0.1:{past.site.demo.control_port}/v1/calls"
    with httpx.Client(headers={"Authorization": f"Bearer {token}"}, trust_env=False, timeout=30) as client:
        answers = {call: client.post(f"{url}/{call}/{what}", json=POSTS[what]) for call in past.not_kept}
    assert {(answer.status_code, answer.text.replace(call, "CALL")) for call, answer in answers.items()} == {
        (404, next(iter(answers.values())).text)
    }


def test_the_log_has_known_sentences_only(past: Past) -> None:
    parts = ("SIP ", "control ", "keeper ", "recorder")  # what a part says of where it listens when it begins
    known = (*parts, *itertools.chain.from_iterable(KNOWN["log"].values()), CLOCK, UNSIGNED, *SAYS.values())
    told = [json.loads(line)["event"] for line in past.site.log.read_text().splitlines() if line.startswith("{")]
    assert told
    assert [event for event in told if not event.startswith(known)] == []


def test_no_table_tells_them_apart(past: Past) -> None:
    database = open_reader(past.site.demo.directory / "db" / "domain.sqlite")
    with database.connect() as connection:
        for name, table in metadata.tables.items():
            rows = [dict(row) for row in connection.execute(select(table)).mappings()]
            if "call_id" not in table.columns:
                assert not [call for call in past.not_kept if call in repr(rows)], name
                continue
            shapes = {call: [shape(row) for row in rows if row["call_id"] == call] for call in past.not_kept}
            assert len({repr(rows) for rows in shapes.values()}) == 1, name
    database.dispose()


def shape(row: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """A row without the id; of bytes their number."""
    return [(name, len(v) if isinstance(v, bytes) or name == "call_id" else v) for name, v in row.items()]


def test_files_beside_the_database_and_the_journal_name_none_of_them(past: Past) -> None:
    directory = past.site.demo.directory
    files = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    named = {
        path.relative_to(directory).parts[0]
        for path, data in files.items()
        for call in past.not_kept
        if call.encode() in data or (decode_call_id(call) in data and path.suffix != ".slices")
    }
    assert named <= {"db", "recorder"}
    assert not [path for path in (directory / "audio").rglob("*") if path.name in past.not_kept]


def test_the_journal_tells_for_ten_minutes_which_were_open_and_nothing_else(past: Past) -> None:
    entries: dict[str, list[Entry]] = {}
    for entry, _, _ in JournalReader(past.site.demo.directory / "recorder" / "1" / "journal").read_from(0, 0):
        entries.setdefault(entry.call, []).append(entry)
    closed = {call: entries[call][-1] for call in past.not_kept}
    assert len({(entry.type, len(json.dumps(entry.data))) for entry in closed.values()}) == 1
    for kind in NOT_KEPT:
        types = {tuple(entry.type for entry in entries[call]) for call in past.calls[kind]}
        assert ("track" in next(iter(types))) == (kind == OPENED)
        assert kind == OPENED or types == {("arrived", "closed")}


@pytest.mark.parametrize(
    "kind, sentence",
    [
        ("refused_by_act", "Sie haben Nein gesagt. Es wurde nichts aufgezeichnet."),
        ("silent", "Sie haben nicht geantwortet; das gilt als Nein. Es wurde nichts aufgezeichnet."),
        ("no_agent_consent", "Sie wurden nicht gefragt. Darum wurde nichts aufgezeichnet."),
        ("withdrew_by_act", "Eine Einwilligung wurde im Gespräch widerrufen. Die Aufzeichnung ist vernichtet."),
        ("agreed_by_act", "Alle Beteiligten haben zugestimmt. Das Gespräch wurde aufgezeichnet."),
    ],
)
def test_the_caller_reads_what_became_of_the_own_call(past: Past, kind: str, sentence: str) -> None:
    call, other = past.calls[kind]
    code, text = past.run("call", "why", call, "--as", "caller", code=past.codes[call])
    assert (code, text.splitlines()[1]) == (0, f"Warum: {sentence}")
    assert text.startswith("Aufbewahrt bis " if kind == "agreed_by_act" else "Nicht aufbewahrt.")
    code, text = past.run("call", "why", call, "--as", "caller", code=past.codes[other])
    assert code == 1
    assert "does not open with this receipt code" in text


def test_agents_list_their_own_kept_calls_and_nothing_of_others(past: Past) -> None:
    listed = {}
    for key in sorted(past.keys.iterdir()):
        code, text = past.run("call", "list", "--as", "agent", "--key", str(key), "--json")
        assert code == 0
        listed[key.stem] = [row["call"] for row in json.loads(text)]
    assert sorted(call for calls in listed.values() for call in calls) == sorted(past.calls["agreed_by_act"])
    assert listed["nora.feld"] == listed["emil.kranz"] == []


def test_no_receipt_code_is_kept_anywhere(past: Past) -> None:
    texts = [path.read_bytes() for path in past.site.demo.directory.rglob("*") if path.is_file()]
    texts.append(past.site.log.read_bytes())
    for code in past.codes.values():
        for spelling in (code, code.replace("-", ""), code.replace("-", "")[:20]):
            assert not any(spelling.encode() in text for text in texts)
