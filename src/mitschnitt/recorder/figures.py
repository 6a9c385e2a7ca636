"""What a recorder tells of itself: the table of its figures, how they are read, and whether it takes new calls.

Whatever depends on whether a gate was open is told in batches of calls, and what shows a withdrawal is not told
at all (docs/decisions/0020-operations.md). Reads counters; changes nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mitschnitt.recorder.calls import Calls
from mitschnitt.recorder.clock import SteadyClock
from mitschnitt.recorder.ledger import Ledger
from mitschnitt.recorder.link import KeeperLink
from mitschnitt.recorder.media import Media
from mitschnitt.recorder.outlook import Outlook
from mitschnitt.recorder.port_filter import Odd
from mitschnitt.recorder.sip_server import SipServer
from mitschnitt.telemetry.metrics import OTHER, Buckets, Figure, Kind, Told
from mitschnitt.telemetry.process import ProcessFigures, is_full, process_table
from mitschnitt.vault.slice_files import SliceWriter
from mitschnitt.wire.rtp import Reason
from mitschnitt.wire.sip.config import METHODS
from mitschnitt.wire.udp import Fault

STALLED_SECONDS = 5.0  # without a turn of the media timer: it should turn twenty times a second
COUNTER, GAUGE, HISTOGRAM = Kind.COUNTER, Kind.GAUGE, Kind.HISTOGRAM
REASONS = tuple(reason.name for reason in Reason if reason is not Reason.VALID)
ODD = tuple(sorted({kind.name for kind in Odd} | {fault.name for fault in Fault if fault}))
CAUSES = (
    "connect.failed", "host.unknown", "limit.connections", "limit.connections_per_source", "limit.files",
    "stream.idle", "stream.malformed", "stream.no_pong", "stream.slow", "stream.unread",
    "tls.broken_off", "tls.certificate", "tls.handshake", "tls.not_listed", "tls.version", "transport.unknown",
)  # fmt: skip
TROUBLES = ("event_failed", "seal_failed", "no_port", "bad_facts")  # of Calls.counts


def _figure(name: str, kind: Kind, said: str, label: str = "", values: Sequence[str] = ()) -> Figure:
    return Figure(f"recorder_{name}", kind, said, label, tuple(values))


def _batch(name: str, kind: Kind, said: str, label: str = "", values: Sequence[str] = ()) -> Figure:
    return Figure(f"recorder_{name}", kind, said, label, tuple(values), told=Told.IN_BATCHES)


# Field of MediaCounts: its line. A test fails for a field that is neither here nor withheld.
MEDIA: Mapping[str, Figure] = {
    "received": _batch("packets_received", COUNTER, "packets that came to our RTP ports, cut ones among them"),
    "kept": _batch("packets_kept", COUNTER, "packets of open lines that were taken"),
    "kept_octets": _batch("octets_kept", COUNTER, "payload of kept packets, bytes"),
    "events": _batch("packets_events", COUNTER, "telephone-event packets that passed the filter"),
    "leaked": _batch("packets_leaked", COUNTER, "packets at closed lines, cut to 12 bytes by the kernel"),
    "strange": _batch("packets_strange", COUNTER, "packets of a payload type that was not negotiated"),
    "refused": _batch("packets_refused", COUNTER, "packets that are no RTP, by reason", "reason", REASONS),
    "injected": _batch("packets_injected", COUNTER, "packets of others than a line's client: counted, never kept"),
    "kernel_drops": _figure("packets_dropped", COUNTER, "packets that the kernel dropped at full receive buffers"),
    "lost": _batch("packets_lost", COUNTER, "packets that never came, by the numbers of lines that are closed"),
    "late": _batch("packets_late", COUNTER, "packets that came more than 200 ms behind later ones, of the same lines"),
    "duplicates": _batch("packets_duplicate", COUNTER, "packets that came twice, of the same lines"),
    "mixed": _batch("lines_mixed", COUNTER, "lines whose packets named several contributing sources"),
    # An alarm: the call that it concerned is closed, and the log says so at once.
    "no_space": _figure("disk_refusals", COUNTER, "writes and syncs of journal or sealed files that a disk refused"),
    "unfit": _batch("lines_unfit", COUNTER, "lines that went from the packet ring back to sockets"),
    "odd": _batch("ring_odd", COUNTER, "packets in or before the ring that are no sound datagrams", "reason", ODD),
    "strays": _batch("ring_strays", COUNTER, "packets in the ring whose line was shut while they came"),
    "late_ticks": _figure("late_turns", COUNTER, "turns of the media timer that began a whole one too late"),
}
RTCP: Mapping[str, Figure] = {
    "received": _batch("rtcp_received", COUNTER, "RTCP packets that came and were read"),
    "refused": _batch("rtcp_refused", COUNTER, "RTCP packets that are none"),
    "strange": _batch("rtcp_strange", COUNTER, "RTCP packets from another address than the signalled one"),
    "sent": _batch("rtcp_sent", COUNTER, "receiver reports sent"),
    "unsent": _batch("rtcp_unsent", COUNTER, "receiver reports that the system refused to send"),
    "keepalives": _batch("rtp_keepalives", COUNTER, "empty datagrams sent for a NAT on the way"),
    "unbound": _batch("rtcp_unbound", COUNTER, "lines that work without RTCP: no odd port, no socket"),
    "goodbyes": _batch("rtcp_goodbyes", COUNTER, "sources that said they end"),
    "source_changes": _batch("rtcp_source_changes", COUNTER, "new sources on open lines"),
}
# Fields that are told nowhere, with the reason.
WITHHELD: Mapping[str, str] = {
    "wiped_octets": "rises with a withdrawal or a pause, and with nothing else",
}

OWN = (
    _figure("calls", GAUGE, "recording sessions that run now, recorded or not"),
    _figure("calls_begun", COUNTER, "recording sessions that were taken, recorded or not"),
    _figure("calls_limit", GAUGE, "`max_calls` of [sip]"),
    _figure("sip_shed", COUNTER, "requests answered 503: too many, or draining"),
    _figure("sip_refused", COUNTER, "connections and messages turned away, by cause", "cause", CAUSES),
    _figure("sip_connections", GAUGE, "connections that are open", "transport", ("TCP", "TLS")),
    _figure("sip_half_open", GAUGE, "sessions whose client has not acknowledged its answer yet"),
    _batch("sip_requests", COUNTER, "requests that came", "method", (*sorted(METHODS), OTHER)),
    _batch("sip_responses", COUNTER, "answers that we sent", "class", ("1xx", "2xx", "3xx", "4xx", "5xx", "6xx")),
    _figure("troubles", COUNTER, "what should not happen, by kind: see the log", "kind", TROUBLES),
    _batch("lines_doubted", COUNTER, "streams that contradicted what signalling said of them"),
    _batch("lines_lossy", COUNTER, "lines that lost more than 2 % of their packets"),
    _batch("rtp_ports_free", GAUGE, "pairs of RTP ports that no line holds"),
    _batch("rtp_ports_resting", GAUGE, "of them, those that were in use within the last minute"),
    _batch("rtp_ports_unrested", COUNTER, "ports used again before their minute was over: the range is too small"),
    _figure("rtp_buffer_asked_bytes", GAUGE, "`receive_buffer_bytes` of [rtp]"),
    _figure("rtp_buffer_granted_bytes", GAUGE, "what the kernel grants, half of it its own; below twice: `rmem_max`"),
    _batch("hold_bytes", GAUGE, "memory for the newest seconds that are not sealed yet, bytes"),
    _batch("turn_seconds", HISTOGRAM, "from when a turn of the media timer was due until it was done"),
    _batch("journal_bytes", GAUGE, "sealed media on disk whose files are not written yet, bytes"),
    _batch("journal_segments", GAUGE, "segments that hold them"),
    _batch("journal_sync_seconds", HISTOGRAM, "how long the disk took to make events durable"),
    _figure("journal_refuses", GAUGE, "1 while the disk takes no events: nothing is kept then"),
    _figure("keeper_connected", GAUGE, "1 while the keeper is there"),
    _figure("view_age_seconds", GAUGE, "age of the keeper's word; above 30 nobody is asked, above 60 calls pause"),
    _figure("ring", GAUGE, "1 while open lines are received by the packet ring, 0 while by sockets"),
    _figure("ring_lacking", GAUGE, "1 where [rtp] asks for the ring and it cannot be had: see the log, and doctor"),
    _figure("clock_steady", GAUGE, "0 for a minute after the system clock jumped: nobody is asked then"),
    _figure("clock_jumps", COUNTER, "jumps of the system clock by more than 2 s"),
    _figure("draining", GAUGE, "1 while no new sessions are taken because the site drains"),
)  # fmt: skip
TABLE = (*process_table("recorder"), *OWN, *MEDIA.values(), *RTCP.values())


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything that is looked at."""

    media: Media
    calls: Calls
    server: SipServer
    ledger: Ledger
    slices: SliceWriter
    link: KeeperLink
    outlook: Outlook
    clock: SteadyClock
    process: ProcessFigures
    lacks_ring: bool = False  # [rtp] asks for the packet ring, and there is none


def read(parts: Parts) -> dict[str, float | Mapping[str, float] | Buckets]:
    """One reading, by the names of TABLE."""
    calls, server, media = parts.calls, parts.server, parts.media
    segments, octets = parts.slices.held
    transports = [connection.peer.transport for connection in server.streams.connections.values()]
    own: dict[str, float | Mapping[str, float] | Buckets] = {
        "calls": calls.running,
        "calls_begun": calls.counts["calls"],
        "calls_limit": calls.limit,
        "sip_shed": server.shed,
        "sip_refused": server.refused,
        "sip_connections": {name: transports.count(name) for name in ("TCP", "TLS")},
        "sip_half_open": server.agent.pressure[0],
        "sip_requests": server.requests,
        "sip_responses": server.responses,
        "troubles": {name: calls.counts[name] for name in TROUBLES},
        "lines_doubted": calls.counts["doubted_streams"],
        "lines_lossy": calls.counts["lossy_lines"],
        "rtp_ports_free": media.lines.pool.free,
        "rtp_ports_resting": media.lines.pool.resting,
        "rtp_ports_unrested": media.lines.pool.unrested,
        "rtp_buffer_asked_bytes": media.lines.pool.receive_buffer_bytes,
        "rtp_buffer_granted_bytes": media.lines.pool.granted_bytes,
        "hold_bytes": sum(block.bytes.nbytes for block in media.hold.memory()),
        "turn_seconds": media.turns,
        "journal_bytes": octets,
        "journal_segments": segments,
        "journal_sync_seconds": parts.ledger.syncs,
        "journal_refuses": parts.ledger.refuses,
        "keeper_connected": parts.link.connected,
        "view_age_seconds": parts.outlook.view_age,
        "ring": media.lines.mapped is not None,
        "ring_lacking": parts.lacks_ring,
        "clock_steady": parts.clock.steady,
        "clock_jumps": parts.clock.jumps,
        "draining": calls.is_draining,
    }
    found = {f"recorder_{name}": value for name, value in own.items()}
    for table, counts in ((MEDIA, media.counts), (RTCP, media.rtcp.counts)):
        for field in dataclasses.fields(counts):
            if field.name in table:
                found[table[field.name].name] = getattr(counts, field.name)
    return {**parts.process.read(), **found}


def alive(parts: Parts, now: float) -> list[str]:
    """Why this process had better be ended, by name; `now` in seconds of the monotonic clock."""
    return ["media_stalled"] if now - parts.media.turned_at > STALLED_SECONDS else []


def ready(parts: Parts) -> list[str]:
    """Why new calls had better go elsewhere, by name; nothing of any call."""
    reasons = {
        "draining": parts.calls.is_draining,
        "keeper_gone": not parts.link.connected,
        "view_stale": not parts.outlook.is_fresh,
        "clock_jumped": not parts.clock.steady,
        "journal_refuses": parts.ledger.refuses,
        "disk_full": is_full(parts.process.room),
        "calls_full": parts.calls.running >= parts.calls.limit,
        "ports_none": parts.media.lines.pool.free == 0,
    }
    return [reason for reason, holds in reasons.items() if holds]
