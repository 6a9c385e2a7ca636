"""A recorder's parts on loopback for tests: real media plane, real journal; only keeper and time are played.

stage.session() -> a Session whose signalling is remembered; `stage.voices` sends RTP to where the newest
description points; `stage.kept(...)` opens what was sealed.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import struct
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from socket import AF_INET, AF_INET6, SOCK_DGRAM, socket
from typing import Any, cast

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from dialogue import JENS, POLICY, POLICY_TEXT, PROMPT_MS, PROMPT_SHA256, START, grant, view_with
from loopback import own_port, rtp_ports, send_all
from mitschnitt.core.call import decode_call_id
from mitschnitt.core.draw import Day, Told
from mitschnitt.core.gate import State, Surroundings
from mitschnitt.core.policy_text import parse_policy
from mitschnitt.core.view import View
from mitschnitt.errors import KeyGone
from mitschnitt.recorder.branch import Branch
from mitschnitt.recorder.clock import SteadyClock, rfc3339
from mitschnitt.recorder.draws import Draws
from mitschnitt.recorder.ledger import Ledger
from mitschnitt.recorder.link import KeeperLink, LeasedKey
from mitschnitt.recorder.media import Media, Track
from mitschnitt.recorder.ports import PortPool
from mitschnitt.recorder.session import Services, Session
from mitschnitt.vault.blobs import Blobs, MemoryBlobs
from mitschnitt.vault.derive import Kind, artefact_context, artefact_key
from mitschnitt.vault.envelope import open_with, unpad
from mitschnitt.vault.journal import Entry
from mitschnitt.vault.journal_files import JournalReader, JournalWriter
from mitschnitt.vault.keytree import leaf_key
from mitschnitt.vault.sealed import HEADER_BYTES, Opener, plain_size, read_range
from mitschnitt.vault.slice_files import SliceWriter
from mitschnitt.wire.sdp import Description, parse_sdp
from mitschnitt.wire.sip.ladder import Ladder, Rung, Way
from mitschnitt.wire.siprec import Metadata, Participant, Stream, StreamRoles
from mitschnitt.wire.siprec import Session as CommunicationSession

CALL = "0123456789ABCDEFGHJKMNPQR0"  # the announced call
OFFICER = X25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
CLARA, JENS_AOR, TAREK = (
    "sip:+49305550100@carrier.example.org",
    JENS.patterns[0],
    "sip:+49305550042@carrier.example.org",
)
DRAWN = Told("2026-11-23", "keeper", 7, drawn=True, rule="draw.drawn")
EVENTS = 101
PCMA = 8
PATIENCE_SECONDS = 60.0  # until a test gives up; nothing waits that long when it works


def offer(*labels: str, version: int = 1, direction: str = "sendonly", types: str = "8 101", off: str = "") -> bytes:
    """A client's description with one m-line per label; the m-line `off` is disabled."""
    text = f"v=0\r\no=src 7 {version} IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    for number, label in enumerate(labels):
        port = 0 if label == off else 40_000 + 2 * number
        text += f"m=audio {port} RTP/AVP {types}\r\na=label:{label}\r\na=rtpmap:8 PCMA/8000\r\n"
        text += f"a=rtpmap:101 telephone-event/8000\r\na={direction}\r\n"
    return text.encode()


def metadata(
    *voices: tuple[str, str], partial: bool = False, listeners: Sequence[str] = (), stream: str = "s"
) -> Metadata:
    """(label, address) of everybody who speaks, and addresses of those who only listen; ids follow addresses.

    The id of each stream begins with `stream`: another one is another stream.
    """
    people = [aor for _, aor in voices] + list(listeners)
    return Metadata(
        partial=partial,
        participants={f"p-{aor}": Participant(f"p-{aor}", aor) for aor in people},
        streams={f"{stream}-{label}": Stream(f"{stream}-{label}", "cs", label) for label, _ in voices},
        sessions={"cs": CommunicationSession("cs", ("uuid;remote=uuid",))},
        roles={f"p-{aor}": StreamRoles(frozenset({f"{stream}-{label}"})) for label, aor in voices},
    )


TWO = metadata(("1", CLARA), ("2", JENS_AOR))
TWO_ANEW = metadata(("1", CLARA), ("2", JENS_AOR), stream="t")  # the same people, on new streams
THREE = metadata(("1", CLARA), ("2", JENS_AOR), ("3", TAREK))


def asked(party: str = "caller", *, start: float = 0.0) -> dict[str, Any]:
    """The question, whole, from `start` seconds on."""
    begin, end = START + timedelta(seconds=start), START + timedelta(seconds=start, milliseconds=PROMPT_MS)
    played = {"played_ms": PROMPT_MS, "length_ms": PROMPT_MS}
    times = {"from": begin.isoformat(), "to": end.isoformat()}
    return {"party": party, "prompt": "ask-training", "sha256": PROMPT_SHA256, "language": "de", **times, **played}


def act(value: str, at: float, party: str = "caller", kind: str = "digit") -> dict[str, Any]:
    """A posted act, `at` seconds after the start."""
    return {"party": party, "kind": kind, "value": value, "at": (START + timedelta(seconds=at)).isoformat()}


def party(name: str, kind: str = "joined", *, at: float, value: str = "") -> dict[str, Any]:
    """The gateway reports that somebody joined or left."""
    return {"party": name, "kind": kind, "value": value, "at": (START + timedelta(seconds=at)).isoformat()}


def joined(*, answer_by: str = "post", again: bool = False, **facts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The keeper's answer for the announced call; facts are asked, acts, parties."""
    told = {
        "type": "joined",
        "call": CALL,
        "rule": "",
        "agent": JENS.id,
        "answer_by": answer_by,
        "again": again,
        "matched": [],
        "draw": DRAWN.to_json(),
    }
    return {**told, "asked": [], "acts": [], "parties": [], **facts}


class PlayedLink:
    """The keeper, as the session knows it: the test answers joins, keys are counted out."""

    def __init__(self) -> None:
        self.joins: list[tuple[Sequence[Mapping[str, str]], Callable[[Mapping[str, Any] | None], None]]] = []
        self.sent: list[Mapping[str, Any]] = []
        self.keys_left = 100
        self.given: list[LeasedKey] = []
        self.answers: Callable[[], Mapping[str, Any] | None] | None = None  # at once, instead of the test

    def join(self, refs: Sequence[Mapping[str, str]], then: Callable[[Mapping[str, Any] | None], None]) -> None:
        self.joins.append((refs, then))
        if self.answers is not None:
            asyncio.get_running_loop().call_soon(then, self.answers())

    def take_key(self) -> LeasedKey:
        if not self.keys_left:
            raise KeyGone("none left")
        self.keys_left -= 1
        number = len(self.given)
        self.given.append(LeasedKey(number, 1, bytes([number + 1]) * 32))
        return self.given[-1]

    def send(self, message: Mapping[str, Any]) -> bool:
        self.sent.append(message)
        return True

    def answer(self, told: Mapping[str, Any] | None) -> None:
        """Answers the oldest join."""
        self.joins.pop(0)[1](told)


class PlayedSignalling:
    """A dialog that takes every offer at once; `answered` is what its client would have been told."""

    def __init__(self) -> None:
        self.offers: list[Description] = []
        self.hung_up = 0

    def offer(self, make_body: Callable[[], bytes]) -> None:
        body = make_body()
        if body:  # nothing is said twice
            self.offers.append(parse_sdp(body))

    def hang_up(self) -> None:
        self.hung_up += 1

    @property
    def ladder(self) -> Ladder:
        """One rung for each offer: a call that was opened has more of them."""
        rungs = [Rung(0, Way.OUT, 0, "INVITE", number) for number, _ in enumerate(self.offers)]
        return Ladder([Rung(0, Way.IN, 0, "INVITE", 1), *rungs])


class Voice:
    """Somebody who speaks RTP; every payload says who and which."""

    def __init__(self, name: str, address: str = "127.0.0.1") -> None:
        self.name, self.sent, self._address = name, 0, address
        self._socket = socket(AF_INET6 if ":" in address else AF_INET, SOCK_DGRAM)

    def says(self, port: int, count: int = 1) -> list[bytes]:
        """Sends that many packets; their payloads."""
        said = []
        for _ in range(count):
            self.sent += 1
            said.append(f"{self.name}:{self.sent:06d};".encode().ljust(160, b"\x55"))
            self._send(port, PCMA, said[-1])
        return said

    def presses(self, port: int, keys: str) -> None:
        """Presses keys, each with its three end packets (RFC 4733)."""
        for key in keys:
            self.sent += 100
            time = self.sent * 160
            for _ in range(3):
                self.sent += 1
                self._send(port, EVENTS, bytes(["0123456789*#".index(key), 0x8A, 3, 0x20]), time=time)

    def close(self) -> None:
        self._socket.close()

    def _send(self, port: int, kind: int, payload: bytes, *, time: int | None = None) -> None:
        at = self.sent * 160 if time is None else time
        head = struct.pack(">BBHII", 0x80, kind, self.sent & 0xFFFF, at, 0x51 + len(self.name))
        with contextlib.suppress(ConnectionRefusedError):
            send_all(self._socket, [head + payload], (self._address, port))


def ports_for(lines: int, **options: Any) -> PortPool:
    """Ports for so many lines and no more."""
    first = own_port()
    return PortPool(first, first + 2 * lines - 1, **options)


@dataclass
class Stage:
    """All parts; time moves by `tick` and `wait` only."""

    directory: Path
    ports: PortPool = field(default_factory=lambda: PortPool(*rtp_ports()))
    address: str = "127.0.0.1"
    seconds: float = 0.0
    view: View | None = None
    view_age: timedelta = timedelta(seconds=1)
    link: PlayedLink = field(default_factory=PlayedLink)
    failed: list[Track] = field(default_factory=list)
    blobs: Blobs = field(default_factory=MemoryBlobs)
    slices_in: Callable[[Path], SliceWriter] = SliceWriter
    writer_in: Callable[..., JournalWriter] = JournalWriter
    keepalive_ns: int = 0
    hindrance: Callable[[], str] = lambda: ""

    def __post_init__(self) -> None:
        self.view = view(grant())
        self.clock = SteadyClock(self.now_ns, self.now_ns)
        loop = asyncio.get_running_loop()
        self.synced = asyncio.Event()

        def on_synced(then: list[Callable[[], None]]) -> None:
            loop.call_soon_threadsafe(self._on_synced, then)

        self.ledger = Ledger(
            lambda: self.writer_in(self.directory, next_seq=1), recorder=1, on_synced=on_synced, on_full=lambda: None
        )
        self.draws = Draws("recorder-1")
        self.draws.start(self.ledger)
        self.slices = self.slices_in(self.directory)
        self.media = Media(
            address=self.address,
            ports=self.ports,
            journal=self.slices,
            blobs=self.blobs,
            clock=self.clock.now_ns,
            pace=self.now_ns,
            on_digit=self._on_digit,
            on_failed=self._on_failed,
            on_doubt=self._on_doubt,
            on_named=self._on_named,
            keepalive_ns=self.keepalive_ns,
        )
        self.services = Services(
            self.media,
            self.ledger,
            cast(KeeperLink, self.link),
            self.clock,
            self.around,
            self.address,
            self.draws,
        )
        self.voices = {name: Voice(name, self.address) for name in ("clara", "jens", "tarek")}

    def _on_synced(self, then: list[Callable[[], None]]) -> None:
        for action in then:
            action()
        self.synced.set()

    def _on_digit(self, line: Any, digit: str, at_ns: int) -> None:
        owner = self.services.owners.get(line)
        if owner is not None:
            owner.digit(line, digit, at_ns)

    def _on_doubt(self, line: Any, rule: str, since_ns: int) -> None:
        owner = self.services.owners.get(line)
        if owner is not None:
            owner.doubt(line, rule, since_ns=since_ns)

    def _on_named(self, line: Any) -> None:
        owner = self.services.owners.get(line)
        if owner is not None:
            owner.confirm(line)

    def _on_failed(self, track: Track, _error: Exception) -> None:
        self.failed.append(track)
        for session in {id(owner): owner for owner in self.services.owners.values()}.values():
            if session.has(track):
                session.failed("vault.no_space")

    # -- time ------------------------------------------------------------------------------------

    def now_ns(self) -> int:
        """The only clock of the stage."""
        return int(START.timestamp() * 1e9) + int(self.seconds * 1e9)

    @property
    def now(self) -> datetime:
        """The same as a datetime."""
        return START + timedelta(seconds=self.seconds)

    def around(self) -> Surroundings:
        """What holds for all calls."""
        return Surroundings(self.view, self.view_age, self.clock.steady, self.hindrance())

    def tick(self, count: int = 1) -> None:
        """A quarter of a second each, with a drain."""
        for _ in range(count):
            self.seconds += 0.25
            self.media.tick(self.now_ns())

    # -- calls -----------------------------------------------------------------------------------

    def session(self, *labels: str, told: Metadata | None = TWO, answered: bool = True) -> Session:
        """A session whose INVITE came, with its answer out; the keeper was not heard yet."""
        session = Session(self.services, [{"kind": "sip_call_id", "value": "a@b"}])
        session.add(PlayedSignalling())
        text = offer(*(labels or ("1", "2")))
        if ":" in self.address:
            text = text.replace(b"IN IP4 127.0.0.1", b"IN IP6 ::1")
        assert session.take_offer(branch_of(session), parse_sdp(text), at=self.now)
        if told is not None:
            session.take_metadata(branch_of(session), told)
        session.join()
        if answered:
            session.body(branch_of(session))
            branch_of(session).answered = True
        return session

    def keeping(self, *, answer_by: str = "post") -> Session:
        """A session of the announced call in which everybody agreed; 6 s after the start."""
        session = self.session()
        self.link.answer(joined(answer_by=answer_by, asked=[asked()]))
        self.seconds = 6.0
        session.post("act", act("1", 5.5))
        branch_of(session).moved()
        return session

    def open_lines(self) -> int:
        """Bound lines of all sessions."""
        return sum(1 for _ in self.media.lines)

    # -- afterwards ------------------------------------------------------------------------------

    def entries(self) -> list[Entry]:
        """The event journal as it stands on disk."""
        return [entry for entry, _, _ in JournalReader(self.directory).read_from(0, 0)]

    async def journalled(self, *types: str) -> list[Entry]:
        """The journal, once it holds exactly these types in this order."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while [entry.type for entry in self.entries()] != list(types):
                await asyncio.sleep(0.005)
        return self.entries()

    def kept(self, number: int, *, key: int = 0) -> list[bytes]:
        """The payloads in the sealed file of a party, opened with the call's own key."""
        (name,) = (name for name in self.blobs.names() if name.endswith(f"{number}.media"))
        call = decode_call_id(name.split("/")[1])
        opener = Opener(
            artefact_key(leaf_key(self.link.given[key].node, number), Kind.MEDIA, number),
            header=self.blobs.read(name, 0, HEADER_BYTES),
            context=artefact_context(call, number, Kind.MEDIA),
        )
        size = self.blobs.size(name)
        plain = read_range(
            opener, lambda start, stop: self.blobs.read(name, start, stop), size=size, start=0, stop=plain_size(size)
        )
        return [plain[at : at + 160] for at in range(0, len(plain), 160)]

    def holds(self, marker: bytes) -> bool:
        """Whether the marker lies anywhere in the hold's or the arena's memory."""
        places = [block.bytes for block in self.media.hold.memory()] + self.media.receiver.places
        return any(marker in place.tobytes() for place in places)

    def close(self) -> None:
        for voice in self.voices.values():
            voice.close()
        self.ledger.close()
        self.media.close()
        self.slices.close()


def view(*grants: Any, mode: str = "announced") -> View:
    """The keeper's world with the test's officer."""
    text = POLICY_TEXT.replace(b'mode = "announced"', f'mode = "{mode}"'.encode())
    policy = POLICY if mode == "announced" else parse_policy(text)
    return replace(
        view_with(*grants), policy=policy, policy_text=text, officer_key=OFFICER.public_key().public_bytes_raw()
    )


def drawn_on(view: View) -> View:
    """The view on a day of the draw, with the beacon of a policy that draws everybody."""
    return replace(view, day=Day("2026-11-23", view.policy.hash, bytes(32), bytes(32)))


def ended(outcome: str | None, drawn: Told = DRAWN) -> dict[str, Any]:
    """The frame that tells the keeper of the end; `outcome` is that of the draw, None when it was not drawn."""
    told = {"day": drawn.day, "source": drawn.source, "n": drawn.n, "outcome": outcome}
    return {"type": "ended", "call": CALL, "draw": None if outcome is None else told}


@contextlib.contextmanager
def stage_on(directory: Path, **changes: Any) -> Iterator[Stage]:
    """A stage that is closed at the end; on it, whatever is tried again is tried again soon."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mitschnitt.recorder.sealing.SEAL_AGAIN_SECONDS", 0.01)
        patch.setattr("mitschnitt.recorder.sealing.LAST_KEYS_SECONDS", 0.01)
        patch.setattr("mitschnitt.recorder.ledger.RETRY_SECONDS", 0.01)
        stage = Stage(directory, **changes)
        try:
            yield stage
        finally:
            stage.close()


def state_of(session: Session) -> State:
    """Where the call stands now; read through here, it may change between two asserts."""
    return session.state


def branch_of(session: Session) -> Branch:
    """The only recording session of a call."""
    (branch,) = session.branches
    return branch


def ports_of(session: Session) -> list[int]:
    """Where the session listens now, by m-line; 0 for none."""
    return [leg.line.port if leg.line is not None else 0 for leg in branch_of(session).legs]


def signalled_to(session: Session) -> PlayedSignalling:
    """The played dialog of a session."""
    signalling = branch_of(session).signalling
    assert isinstance(signalling, PlayedSignalling)
    return signalling


def is_closed(description: Description) -> bool:
    """The closed form: inactive, to nowhere, on real ports."""
    return all(
        line.direction == "inactive" and line.address == "0.0.0.0" and line.port > 0 for line in description.lines
    )


def is_open(description: Description) -> bool:
    """Media may flow on every m-line."""
    return all(line.direction == "recvonly" and line.address == "127.0.0.1" for line in description.lines)


def said_at(seconds: float) -> str:
    """A time of the stage as journals write it."""
    return rfc3339(START + timedelta(seconds=seconds))


def play(directory: Path, scene: Callable[[Stage], Awaitable[None]], **changes: Any) -> None:
    """Runs a scene on a stage of its own; sealing and journal try again at once."""

    async def run() -> None:
        with stage_on(directory, **changes) as stage:
            await scene(stage)

    asyncio.run(run())


def decision(entry: Entry) -> dict[str, Any]:
    """What only the officer reads."""
    context = b"mitschnitt/v1/decision/" + entry.call.encode()
    sealed = base64.b64decode(entry.data["decision"])
    told: dict[str, Any] = json.loads(unpad(open_with(OFFICER.private_bytes_raw(), sealed, context=context)))
    return told


async def over(stage: Stage, session: Session, *types: str) -> dict[str, Any]:
    """Ends the session; the decision, once the journal reads exactly so and no line is left."""
    session.ended()
    await session.sealed()
    entries = await stage.journalled(*types)
    assert stage.open_lines() == 0
    assert session.state is State.ENDED
    return decision(entries[-1]) if types[-1:] == ("closed",) else {}
