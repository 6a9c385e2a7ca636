"""What is fuzzed: bytes in, nothing out; an exception that no docstring promises is a finding.

Each target also checks what must hold of whatever parses: it is written and read again as the same. Knows no
fuzzer: `run` feeds these by coverage, `test_targets` by hand-made files.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np

from fuzz.media_targets import MEDIA_TARGETS
from mitschnitt.core.criteria import Traits, compile_criteria
from mitschnitt.core.policy_check import check_policy
from mitschnitt.core.policy_diff import differences
from mitschnitt.core.policy_text import parse_policy
from mitschnitt.core.toml_lines import lines_of
from mitschnitt.errors import ConfigError, MalformedPacket, PeerError
from mitschnitt.wire import rtcp as rtcp_datagrams
from mitschnitt.wire import rtp as rtp_headers
from mitschnitt.wire.completeness import statement
from mitschnitt.wire.multipart import build_parts, split_parts
from mitschnitt.wire.packets import unfold
from mitschnitt.wire.sdp import Description, Form, LocalLine, parse_sdp
from mitschnitt.wire.sdp import answer as sdp_answer
from mitschnitt.wire.sip.agent import UserAgent
from mitschnitt.wire.sip.config import AgentConfig
from mitschnitt.wire.sip.dialog import routes_of
from mitschnitt.wire.sip.events import InviteReceived, ReinviteReceived, UpdateReceived
from mitschnitt.wire.sip.framing import StreamFramer
from mitschnitt.wire.sip.headers import Address, SipUri, Via
from mitschnitt.wire.sip.hop import Hop
from mitschnitt.wire.sip.message import MAX_HEADERS, Request, Response, parse_message
from mitschnitt.wire.sip.recording import classify_invite, read_body
from mitschnitt.wire.siprec import Metadata, MetadataBroken, bind
from mitschnitt.wire.siprec_xml import build_metadata, read_metadata

CUT = b"\xff\xfe"  # between the messages of one input for the agent; never part of UTF-8
SLOT = 64  # bytes of one RTP row: short, so that truncation and extensions at the edge are frequent
DIALOGS, TRANSACTIONS = 8, 32  # limits of the agent that is fuzzed: small enough to be reached
PATIENCE = 1_000.0  # seconds of the agent's own clock after which nothing may wait any more


def raw(value: object) -> bytes:
    """As it would stand on the wire: pieces of broken UTF-8 may join when a backslash between them goes."""
    return str(value).encode("utf-8", "surrogateescape")


def sip(data: bytes) -> None:
    """One message: whatever reads writes the same message again."""
    try:
        message = parse_message(data)
    except PeerError:
        return
    written = bytes(message)
    # Long names instead of compact ones, and a Content-Length that was not there, may take a message over a limit.
    if len(written) < 8_000 and len(message.headers.items) < MAX_HEADERS:
        again = parse_message(written)
        assert type(again) is type(message)
        assert again.body == message.body
        assert again.headers.without("Content-Length") == message.headers.without("Content-Length")
        assert bytes(again) == written
    _values(message)


def _values(message: Request | Response) -> None:
    for read in ("sender", "recipient", "contact", "via", "cseq"):
        try:
            value = getattr(message, read)
        except PeerError:
            continue
        if isinstance(value, Address | Via):
            assert raw(type(value).parse(raw(value).decode("utf-8", "surrogateescape"))) == raw(value)
        if isinstance(value, Address):
            _uri(value.uri)
    for ask in (lambda: routes_of(message), lambda: message.call_id, lambda: read_body(message)):
        try:
            ask()
        except PeerError:
            continue
    if isinstance(message, Request):
        classify_invite(message)


def _uri(text: str) -> None:
    try:
        uri = SipUri.parse(text)
    except PeerError:
        return
    assert raw(SipUri.parse(raw(uri).decode("utf-8", "surrogateescape"))) == raw(uri)


def stream(data: bytes) -> None:
    """A TCP stream, cut where its own bytes say: the messages are those of the stream in one piece."""
    whole, pieces = StreamFramer(), StreamFramer()
    expected, lost = _feed(whole, [data])
    steps, start = [], 0
    while start < len(data):
        size = 1 + data[start] % 64
        steps.append(data[start : start + size])
        start += size
    got, lost_in_pieces = _feed(pieces, steps)
    assert got[: len(expected)] == expected[: len(got)]
    if not lost and not lost_in_pieces:
        assert (got, pieces.waiting) == (expected, whole.waiting)
    for message in got:
        sip(message)


def _feed(framer: StreamFramer, pieces: list[bytes]) -> tuple[list[bytes], bool]:
    got: list[bytes] = []
    for piece in pieces:
        try:
            got += framer.feed(piece)
        except PeerError:
            return got, True
    return got, False


def sdp(data: bytes) -> None:
    """A description, our answers to it in every form, and the answers read again."""
    try:
        offer = parse_sdp(data)
    except PeerError:
        return
    lines = [LocalLine(40_000 + 2 * index, 40_000 + index) for index in range(len(offer.lines))]
    previous: Description | None = None
    for form in Form:
        ours = sdp_answer(offer, lines, form, address="192.0.2.1", session=7, previous=previous)
        previous = ours
        again = parse_sdp(bytes(ours))
        assert [(line.port, line.direction) for line in again.lines] == [
            (line.port, line.direction) for line in ours.lines
        ]
        assert [(line.formats, line.label) for line in again.lines] == [
            (line.formats, line.label) for line in ours.lines
        ]


def metadata(data: bytes) -> None:
    """A document, one that follows it, the charset of both; what they bind, and what we would write of it."""
    first, second, charset, *_ = [*data.split(CUT, 2), b"", b""]
    update = read_metadata(first, charset=charset.decode("utf-8", "surrogateescape") or None)
    assert isinstance(update, Metadata | MetadataBroken)
    if isinstance(update, MetadataBroken):
        assert not bind(update, ["1"]).certain
        return
    later = read_metadata(second)
    view = update.apply(later) if isinstance(later, Metadata) else update
    labels = sorted({item.label for item in view.streams.values() if item.label})
    binding = bind(view, labels)
    assert set(binding.labels) == set(labels)
    build_metadata(view, at=datetime(2026, 1, 1, tzinfo=UTC))


def multipart(data: bytes) -> None:
    """A body with its type in the first line; parts that can be built again split into the same bytes."""
    kind, _, body = data.partition(b"\n")
    try:
        parts = [part for part in split_parts(body, kind.decode("utf-8", "surrogateescape")) if part.headers.items]
        content_type, built = build_parts(parts, "fuzzed-8f2c")
        again = split_parts(built, content_type)
    except MalformedPacket:
        return  # no parts, or they hold our boundary
    except PeerError:
        return
    assert [part.body for part in again] == [part.body for part in parts]


def rtp(data: bytes) -> None:
    """A batch of datagrams of SLOT bytes, each with its length in front: headers, runs, and what is said of them."""
    count = len(data) // (SLOT + 2)
    if not count:
        return
    table = np.frombuffer(data[: count * (SLOT + 2)], np.uint8).reshape(count, SLOT + 2)
    rows = np.ascontiguousarray(table[:, 2:])
    lengths = (table[:, 0].astype(np.int32) % 80).astype(np.int32)
    streams = np.sort(table[:, 1] % 3).astype(np.int32)  # as a receiver brings them: grouped
    found = rtp_headers.parse(rows, lengths, streams)
    valid = found.where(found.valid)
    assert not np.any(valid.offset + valid.length > lengths[found.valid])
    assert not np.any(valid.length < 0)
    assert sum(found.refused().values()) == count - len(valid.seq)
    made, first = rtp_headers.runs(valid, 1_000)
    assert int(made["count"].sum()) == len(valid.seq)
    owners = valid.stream[first]
    for owner in set(owners.tolist()):
        kept = made[owners == owner]
        assert unfold(kept, {}).seq.tolist() == valid.seq[valid.stream == owner].tolist()
        said = statement(kept, {"codecs": {}})
        assert said.received == np.sum(valid.stream == owner)
        assert said.expected == said.received - said.duplicate + said.lost


def rtcp(data: bytes) -> None:
    """One datagram: what it tells is no more than it holds, and reports are written and read again as the same."""
    try:
        found = rtcp_datagrams.parse(data)
    except PeerError:
        return
    assert len(found.reports) + len(found.names) + len(found.goodbyes) + found.skipped <= len(data) // 4
    name = found.names[0] if found.names else rtcp_datagrams.SourceName(0, b"fuzz")
    for report in found.reports:
        again = rtcp_datagrams.parse(rtcp_datagrams.compound(report, name))
        assert again.reports == (report,)
        assert again.names == (name,)


class Phone:
    """A user agent with one call of its own under way, as the seeds know it: words are t1, t2 ..."""

    def __init__(self) -> None:
        self.now, self.words = 0.0, 0
        self.agent = UserAgent(AgentConfig(max_dialogs=DIALOGS, max_transactions=TRANSACTIONS), self._token)
        hop = Hop("UDP", "127.0.0.1", 5070)
        self.agent.invite("sip:b@127.0.0.1", hop, now=0.0, sender="sip:a@127.0.0.1", body=b"", content_type="")

    def _token(self) -> str:
        self.words += 1
        return f"t{self.words}"

    def hear(self, data: bytes, source: Hop) -> None:
        """A message comes; whatever asks is answered 200; what we send must read."""
        self.agent.receive(data, source, self.now)
        self.settle()

    def settle(self) -> None:
        """Answers and checks."""
        for event in self.agent.events():
            if isinstance(event, InviteReceived | ReinviteReceived | UpdateReceived):
                self.agent.respond(event.transaction, 200, now=self.now)
        for _, sent in self.agent.outbox():
            parse_message(sent)
        dialogs, transactions = self.agent.load
        assert dialogs <= DIALOGS + 1
        assert transactions <= 2 * TRANSACTIONS + 2 * DIALOGS

    def wait(self, seconds: float) -> None:
        """Time passes timer by timer."""
        until = self.now + seconds
        while (due := self.agent.next_timer()) is not None and due <= until:
            self.now = max(self.now, due)
            self.agent.tick(self.now)
            self.settle()
        self.now = until


def agent(data: bytes) -> None:
    """Messages for a whole user agent, first byte of each: transport and how long to wait before it."""
    phone = Phone()
    for piece in data.split(CUT)[:16]:
        phone.wait((piece[:1] or b"\0")[0] % 8 * 0.6)
        reliable = bool(piece[:1] and piece[0] & 8)
        phone.hear(piece[1:], Hop("TCP" if reliable else "UDP", "127.0.0.1", 5070, int(reliable)))
    phone.wait(PATIENCE)
    assert phone.agent.load[1] == 0, "a transaction outlives all patience"


def policy(data: bytes) -> None:
    """A policy: whatever reads is compiled or refused, places a call once, and does not differ from itself."""
    try:
        read = parse_policy(data)
        criteria = compile_criteria(read)
    except ConfigError:
        return
    placed = criteria.place(Traits("hotline", "inbound", 9, 1))
    assert (placed.stratum is None) != (placed.exclusion is None)
    lines = lines_of(data.decode())
    assert all(finding.where[:1] in lines or not lines for finding in check_policy(read) if finding.is_error)
    assert differences(read, read) == ()


TARGETS: dict[str, Callable[[bytes], None]] = {
    "sip": sip,
    "stream": stream,
    "sdp": sdp,
    "metadata": metadata,
    "multipart": multipart,
    "rtp": rtp,
    "rtcp": rtcp,
    "agent": agent,
    "policy": policy,
    **MEDIA_TARGETS,
}
