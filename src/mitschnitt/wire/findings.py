"""What can be odd or wrong with a client's signalling, by code: how bad, in which words, and what to do about it.

Says nothing of who agreed, and has no place for an address, name, number or digit: a finding carries counts and
words of fixed lists only, and its JSON is read as strictly. Judges nothing itself: `session_findings` and
`sip.options` do.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from string import Formatter
from typing import Any

from mitschnitt.errors import MalformedPacket

MAX_FINDINGS = 32  # of one session; the catalogue has not many more
MAX_COUNT = 2**31 - 1
MAX_WORDS = 160  # characters of a value that is text: a reason in our own words
_WORDS = re.compile(r"[A-Za-z0-9 ,.;:()<>/+_'-]{0,160}")


class Severity(StrEnum):
    """How bad a finding is."""

    FINE = "fine"
    ODD = "odd"  # taken all the same
    WRONG = "wrong"  # calls are not kept, or not as they should be


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a code stands for; `{}` in the sentence are the finding's values."""

    severity: Severity
    sentence: str
    todo: str = ""

    @property
    def values(self) -> frozenset[str]:
        """The names of the values that the sentence needs."""
        return frozenset(name for _, name, _, _ in Formatter().parse(self.sentence) if name)


@dataclass(frozen=True, slots=True)
class Finding:
    """One code of CATALOGUE with its values, counts or words."""

    code: str
    values: Mapping[str, int | str] = field(default_factory=dict)

    @property
    def severity(self) -> Severity:
        """How bad it is."""
        return CATALOGUE[self.code].severity

    @property
    def sentence(self) -> str:
        """Found and expected."""
        return CATALOGUE[self.code].sentence.format(**self.values)

    @property
    def todo(self) -> str:
        """What to do at the client, "" when nothing is."""
        return CATALOGUE[self.code].todo.format(**self.values)


def findings_to_json(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """As frames carry them; at most MAX_FINDINGS."""
    return [{"code": finding.code, "values": dict(finding.values)} for finding in findings[:MAX_FINDINGS]]


def findings_from_json(data: Any) -> list[Finding]:
    """The inverse. MalformedPacket for a code or value that is not in CATALOGUE."""
    if not isinstance(data, list) or len(data) > MAX_FINDINGS:
        raise MalformedPacket(f"expected a list of at most {MAX_FINDINGS} findings")
    return [_finding(item) for item in data]


def _finding(item: Any) -> Finding:
    if not isinstance(item, dict) or set(item) != {"code", "values"} or not isinstance(item["values"], dict):
        raise MalformedPacket("a finding is an object of `code` and `values`")
    code, values = item["code"], item["values"]
    meaning = CATALOGUE.get(code) if isinstance(code, str) else None
    if meaning is None or set(values) != meaning.values:
        raise MalformedPacket("a finding has a code that is known, and the values of its sentence")
    if not all(_is_value(value) for value in values.values()):
        raise MalformedPacket("the values of a finding are counts and plain words")
    return Finding(code, values)


def _is_value(value: Any) -> bool:
    if isinstance(value, str):
        return _WORDS.fullmatch(value) is not None
    return type(value) is int and -MAX_COUNT <= value <= MAX_COUNT


_FINE, _ODD, _WRONG = Severity.FINE, Severity.ODD, Severity.WRONG
_IDENTITY = "configure the client as a SIPREC session recording client (RFC 7866, 6.1)"
_METADATA = "switch SIPREC metadata on, complete, in every INVITE (RFC 7865)"
_LABELS = "each audio line needs a label of its own, and the same label in one stream of the metadata (RFC 7866, 7.1.1)"
_SPELLING = "nothing need be done; a newer release of the client may write it as the RFC does"

CATALOGUE: Mapping[str, Meaning] = {
    # What an answer to OPTIONS announces.
    "options.answered": Meaning(_FINE, "answered {status} in {ms} ms"),
    "options.product": Meaning(_FINE, "says it is {product}"),
    "options.refused": Meaning(
        _ODD, "answered {status} in {ms} ms, expected 200", "it is there; nothing it announces can be told from this"
    ),
    "options.silent": Meaning(
        _WRONG, "no answer within {seconds} s", "check address, port and transport, and that it lets us in (ACL, realm)"
    ),
    "allow.missing": Meaning(_ODD, "announces no Allow, expected the methods that it takes", "a test call shows more"),
    "allow.invite": Meaning(_FINE, "takes INVITE: we can open and close its streams by re-INVITE"),
    "allow.invite.missing": Meaning(
        _WRONG, "takes no INVITE: a closed stream could never be opened", "allow INVITE from the recorder"
    ),
    "allow.bye": Meaning(_FINE, "takes BYE: we can end a recording session"),
    "allow.bye.missing": Meaning(
        _ODD, "takes no BYE: recordings end by closing ports, its media may go on", "allow BYE from the recorder"
    ),
    "allow.update": Meaning(_FINE, "takes UPDATE: we ask for signs of life and for snapshots by it"),
    "allow.update.missing": Meaning(
        _ODD, "takes no UPDATE: liveness by re-INVITE, and metadata cannot be asked for anew", "allow UPDATE"
    ),
    "allow.options.missing": Meaning(_ODD, "takes no OPTIONS although it answers them", _SPELLING),
    "allow.info.missing": Meaning(_FINE, "takes no INFO: we send none"),
    "supported.siprec": Meaning(_FINE, "supports siprec"),
    "supported.siprec.missing": Meaning(
        _ODD, "does not say that it supports siprec", "real clients rarely do; a test call shows whether it records"
    ),
    "supported.timer": Meaning(_FINE, "supports session timers (RFC 4028)"),
    "supported.timer.missing": Meaning(
        _ODD, "supports no session timers: a client that dies is noticed later", "switch session timers on"
    ),
    "supported.replaces": Meaning(_FINE, "supports Replaces; we send none"),
    "accept.metadata": Meaning(_FINE, "takes recording metadata: it understands a request for a snapshot"),
    "accept.sdp.missing": Meaning(_ODD, "does not say that it takes application/sdp", _SPELLING),
    # Whether there was a test call to look at.
    "trial.unserved": Meaning(
        _ODD, "no keeper answers, so that no test call can be looked at", "start `mitschnitt serve`, or say --wait 0"
    ),
    "trial.none": Meaning(
        _WRONG,
        "no fitting recording session came from {host} within {seconds} s",
        "dial while this waits; the client may call from another address than it is called at",
    ),
    "trial.lost": Meaning(
        _WRONG, "the test call began, and nothing was told of its end", "hang up within 15 minutes; see the log"
    ),
    "trial.good": Meaning(_FINE, "a recording session came, and nothing odd was seen in it"),
    "trial.anonymous": Meaning(
        _FINE, "only its INVITE was looked at; what the client does when asked is told of a call named by --caller"
    ),
    # Who the client says it is.
    "require.missing": Meaning(_ODD, "no `Require: siprec` in its INVITE; taken all the same", _IDENTITY),
    "contact.feature.missing": Meaning(_ODD, "no `+sip.src` in its Contact; taken all the same", _IDENTITY),
    "contact.malformed": Meaning(
        _ODD, "a Contact that is no address; our requests go to the one before", "mend the Contact it writes"
    ),
    "session.ordinary": Meaning(
        _WRONG, "an ordinary call and no recording session: neither siprec, metadata nor labels", _IDENTITY
    ),
    "invite.refused": Meaning(
        _WRONG,
        "its INVITE was answered with an error: it offers nothing that can be taken, or there was no room",
        "see what else was found, and the recorder's log",
    ),
    # What it tells of the call.
    "metadata.missing": Meaning(_WRONG, "no recording metadata: nobody can be bound to a stream", _METADATA),
    "metadata.broken": Meaning(_WRONG, "metadata that cannot be read: {why}", _METADATA),
    "metadata.partial": Meaning(_WRONG, "a partial update before any complete metadata", _METADATA),
    "dialect.namespace": Meaning(_ODD, "metadata in the namespace of a draft; taken", _SPELLING),
    "dialect.wrapper": Meaning(_ODD, "metadata in the wrapper of a draft (recording_metadata); taken", _SPELLING),
    "dialect.datamode": Meaning(_ODD, "datamode is missing or spelled dataMode; taken as it is meant", _SPELLING),
    "dialect.times": Meaning(
        _ODD, "times without zone or colon, expected RFC 3339; read as far as they can be", "let it write UTC with Z"
    ),
    "dialect.names": Meaning(
        _ODD, "names that are not escaped, so that its XML is ill-formed; escaped by us", "update the client"
    ),
    "dialect.other": Meaning(_ODD, "{count} more spellings of its own in the metadata; taken", _SPELLING),
    "labels.missing": Meaning(_WRONG, "{count} audio lines without a label", _LABELS),
    "labels.doubled": Meaning(_WRONG, "one label on {count} audio lines", _LABELS),
    "labels.unknown": Meaning(_WRONG, "{count} labels that no stream or sender of the metadata has", _LABELS),
    "labels.contradict": Meaning(_WRONG, "{count} labels of which metadata says two things", _LABELS),
    "stream.mixed": Meaning(
        _WRONG,
        "{count} streams that carry several parties: they can never be kept",
        "let the client send each party in a line of its own, not a mix",
    ),
    "agents.none": Meaning(
        _WRONG,
        "nobody on the line is an agent of agents.toml",
        "write the address that the client sends for agents into agents.toml as a pattern",
    ),
    "agents.ambiguous": Meaning(
        _WRONG, "an address fits several agents", "make the patterns in agents.toml tell them apart"
    ),
    # What it offers.
    "sdp.missing": Meaning(_WRONG, "an INVITE without session description", "let the client offer its streams"),
    "sdp.broken": Meaning(_WRONG, "a session description that cannot be read", "see the ladder, and mend its SDP"),
    "srtp.offered": Meaning(
        _WRONG,
        "{count} lines offer SRTP, which is not taken yet; expected RTP/AVP",
        "offer RTP/AVP over a private network until SRTP is there",
    ),
    "events.missing": Meaning(
        _WRONG,
        "{count} audio lines without telephone-event: no key of that party can be heard",
        "offer telephone-event (RFC 4733) on each line, or let the IVR post the answers",
    ),
    "time.ahead": Meaning(_WRONG, "its clock is {seconds} s ahead of ours", "run NTP on the client and here"),
    "time.behind": Meaning(_WRONG, "its clock is {seconds} s behind ours", "run NTP on the client and here"),
    "time.unclear": Meaning(
        _ODD,
        "its newest time is {seconds} s before the INVITE: the call was older, or its clock is behind",
        "compare both clocks",
    ),
    "sdp.version": Meaning(
        _ODD, "{count} changed descriptions with an unchanged version; read all the same", "it must rise (RFC 3264, 8)"
    ),
    # What it does.
    "ack.missing": Meaning(
        _WRONG, "our 200 was never acknowledged", "check that it reaches our Contact, and no firewall eats the 200"
    ),
    "refused": Meaning(_WRONG, "answered {status} to our {method}, expected 200", "allow {method} from the recorder"),
    "unanswered": Meaning(_WRONG, "did not answer our {method}", "check that our requests reach it"),
    "rtp.missing": Meaning(
        _WRONG, "no RTP on {count} lines that were open", "check media address, routing, and that it obeys re-INVITE"
    ),
    "rtp.leak": Meaning(
        _WRONG,
        "{count} packets although the stream was closed; the filter held them",
        "let the client obey `inactive` and 0.0.0.0; what it sends is thrown away",
    ),
    "rtcp.missing": Meaning(_ODD, "no RTCP: losses and clocks cannot be compared", "switch RTCP on"),
    "events.silent": Meaning(
        _WRONG,
        "telephone-event was offered, a key was awaited, and none came",
        "switch forwarding of RFC 4733 events to the recording on; or press a key next time",
    ),
}
