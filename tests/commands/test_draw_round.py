"""`mitschnitt draw round`: from a file or a relay, and never believed unverified."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from commands.draw_ceremony import Ceremony, ceremony
from keeper.days_on_disk import CHAIN, TOMORROW, round_of
from mitschnitt import cli
from mitschnitt.commands.door_client import NotReachable
from mitschnitt.core.beacon import DRAND
from mitschnitt.errors import ConfigError, MitschnittError, NotAllowed, TooLarge
from mitschnitt.proof import drand


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ceremony]:
    monkeypatch.setitem(drand.CHAINS, CHAIN.name, CHAIN)
    with ceremony(tmp_path, monkeypatch, beacon=DRAND) as found:
        found.site.days.look_ahead(found.site.now)
        yield found


def awaited(here: Ceremony) -> int:
    row = here.site.row(TOMORROW)
    assert row is not None
    assert row.drand_round is not None
    here.site.wait(CHAIN.time_of(row.drand_round) - here.site.now)
    return row.drand_round


def take(here: Ceremony, *more: str) -> Result:
    return CliRunner().invoke(cli.app, ["draw", "round", "--dir", str(here.directory), *more])


def file_of(here: Ceremony, number: int, signature: bytes) -> str:
    path = here.hands / "round.json"
    path.write_text(json.dumps({"round": number, "randomness": "", "signature": signature.hex()}))
    return str(path)


def test_a_round_from_a_file_fixes_its_day(here: Ceremony) -> None:
    number = awaited(here)
    told = take(here, file_of(here, number, round_of(number)))
    assert told.exit_code == 0, told.exception
    assert told.output == "verified; the draw of 2026-11-27 is fixed by it\n"
    assert json.loads(take(here, file_of(here, number, round_of(number)), "--json").output) == {"days": ["2026-11-27"]}


def test_a_forged_round_is_refused(here: Ceremony) -> None:
    number = awaited(here)
    told = take(here, file_of(here, number, round_of(number + 1)))
    assert isinstance(told.exception, NotAllowed)
    assert told.exception.rule == "draw.round.forged"
    row = here.site.row(TOMORROW)
    assert row is not None
    assert row.beacon is None


@pytest.mark.parametrize(
    "content, family", [(b"", NotAllowed), (b"<html>", NotAllowed), (b"x" * 5_000, TooLarge), (None, ConfigError)]
)
def test_what_is_no_round_is_refused(here: Ceremony, content: bytes | None, family: type[MitschnittError]) -> None:
    path = here.hands / "round.json"
    if content is not None:
        path.write_bytes(content)
    assert isinstance(take(here, str(path)).exception, family)


def test_a_file_or_a_relay_and_not_both(here: Ceremony) -> None:
    assert isinstance(take(here).exception, ConfigError)
    assert isinstance(take(here, "round.json", "--fetch").exception, ConfigError)


def test_nothing_is_fetched_unless_the_configuration_names_a_relay(here: Ceremony) -> None:
    told = take(here, "--fetch")
    assert isinstance(told.exception, ConfigError)
    assert "`drand_url` in [draw]" in str(told.exception)


@contextmanager
def relay(here: Ceremony, answers: dict[str, tuple[int, bytes]]) -> Iterator[list[str]]:
    """A relay on loopback that answers by path."""
    asked: list[str] = []

    class Relay(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # noqa: N802 - the base class calls it so
            asked.append(self.path)
            status, body = answers.get(self.path, (404, b""))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing is logged."""

    server = HTTPServer(("127.0.0.1", 0), Relay)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    (here.directory / "config.toml").write_text(f'[draw]\ndrand_url = "http://127.0.0.1:{server.server_port}/"\n')
    try:
        yield asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def path_of(number: int) -> str:
    return f"/{CHAIN.chain_hash.hex()}/public/{number}"


def test_the_relay_is_asked_for_what_a_day_waits_for_and_for_nothing_else(here: Ceremony) -> None:
    number = awaited(here)
    body = json.dumps({"round": number, "signature": round_of(number).hex()}).encode()
    with relay(here, {path_of(number): (200, body)}) as asked:
        assert "2026-11-27" in take(here, "--fetch").output
        assert take(here, "--fetch").output == "no day waits for a round that is signed by now\n"
        assert asked == [path_of(number)]


def test_before_its_time_the_relay_is_not_asked(here: Ceremony) -> None:
    with relay(here, {}) as asked:
        assert take(here, "--fetch").exit_code == 0
        assert asked == []
        assert isinstance(here.site.now, datetime)


@pytest.mark.parametrize(
    "answer, family",
    [
        ((200, b"{}"), NotAllowed),
        ((200, b"x" * 100_000), TooLarge),
        ((302, b""), NotReachable),
        ((500, b""), NotReachable),
    ],
)
def test_a_relay_that_lies_or_fails_changes_nothing(
    here: Ceremony, answer: tuple[int, bytes], family: type[MitschnittError]
) -> None:
    number = awaited(here)
    before = here.site.everything()
    with relay(here, {path_of(number): answer}):
        assert isinstance(take(here, "--fetch").exception, family)
    assert here.site.everything() == before


def test_a_relay_that_answers_with_another_round_is_not_believed(here: Ceremony) -> None:
    number = awaited(here)
    body = json.dumps({"round": number, "signature": round_of(number - 1).hex()}).encode()
    with relay(here, {path_of(number): (200, body)}):
        told = take(here, "--fetch")
    assert isinstance(told.exception, NotAllowed)
    assert told.exception.rule == "draw.round.forged"


def test_a_round_that_the_relay_does_not_have_holds_up_no_other(
    here: Ceremony, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backward draw may wait for an older round for good; tomorrow is drawn all the same, and the run still fails."""
    number = awaited(here)
    monkeypatch.setattr(here.site.backward, "awaited_rounds", lambda _: [number - 5, number - 4])
    body = json.dumps({"round": number, "signature": round_of(number).hex()}).encode()
    with relay(here, {path_of(number - 4): (200, b"{}"), path_of(number): (200, body)}) as asked:
        told = take(here, "--fetch")
        assert asked == [path_of(number - 5), path_of(number - 4), path_of(number)]
    assert told.output == "verified; the draw of 2026-11-27 is fixed by it\n"
    assert isinstance(told.exception, NotReachable)
    assert "answered 404" in str(told.exception)


def test_a_relay_that_is_not_there_is_said_to_be_so(here: Ceremony) -> None:
    awaited(here)
    (here.directory / "config.toml").write_text('[draw]\ndrand_url = "http://127.0.0.1:1"\n')
    assert isinstance(take(here, "--fetch").exception, NotReachable)
