"""Ladders: the messages of a dialog as words and numbers, and nothing of what they said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mitschnitt.errors import MalformedPacket
from mitschnitt.wire.sip.config import METHODS
from mitschnitt.wire.sip.events import InviteReceived
from mitschnitt.wire.sip.ladder import (
    FIRST_RUNGS,
    FLOWS,
    MAX_NUMBER,
    MAX_RUNGS,
    Ladder,
    Ladders,
    Rung,
    Way,
    ladder_from_json,
    rung_as_object,
)
from mitschnitt.wire.sip.message import Request, parse_message
from sip_pair import Pair, established, raw_request

VECTORS = Path(__file__).parents[2] / "vectors" / "ladder"
REFUSED: dict[str, Any] = json.loads((VECTORS / "refused.json").read_text(encoding="utf-8"))


def read(name: str) -> Any:
    return json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))


def seen(pair: Pair) -> list[str]:
    """The ladder of the one dialog, a word for each rung."""
    (ladder,) = pair.server._end.ladders._open.values()
    return words(ladder)


def words(ladder: Ladder) -> list[str]:
    arrow = {Way.IN: ">", Way.OUT: "<"}
    return [
        f"{arrow[rung.way]} {f'{rung.status} ' if rung.status else ''}{rung.method} {rung.number}"
        + (f" x{rung.times}" if rung.times > 1 else "")
        for rung in ladder.rungs
    ]


def test_a_dialog_is_written_down_from_its_invite_on() -> None:
    pair = Pair()
    established(pair)
    assert seen(pair) == ["> INVITE 1", "< 100 INVITE 1", "< 200 INVITE 1", "> ACK 1"]


def test_both_ends_of_the_last_request_are_on_the_ladder_and_then_it_is_forgotten() -> None:
    pair = Pair()
    mine, theirs = established(pair)
    ladder = pair.server.ladder(theirs)
    assert ladder is not None
    pair.client.bye(mine, now=pair.now)
    pair.run()
    assert words(ladder)[-2:] == ["> BYE 2", "< 200 BYE 2"]
    assert len(pair.server._end.ladders) == 0
    assert pair.server.ladder(theirs) is None


def test_what_the_recorder_asks_is_on_it_with_its_answer() -> None:
    pair = Pair()
    _, theirs = established(pair)
    ladder = pair.server.ladder(theirs)
    assert ladder is not None
    pair.server.bye(theirs, now=pair.now, headers=(("Reason", 'SIP ;cause=200 ;text="Clara withdrew"'),))
    pair.run()
    assert words(ladder)[-2:] == ["< BYE 1", "> 200 BYE 1"]
    assert ladder.rungs[-2].cause == 200
    assert "Clara" not in json.dumps(ladder.to_json())


def test_copies_are_counted_on_the_rung_that_they_repeat() -> None:
    pair = Pair()
    pair.invite()
    pair.lose = lambda line: line.startswith("<")
    pair.run().wait(3.0)
    pair.lose = lambda line: False
    (event,) = pair.server_events(InviteReceived)
    assert isinstance(event, InviteReceived)
    pair.server.respond(event.transaction, 200, now=pair.now, body=b"v=0\r\n", content_type="application/sdp")
    pair.lose = lambda line: "ACK" in line
    pair.run().wait(1.0)
    assert seen(pair)[0] == "> INVITE 1 x3"
    assert seen(pair)[-1] == "< 200 INVITE 1 x2"


def test_times_are_milliseconds_after_the_first_message() -> None:
    pair = Pair()
    _, theirs = established(pair)
    pair.wait(2.5)
    pair.server.update(theirs, now=pair.now)
    pair.run()
    (ladder,) = pair.server._end.ladders._open.values()
    assert [rung.after_ms for rung in ladder.rungs] == [0, 0, 0, 0, 2500]


def test_an_agent_that_calls_keeps_no_ladder_of_its_own_dialogs() -> None:
    pair = Pair()
    established(pair)
    assert len(pair.client._end.ladders) == 0


def test_what_belongs_to_no_dialog_leaves_no_trace() -> None:
    pair = Pair()
    for method in ("OPTIONS", "BYE", "MESSAGE", "REGISTER", "INFO"):
        pair.server.receive(raw_request(method), pair.server_hop, pair.now)
        pair.server.outbox(pair.now)
    assert len(pair.server._end.ladders) == 0


def test_invites_that_are_refused_leave_no_more_than_the_newest() -> None:
    pair = Pair()
    for number in range(50):
        refused = raw_request("INVITE", ("Call-ID", f"{number}@x"), ("Require", "foo"))
        pair.server.receive(refused, pair.server_hop, pair.now)
        pair.server.outbox(pair.now)
    assert len(pair.server._end.ladders) == 0


BODIES = [
    ("", "", False),
    ("v=0\r\nm=audio 1 RTP/AVP 8\r\na=sendonly\r\n", "sendonly", False),
    ("v=0\nc=IN IP4 0.0.0.0\nm=audio 1 RTP/AVP 8\na=inactive\n", "closed", False),
    ("v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 1 RTP/AVP 8\r\na=inactive\r\n", "inactive", False),
    ("v=0\r\nm=audio 1 RTP/AVP 8\r\nc=IN IP6 ::\r\na=inactive\r\n", "closed", False),
    ("v=0\r\nm=audio 1 RTP/AVP 8\r\n", "sendrecv", False),
    ("v=0\r\nm=audio 1 RTP/AVP 8\r\na=recvonly\r\nm=audio 3 RTP/AVP 8\r\na=inactive\r\n", "mixed", False),
    ("--b\r\nContent-Type: application/rs-metadata+xml\r\n\r\n<recording/>\r\n--b--", "", True),
    ("<requestsnapshot xmlns='urn:ietf:params:xml:ns:recording:1'/>", "", True),
    ("v=0\r\ns=a recording of Clara\r\nm=audio 1 RTP/AVP 8\r\na=sendonly\r\n", "sendonly", False),
]


@pytest.mark.parametrize("body, flow, metadata", BODIES)
def test_of_a_body_one_word_is_kept(body: str, flow: str, metadata: bool) -> None:
    request = parse_message(raw_request("INVITE"))
    assert isinstance(request, Request)
    ladders = Ladders()
    ladders.came(Request(request.headers, body.encode(), "INVITE", request.uri), "TCP", 1.0)
    ladders.begin("raw@127.0.0.1", "1")
    ladder = ladders.of("raw@127.0.0.1", "1")
    assert ladder is not None
    (rung,) = ladder.rungs
    assert (rung.flow, rung.metadata, rung.transport) == (flow, metadata, "TCP")


def test_a_method_of_the_peers_own_is_another_word() -> None:
    pair = Pair()
    established(pair)
    ack = pair.last_request("ACK")
    headers = ack.headers.without("Via", "CSeq").plus(
        ("Via", "SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bKo"), ("CSeq", "9 CALL49305550100")
    )
    pair.server.receive(bytes(Request(headers, b"", "CALL49305550100", ack.uri)), pair.server_hop, pair.now)
    pair.server.outbox(pair.now)
    assert seen(pair)[-2:] == ["> OTHER 9", "< 501 OTHER 9"]


def test_of_a_long_dialog_the_middle_is_left_out_and_counted() -> None:
    ladder = Ladder()
    for number in range(200):
        ladder.note(Rung(0, Way.IN, 0, "UPDATE", number), 1.0 + number)
    numbers = [rung.number for rung in ladder.rungs]
    newest = MAX_RUNGS - FIRST_RUNGS
    assert numbers == [*range(FIRST_RUNGS), *range(200 - newest, 200)]
    assert ladder.left_out == 200 - MAX_RUNGS
    short = ladder.to_json(most=10)
    assert [row[4] for row in short["rungs"]] == [0, 1, 2, 3, 4, 195, 196, 197, 198, 199]
    assert (short["gap"], short["left_out"]) == (5, 190)


@pytest.mark.parametrize("name", ["kept", "long"])
def test_a_file_reads_as_a_ladder_and_is_written_as_it_was(name: str) -> None:
    ladder = ladder_from_json(read(name))
    assert ladder.to_json() == read(name)


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_is_no_ladder_is_refused(name: str) -> None:
    with pytest.raises(MalformedPacket, match=r"a ladder|a rung"):
        ladder_from_json(REFUSED[name])


def test_more_rungs_than_a_ladder_has_are_refused() -> None:
    row = [0, "in", 0, "INVITE", 1, 1, 0, "UDP", "", False]
    with pytest.raises(MalformedPacket, match="at most 64 rungs"):
        ladder_from_json({"began_at": "", "gap": 0, "left_out": 0, "rungs": [row] * (MAX_RUNGS + 1)})


def test_a_rung_as_an_object_names_its_values() -> None:
    rungs = ladder_from_json(read("kept")).rungs
    assert rung_as_object(rungs[2]) == {
        "after_ms": 21,
        "way": "out",
        "message": "200",
        "cseq": "2 INVITE",
        "times": 3,
        "cause": 0,
        "transport": "TCP",
        "sdp": "closed",
        "metadata": False,
    }


COUNTS = st.integers(0, 2**31 - 1)
RUNGS = st.builds(
    Rung,
    after_ms=COUNTS,
    way=st.sampled_from(Way),
    status=st.integers(0, 699),
    method=st.sampled_from(sorted(METHODS)),
    number=COUNTS,
    times=COUNTS,
    cause=st.integers(0, 999),
    transport=st.sampled_from(["UDP", "TCP", "TLS"]),
    flow=st.sampled_from(["", *FLOWS]),
    metadata=st.booleans(),
)


@given(st.lists(RUNGS, max_size=MAX_RUNGS), COUNTS, st.integers(0, MAX_RUNGS))
@example([Rung(0, Way.IN, 0, "ACK", 0)], MAX_NUMBER, 0)
def test_any_ladder_comes_back_from_its_json(rungs: list[Rung], left_out: int, most: int) -> None:
    ladder = Ladder(rungs, left_out=left_out)
    again = ladder_from_json(json.loads(json.dumps(ladder.to_json())))
    assert (again.rungs, again.left_out, again.gap) == (tuple(rungs), left_out, ladder.gap)
    short = ladder_from_json(ladder.to_json(most=most))
    assert len(short.rungs) <= most
    assert short.left_out == min(left_out + len(rungs) - len(short.rungs), MAX_NUMBER)


@pytest.mark.thorough
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5), st.lists, max_leaves=12))
def test_any_value_for_its_rungs_is_a_ladder_or_a_malformed_packet(value: Any) -> None:
    try:
        ladder = ladder_from_json({"began_at": "", "gap": 0, "left_out": 0, "rungs": value})
    except MalformedPacket:
        return
    assert len(ladder.rungs) <= MAX_RUNGS


@given(st.binary(max_size=200), st.binary(max_size=300))
def test_no_byte_of_a_body_or_header_is_on_a_ladder(name: bytes, body: bytes) -> None:
    ladders = Ladders()
    secret = name.hex() + "#secret"
    text = raw_request("INVITE", ("From", f'"{secret}" <sip:{name.hex()}@x>;tag=1'), ("Reason", f"SIP;text={secret}"))
    request = parse_message(text)
    assert isinstance(request, Request)
    ladders.came(Request(request.headers, body + secret.encode(), "INVITE", request.uri), "UDP", 1.0)
    ladders.begin("raw@127.0.0.1", "1")
    ladder = ladders.of("raw@127.0.0.1", "1")
    assert ladder is not None
    assert len(ladder.rungs) == 1
    assert "secret" not in json.dumps(ladder.to_json())
