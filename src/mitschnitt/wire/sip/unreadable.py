"""What a request that cannot be read is still answered, so that its sender hears why (RFC 3261, 8.2 and 18.3).

Looks only for what an answer must copy, in the first bytes that could be a head; decides nothing, keeps nothing.
Whoever leaves even that out, or sent a response or an ACK, is not answered.
"""

from __future__ import annotations

import re

from mitschnitt.errors import PeerError, TooLarge
from mitschnitt.wire.sip.headers import is_token
from mitschnitt.wire.sip.hop import Destination, Source, response_hop, stamp_via
from mitschnitt.wire.sip.message import MAX_HEAD_BYTES, MAX_HEADERS, Headers, Request, Response, canonical_name

COPIED = ("From", "To", "Call-ID", "CSeq")

_VERSION = re.compile(r"SIP/[0-9]{1,3}\.[0-9]{1,3}", re.IGNORECASE)


def answer_unreadable(data: bytes, source: Source, error: PeerError, tag: str) -> tuple[Destination, Response] | None:
    """The answer to a request that `error` refused, and where it goes: 505, 413 or 400; None when nobody can be told.

    `tag` goes into To when that can be read and has none.
    """
    head = re.split(rb"\r?\n\r?\n", data[:MAX_HEAD_BYTES].lstrip(b"\r\n"), maxsplit=1)[0]
    first, *rest = head.decode("utf-8", "surrogateescape").split("\n")
    words = first.split()
    if not words or not is_token(words[0]) or words[0] == "ACK":
        return None
    headers = _recognised(rest)
    request = Request(headers, b"", words[0], "")
    try:
        vias = headers.listed("Via")
        stamped = stamp_via(request, source)
        copied = [("Via", str(stamped.via)), *(("Via", value) for value in vias[1:])]
        copied += [(name, value) for name in COPIED for value in headers.all(name)[:1]]
        if len(copied) != len(vias) + len(COPIED):
            return None
        answer = Response(Headers(tuple(_tagged(copied, request, tag))), b"", _status(words, error))
        bytes(answer)  # a control character in what is copied cannot be sent
        return response_hop(stamped.via, source), answer
    except PeerError:
        return None


def _recognised(lines: list[str]) -> Headers:
    """The headers that an answer copies; whatever else stands there is skipped."""
    found: list[tuple[str, str]] = []
    for line in lines[:MAX_HEADERS]:
        if line[:1] in (" ", "\t") and found:
            name, value = found.pop()
            found.append((name, f"{value} {line.strip()}"))
            continue
        name, _, value = line.partition(":")
        found.append((canonical_name(name.strip()), value.strip()))
    return Headers(tuple(pair for pair in found if pair[0] == "Via" or pair[0] in COPIED))


def _status(words: list[str], error: PeerError) -> int:
    if _VERSION.fullmatch(words[-1]) and words[-1].upper() != "SIP/2.0":
        return 505
    return 413 if isinstance(error, TooLarge) else 400


def _tagged(copied: list[tuple[str, str]], request: Request, tag: str) -> list[tuple[str, str]]:
    try:
        to = request.recipient
    except PeerError:
        return copied
    return [(name, str(to.with_tag(tag)) if name == "To" and not to.tag else value) for name, value in copied]
