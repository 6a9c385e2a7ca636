"""The watch over the logs sees what it must, and lets pass what a machine says of itself."""

from __future__ import annotations

import json
import logging

import pytest

import world
from log_watch import WATCH, leaks_in, leaks_in_text
from mitschnitt.log import JsonLines

GOOD = {"at": "2026-11-26T06:59:23.123Z", "level": "info", "part": "recorder-1", "logger": "mitschnitt.recorder"}


@pytest.mark.parametrize(
    "said, what",
    [
        (f"{world.CALLER.name} calls", "somebody of the cast"),
        ("call of 49305550100", "somebody of the cast"),
        ("jens.albers has no grant", "somebody of the cast"),
        ("from sip:x", "an address"),
        ("from somebody@elsewhere.example.net", "an address"),
        ("the number 030 1234567 rang", "a telephone number"),
        ("the number +15550100999 rang", "a telephone number"),
        ("call 0123456789ABCDEFGHJKMNPQR0 is shut", "a call id"),
        ("closed by consent.caller.refused", "a rule"),
        ("pressed *9", "a digit somebody pressed"),
        ("digit 2 came", "a digit somebody pressed"),
    ],
)
def test_what_may_not_be_said_is_found(said: str, what: str) -> None:
    assert what in " ".join(leaks_in(json.dumps({**GOOD, "event": said})))
    assert what in " ".join(leaks_in(said))
    assert what in " ".join(leaks_in_text(f"fine\n<6>{json.dumps({**GOOD, 'event': said})}\n"))


@pytest.mark.parametrize(
    "line",
    [
        json.dumps({**GOOD, "event": "ready", "seq": 123456789, "count": 4930555010}),
        json.dumps({**GOOD, "event": "failed", "error": "ValueError", "place": "join:1234567 < run:12"}),
        "SIP 127.0.0.1:5060 (udp, tcp), unencrypted; RTP unencrypted: for loopback and private networks only",
        "SIP turned away: 12 limit.connections, 3 tls.not_listed",
        "mitschnitt keeper: config: cannot read /srv/site/config.toml: No such file or directory",
    ],
)
def test_what_a_machine_says_of_itself_passes(line: str) -> None:
    assert leaks_in(line) == []


def test_a_deliberate_leak_of_this_process_is_caught_where_it_is_logged() -> None:
    log = logging.getLogger("mitschnitt.recorder")
    log.info(f"{world.CALLER.aor} rings")
    log.info("a rule", extra={"which": "consent.caller.refused"})
    found = {leak.partition(":")[0] for leak in WATCH.take()}
    assert found == {"somebody of the cast", "an address", "a telephone number", "a rule"}


def test_what_the_allow_list_drops_is_no_leak() -> None:
    logging.getLogger("mitschnitt.recorder").info("ready %s", world.CALLER.aor, extra={"caller": world.CALLER.aor})
    assert list(WATCH.take()) == []
    record = logging.makeLogRecord({"msg": "ready", "levelname": "INFO", "caller": world.CALLER.aor})
    assert leaks_in(JsonLines("x").format(record)) == []
