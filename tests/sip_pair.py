"""Two user agents with a wire between them that loses, holds and counts: no sockets, time stands still.

`client` is a recording client, `server` a recorder. Every test moves time itself.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

from mitschnitt.wire.sip.accounts import Accounts
from mitschnitt.wire.sip.agent import UserAgent
from mitschnitt.wire.sip.authentication import Authenticator
from mitschnitt.wire.sip.config import SRC_FEATURE, AgentConfig
from mitschnitt.wire.sip.events import AckReceived, InviteReceived, SipEvent
from mitschnitt.wire.sip.hop import Hop
from mitschnitt.wire.sip.message import Headers, Request, Response, parse_message

CLIENT_PORT, SERVER_PORT = 5070, 5060
SERVER_URI = f"sip:recorder@127.0.0.1:{SERVER_PORT}"
SDP = b"v=0\r\n"


def tokens(prefix: str) -> Callable[[], str]:
    """A token maker that counts."""
    numbers = count(1)
    return lambda: f"{prefix}{next(numbers)}"


class Pair:
    """`run` carries messages until both are silent; `lose` decides which never arrive."""

    def __init__(
        self,
        *,
        transport: str = "UDP",
        client: AgentConfig | None = None,
        server: AgentConfig | None = None,
        asks: Authenticator | None = None,
        asked_by_client: Authenticator | None = None,
        accounts: Accounts | None = None,
        server_accounts: Accounts | None = None,
    ) -> None:
        """`asks`: by whom the server knows its clients; `accounts`: as whom the client answers it."""
        self.transport, self.now = transport, 100.0
        self.client = UserAgent(
            client or AgentConfig(port=CLIENT_PORT, feature=SRC_FEATURE),
            tokens("c"),
            authenticator=asked_by_client,
            accounts=accounts,
        )
        self.server = UserAgent(
            server or AgentConfig(port=SERVER_PORT), tokens("s"), authenticator=asks, accounts=server_accounts
        )
        self.log: list[str] = []  # "> INVITE", "< 200 INVITE", "x< 200 INVITE" (lost)
        self.sent: list[Request | Response] = []
        self.lose: Callable[[str], bool] = lambda _: False

    @property
    def server_hop(self) -> Hop:
        """Where the client sends to."""
        return Hop(self.transport, "127.0.0.1", SERVER_PORT)

    def invite(self, *headers: tuple[str, str], body: bytes = SDP) -> str:
        """The client starts a session; returns its dialog."""
        return self.client.invite(
            SERVER_URI,
            self.server_hop,
            now=self.now,
            sender="sip:client@127.0.0.1",
            body=body,
            content_type="application/sdp",
            headers=(("Require", "siprec"), *headers),
        )

    def run(self) -> Pair:
        """Delivers all that is to be sent, and what follows from it."""
        while self._carry(self.client, self.server, ">") | self._carry(self.server, self.client, "<"):
            pass
        return self

    def wait(self, seconds: float) -> Pair:
        """Lets time pass, timer by timer, carrying what they send."""
        until = self.now + seconds
        while True:
            due = [at for at in (self.client.next_timer(), self.server.next_timer()) if at is not None]
            if not due or min(due) > until:
                break
            self.now = max(self.now, min(due))
            self.client.tick(self.now)
            self.server.tick(self.now)
            self.run()
        self.now = until
        return self

    def server_events(self, *kinds: type[SipEvent]) -> list[SipEvent]:
        """Drains the server's events; only these kinds when given."""
        return [event for event in self.server.events() if not kinds or isinstance(event, kinds)]

    def client_events(self, *kinds: type[SipEvent]) -> list[SipEvent]:
        """Drains the client's events; only these kinds when given."""
        return [event for event in self.client.events() if not kinds or isinstance(event, kinds)]

    def last_request(self, method: str) -> Request:
        """The newest request of that method on the wire."""
        found = [m for m in self.sent if isinstance(m, Request) and m.method == method]
        assert found, f"no {method} was sent: {self.log}"
        return found[-1]

    def last_response(self, status: int) -> Response:
        """The newest response of that status on the wire."""
        found = [m for m in self.sent if isinstance(m, Response) and m.status == status]
        assert found, f"no {status} was sent: {self.log}"
        return found[-1]

    def _carry(self, sender: UserAgent, receiver: UserAgent, arrow: str) -> bool:
        outbox = sender.outbox(self.now)
        port = CLIENT_PORT if arrow == ">" else SERVER_PORT
        connection = 1 if self.transport == "TCP" else 0
        for hop, data in outbox:
            message = parse_message(data)
            name = message.method if isinstance(message, Request) else f"{message.status} {message.cseq.method}"
            line = f"{arrow} {name}"
            lost = self.lose(line)
            self.log.append(f"x{line}" if lost else line)
            self.sent.append(message)
            assert hop.transport == self.transport
            if not lost:
                receiver.receive(data, Hop(self.transport, "127.0.0.1", port, connection), self.now)
        return bool(outbox)


def established(pair: Pair) -> tuple[str, str]:
    """(client's dialog, server's dialog) after INVITE, 200, ACK."""
    mine = pair.invite()
    pair.run()
    (event,) = pair.server_events(InviteReceived)
    assert isinstance(event, InviteReceived)
    assert pair.server.respond(event.transaction, 200, now=pair.now, body=SDP, content_type="application/sdp")
    pair.run()
    (confirmed,) = pair.server_events()
    assert isinstance(confirmed, AckReceived)
    assert confirmed.dialog == event.dialog
    pair.client_events()
    return mine, event.dialog


def raw_request(method: str, *headers: tuple[str, str]) -> bytes:
    """A request from outside any dialog, as bytes."""
    given = {name for name, _ in headers}
    usual = [
        ("Via", "SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bKraw"),
        ("From", "<sip:a@127.0.0.1>;tag=1"),
        ("To", "<sip:b@127.0.0.1>"),
        ("Call-ID", "raw@127.0.0.1"),
        ("CSeq", f"1 {method}"),
        ("Max-Forwards", "70"),
        ("Content-Type", "application/sdp"),
    ]
    kept = [pair for pair in usual if pair[0] not in given]
    return bytes(Request(Headers.of([*kept, *headers]), SDP, method, "sip:b@127.0.0.1"))


def inside(pair: Pair, method: str, seq: int, *headers: tuple[str, str], body: bytes = b"", branch: str = "") -> None:
    """A request of the client within its only dialog, written by hand: what a well-behaved agent would not send."""
    known = next(m for m in pair.sent if isinstance(m, Request) and m.method == "ACK")
    items = [
        ("Via", f"SIP/2.0/{pair.transport} 127.0.0.1:{CLIENT_PORT};branch=z9hG4bK{branch or f'inside{method}{seq}'}"),
        *((name, value) for name, value in known.headers if name in ("From", "To", "Call-ID")),
        ("CSeq", f"{seq} {method}"),
        *([("Content-Type", "application/sdp")] if body else ()),
        *headers,
    ]
    hop = Hop(pair.transport, "127.0.0.1", CLIENT_PORT, 1 if pair.transport == "TCP" else 0)
    pair.server.receive(bytes(Request(Headers.of(items), body, method, known.uri)), hop, pair.now)
