"""Session timers between two agents: who refreshes, how it goes on when UPDATE is refused, how it ends (RFC 4028)."""

from __future__ import annotations

from mitschnitt.wire.sip.config import SRC_FEATURE, AgentConfig
from mitschnitt.wire.sip.events import (
    ByeReceived,
    DialogEnded,
    InviteReceived,
    MessageRefused,
    RefreshDue,
    ReinviteReceived,
    SessionExpired,
    TransactionTimedOut,
    UpdateReceived,
)
from mitschnitt.wire.sip.message import Request
from mitschnitt.wire.sip.reasons import EXPIRED
from sip_pair import CLIENT_PORT, SDP, SERVER_PORT, Pair, established, inside

UNTIMED = AgentConfig(port=CLIENT_PORT, feature=SRC_FEATURE, understood=frozenset({"siprec"}))
NO_UPDATE = AgentConfig(port=CLIENT_PORT, feature=SRC_FEATURE, allow=("INVITE", "ACK", "BYE", "CANCEL"))
SDP_TYPE = "application/sdp"


def answering(pair: Pair, seconds: float) -> None:
    """Time passes; both sides answer what changes nothing, as their owners would."""
    until = pair.now + seconds
    while pair.now < until:
        pair.wait(min(1.0, until - pair.now))
        for agent in (pair.client, pair.server):
            for event in agent.events():
                if isinstance(event, UpdateReceived):
                    agent.respond(event.transaction, 200, now=pair.now)
                elif isinstance(event, ReinviteReceived):
                    agent.respond(event.transaction, 200, now=pair.now, body=SDP, content_type=SDP_TYPE)
                elif isinstance(event, RefreshDue):
                    assert agent.reinvite(event.dialog, now=pair.now, body=SDP, content_type=SDP_TYPE)
        pair.run()


def asked_for(pair: Pair, *headers: tuple[str, str]) -> str:
    """The recorder's dialog of a session that a client without timers began with these headers."""
    pair.invite(*headers)
    pair.run()
    (event,) = pair.server_events(InviteReceived)
    assert isinstance(event, InviteReceived)
    assert pair.server.respond(event.transaction, 200, now=pair.now, body=SDP, content_type=SDP_TYPE)
    pair.run().server_events()
    pair.client_events()
    return event.dialog


def test_a_client_that_can_refresh_is_told_to_and_does_at_half_time() -> None:
    pair = Pair()
    mine, theirs = established(pair)
    answer = pair.last_response(200)
    assert answer.headers.get("Session-Expires") == "600;refresher=uac"
    assert "timer" in answer.headers.tokens("Require")
    assert "timer" in answer.headers.tokens("Supported")
    answering(pair, 299)
    assert "> UPDATE" not in pair.log
    answering(pair, 2)
    assert pair.log[-2:] == ["> UPDATE", "< 200 UPDATE"]
    update = pair.last_request("UPDATE")
    assert (update.body, update.headers.get("Session-Expires")) == (b"", "600;refresher=uac")
    answering(pair, 3_000)
    assert pair.server.timed(theirs)
    assert pair.client.timed(mine)
    assert pair.log.count("> UPDATE") == 11
    assert "< BYE" not in pair.log


def test_a_client_without_the_timer_gets_none() -> None:
    pair = Pair(client=UNTIMED)
    theirs = asked_for(pair)
    assert pair.last_response(200).headers.get("Session-Expires") is None
    assert pair.last_response(200).headers.get("Require") is None
    assert not pair.server.timed(theirs)
    pair.server.reinvite(theirs, now=pair.now, body=SDP, content_type=SDP_TYPE)
    assert pair.run().last_request("INVITE").headers.get("Session-Expires") is None


def test_what_a_proxy_asked_for_is_refreshed_by_us_at_half_time() -> None:
    pair = Pair(client=UNTIMED)
    theirs = asked_for(pair, ("Session-Expires", "400"))
    answer = pair.last_response(200)
    assert answer.headers.get("Session-Expires") == "400;refresher=uas"
    assert answer.headers.get("Require") is None
    answering(pair, 201)
    assert pair.log[-2:] == ["< UPDATE", "> 200 UPDATE"]
    answering(pair, 2_000)  # its 200 says nothing of a timer: we go on alone
    assert pair.server.timed(theirs)
    assert pair.log.count("< UPDATE") == 11


def test_where_update_is_refused_the_session_is_offered_anew_instead() -> None:
    pair = Pair(client=NO_UPDATE)
    theirs = asked_for(pair, ("Session-Expires", "400;refresher=uas"))
    answering(pair, 202)
    assert pair.log[-6:] == ["< UPDATE", "> 405 UPDATE", "< INVITE", "> 100 INVITE", "> 200 INVITE", "< ACK"]
    assert pair.last_request("INVITE").headers.get("Session-Expires") == "400;refresher=uac"
    answering(pair, 2_000)
    assert pair.server.timed(theirs)


def test_a_reinvite_from_either_side_restarts_the_timer() -> None:
    pair = Pair()
    mine, theirs = established(pair)
    for agent, dialog in ((pair.client, mine), (pair.server, theirs)):
        answering(pair, 250)
        assert agent.reinvite(dialog, now=pair.now, body=SDP, content_type=SDP_TYPE)
        answering(pair, 1)
    assert pair.last_request("INVITE").headers.get("Session-Expires") == "600;refresher=uas"  # roles stay
    answering(pair, 290)
    assert "> UPDATE" not in pair.log
    answering(pair, 12)
    assert pair.log[-2:] == ["> UPDATE", "< 200 UPDATE"]


def test_an_interval_that_is_too_small_is_refused_with_ours_and_comes_again_longer() -> None:
    strict = AgentConfig(port=SERVER_PORT, session_expires_s=1_200, min_se_s=900)
    pair = Pair(server=strict)
    mine = pair.invite()
    pair.run()
    assert pair.log == ["> INVITE", "< 422 INVITE", "> ACK", "> INVITE", "< 100 INVITE"]
    assert pair.last_response(422).headers.get("Min-SE") == "900"
    again = pair.last_request("INVITE")
    assert (again.headers.get("Session-Expires"), again.headers.get("Min-SE")) == ("900", "900")
    assert (again.cseq.number, again.body, len(again.headers.all("Via"))) == (2, SDP, 1)
    assert again.headers.tokens("Require") == {"siprec"}
    assert pair.client_events(MessageRefused, DialogEnded) == []
    assert [type(event) for event in pair.server_events()] == [MessageRefused, InviteReceived]
    pair.client.cancel(mine, now=pair.now)
    assert pair.run().log[-3:] == ["< 200 CANCEL", "< 487 INVITE", "> ACK"]


def test_a_422_to_our_refresh_raises_the_interval() -> None:
    pair = Pair(client=AgentConfig(port=CLIENT_PORT, feature=SRC_FEATURE, min_se_s=500))
    theirs = asked_for(pair, ("Session-Expires", "400;refresher=uas"))
    answering(pair, 300)
    assert pair.log.count("> 422 UPDATE") == 1
    raised = pair.last_request("UPDATE")
    assert (raised.headers.get("Session-Expires"), raised.headers.get("Min-SE")) == ("500;refresher=uac", "500")
    assert pair.log[-1] == "> 200 UPDATE"
    assert pair.server.timed(theirs)


def test_a_422_to_our_offer_is_followed_by_one_with_the_longer_interval() -> None:
    pair = Pair(client=AgentConfig(port=CLIENT_PORT, feature=SRC_FEATURE, min_se_s=700, session_expires_s=700))
    theirs = asked_for(pair, ("Session-Expires", "400;refresher=uas"))
    assert pair.server.reinvite(theirs, now=pair.now, body=SDP, content_type=SDP_TYPE)
    pair.run().wait(1)
    assert pair.log[-2:] == ["> 422 INVITE", "< ACK"]
    assert pair.server.reinvite(theirs, now=pair.now, body=SDP, content_type=SDP_TYPE)
    assert pair.run().last_request("INVITE").headers.get("Min-SE") == "700"


def test_a_client_that_claims_the_timer_and_never_refreshes_keeps_its_call() -> None:
    pair = Pair(client=UNTIMED)
    theirs = asked_for(pair, ("Supported", "timer"))
    assert pair.last_response(200).headers.get("Session-Expires") == "600;refresher=uac"
    answering(pair, 433)
    assert "< UPDATE" not in pair.log
    answering(pair, 2)
    assert pair.log[-2:] == ["< UPDATE", "> 200 UPDATE"]
    answering(pair, 2_000)
    assert pair.log.count("< UPDATE") == 7  # from now on at our half time
    assert pair.server.timed(theirs)


def test_a_client_that_is_gone_is_found_out_when_its_refresh_is_overdue() -> None:
    pair = Pair()
    _, theirs = established(pair)
    pair.lose = lambda line: True
    pair.wait(433)
    assert pair.server_events() == []
    pair.wait(34)
    bye = pair.last_request("BYE")
    assert bye.headers.get("Reason") == str(EXPIRED)
    assert pair.server_events(SessionExpired) == [SessionExpired(theirs)]
    pair.wait(33)
    assert pair.server_events(DialogEnded) == [DialogEnded(theirs, 408)]
    assert pair.server.load[0] == 0


def test_a_client_that_has_forgotten_the_session_says_so_when_its_refresh_is_overdue() -> None:
    pair = Pair()
    mine, theirs = established(pair)
    pair.client.forget(mine)
    pair.wait(435)
    assert pair.log[-4:] == ["< UPDATE", "> 481 UPDATE", "< BYE", "> 481 BYE"]
    assert pair.server_events(DialogEnded) == [DialogEnded(theirs, 481)]


def test_a_client_that_refuses_every_refresh_is_told_the_end_before_it_comes() -> None:
    pair = Pair(client=UNTIMED)
    theirs = asked_for(pair, ("Session-Expires", "90"))
    for _ in range(70):
        for event in pair.client_events(UpdateReceived):
            assert isinstance(event, UpdateReceived)
            pair.client.respond(event.transaction, 500, now=pair.now)
        pair.run().wait(1)
    assert pair.log.count("< UPDATE") == 2  # at 45 and 55 s
    assert pair.last_request("BYE").headers.get("Reason") == str(EXPIRED)
    assert pair.server_events(SessionExpired, DialogEnded) == [SessionExpired(theirs), DialogEnded(theirs, 200)]


def test_a_refresh_that_nobody_answers_ends_the_session_with_one_bye() -> None:
    pair = Pair(client=UNTIMED)
    theirs = asked_for(pair, ("Session-Expires", "400"))
    pair.lose = lambda line: line.startswith("<")
    pair.wait(200 + 33)
    told = pair.server_events(TransactionTimedOut, SessionExpired)
    assert [type(event) for event in told] == [TransactionTimedOut, SessionExpired]
    first = pair.server.bye(theirs, now=pair.now)  # whoever drives us may want it too: it is on its way
    assert first == pair.server.bye(theirs, now=pair.now)
    assert len({str(m.cseq) for m in pair.sent if isinstance(m, Request) and m.method == "BYE"}) == 1
    pair.wait(33)
    assert DialogEnded(theirs, 408) in pair.server_events()
    pair.wait(40)
    assert pair.server.load == (0, 0)
    assert pair.server.next_timer() is None


def test_a_refresh_that_is_refused_for_now_comes_again_after_10_seconds() -> None:
    pair = Pair(client=UNTIMED)
    theirs = asked_for(pair, ("Session-Expires", "400"))
    pair.wait(200)
    (event,) = pair.client_events(UpdateReceived)
    assert isinstance(event, UpdateReceived)
    pair.client.respond(event.transaction, 500, now=pair.now)
    pair.run()
    answering(pair, 11)
    assert pair.log[-4:] == ["< UPDATE", "> 500 UPDATE", "< UPDATE", "> 200 UPDATE"]
    assert pair.server.timed(theirs)


def test_a_client_that_ends_the_session_leaves_no_timer_behind() -> None:
    pair = Pair()
    mine, _ = established(pair)
    pair.client.bye(mine, now=pair.now)
    pair.run()
    assert [type(event) for event in pair.server_events()] == [ByeReceived]
    pair.wait(40)
    assert pair.server.next_timer() is None
    assert pair.client.next_timer() is None


def test_after_a_refused_bye_nothing_is_refreshed_any_more() -> None:
    deaf = AgentConfig(port=CLIENT_PORT, feature=SRC_FEATURE, allow=("INVITE", "ACK", "CANCEL", "UPDATE"))
    pair = Pair(client=deaf)
    _, theirs = established(pair)
    pair.server.bye(theirs, now=pair.now)
    pair.run()
    assert not pair.server.timed(theirs)
    pair.wait(250)
    assert "< UPDATE" not in pair.log


def test_an_unreadable_interval_is_as_good_as_none() -> None:
    pair = Pair(client=UNTIMED)
    theirs = asked_for(pair, ("Session-Expires", "for ever"))
    assert not pair.server.timed(theirs)


def test_an_update_that_is_refused_for_another_reason_than_the_timer_changes_no_timer() -> None:
    pair = Pair(client=NO_UPDATE)
    theirs = asked_for(pair, ("Session-Expires", "400;refresher=uas"))
    pair.server.update(theirs, now=pair.now, body=b"<recording/>", content_type="application/rs-metadata+xml")
    assert pair.run().log[-1] == "> 405 UPDATE"
    assert pair.server_events(RefreshDue) == []
    assert pair.server.timed(theirs)


def test_a_clients_refresh_by_hand_restarts_the_timer_whatever_else_it_says() -> None:
    pair = Pair(client=UNTIMED)
    asked_for(pair, ("Session-Expires", "400"))
    inside(pair, "UPDATE", 2, ("k", "timer"), ("x", "200;refresher=uac"))
    (event,) = pair.server_events(UpdateReceived)
    assert isinstance(event, UpdateReceived)
    pair.server.respond(event.transaction, 200, now=pair.now)
    ((_, data),) = pair.server.outbox()
    assert b"Session-Expires: 200;refresher=uac\r\n" in data
    pair.lose = lambda line: True
    pair.wait(169)
    assert [type(told) for told in pair.server_events(SessionExpired)] == [SessionExpired]
