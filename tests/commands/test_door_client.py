"""The command line's way to the keeper: what each answer of the door becomes."""

from __future__ import annotations

import json
import socketserver
import tempfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from mitschnitt.commands.door_client import Door, NotReachable
from mitschnitt.errors import Damaged, NotAllowed, PeerError, VaultError

ANSWERS: dict[str, tuple[int, bytes]] = {
    "/fine": (200, b'{"calls": []}'),
    "/audio": (200, b"\x00\x01\x02"),
    "/closed": (403, b'{"rule": "access.role.purpose", "detail": "the operator hears nothing"}'),
    "/told": (403, b'{"rule": "erase.role", "detail": "not erased [erase.role]"}'),
    "/bare": (403, b"{}"),
    "/nobody": (404, b"{}"),
    "/broken": (500, b"the disk is gone"),
    "/damaged": (500, b'{"rule": "vault.damaged", "detail": "a chunk fails its check"}'),
    "/failing": (500, b'{"rule": "vault.failing", "detail": "media: cannot be read"}'),
    "/busy": (503, b'{"rule": "keeper.failing", "detail": "ask again"}'),
    "/list": (500, b"[]"),
}


class Keeper(BaseHTTPRequestHandler):
    """A door that answers by path, and repeats what it was sent under /echo."""

    protocol_version = "HTTP/1.1"  # as the keeper's: a connection may be used again
    connections = 0

    def setup(self) -> None:
        super().setup()
        type(self).connections += 1

    def do_GET(self) -> None:  # noqa: N802 - the name that the standard library calls
        self._answer(self.path.encode())

    def do_POST(self) -> None:  # noqa: N802 - as above
        self._answer(self.rfile.read(int(self.headers["Content-Length"])))

    def _answer(self, sent: bytes) -> None:
        echo = (200, json.dumps({"sent": sent.decode()}).encode())
        code, body = ANSWERS.get(self.path, echo)
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the overridden one
        """Nothing: tests are quiet."""

    def address_string(self) -> str:
        return "door"


@pytest.fixture(name="door")
def open_door() -> Iterator[Door]:
    with tempfile.TemporaryDirectory() as short:  # a socket's path must be short
        (Path(short) / "run").mkdir()
        with socketserver.ThreadingUnixStreamServer(str(Path(short) / "run" / "door.sock"), Keeper) as server:
            server.daemon_threads = True
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            try:
                yield Door(Path(short))
            finally:
                server.shutdown()
                thread.join()


def test_an_answer_is_json_or_bytes(door: Door) -> None:
    assert door.get("/fine") == {"calls": []}
    assert door.bytes_of("/audio") == b"\x00\x01\x02"


def test_a_question_and_a_command_carry_what_they_were_given(door: Door) -> None:
    assert door.get("/echo", **{"as": "coach"}) == {"sent": "/echo?as=coach"}
    assert json.loads(door.post("/echo", {"party": 1})["sent"]) == {"party": 1}


def test_questions_come_one_by_one_or_share_a_connection(door: Door) -> None:
    before = Keeper.connections
    door.get("/fine")
    door.get("/fine")
    assert Keeper.connections == before + 2
    with door.kept_open():
        for _ in range(3):
            door.get("/fine")
    assert Keeper.connections == before + 3
    door.get("/fine")
    assert Keeper.connections == before + 4


def test_a_refusal_carries_its_rule(door: Door) -> None:
    with pytest.raises(NotAllowed, match="the operator hears nothing") as refusal:
        door.get("/closed")
    assert refusal.value.rule == "access.role.purpose"


def test_a_rule_is_said_once_though_the_keeper_says_it_too(door: Door) -> None:
    with pytest.raises(NotAllowed) as refusal:
        door.post("/told", {})
    assert str(refusal.value) == "not erased [erase.role]"


def test_a_refusal_without_a_rule_is_still_one(door: Door) -> None:
    with pytest.raises(NotAllowed) as refusal:
        door.bytes_of("/bare")
    assert refusal.value.rule == "access.refused"


def test_what_is_not_known_is_told_as_such(door: Door) -> None:
    with pytest.raises(NotAllowed) as refusal:
        door.get("/nobody")
    assert refusal.value.rule == "call.unknown"


def test_a_keeper_that_fails_is_the_keepers_fault(door: Door) -> None:
    with pytest.raises(PeerError, match="the keeper answered 500: the disk is gone"):
        door.post("/broken", {})


def test_what_cannot_be_read_is_no_question_of_reaching_the_keeper(door: Door) -> None:
    with pytest.raises(Damaged, match=r"^a chunk fails its check \[vault.damaged\]$"):
        door.bytes_of("/damaged")
    with pytest.raises(VaultError, match=r"cannot be read \[vault.failing\]"):
        door.bytes_of("/failing")


@pytest.mark.parametrize(
    "path, sentence", [("/busy", r"answered 503: ask again \[keeper.failing\]"), ("/list", r"answered 500: \[\]")]
)
def test_a_keeper_that_fails_says_how(door: Door, path: str, sentence: str) -> None:
    with pytest.raises(PeerError, match=sentence):
        door.post(path, {})


def test_a_directory_of_somebody_else_is_said_to_be_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(_path: Path) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "is_socket", closed)  # root may look anywhere
    with pytest.raises(NotReachable, match="Permission denied; commands run as the user of `serve`"):
        Door(tmp_path).get("/fine")


def test_without_a_keeper_the_sentence_says_what_to_start(tmp_path: Path) -> None:
    with pytest.raises(NotReachable, match="is `mitschnitt serve` running"):
        Door(tmp_path).get("/fine")
