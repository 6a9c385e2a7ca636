"""The SIP ladder of a dialog: which messages went which way when, and nothing of what they said.

A rung has words of fixed lists and numbers only: no address, name, Call-ID or digit can be in it, nor in its
JSON, which is read as strictly as it is written. Bounded: of a long dialog the middle is left out and counted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from mitschnitt.errors import MalformedPacket
from mitschnitt.wire.sip.config import METHODS
from mitschnitt.wire.sip.message import Request, Response

MAX_RUNGS = 64  # of one dialog: an hour with twenty changes has 60; what is left out is counted
FIRST_RUNGS = 40  # that are never left out: how the dialog began; the others are its newest
MAX_SCANNED_BYTES = 16_384  # of a body, for its direction; eight lines with every codec known take 8 kB
OTHER_METHOD = "OTHER"  # any method that is not in METHODS: its name is the peer's own text
TRANSPORTS = ("UDP", "TCP", "TLS")
FLOWS = ("closed", "inactive", "recvonly", "sendonly", "sendrecv", "mixed")  # of a description, as its writer sees it
MAX_NUMBER = 2**31 - 1  # of a CSeq (RFC 3261, 8.1.1.5), and of any count here

_START = re.compile(rb"(?:SIP/2\.0 ([1-6][0-9]{2})|([A-Za-z]{1,16})) ")
_LINE = re.compile(rb"^(Call-ID|CSeq|From|To|Reason): ?([^\r\n]{0,1024})", re.MULTILINE)
_TAG = re.compile(r";\s*tag\s*=\s*([^\s;,>\"]{1,256})", re.IGNORECASE)
_CAUSE = re.compile(r";\s*cause\s*=\s*([0-9]{1,3})\b", re.IGNORECASE)
_FLOW = re.compile(rb"^a=(inactive|recvonly|sendonly|sendrecv)[ \t]*\r?$", re.MULTILINE)
_MEDIA = re.compile(rb"^m=[a-z]", re.MULTILINE)
_ADDRESS = re.compile(rb"^c=IN IP[46] ([0-9A-Fa-f.:]{2,45})", re.MULTILINE)
_METADATA = (b"rs-metadata", b"xml:ns:recording")  # type of a part, or namespace of the document itself
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?Z", re.ASCII)
_UNSPECIFIED = frozenset({b"0.0.0.0", b"::"})

Key = tuple[str, str]  # Call-ID and the peer's tag: what all messages of one dialog share


class Way(StrEnum):
    """Which way a message went, as the recorder sees it."""

    IN = "in"
    OUT = "out"


@dataclass(frozen=True, slots=True)
class Rung:
    """One message of a dialog, with its copies."""

    after_ms: int  # milliseconds since the dialog's first message
    way: Way
    status: int  # of a response; 0: it is a request
    method: str  # of METHODS, or OTHER_METHOD; of a response, that of its request
    number: int  # of its CSeq
    times: int = 1  # how often it went over the wire
    cause: int = 0  # of its Reason header (RFC 3326), 0: none
    transport: str = "UDP"
    flow: str = ""  # of FLOWS: it carried a session description; "": none
    metadata: bool = False  # it carried recording metadata, or asked for it

    def is_copy_of(self, other: Rung) -> bool:
        """Whether both are the same message, sent again."""
        mine = self.way, self.status, self.method, self.number
        return mine == (other.way, other.status, other.method, other.number)


class Ladder:
    """The messages of one dialog in their order.

    `began_at` is the wall clock of the first in RFC 3339; `left_out` messages are missing behind the first `gap`.
    """

    def __init__(
        self, rungs: Sequence[Rung] = (), *, left_out: int = 0, gap: int = FIRST_RUNGS, began_at: str = ""
    ) -> None:
        self._rungs = list(rungs)
        self._started = 0.0
        self.left_out = left_out
        self.gap = gap
        self.began_at = began_at

    @property
    def rungs(self) -> tuple[Rung, ...]:
        """At most MAX_RUNGS."""
        return tuple(self._rungs)

    def note(self, rung: Rung, now: float) -> None:
        """One more message at `now`, in seconds of the agent's clock; a copy counts on the rung that it repeats."""
        if not self._rungs:
            self._started = now
        for place in range(len(self._rungs) - 1, -1, -1):
            known = self._rungs[place]
            if rung.is_copy_of(known):
                self._rungs[place] = replace(known, times=min(known.times + 1, MAX_NUMBER))
                return
        if len(self._rungs) == MAX_RUNGS:
            del self._rungs[self.gap]
            self.left_out = min(self.left_out + 1, MAX_NUMBER)
        after = min(max(round((now - self._started) * 1000), 0), MAX_NUMBER)
        self._rungs.append(replace(rung, after_ms=after))

    def to_json(self, *, most: int = MAX_RUNGS) -> dict[str, Any]:
        """As journals carry it, with at most `most` rungs: more are left out of the middle."""
        surplus = max(len(self._rungs) - most, 0)
        gap = min(self.gap, most // 2) if surplus else self.gap
        kept = self._rungs[:gap] + self._rungs[gap + surplus :]
        rows = [
            [r.after_ms, r.way.value, r.status, r.method, r.number, r.times, r.cause, r.transport, r.flow, r.metadata]
            for r in kept
        ]
        return {
            "began_at": self.began_at,
            "gap": gap,
            "left_out": min(self.left_out + surplus, MAX_NUMBER),
            "rungs": rows,
        }


def ladder_from_json(data: Any) -> Ladder:
    """The inverse of `to_json`. MalformedPacket for anything that a ladder cannot say."""
    if not isinstance(data, dict) or set(data) != {"began_at", "gap", "left_out", "rungs"}:
        raise MalformedPacket("a ladder is an object of `began_at`, `gap`, `left_out` and `rungs`")
    rows = data["rungs"]
    if not isinstance(rows, list) or len(rows) > MAX_RUNGS:
        raise MalformedPacket(f"a ladder has a list of at most {MAX_RUNGS} rungs")
    if not _is_count(data["left_out"]) or not _is_count(data["gap"]) or not _is_time(data["began_at"]):
        raise MalformedPacket("a ladder says how many rungs it leaves out, and in RFC 3339 when it began")
    rungs = [_rung_from_json(row) for row in rows]
    return Ladder(rungs, left_out=data["left_out"], gap=data["gap"], began_at=data["began_at"])


def _rung_from_json(row: Any) -> Rung:
    if not isinstance(row, list) or len(row) != 10:
        raise MalformedPacket("a rung is a list of ten values")
    after_ms, way, status, method, number, times, cause, transport, flow, metadata = row
    counts = (after_ms, status, number, times, cause)
    words = ((way, tuple(Way)), (method, (*METHODS, OTHER_METHOD)), (transport, TRANSPORTS), (flow, ("", *FLOWS)))
    if not all(_is_count(count) for count in counts) or not all(word in known for word, known in words):
        raise MalformedPacket("a rung has counts, and words of its own lists")
    if status > 699 or cause > 999 or not isinstance(metadata, bool):
        raise MalformedPacket("a rung has a status up to 699, a cause up to 999, and metadata or none")
    return Rung(after_ms, Way(way), status, method, number, times, cause, transport, flow, metadata)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MAX_NUMBER


def _is_time(value: Any) -> bool:
    """Whether this is "" (not known) or a time with its zone, and nothing besides."""
    return isinstance(value, str) and (not value or _TIME.fullmatch(value) is not None)


# --- reading messages ---------------------------------------------------------------------------------


class Ladders:
    """The ladders of all dialogs that peers open with one agent. What belongs to none leaves no trace."""

    def __init__(self) -> None:
        self._open: dict[Key, Ladder] = {}
        self._over: list[Key] = []  # dialogs that ended; their last messages still leave with this outbox
        self._newest: tuple[Key, Rung, float] | None = None  # an INVITE that may open a dialog

    def came(self, message: Request | Response, transport: str, now: float) -> None:
        """A message arrived; before anybody has judged it. Never raises."""
        try:
            key = _key_of(message)
            if key in self._open:
                self._open[key].note(_read_message(message, transport), now)
            elif isinstance(message, Request) and message.method == "INVITE":
                self._newest = key, _read_message(message, transport), now
        except MalformedPacket:
            pass  # what names no dialog, or has no number in it, is on no ladder

    def went(self, outbox: Sequence[tuple[str, bytes]], now: float) -> None:
        """(transport, bytes) of what leaves now: messages of our own, in our own spelling."""
        for transport, data in outbox:
            read = _read_own(data, transport) if self._open else None
            if read is not None and read[0] in self._open:
                self._open[read[0]].note(read[1], now)
        for key in self._over:
            self._open.pop(key, None)
        self._over.clear()

    def begin(self, call_id: str, tag: str) -> None:
        """A peer has opened a dialog, with the INVITE that came last."""
        key = call_id, tag
        self._over = [other for other in self._over if other != key]
        ladder = self._open[key] = Ladder()
        if self._newest is not None and self._newest[0] == key:
            _, rung, at = self._newest
            ladder.note(rung, at)
        self._newest = None

    def end(self, call_id: str, tag: str) -> None:
        """The dialog is over; its ladder takes what leaves with the next outbox, and nothing after that."""
        if (call_id, tag) in self._open:
            self._over.append((call_id, tag))

    def of(self, call_id: str, tag: str) -> Ladder | None:
        """The ladder of a dialog that has not ended; whoever holds it has it for good."""
        return self._open.get((call_id, tag))

    def __len__(self) -> int:
        return len(self._open)


def _key_of(message: Request | Response) -> Key:
    """The dialog of a message that arrived. MalformedPacket for one without Call-ID."""
    peer = message.headers.get("To" if isinstance(message, Response) else "From")
    return message.call_id, _tag_of(peer or "")


def _read_message(message: Request | Response, transport: str) -> Rung:
    """The rung of a message that arrived. MalformedPacket for one without CSeq."""
    cseq = message.cseq
    status = message.status if isinstance(message, Response) else 0
    method = cseq.method if isinstance(message, Response) else message.method
    cause = _CAUSE.search(message.headers.get("Reason") or "")
    return _rung(Way.IN, status, method, cseq.number, int(cause[1]) if cause else 0, transport, message.body)


def _read_own(data: bytes, transport: str) -> tuple[Key, Rung] | None:
    """The same of a message of ours; its header names are known to be spelled out, one on a line."""
    head, _, body = data.partition(b"\r\n\r\n")
    start = _START.match(head)
    if start is None:
        return None
    lines: dict[bytes, str] = {}
    for name, value in _LINE.findall(head):
        lines.setdefault(name, value.decode("utf-8", "surrogateescape").strip())
    number, _, method = lines.get(b"CSeq", "").partition(" ")
    if not number.isdigit() or b"Call-ID" not in lines:
        return None
    status = int(start[1]) if start[1] else 0
    cause = _CAUSE.search(lines.get(b"Reason", ""))
    rung = _rung(Way.OUT, status, method.strip(), int(number), int(cause[1]) if cause else 0, transport, body)
    return (lines[b"Call-ID"], _tag_of(lines.get(b"From" if status else b"To", ""))), rung


def _rung(way: Way, status: int, method: str, number: int, cause: int, transport: str, body: bytes) -> Rung:
    known = method if method in METHODS else OTHER_METHOD
    text = body[:MAX_SCANNED_BYTES]
    return Rung(
        after_ms=0,
        way=way,
        status=status,
        method=known,
        number=min(number, MAX_NUMBER),
        cause=cause,
        transport=transport if transport in TRANSPORTS else TRANSPORTS[0],
        flow=_flow_of(text),
        metadata=any(mark in body for mark in _METADATA),
    )


def _flow_of(text: bytes) -> str:
    """The one word for where media may flow by a body; "" when it holds no session description."""
    if not text or not _MEDIA.search(text):
        return ""
    words = set(_FLOW.findall(text))
    if len(words) > 1:
        return "mixed"
    word = words.pop().decode() if words else "sendrecv"
    addresses = set(_ADDRESS.findall(text))
    return "closed" if word == "inactive" and addresses and addresses <= _UNSPECIFIED else word


def _tag_of(value: str) -> str:
    """The tag of a From or To, "" for none: the last one, for a display name may hold another in quotes."""
    found = _TAG.findall(value)
    return found[-1] if found else ""


def rung_as_object(rung: Rung) -> Mapping[str, Any]:
    """A rung as people's programs read it."""
    return {
        "after_ms": rung.after_ms,
        "way": rung.way.value,
        "message": str(rung.status) if rung.status else rung.method,
        "cseq": f"{rung.number} {rung.method}",
        "times": rung.times,
        "cause": rung.cause,
        "transport": rung.transport,
        "sdp": rung.flow,
        "metadata": rung.metadata,
    }
