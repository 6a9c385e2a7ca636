"""A session sends exactly what the recorder last asked for, and nothing once it is over."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

import world
from mitschnitt.errors import MalformedPacket
from mitschnitt.gateways.cast import Speaker
from mitschnitt.gateways.recording_session import (
    Change,
    Obedience,
    RecordingSession,
    SessionListener,
    silent_for,
)
from mitschnitt.gateways.rtp_sender import Aim, RtpSender, RtpStream, StreamSetup
from mitschnitt.gateways.session_text import Line, SessionNames
from mitschnitt.wire.g711 import Law

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
NAMES = SessionNames("s", "x;remote=y", 1, "127.0.0.1", Law.PCMA)


def description(host: str, *lines: tuple[int, str]) -> bytes:
    text = f"v=0\r\no=rec 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\n"
    for port, direction in lines:
        text += f"m=audio {port} RTP/AVP 8 101\r\na={direction}\r\n"
    return text.encode()


CLOSED = description("0.0.0.0", (10_000, "inactive"), (10_002, "inactive"))
OPEN = description("127.0.0.9", (20_000, "recvonly"), (20_002, "recvonly"))
OPEN_AIMS = [Aim("127.0.0.9", 20_000, allowed=True), Aim("127.0.0.9", 20_002, allowed=True)]


class Peer:
    """A SIP side that answers as told; `behind` comes right behind the answer, in the same breath."""

    def __init__(self, answer: bytes = CLOSED, status: int = 200, behind: bytes = b"") -> None:
        self.answer, self.status, self.behind = answer, status, behind
        self.offers: list[bytes] = []
        self.byes: list[str] = []
        self.listener: SessionListener | None = None
        self.end_at_once = False

    async def invite(self, sdp: bytes, metadata: bytes, listener: SessionListener) -> tuple[str, int]:
        self.offers += [sdp, metadata]
        self.listener = listener
        if self.status < 300:
            listener.answered(self.answer)
        if self.behind:
            listener.offered(self.behind)
        if self.end_at_once:
            listener.ended("BYE of the recorder")
        await asyncio.sleep(0)
        return "dialog", self.status

    async def reoffer(self, dialog: str, sdp: bytes, metadata: bytes) -> int:
        self.offers += [sdp, metadata]
        if self.status < 300 and self.listener is not None:
            self.listener.answered(self.answer)
        return self.status

    async def bye(self, dialog: str) -> int:
        self.byes.append(dialog)
        return 200


class Stage:
    """A session of two lines under test."""

    def __init__(self, peer: Peer, obedience: Obedience) -> None:
        self.peer, self.changes = peer, list[Change]()
        self.session = RecordingSession(
            NAMES,
            peer,
            RtpSender(),
            recorder_host="127.0.0.7",
            obedience=obedience,
            now=lambda: NOON,
            on_change=self.changes.append,
        )
        self.add("1", world.CALLER)
        self.add("2", world.AGENT_WITH_GRANT)

    def add(self, label: str, person: world.Person) -> None:
        stream = RtpStream(StreamSetup(int(label), label, 1, 1, 1))
        speaker = Speaker(person.name, person.aor)
        self.session.add(Line(label, stream.port, speaker, f"p{label}", f"s{label}"), stream)

    def aims(self) -> list[Aim | None]:
        return [stream.aimed for stream in self.session.streams.values()]

    def start(self) -> int:
        return asyncio.run(self.session.start())


@pytest.fixture
def stages() -> Iterator[list[Stage]]:
    """What a test built; its sockets are closed behind it."""
    built: list[Stage] = []
    yield built
    for stage in built:
        for stream in stage.session.streams.values():
            stream.close()


@pytest.fixture
def stage(stages: list[Stage]) -> Stage:
    stages.append(Stage(Peer(), Obedience.OBEYS))
    return stages[-1]


def test_a_closed_answer_aims_nothing(stage: Stage) -> None:
    assert stage.start() == 200
    assert stage.aims() == [None, None]
    assert stage.changes == [Change(NOON, "answer", ())]


def test_an_offer_of_the_recorder_opens_at_once_and_closes_at_once(stage: Stage) -> None:
    stage.start()
    answer = stage.session.offered(OPEN)
    assert stage.aims() == OPEN_AIMS
    assert answer.count(b"a=sendonly") == 2
    assert b"o=centre 1 2 IN" in answer
    answer = stage.session.offered(CLOSED)
    assert stage.aims() == [None, None]
    assert answer.count(b"a=inactive") == 2
    assert [change.open_labels for change in stage.changes] == [(), ("1", "2"), ()]


def test_an_offer_right_behind_the_answer_is_not_undone_by_it(stages: list[Stage]) -> None:
    stages.append(Stage(Peer(behind=OPEN), Obedience.OBEYS))
    stages[0].start()
    assert stages[0].aims() == OPEN_AIMS


def test_one_line_may_be_open_while_the_other_is_not(stage: Stage) -> None:
    stage.start()
    stage.session.offered(description("127.0.0.9", (20_000, "recvonly"), (20_002, "inactive")))
    assert stage.aims() == [OPEN_AIMS[0], None]


def test_an_offer_with_another_number_of_lines_is_refused_and_changes_nothing(stage: Stage) -> None:
    stage.start()
    stage.session.offered(OPEN)
    with pytest.raises(MalformedPacket, match="an offer of 1 lines; this session has 2"):
        stage.session.offered(description("127.0.0.1", (5, "recvonly")))
    assert stage.aims() == OPEN_AIMS


@pytest.mark.parametrize("answer", [b"", b"garbage", description("127.0.0.9", (20_000, "inactive"))])
def test_an_answer_that_is_none_or_too_short_closes(stages: list[Stage], answer: bytes) -> None:
    stages.append(Stage(Peer(answer), Obedience.OBEYS))
    stages[0].start()
    assert stages[0].aims() == [None, None]


def test_a_refused_session_sends_nothing_and_needs_no_bye(stages: list[Stage]) -> None:
    stages.append(Stage(Peer(status=503), Obedience.OBEYS))
    assert stages[0].start() == 503
    assert asyncio.run(stages[0].session.reoffer()) == 0
    reports = asyncio.run(stages[0].session.hang_up())
    assert stages[0].peer.byes == []
    assert [report.audio for report in reports] == [0, 0]


def test_a_leaking_client_sends_to_the_real_ports(stages: list[Stage]) -> None:
    stages.append(Stage(Peer(), Obedience.LEAKS))
    stages[0].start()
    assert stages[0].aims() == [
        Aim("127.0.0.7", 10_000, allowed=False),
        Aim("127.0.0.7", 10_002, allowed=False),
    ]
    stages[0].session.offered(OPEN)
    assert stages[0].aims() == OPEN_AIMS


def test_a_third_line_is_offered_with_a_new_snapshot(stage: Stage) -> None:
    stage.start()
    stage.add("3", world.THIRD)
    assert asyncio.run(stage.session.reoffer()) == 200
    sdp, metadata = stage.peer.offers[2:]
    assert sdp.count(b"m=audio") == 3
    assert b"o=centre 1 2 IN" in sdp
    assert world.THIRD.aor.encode() in metadata


def test_the_recorder_may_close_the_old_lines_before_it_has_heard_of_the_third(stage: Stage) -> None:
    stage.start()
    stage.session.offered(OPEN)
    stage.add("3", world.THIRD)
    answer = stage.session.offered(CLOSED)
    assert stage.aims() == [None, None, None]
    assert answer.count(b"m=audio") == 2


def test_the_end_of_a_session_is_the_end_of_sending(stage: Stage) -> None:
    stage.start()
    stage.session.offered(OPEN)
    stage.session.ended("BYE of the recorder")
    assert stage.aims() == [None, None]
    assert stage.changes[-1] == Change(NOON, "BYE of the recorder", ())
    asyncio.run(stage.session.hang_up())
    assert stage.peer.byes == []


def test_a_session_ended_while_it_starts_is_over(stages: list[Stage]) -> None:
    peer = Peer()
    peer.end_at_once = True
    stages.append(Stage(peer, Obedience.OBEYS))
    stages[0].start()
    asyncio.run(stages[0].session.hang_up())
    assert peer.byes == []


def test_hanging_up_says_bye_and_reports_each_stream(stage: Stage) -> None:
    stage.start()
    reports = asyncio.run(stage.session.hang_up())
    assert stage.peer.byes == ["dialog"]
    assert [report.label for report in reports] == ["1", "2"]
    assert stage.session.counters() == {"1": 0, "2": 0}


def test_nothing_is_what_no_answer_asks_for() -> None:
    line = Line("1", 5, Speaker("n", "a"), "p", "s")
    assert [asked.wants_media for asked in silent_for([line, line])] == [False, False]
