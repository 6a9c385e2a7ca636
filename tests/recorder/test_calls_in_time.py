"""SIP dialogues about time, order and reasons: what the session timer, INFO, refusals and ends mean for a call."""

from __future__ import annotations

from pathlib import Path

import pytest

from mitschnitt.core.gate import State
from mitschnitt.recorder.calls import MAX_PUT_OFF, SILENT_SECONDS
from mitschnitt.wire.sip.config import SRC_FEATURE, AgentConfig
from mitschnitt.wire.sip.message import Request, Response
from recorder_stage import CALL, act, is_closed, is_open, offer, party, ports_of, state_of
from recorder_wire import KEPT, UNTIMED, Wire, body, keeping, wired
from sip_pair import CLIENT_PORT, Pair, inside

NO_UPDATE = AgentConfig(port=CLIENT_PORT, feature=SRC_FEATURE, allow=("INVITE", "ACK", "BYE", "CANCEL"))


def test_row_40_a_call_whose_client_does_not_refresh_is_over_and_sealed_before_the_session_expires(
    tmp_path: Path,
) -> None:
    async def scene(wire: Wire) -> None:
        await keeping(wire)
        wire.stage.voices["clara"].says(ports_of(wire.session)[0], 3)
        wire.stage.tick()
        answers = [m for m in wire.pair.sent if isinstance(m, Response) and m.headers.get("Server")]
        assert "600;refresher=uac" in [m.headers.get("Session-Expires") for m in answers]
        wire.pair.lose = lambda line: True
        wire.wait(430.0)
        assert state_of(wire.session) is State.KEEPING
        wire.wait(40.0)
        await wire.until(lambda: wire.clean)
        assert wire.requests("BYE")[-1].headers.get("Reason") == 'SIP;cause=408;text="Session timer expired"'
        await wire.stage.journalled(*KEPT)

    wired(tmp_path, scene)


def test_row_40_a_call_whose_client_refreshes_goes_on_and_is_not_asked_whether_it_is_there(tmp_path: Path) -> None:
    async def scene(wire: Wire) -> None:
        dialog = await keeping(wire)
        for _ in range(4):
            wire.wait(SILENT_SECONDS + 1)
            wire.calls.ask_silent()
        wire.flush()
        assert state_of(wire.session) is State.KEEPING
        assert "> UPDATE" in wire.pair.log
        assert wire.updates == []
        wire.bye(dialog)
        await wire.until(lambda: wire.clean)

    wired(tmp_path, scene)


def test_a_client_without_update_is_refreshed_by_an_offer_in_the_form_of_the_moment(tmp_path: Path) -> None:
    async def scene(wire: Wire) -> None:
        wire.pair = Pair(client=NO_UPDATE)
        ask = wire.invite
        wire.invite = lambda: ask(None, ("Session-Expires", "400;refresher=uas"))  # type: ignore[assignment, misc]
        dialog = await keeping(wire)
        offers, before = len(wire.told), wire.told[-1]
        wire.wait(202.0)
        assert len(wire.told) == offers + 1
        assert is_open(wire.told[-1])
        assert wire.told[-1].origin == before.origin  # nothing has changed, and it says so
        wire.calls.fact_posted("act", {"call": CALL, **act("", 6.2, kind="pause")})
        wire.flush()
        assert is_closed(wire.told[-1])
        wire.wait(202.0)
        assert len(wire.told) == offers + 3
        assert is_closed(wire.told[-1])
        wire.bye(dialog)
        await wire.until(lambda: wire.clean)

    wired(tmp_path, scene)


def test_a_digit_by_info_is_no_act_for_nobody_knows_whose_key_it_was(tmp_path: Path) -> None:
    async def scene(wire: Wire) -> None:
        await keeping(wire, answer_by="digit")
        signal = b"Signal=*\r\nDuration=160\r\n", b"Signal=9\r\nDuration=160\r\n"
        for seq, data in enumerate(signal, start=20):
            inside(wire.pair, "INFO", seq, ("Content-Type", "application/dtmf-relay"), body=data)
            wire.flush()
        assert wire.pair.log[-2:] == ["< 200 INFO", "< 200 INFO"]
        assert state_of(wire.session) is State.KEEPING
        assert wire.session.facts.acts[-1].value == "1"
        inside(wire.pair, "BYE", 22)
        wire.flush()
        await wire.until(lambda: wire.clean)
        entries = await wire.stage.journalled(*KEPT)
        assert "Signal" not in repr(entries)

    wired(tmp_path, scene)


def test_what_a_client_refuses_with_405_disturbs_neither_media_nor_dialog(tmp_path: Path) -> None:
    async def scene(wire: Wire) -> None:
        deaf = AgentConfig(
            UNTIMED.host, CLIENT_PORT, "", SRC_FEATURE, allow=NO_UPDATE.allow, understood=UNTIMED.understood
        )
        wire.pair = Pair(client=deaf)
        dialog = await keeping(wire)
        wire.wait(SILENT_SECONDS + 1)
        wire.calls.ask_silent()
        wire.flush()
        assert wire.pair.log[-2:] == ["< UPDATE", "> 405 UPDATE"]
        said = wire.stage.voices["clara"].says(ports_of(wire.session)[0], 3)
        wire.stage.tick()
        assert wire.stage.open_lines() == 2
        wire.bye(dialog)
        await wire.until(lambda: wire.clean)
        await wire.stage.journalled(*KEPT)
        assert wire.stage.kept(0) == said

    wired(tmp_path, scene)


def test_row_13_an_offer_of_the_recorder_never_adds_a_line_and_may_close_one(tmp_path: Path) -> None:
    async def scene(wire: Wire) -> None:
        dialog = await keeping(wire)
        opened = wire.told[-1]
        answer = wire.reinvite(dialog, body(offer("1", "2", version=2, off="2")))
        assert answer is not None
        assert [bool(line.port) for line in answer.lines] == [True, False]
        for seconds, kind in ((6.2, "pause"), (6.3, "resume"), (6.4, "withdraw")):
            posted = {"call": CALL, **act("", seconds, kind=kind)}
            wire.calls.fact_posted("withdraw" if kind == "withdraw" else "act", posted)
            wire.flush()
            told = wire.told[-1]
            assert [line.label for line in told.lines] == [line.label for line in opened.lines]
            assert [bool(line.port) for line in told.lines] == [True, False]
        await wire.until(lambda: wire.clean)
        offers = [m for m in wire.pair.sent if isinstance(m, Request) and "srs" in (m.headers.get("Contact") or "")]
        assert {m.body.count(b"m=audio") for m in offers if m.method == "INVITE"} == {2}

    wired(tmp_path, scene)


@pytest.mark.parametrize("how", ["withdrawal", "stop"])
def test_a_bye_of_the_recorder_says_the_same_whatever_it_is_for(tmp_path: Path, how: str) -> None:
    async def scene(wire: Wire) -> None:
        await keeping(wire)
        if how == "withdrawal":
            wire.calls.fact_posted("withdraw", {"call": CALL, **act("", 6.5, kind="withdraw")})
        else:
            await wire.calls.stop()
        wire.flush()
        await wire.until(lambda: wire.clean)
        bye = wire.requests("BYE")[-1]
        assert bye.headers.all("Reason") == ('Q.850;cause=16;text="Normal call clearing"',)
        names = [name for name, _ in bye.headers]
        assert names == [
            "Via",
            "From",
            "To",
            "Call-ID",
            "CSeq",
            "Max-Forwards",
            "User-Agent",
            "Reason",
            "Content-Length",
        ]

    wired(tmp_path, scene)


def test_a_closing_offer_that_the_client_puts_off_comes_again_when_it_said_in_the_form_of_that_moment(
    tmp_path: Path,
) -> None:
    async def scene(wire: Wire) -> None:
        dialog = await keeping(wire)
        offers = len(wire.told)
        wire.answers = [503]
        real = wire.pair.client.respond

        def busy(transaction: str, status: int, **rest: object) -> bool:
            headers = (("Retry-After", "4"),) if status == 503 else ()
            return real(transaction, status, **{**rest, "headers": headers})  # type: ignore[arg-type]

        wire.pair.client.respond = busy  # type: ignore[method-assign]
        wire.calls.fact_posted("act", {"call": CALL, **act("", 6.2, kind="pause")})
        wire.flush()
        assert state_of(wire.session) is State.PAUSED
        wire.stage.voices["clara"].says(ports_of(wire.session)[0], 3)
        wire.stage.tick()
        assert not wire.stage.holds(b"clara:")  # the filter does not wait for the client
        wire.wait(3.0)
        assert len(wire.told) == offers + 1
        wire.wait(1.5)
        assert len(wire.told) == offers + 2
        assert is_closed(wire.told[-1])
        wire.bye(dialog)
        await wire.until(lambda: wire.clean)

    wired(tmp_path, scene)


def test_a_client_that_puts_the_last_offer_off_for_ever_does_not_put_off_the_end(tmp_path: Path) -> None:
    async def scene(wire: Wire) -> None:
        await keeping(wire)
        wire.answers = [491] * 20
        wire.calls.fact_posted("withdraw", {"call": CALL, **act("", 6.5, kind="withdraw")})
        wire.flush()
        assert wire.ended == []  # a client that refuses BYE must hear the closing offer first
        wire.wait(10.0)
        assert len(wire.ended) == 1
        assert 20 - len(wire.answers) == MAX_PUT_OFF
        await wire.until(lambda: wire.clean)

    wired(tmp_path, scene)


def test_a_reinvite_that_the_client_takes_back_leaves_the_call(tmp_path: Path) -> None:
    async def scene(wire: Wire) -> None:
        dialog = await keeping(wire)
        calls = wire.calls
        taken, calls._change = calls._change, lambda _event: None  # type: ignore[method-assign, assignment]
        kind, data = body(offer("1", "2", version=2))
        wire.pair.client.reinvite(dialog, now=wire.now, body=data, content_type=kind)
        wire.flush()
        wire.pair.client.cancel(dialog, now=wire.now)
        wire.flush()
        calls._change = taken  # type: ignore[method-assign]
        assert "< 487 INVITE" in wire.pair.log
        assert state_of(wire.session) is State.KEEPING
        assert wire.reinvite(dialog, body(offer("1", "2", version=3))) is not None
        wire.bye(dialog)
        await wire.until(lambda: wire.clean)
        await wire.stage.journalled(*KEPT)

    wired(tmp_path, scene)


def test_an_ack_with_a_body_confirms_the_answer_and_its_body_is_not_read(tmp_path: Path) -> None:
    async def scene(wire: Wire) -> None:
        dialog = await keeping(wire)
        told = len(wire.told)
        wire.pair.lose = lambda line: line == "> ACK"
        wire.reinvite(dialog, body(offer("1", "2", version=2)))
        ack = wire.requests("ACK")[-1]
        loaded = Request(ack.headers.plus(("Content-Type", "application/sdp")), offer("9"), "ACK", ack.uri)
        from_client = wire.pair.server_hop
        wire.pair.server.receive(bytes(loaded), from_client, wire.now)
        wire.flush()
        wire.wait(2.0)
        answers = [m for m in wire.pair.sent if isinstance(m, Response) and m.status == 200 and m.body]
        assert len(answers) == len({str(m.cseq) + (m.sender.tag or "") for m in answers})  # none was sent again
        assert len(wire.told) == told + 1
        assert [line.label for line in wire.told[-1].lines] == ["1", "2"]
        wire.bye(dialog)
        await wire.until(lambda: wire.clean)

    wired(tmp_path, scene)


def test_somebody_who_joins_while_a_refresh_is_due_is_not_kept_by_it(tmp_path: Path) -> None:
    async def scene(wire: Wire) -> None:
        dialog = await keeping(wire)
        wire.calls.fact_posted("party", {"call": CALL, **party("p3", at=6.2, value="sip:third@example.net")})
        wire.flush()
        assert is_closed(wire.told[-1])
        offers = len(wire.told)
        wire.session.refresh(wire.session.branches[0])
        wire.flush()
        assert len(wire.told) == offers + 1
        assert is_closed(wire.told[-1])
        wire.bye(dialog)
        await wire.until(lambda: wire.clean)

    wired(tmp_path, scene)


def test_a_refused_closing_offer_does_not_fail_the_opening_that_waited_behind_it(tmp_path: Path) -> None:
    async def scene(wire: Wire) -> None:
        dialog = await keeping(wire)
        wire.answers = [488]
        real, put_off = wire.pair.client.respond, []

        def slow(*arguments: object, **rest: object) -> bool:
            put_off.append((arguments, rest))
            return True

        wire.pair.client.respond = slow  # type: ignore[method-assign]
        wire.calls.fact_posted("act", {"call": CALL, **act("", 6.2, kind="pause")})
        wire.flush()
        wire.stage.seconds = 7.0
        wire.calls.fact_posted("act", {"call": CALL, **act("", 6.8, kind="resume")})
        assert state_of(wire.session) is State.KEEPING
        wire.pair.client.respond = real  # type: ignore[method-assign]
        (arguments, rest), waiting = put_off[0], ports_of(wire.session)
        before = wire.stage.open_lines()
        wire.answers = [491]  # the opening is not answered yet: what it is told to leave stands
        real(*arguments, **rest)  # type: ignore[arg-type]
        wire.flush()
        assert state_of(wire.session) is State.KEEPING
        assert (wire.stage.open_lines(), ports_of(wire.session)) == (before, waiting)
        wire.wait(5.0)
        assert is_open(wire.told[-1])
        assert wire.stage.open_lines() == 2
        wire.bye(dialog)
        await wire.until(lambda: wire.clean)

    wired(tmp_path, scene)
