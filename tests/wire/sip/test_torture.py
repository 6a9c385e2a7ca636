"""Messages at the edge and beyond it: what each reads as, by which sentence it is refused, what it is answered.

The files and what must come out are ours (`tests/vectors/sip/torture/README.md`), after the ideas of RFC 4475.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mitschnitt import errors
from mitschnitt.errors import PeerError
from mitschnitt.wire.sip.agent import UserAgent
from mitschnitt.wire.sip.config import AgentConfig
from mitschnitt.wire.sip.events import MessageRefused
from mitschnitt.wire.sip.headers import Address, SipUri
from mitschnitt.wire.sip.hop import Hop
from mitschnitt.wire.sip.message import Request, Response, parse_message
from sip_pair import tokens

TORTURE = Path(__file__).parents[2] / "vectors" / "sip" / "torture"
EXPECTED: dict[str, dict[str, Any]] = json.loads((TORTURE / "expected.json").read_text(encoding="utf-8"))
READ = sorted(name for name, told in EXPECTED.items() if "fields" in told)
REFUSED = sorted(name for name, told in EXPECTED.items() if "error" in told)
SOURCE = Hop("UDP", "192.0.2.10", 5060)


def spoken(address: Address) -> list[str | None]:
    return [address.display, address.uri, address.tag]


def fields_of(message: Request | Response, wanted: dict[str, Any]) -> dict[str, Any]:
    """What the message says of the wanted fields, in the shape of the expectation."""
    via, contact = message.via, message.contact
    found: dict[str, Any] = {
        "method": getattr(message, "method", None),
        "uri": getattr(message, "uri", None),
        "status": getattr(message, "status", None),
        "reason": getattr(message, "reason", None),
        "call_id": message.call_id,
        "cseq": [message.cseq.number, message.cseq.method],
        "from": spoken(message.sender),
        "to": spoken(message.recipient),
        "via": [via.transport, via.host, via.port, via.branch],
        "vias": len(message.headers.listed("Via")),
        "contact": contact and contact.uri,
        "body": len(message.body),
        "headers": {name: list(message.headers.all(name)) for name in wanted.get("headers", {})},
        "tokens": {name: sorted(message.headers.tokens(name)) for name in wanted.get("tokens", {})},
    }
    addresses = {"to": message.recipient, "from": message.sender, "contact": contact or message.sender}
    found["hosts"] = {name: SipUri.parse(addresses[name].uri).host for name in wanted.get("hosts", {})}
    return {name: found[name] for name in wanted}


def test_every_file_is_listed_and_says_what_it_tests() -> None:
    assert {path.name for path in TORTURE.glob("*.sip")} == set(EXPECTED)
    assert len({told["tests"] for told in EXPECTED.values()}) == len(EXPECTED)


@pytest.mark.parametrize("name", READ)
def test_what_is_odd_and_allowed_is_read(name: str) -> None:
    wanted = EXPECTED[name]["fields"]
    message = parse_message((TORTURE / name).read_bytes())
    assert fields_of(message, wanted) == wanted
    assert fields_of(parse_message(bytes(message)), wanted) == {**wanted, **_reason_written(message, wanted)}


def _reason_written(message: Request | Response, wanted: dict[str, Any]) -> dict[str, Any]:
    """A response without reason is written with the usual one."""
    if isinstance(message, Response) and "reason" in wanted and not message.reason:
        again = parse_message(bytes(message))
        assert isinstance(again, Response)
        assert again.reason
        return {"reason": again.reason}
    return {}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_broken_is_refused_by_its_sentence(name: str) -> None:
    kind, sentence = EXPECTED[name]["error"]
    with pytest.raises(PeerError, match=sentence) as caught:
        getattr(parse_message((TORTURE / name).read_bytes()), EXPECTED[name].get("reading", "body"))
    assert type(caught.value) is getattr(errors, kind)


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_each_is_answered_as_the_standard_wants_and_leaves_nothing_behind(name: str) -> None:
    told, data = EXPECTED[name], (TORTURE / name).read_bytes()
    agent = UserAgent(AgentConfig(), tokens("s"))
    agent.receive(data, SOURCE, 0.0)
    sent = [(hop, parse_message(answer)) for hop, answer in agent.outbox()]
    assert [getattr(answer, "status", 0) for _, answer in sent] == ([told["answer"]] if told["answer"] else [])
    whys = [event.why for event in agent.events() if isinstance(event, MessageRefused)]
    if "why" in told:
        assert whys == [told["why"]]
    for hop, answer in sent:
        assert hop.host == SOURCE.host
        assert {key: answer.headers.get(key) for key in told.get("says", {})} == told.get("says", {})
    if told["answer"] != 100:
        agent.tick(100.0)
        assert agent.load == (0, 0)
