"""What real equipment leaves out or spells its own way: the call is taken all the same, or refused by name."""

from __future__ import annotations

import pytest

from mitschnitt.wire.sip.events import AckReceived, ByeReceived, InviteReceived, ReinviteReceived, UpdateReceived
from mitschnitt.wire.sip.hop import Hop
from mitschnitt.wire.sip.message import Headers, Request, Response, parse_message
from sip_pair import CLIENT_PORT, SDP, SERVER_PORT, Pair, established, inside, raw_request

SDP_TYPE = "application/sdp"
CLIENT = Hop("UDP", "127.0.0.1", CLIENT_PORT)
SERVER = Hop("UDP", "127.0.0.1", SERVER_PORT)


def answered(pair: Pair, invite: bytes) -> tuple[InviteReceived, Response]:
    """The session that this INVITE opened, and our 200."""
    pair.server.receive(invite, CLIENT, pair.now)
    events = pair.server_events(InviteReceived)
    assert len(events) == 1
    event = events[0]
    assert isinstance(event, InviteReceived)
    assert pair.server.respond(event.transaction, 200, now=pair.now, body=SDP, content_type=SDP_TYPE)
    sent = [parse_message(data) for _, data in pair.server.outbox()]
    answer = sent[-1]
    assert isinstance(answer, Response)
    return event, answer


def follow(pair: Pair, answer: Response, method: str, seq: int, branch: str = "z9hG4bKfollow") -> None:
    """A request of the same hand within the dialog of this 200."""
    items = [("Via", f"SIP/2.0/UDP 127.0.0.1:5070{f';branch={branch}{method}' if branch else ''}")]
    items += [(name, value) for name, value in answer.headers if name in ("From", "To", "Call-ID")]
    request = Request(Headers.of([*items, ("CSeq", f"{seq} {method}")]), b"", method, "sip:b@127.0.0.1")
    pair.server.receive(bytes(request), CLIENT, pair.now)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda data: data.replace(b"Max-Forwards: 70\r\n", b""), id="no Max-Forwards"),
        pytest.param(lambda data: data.replace(b"CSeq: 1 ", b"CSeq: 2 "), id="CSeq begins at 2"),
        pytest.param(lambda data: data.replace(b"CSeq: 1 ", b"CSeq: 2147483646 "), id="CSeq begins near its end"),
        pytest.param(lambda data: data.replace(b";tag=1", b""), id="no From tag"),
        pytest.param(lambda data: data.replace(b"\r\n", b"\n").replace(b"Length: 5", b"Length: 4"), id="LF only"),
        pytest.param(lambda data: data.replace(b"Call-ID:", b"i :"), id="compact names"),
        pytest.param(lambda data: data.replace(b"\r\n\r\n", b"\r\nX-Odd\t: \r\nx-empty:\r\n\r\n", 1), id="odd headers"),
        pytest.param(lambda data: data.replace(b"\r\n\r\n", b"\r\nSupported:,, Timer ,\r\n\r\n", 1), id="odd list"),
        pytest.param(lambda data: data.replace(b"From:", b"f:\r\n "), id="folded"),
        pytest.param(lambda data: data.replace(b"sip:b@127.0.0.1>", b"SIP:b@127.0.0.1>"), id="scheme in capitals"),
    ],
)
def test_an_odd_invite_is_taken_and_its_dialog_lives_and_ends(change: object) -> None:
    pair = Pair()
    assert callable(change)
    event, answer = answered(pair, change(raw_request("INVITE")))
    number = answer.cseq.number
    follow(pair, answer, "ACK", number)
    follow(pair, answer, "BYE", number + 1)
    assert [type(told) for told in pair.server_events()] == [AckReceived, ByeReceived]
    assert pair.server.outbox()[-1][1].startswith(b"SIP/2.0 200 ")
    assert event.dialog


def test_a_client_from_before_rfc_3261_is_matched_without_a_branch() -> None:
    pair = Pair()
    data = raw_request("INVITE").replace(b";branch=z9hG4bKraw", b"")
    _, answer = answered(pair, data)
    pair.server.receive(data, CLIENT, pair.now)
    ((_, again),) = pair.server.outbox()
    assert again == bytes(answer)
    follow(pair, answer, "ACK", 1, branch="")
    follow(pair, answer, "BYE", 2, branch="")
    assert [type(told) for told in pair.server_events()] == [AckReceived, ByeReceived]


@pytest.mark.parametrize("method", ["invite", "Invite", "options"])
def test_methods_are_words_with_a_case(method: str) -> None:
    pair = Pair()
    pair.server.receive(raw_request(method), CLIENT, pair.now)
    pair.run()
    assert pair.log == [f"< 501 {method}"]
    assert "INVITE" in (pair.last_response(501).headers.get("Allow") or "")


def test_a_2xx_without_contact_leaves_the_target_where_the_invite_went() -> None:
    pair = Pair()
    pair.invite()
    pair.run()
    (event,) = pair.server_events(InviteReceived)
    assert isinstance(event, InviteReceived)
    pair.server.respond(event.transaction, 200, now=pair.now, body=SDP, content_type=SDP_TYPE)
    answer = parse_message(pair.server.outbox()[-1][1])
    assert isinstance(answer, Response)
    bare = Response(answer.headers.without("Contact"), answer.body, 200)
    pair.client.receive(bytes(bare), SERVER, pair.now)
    ((hop, ack),) = pair.client.outbox()
    assert (hop, ack.split(b" ")[:2]) == (SERVER, [b"ACK", b"sip:recorder@127.0.0.1:5060"])


def test_a_2xx_without_to_tag_makes_a_dialog_without_one() -> None:
    pair = Pair()
    mine = pair.invite()
    pair.run()
    (event,) = pair.server_events(InviteReceived)
    assert isinstance(event, InviteReceived)
    pair.server.respond(event.transaction, 200, now=pair.now, body=SDP, content_type=SDP_TYPE)
    answer = parse_message(pair.server.outbox()[-1][1])
    assert isinstance(answer, Response)
    untagged = answer.headers.without("To").plus(("To", "<sip:recorder@127.0.0.1:5060>"))
    for _ in range(2):
        pair.client.receive(bytes(Response(untagged, answer.body, 200)), SERVER, pair.now)
    pair.client.bye(mine, now=pair.now)
    sent = [data.split(b"\r\n") for _, data in pair.client.outbox()]
    assert [lines[0].split(b" ")[0] for lines in sent] == [b"ACK", b"ACK", b"BYE"]
    assert all(b"To: <sip:recorder@127.0.0.1:5060>" in lines for lines in sent)


def test_a_reinvite_whose_2xx_names_another_tag_is_no_fork() -> None:
    pair = Pair()
    _, theirs = established(pair)
    pair.server.reinvite(theirs, now=pair.now, body=SDP, content_type=SDP_TYPE)
    pair.run()
    offer = pair.last_request("INVITE")
    copied = [(n, v) for n, v in offer.headers if n in ("Via", "From", "Call-ID", "CSeq")]
    answer = Response(Headers.of([*copied, ("To", "<sip:client@127.0.0.1>")]), SDP, 200)
    pair.server.receive(bytes(answer), CLIENT, pair.now)
    assert [data.split(b" ")[0] for _, data in pair.server.outbox()] == [b"ACK"]
    assert pair.server.reinvite(theirs, now=pair.now, body=SDP, content_type=SDP_TYPE)


@pytest.mark.parametrize(
    "route, target", [("<sip:127.0.0.7;lr>", "sip:t@127.0.0.9"), ("<sip:127.0.0.7>", "sip:127.0.0.7")]
)
def test_a_recorded_route_is_followed_loose_and_strict(route: str, target: str) -> None:
    pair = Pair()
    lines = f"\r\nRecord-Route: {route}\r\nContact: <sip:t@127.0.0.9>\r\n\r\n".encode()
    event, answer = answered(pair, raw_request("INVITE").replace(b"\r\n\r\n", lines, 1))
    assert answer.headers.all("Record-Route") == (route,)
    follow(pair, answer, "ACK", 1)
    pair.server.update(event.dialog, now=pair.now)
    ((hop, data),) = pair.server.outbox()
    assert (hop.host, data.split(b" ")[1].decode()) == ("127.0.0.7", target)


def test_a_change_without_max_forwards_contact_or_user_agent_is_taken() -> None:
    pair = Pair()
    _, theirs = established(pair)
    inside(pair, "UPDATE", 2)
    inside(pair, "INVITE", 9, body=SDP)  # numbers may jump
    assert [(type(told), told.dialog) for told in pair.server_events(UpdateReceived, ReinviteReceived)] == [  # type: ignore[union-attr]
        (UpdateReceived, theirs),
        (ReinviteReceived, theirs),
    ]
