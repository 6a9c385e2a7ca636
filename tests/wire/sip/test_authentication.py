"""The server side of digest: who is let in, what is remembered, and whole dialogues of two agents (RFC 7616)."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitschnitt.errors import ConfigError
from mitschnitt.wire.sip import authentication
from mitschnitt.wire.sip.accounts import Accounts, Secret
from mitschnitt.wire.sip.authentication import COUNT_WINDOW, KEY_BYTES, NONCE_SECONDS, Authenticator
from mitschnitt.wire.sip.config import AgentConfig
from mitschnitt.wire.sip.digest import Algorithm, Challenge, Credentials, secret_of
from mitschnitt.wire.sip.events import (
    ByeReceived,
    ByeRefused,
    DialogEnded,
    InviteReceived,
    MessageRefused,
    OptionsReceived,
    ReinviteReceived,
    ResponseReceived,
    UpdateReceived,
)
from mitschnitt.wire.sip.hop import Hop
from mitschnitt.wire.sip.message import Headers, Request
from sip_pair import SDP, SERVER_URI, Pair, raw_request, tokens

REALM, PASSWORD = "mitschnitt", "opensesame"
BOTH = (Algorithm.SHA256, Algorithm.MD5)
PEER = Hop("UDP", "192.0.2.1", 5070)


def secret(user: str = "sbc", algorithm: Algorithm = Algorithm.SHA256, password: str = PASSWORD) -> Secret:
    return Secret(user, REALM, algorithm, secret_of(algorithm, user, REALM, password))


def asks(*users: Secret, algorithms: tuple[Algorithm, ...] = (Algorithm.SHA256,), key: int = 1) -> Authenticator:
    return Authenticator(REALM, users, key=bytes([key]) * KEY_BYTES, salt=tokens("salt"), algorithms=algorithms)


def signed(who: Secret, nonce: str, *, method: str = "OPTIONS", **changes: Any) -> Request:
    """A request with the credentials of `who`; `changes` are made before they are signed."""
    bare = Credentials(who.user, REALM, nonce, "sip:b@127.0.0.1", "", who.algorithm, None, "auth", "c", 1)
    bare = replace(bare, **changes)
    given = replace(bare, response=bare.expected(who.ha1, method))
    return carrying(str(given), method)


def carrying(line: str, method: str = "OPTIONS") -> Request:
    return Request(Headers.of([("Authorization", line)]), b"", method, "sip:b@127.0.0.1")


def why(door: Authenticator, request: Request, now: float = 10.0, *, source: Hop = PEER, inside: bool = False) -> str:
    """The cause of the refusal, "" when it may pass."""
    refused = door.refusal(request, source, now, inside=inside)
    return refused[1] if refused else ""


def challenges(door: Authenticator, request: Request, now: float = 10.0) -> list[Challenge]:
    refused = door.refusal(request, PEER, now, inside=False)
    assert refused is not None
    found = [Challenge.parse(line) for name, line in refused[2] if name == "WWW-Authenticate"]
    return [challenge for challenge in found if challenge]


BARE = Request(Headers(), b"", "OPTIONS", "sip:b@127.0.0.1")


def test_whoever_brings_nothing_is_challenged_by_the_strongest_first() -> None:
    door = asks(secret(), secret("old", Algorithm.MD5), algorithms=(Algorithm.MD5, Algorithm.SHA256))
    asked = challenges(door, BARE)
    assert [challenge.algorithm for challenge in asked] == [Algorithm.SHA256, Algorithm.MD5]
    assert {(challenge.realm, challenge.qop, challenge.stale) for challenge in asked} == {(REALM, ("auth",), False)}
    assert len({challenge.nonce for challenge in asked}) == 2
    assert door.held == (0, 0)


@pytest.mark.parametrize(
    "users, allowed, offered",
    [
        ([secret()], BOTH, [Algorithm.SHA256]),
        ([secret("old", Algorithm.MD5)], BOTH, [Algorithm.MD5]),
        ([secret(), secret("old", Algorithm.MD5)], BOTH[:1], [Algorithm.SHA256]),
        ([], BOTH, list(BOTH)),
    ],
)
def test_what_no_user_has_is_not_offered(
    users: list[Secret], allowed: tuple[Algorithm, ...], offered: list[Algorithm]
) -> None:
    asked = challenges(asks(*users, algorithms=allowed), BARE)
    assert [challenge.algorithm for challenge in asked] == offered


def test_whoever_knows_the_secret_is_let_in_once_per_count() -> None:
    door = asks(secret())
    nonce = door.nonce(Algorithm.SHA256, 10.0)
    assert [why(door, signed(secret(), nonce, count=count)) for count in (1, 2, 2, 4, 3, 3)] == [
        "", "", "auth.replayed", "", "", "auth.replayed",
    ]  # fmt: skip
    assert door.held == (1, 0)


def test_a_replay_is_told_to_come_with_a_new_nonce() -> None:
    door = asks(secret())
    request = signed(secret(), door.nonce(Algorithm.SHA256, 10.0))
    assert why(door, request) == ""
    (challenge,) = challenges(door, request)
    assert challenge.stale
    assert why(door, signed(secret(), challenge.nonce)) == ""


def test_counts_behind_the_window_are_refused() -> None:
    door = asks(secret())
    nonce = door.nonce(Algorithm.SHA256, 10.0)
    counts = (100, 100 - COUNT_WINDOW + 1, 100 - COUNT_WINDOW, 2**32 - 1, 100)
    told = [why(door, signed(secret(), nonce, count=count)) for count in counts]
    assert told == ["", "", "auth.replayed", "", "auth.replayed"]


@given(st.lists(st.integers(1, 200), max_size=80))
def test_no_count_is_ever_taken_twice(counts: list[int]) -> None:
    door = asks(secret())
    nonce = door.nonce(Algorithm.SHA256, 10.0)
    taken = [count for count in counts if not why(door, signed(secret(), nonce, count=count))]
    assert len(taken) == len(set(taken))
    highest = 0
    for count in dict.fromkeys(counts):  # and what is new and within the window is taken
        assert count in taken or count <= highest - COUNT_WINDOW
        highest = max(highest, count)


@pytest.mark.parametrize(
    "age, told", [(0, ""), (NONCE_SECONDS - 1, ""), (NONCE_SECONDS + 1, "auth.stale"), (-5, "auth.stale")]
)
def test_a_nonce_grows_old(age: float, told: str) -> None:
    door = asks(secret())
    assert why(door, signed(secret(), door.nonce(Algorithm.SHA256, 1000.0)), 1000.0 + age) == told


def test_a_nonce_of_a_former_life_is_old_and_not_wrong() -> None:
    before = asks(secret(), key=2)
    (old,) = challenges(before, BARE)
    door = asks(secret())
    request = signed(secret(), old.nonce, opaque=old.opaque)
    assert why(door, request) == "auth.stale"
    assert challenges(door, request)[0].stale
    assert why(door, signed(secret(password="guess"), old.nonce)) == "auth.wrong"


@pytest.mark.parametrize(
    "change",
    [
        lambda nonce: "0" + nonce[1:-1] + "x",
        lambda nonce: nonce[:12] + "0" * 32 + nonce[44:],
        lambda nonce: f"{int(nonce[:12], 16) + 1000:012x}{nonce[12:]}",
        lambda nonce: nonce[:40],
        lambda _: "x",
        lambda _: "\u00fc" * 50,
    ],
)
def test_a_nonce_that_we_did_not_make_lets_nobody_in(change: Callable[[str], str]) -> None:
    door = asks(secret())
    nonce = change(door.nonce(Algorithm.SHA256, 10.0))
    assert why(door, signed(secret(), nonce), 12.0) == "auth.stale"
    assert door.held == (0, 0)


def test_an_unknown_user_and_a_wrong_password_look_the_same() -> None:
    door = asks(secret())
    nonce = door.nonce(Algorithm.SHA256, 10.0)
    told = [door.refusal(signed(who, nonce), PEER, 10.0, inside=False) for who in (secret("x"), secret(password="y"))]
    assert [refused[:2] for refused in told if refused] == [(401, "auth.wrong")] * 2
    assert len({len(refused[2][0][1]) for refused in told if refused}) == 1


def test_an_unknown_user_costs_the_same_hashes_as_a_known_one(monkeypatch: pytest.MonkeyPatch) -> None:
    door = asks(secret())
    nonce = door.nonce(Algorithm.SHA256, 10.0)
    counted: list[int] = []
    real = hmac.new

    def counting(key: bytes, text: bytes, kind: Any) -> Any:
        counted[-1] += 1
        return real(key, text, kind)

    monkeypatch.setattr(hmac, "new", counting)
    for who in (secret("stranger"), secret(password="wrong")):
        request = signed(who, nonce)
        counted.append(0)
        assert why(door, request) == "auth.wrong"
    assert counted[0] == counted[1] > 0


def test_without_users_nobody_is_let_in() -> None:
    door = asks()
    assert why(door, signed(secret(), door.nonce(Algorithm.SHA256, 10.0))) == "auth.wrong"


@pytest.mark.parametrize(
    "changes, who",
    [
        ({"qop": ""}, secret()),
        ({"qop": "auth-int"}, secret()),
        ({"username": "other"}, secret()),
    ],
)
def test_weaker_and_other_answers_are_wrong(changes: dict[str, Any], who: Secret) -> None:
    door = asks(secret())
    assert why(door, signed(who, door.nonce(Algorithm.SHA256, 10.0), **changes)) == "auth.wrong"


def test_md5_is_taken_only_where_it_is_allowed_and_only_of_who_has_nothing_better() -> None:
    weak = secret("old", Algorithm.MD5)
    strict, lax = asks(secret(), weak), asks(secret(), weak, algorithms=BOTH)
    assert why(strict, signed(weak, strict.nonce(Algorithm.MD5, 10.0))) == "auth.wrong"
    assert why(lax, signed(weak, lax.nonce(Algorithm.MD5, 10.0))) == ""
    stronger_is_known = secret(algorithm=Algorithm.MD5)
    assert why(lax, signed(stronger_is_known, lax.nonce(Algorithm.MD5, 10.0))) == "auth.wrong"


def test_a_nonce_for_one_algorithm_is_none_for_the_other() -> None:
    door = asks(secret("old", Algorithm.MD5), algorithms=BOTH)
    assert why(door, signed(secret("old", Algorithm.MD5), door.nonce(Algorithm.SHA256, 10.0))) == "auth.wrong"


def test_credentials_for_other_realms_are_other_peoples() -> None:
    door = asks(secret())
    nonce = door.nonce(Algorithm.SHA256, 10.0)
    assert why(door, signed(secret(), nonce, realm="proxy")) == "auth.missing"
    both = [("Authorization", signed(secret(), nonce, realm="proxy").headers.items[0][1])]
    both += signed(secret(), nonce).headers.items
    assert why(door, Request(Headers.of(both), b"", "OPTIONS", "sip:b@127.0.0.1")) == ""
    assert why(door, carrying("Bearer x")) == "auth.missing"


def test_credentials_that_cannot_be_read_are_a_bad_request() -> None:
    for line in ('Digest username="a"', "Digest " + ",".join(f"f{number}=1" for number in range(70))):
        refused = asks(secret()).refusal(carrying(line), PEER, 0.0, inside=False)
        assert refused is not None
        assert refused[:2] == (400, "auth.malformed")


@pytest.mark.parametrize("method", ["ACK", "CANCEL"])
def test_what_has_no_answer_is_never_challenged(method: str) -> None:
    assert why(asks(secret()), Request(Headers(), b"", method, "sip:b@c")) == ""


def test_a_connection_that_has_proved_itself_is_not_asked() -> None:
    door = Authenticator(REALM, (), key=bytes(KEY_BYTES), salt=tokens("s"), exempt=frozenset({"TLS"}))
    assert why(door, BARE, source=Hop("TLS", "192.0.2.1", 5061, 3)) == ""
    assert why(door, BARE, source=Hop("TCP", "192.0.2.1", 5060, 3)) == "auth.missing"


# --- failures ---------------------------------------------------------------------------------------


def guesses(door: Authenticator, count: int, source: Hop = PEER) -> list[str]:
    nonce = door.nonce(Algorithm.SHA256, 10.0)
    return [why(door, signed(secret(password="guess"), nonce), source=source) for _ in range(count)]


def test_after_twenty_wrong_answers_in_a_minute_a_source_is_heard_no_more() -> None:
    door = asks(secret())
    assert guesses(door, 25) == ["auth.wrong"] * 20 + ["auth.failures"] * 5
    right = signed(secret(), door.nonce(Algorithm.SHA256, 10.0))
    refused = door.refusal(right, PEER, 10.0, inside=False)
    assert refused is not None
    assert refused[:2] == (403, "auth.failures")
    assert why(door, BARE) == "auth.missing"  # a challenge costs nothing and tells nothing
    assert why(door, right, source=Hop("UDP", "192.0.2.2", 5070)) == ""
    assert why(door, signed(secret(), door.nonce(Algorithm.SHA256, 14.0)), 14.0) == ""  # a guess every 3 s remains


def test_who_forges_a_clients_address_does_not_lock_it_out() -> None:
    door = asks(secret())
    nonce = door.nonce(Algorithm.SHA256, 10.0)
    assert why(door, signed(secret(), nonce)) == ""
    guesses(door, 30)
    assert why(door, signed(secret(), nonce, count=2)) == ""
    assert why(door, signed(secret(), door.nonce(Algorithm.SHA256, 10.0)), inside=True) == ""  # its running calls


def test_failures_and_nonces_stay_within_their_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authentication, "MAX_NONCES", 50)
    door = asks(secret())
    first = door.nonce(Algorithm.SHA256, 10.0)
    assert why(door, signed(secret(), first)) == ""
    for number in range(100):
        assert why(door, signed(secret(), door.nonce(Algorithm.SHA256, 11.0 + number)), 11.0 + number) == ""
    assert door.held == (50, 0)
    # What is forgotten must not count anew: a replay of it is old.
    assert why(door, signed(secret(), first), 112.0) == "auth.stale"
    for number in range(12_000):
        why(door, carrying("Digest x"), source=Hop("UDP", f"10.0.{number >> 8}.{number & 255}", 5070))
    assert door.held == (50, 10_000)


def test_nonces_that_are_old_are_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authentication, "MAX_NONCES", 2)
    door = asks(secret())
    for now in (0.0, 400.0, 800.0):
        assert why(door, signed(secret(), door.nonce(Algorithm.SHA256, now)), now) == ""
    assert door.held == (1, 0)


def test_other_users_count_from_the_moment_they_are_learned() -> None:
    door = asks(secret())
    door.learn([secret("new")])
    nonce = door.nonce(Algorithm.SHA256, 10.0)
    assert why(door, signed(secret(), nonce)) == "auth.wrong"
    assert why(door, signed(secret("new"), nonce)) == ""
    for users in ([secret("a"), secret("a")], [replace(secret("a"), realm="elsewhere")]):
        with pytest.raises(ConfigError, match="SIP users: "):
            door.learn(users)
    assert why(door, signed(secret("new"), nonce, count=2)) == ""


def test_a_realm_that_cannot_be_written_and_a_short_key_are_refused() -> None:
    with pytest.raises(ConfigError, match="a realm has no colon"):
        Authenticator('a"b', (), key=bytes(KEY_BYTES), salt=tokens("s"))
    with pytest.raises(ValueError, match="32 bytes, got 3"):
        Authenticator(REALM, (), key=b"abc", salt=tokens("s"))


@given(st.text(max_size=60), st.text(max_size=60), st.integers(1, 2**32 - 1))
def test_nobody_gets_in_without_the_secret(user: str, password: str, count: int) -> None:
    door = asks(secret())
    who = Secret(user, REALM, Algorithm.SHA256, secret_of(Algorithm.SHA256, user, REALM, password))
    told = why(door, signed(who, door.nonce(Algorithm.SHA256, 10.0), count=count))
    assert (told == "") is ((user, password) == ("sbc", PASSWORD))


# --- dialogues of two agents ------------------------------------------------------------------------


def guarded(transport: str = "UDP", *, accounts: Accounts | None = None, **server: Any) -> Pair:
    """A recorder that asks, and a client with the right account unless another is given."""
    known = accounts if accounts is not None else Accounts([secret()])
    return Pair(transport=transport, server=AgentConfig(port=5060, **server), asks=asks(secret()), accounts=known)


def session(pair: Pair) -> tuple[str, str]:
    """(client's dialog, server's dialog) of a session that was challenged, answered and acknowledged."""
    mine = pair.invite()
    pair.run()
    (event,) = pair.server_events(InviteReceived)
    assert isinstance(event, InviteReceived)
    pair.server.respond(event.transaction, 200, now=pair.now, body=SDP, content_type="application/sdp")
    pair.run()
    pair.server_events()
    return mine, event.dialog


@pytest.mark.parametrize("transport", ["UDP", "TCP"])
def test_every_request_of_a_client_is_challenged_and_answered_and_only_the_outcome_is_told(transport: str) -> None:
    pair = guarded(transport)
    mine, _ = session(pair)
    assert pair.log == ["> INVITE", "< 401 INVITE", "> ACK", "> INVITE", "< 100 INVITE", "< 200 INVITE", "> ACK"]
    told = [
        event.response.status for event in pair.client_events(ResponseReceived) if isinstance(event, ResponseReceived)
    ]
    assert told == [100, 200]
    pair.log.clear()
    sent = pair.client.update(mine, now=pair.now)
    pair.run()
    (event,) = pair.server_events(UpdateReceived)
    assert isinstance(event, UpdateReceived)
    pair.server.respond(event.transaction, 200, now=pair.now)
    pair.run()
    (answer,) = pair.client_events()
    assert isinstance(answer, ResponseReceived)
    assert (answer.transaction, answer.response.status) == (sent, 200)
    pair.client.bye(mine, now=pair.now)
    pair.run()
    assert pair.log == [
        "> UPDATE",
        "< 401 UPDATE",
        "> UPDATE",
        "< 200 UPDATE",
        "> BYE",
        "< 401 BYE",
        "> BYE",
        "< 200 BYE",
    ]
    assert ByeReceived in [type(event) for event in pair.server_events()]
    assert DialogEnded(mine, 200) in pair.client_events()
    pair.wait(40)
    assert pair.server.load == pair.client.load == (0, 0)


def test_the_answer_is_another_transaction_of_the_same_dialog() -> None:
    pair = guarded()
    session(pair)
    first, second = [m for m in pair.sent if isinstance(m, Request) and m.method == "INVITE"]
    assert (first.cseq.number, second.cseq.number) == (1, 2)
    assert first.via.branch != second.via.branch
    assert (first.call_id, first.sender, first.body) == (second.call_id, second.sender, second.body)
    assert second.recipient.tag is None
    ack = pair.last_request("ACK")
    assert ack.cseq.number == 2
    assert ack.headers.get("Authorization") == second.headers.get("Authorization")  # RFC 3261, 13.2.2.4


def test_a_challenge_costs_the_server_nothing() -> None:
    pair = guarded(accounts=Accounts())
    for _ in range(50):
        pair.invite()
        pair.run()
        assert pair.log[-2:] == ["< 401 INVITE", "> ACK"]
    assert (pair.server.load, pair.server.pressure) == ((0, 0), (0, 0, 0))
    assert {event.why for event in pair.server_events(MessageRefused) if isinstance(event, MessageRefused)} == {
        "auth.missing"
    }


def test_credentials_that_are_refused_are_told_as_the_failure_they_are() -> None:
    pair = guarded(accounts=Accounts([secret(password="wrong")]))
    mine = pair.invite()
    pair.run()
    assert pair.log == ["> INVITE", "< 401 INVITE", "> ACK", "> INVITE", "< 401 INVITE", "> ACK"]
    (told,) = pair.client_events()
    assert isinstance(told, ResponseReceived)
    assert (told.dialog, told.response.status) == (mine, 401)
    pair.wait(40)
    assert pair.client.load == (0, 0)


def test_a_lost_challenge_and_a_lost_answer_are_survived() -> None:
    pair = guarded()
    lost: list[str] = []

    def lose(line: str) -> bool:
        if line in ("< 401 INVITE", "> ACK", "< 100 INVITE") and lost.count(line) < 2:
            lost.append(line)
            return True
        return False

    pair.lose = lose
    pair.invite()
    pair.run().wait(5)
    assert len(pair.server_events(InviteReceived)) == 1
    assert "< 100 INVITE" in pair.log


def test_a_nonce_that_grew_old_is_exchanged_without_telling_anybody() -> None:
    pair = guarded()
    mine, _ = session(pair)
    pair.client_events()
    pair.client.update(mine, now=pair.now)
    pair._carry(pair.client, pair.server, ">")  # noqa: SLF001 - time passes between challenge and answer
    pair._carry(pair.server, pair.client, "<")  # noqa: SLF001
    pair.now += NONCE_SECONDS + 1
    pair.run()
    (event,) = pair.server_events(UpdateReceived)
    assert isinstance(event, UpdateReceived)
    pair.server.respond(event.transaction, 200, now=pair.now)
    pair.run()
    assert pair.log[-6:] == ["> UPDATE", "< 401 UPDATE", "> UPDATE", "< 401 UPDATE", "> UPDATE", "< 200 UPDATE"]
    told = [event.response.status for event in pair.client_events() if isinstance(event, ResponseReceived)]
    assert told == [200]


def test_a_cancel_is_not_challenged() -> None:
    pair = guarded()
    mine = pair.invite()
    pair.run()
    pair.client.cancel(mine, now=pair.now)
    assert pair.run().log[-4:] == ["> CANCEL", "< 200 CANCEL", "< 487 INVITE", "> ACK"]


def test_an_invite_that_was_given_up_is_not_sent_again_by_a_challenge() -> None:
    pair = guarded()
    mine = pair.invite()
    pair.client.cancel(mine, now=pair.now)
    assert pair.run().log == ["> INVITE", "< 401 INVITE", "> ACK"]


def test_options_outside_a_dialog_is_answered_too() -> None:
    pair = guarded()
    sent = pair.client.options(SERVER_URI, pair.server_hop, now=pair.now, sender="sip:probe@127.0.0.1")
    assert pair.run().log == ["> OPTIONS", "< 401 OPTIONS", "> OPTIONS", "< 200 OPTIONS"]
    assert OptionsReceived in [type(event) for event in pair.server_events()]
    (told,) = pair.client_events()
    assert isinstance(told, ResponseReceived)
    assert (told.transaction, told.response.status) == (sent, 200)


def test_a_client_that_challenges_our_requests_is_answered() -> None:
    pair = Pair(asked_by_client=asks(secret()), server_accounts=Accounts([secret()]))
    mine, theirs = session(pair)
    pair.log.clear()
    sent = pair.server.reinvite(theirs, now=pair.now, body=SDP, content_type="application/sdp")
    pair.run()
    (event,) = pair.client_events(ReinviteReceived)
    assert isinstance(event, ReinviteReceived)
    pair.client.respond(event.transaction, 200, now=pair.now, body=SDP, content_type="application/sdp")
    pair.run()
    assert pair.log == ["< INVITE", "> 401 INVITE", "< ACK", "< INVITE", "> 100 INVITE", "> 200 INVITE", "< ACK"]
    told = [(e.transaction, e.response.status) for e in pair.server_events() if isinstance(e, ResponseReceived)]
    assert told == [(sent, 100), (sent, 200)]
    pair.server.bye(theirs, now=pair.now)
    assert pair.run().log[-4:] == ["< BYE", "> 401 BYE", "< BYE", "> 200 BYE"]


def test_a_bye_whose_credentials_are_refused_is_a_refused_bye() -> None:
    pair = Pair(asked_by_client=asks(secret()), server_accounts=Accounts([secret(password="wrong")]))
    _, theirs = session(pair)
    pair.server.bye(theirs, now=pair.now)
    pair.run()
    assert ByeRefused(theirs, 401) in pair.server_events()


def test_a_peer_that_always_says_stale_is_not_followed_for_ever() -> None:
    pair = guarded()
    pair.now += 1
    pair.client.options(SERVER_URI, pair.server_hop, now=pair.now, sender="sip:probe@127.0.0.1")
    for number in range(10):
        outbox = pair.client.outbox()
        for _, data in outbox:
            headers = data.split(b"\r\n")
            copied = [line for line in headers if line.split(b":")[0] in (b"Via", b"From", b"To", b"Call-ID", b"CSeq")]
            fields = f'realm="{REALM}", nonce="n{number}", algorithm=SHA-256, qop="auth", stale=true'.encode()
            answer = [b"SIP/2.0 401 Unauthorized", *copied, b"WWW-Authenticate: Digest " + fields, b"", b""]
            pair.client.receive(b"\r\n".join(answer), pair.server_hop, pair.now)
        if not outbox:
            break
    assert number == 3
    assert [type(event) for event in pair.client_events()] == [ResponseReceived]


def test_a_refused_copy_is_refused_for_its_first_reason_though_its_credentials_are_used_up() -> None:
    pair = guarded(max_dialogs=0)
    pair.lose = lambda line: line == "< 503 INVITE" and "x< 503 INVITE" not in pair.log
    pair.invite()
    pair.run().wait(1)
    assert pair.log[3:] == ["> INVITE", "x< 503 INVITE", "> INVITE", "< 503 INVITE", "> ACK"]


def test_an_unauthenticated_flood_takes_no_token_from_clients() -> None:
    pair = guarded(calls_per_second=1, calls_per_second_per_source=1)
    for number in range(100):
        via = ("Via", f"SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bKf{number}")
        pair.server.receive(raw_request("INVITE", via), Hop("UDP", "127.0.0.1", 5070), pair.now)
    pair.server.outbox()
    session(pair)
    assert pair.server.load[0] == 1
