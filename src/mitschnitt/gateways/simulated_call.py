"""One simulated call: the course of `scenarios.TRANSITIONS`, carried out with real SIP, RTP and HTTP.

The call itself never depends on the recording: when recorder or control API fail, people go on talking, and
the row says so.
"""

from __future__ import annotations

import asyncio
import base64
import random  # noqa: TID251 - a simulator takes a seeded Random
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from datetime import datetime

from mitschnitt.errors import MitschnittError
from mitschnitt.gateways import cast, scenarios
from mitschnitt.gateways.cast import Speaker
from mitschnitt.gateways.control_client import Announced, Ask, ControlClient, ControlGone, rfc3339
from mitschnitt.gateways.recording_session import Change, Obedience, RecordingSession, SessionClient
from mitschnitt.gateways.rtp_sender import RtpSender, RtpStream, StreamSetup
from mitschnitt.gateways.scenarios import PLANS, Action, Do, Event, Scenario, State, Step
from mitschnitt.gateways.session_text import Line, SessionNames
from mitschnitt.gateways.speech import Dialogue, Prompt
from mitschnitt.wire import g711

CALLER_LABEL, AGENT_LABEL, THIRD_LABEL = "1", "2", "3"
STREAMS_PER_CALL = 10  # stream number = 10 * call + label, so that a stamp names its call
QUESTION_TAIL_SECONDS = 0.040  # until its last packet has been heard; a prompt with less time was cut


@dataclass(frozen=True)
class Centre:
    """What all calls of one centre share."""

    control: ControlClient | None  # None: nobody speaks to a control API, nobody is asked
    client: SessionClient
    sender: RtpSender
    recorder_host: str
    media_host: str
    obedience: Obedience
    stamped: bool
    law: g711.Law
    max_talk_seconds: float
    prompt_of: Callable[[str, str], Prompt]
    now: Callable[[], datetime]
    progress: Callable[[dict[str, object]], None]


class SimulatedCall:
    """Call `number` of the centre; `run` plays it and returns its row."""

    def __init__(
        self, number: int, scenario: Scenario, dialogue: Dialogue, centre: Centre, *, dice: random.Random
    ) -> None:
        self.number, self.scenario = number, scenario
        self._plan, self._dialogue, self._centre, self._dice = PLANS[scenario], dialogue, centre, dice
        self.state = State.ARRIVED
        self.control_gone = False  # a request to the control API got no answer
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._steps: list[Step] = list(self._plan.steps)
        self._timers: list[asyncio.TimerHandle] = []
        self._caller = cast.caller(number)
        self._agent = cast.agent(number) if self._plan.agent_agrees else cast.AGENT_WITHOUT_GRANT
        self._names = self._name_session()
        self._session = RecordingSession(
            self._names,
            centre.client,
            centre.sender,
            recorder_host=centre.recorder_host,
            obedience=centre.obedience,
            now=centre.now,
            on_change=self._changed,
        )
        self._announced: Announced | None = None
        self._questions: list[tuple[Ask, Prompt]] = []  # still to be put; the first is being put
        self._further: list[str] = []  # purposes beside the first that were asked for
        self._asked_from: datetime | None = None
        self._marks: list[dict[str, object]] = []
        self._errors: list[str] = []
        self._row: dict[str, object] = {}

    def stop(self) -> None:
        """Hangs up as soon as what is under way is done."""
        self._events.put_nowait(Event.STOPPED)

    async def run(self) -> dict[str, object]:
        """Plays the call to its end; its row for the report."""
        self._events.put_nowait(Event.CALL_CAME)
        while self.state is not State.ENDED:
            event = await self._events.get()
            move = scenarios.TRANSITIONS.get((self.state, event))
            if move is None:
                continue
            self.state, actions = move
            self._tell()
            for action in actions:
                await self._carry_out(action)
        return self._row

    async def _carry_out(self, action: Action) -> None:
        doing: dict[Action, Callable[[], Awaitable[None]]] = {
            Action.ANNOUNCE: self._announce,
            Action.DIAL: self._dial,
            Action.PLAY_QUESTION: self._play_question,
            Action.POST_ASKED: self._post_asked,
            Action.LET_CALLER_ANSWER: self._let_caller_answer,
            Action.CONNECT: self._connect,
            Action.TALK: self._talk,
            Action.STEP: self._step,
            Action.HANG_UP: self._hang_up,
        }
        try:
            await doing[action]()
        except MitschnittError as error:
            self.control_gone = self.control_gone or isinstance(error, ControlGone)
            self._errors.append(f"{action.name.lower()}: {error}")

    async def _announce(self) -> None:
        if self._centre.control is None:
            return
        announced = await self._centre.control.announce(
            {"sip_session_id": self._names.sip_session_id},
            queue=self._dialogue.queue,
            direction="inbound",
            agent=self._agent.aor,
            answer_by="digit" if self._plan.answer is Do.PRESS else "post",
        )
        self._announced = announced
        if announced.ask is None:
            return
        for ask in (announced.ask, *announced.further):
            prompt = self._centre.prompt_of(ask.prompt, ask.language)
            if prompt.sha256 != ask.sha256:
                self._errors.append("announce: the recorder asks for another recording of the question")
                break  # who cannot be asked for the first purpose is asked for none
            self._questions.append((ask, prompt))

    async def _dial(self) -> None:
        try:
            self._add_line(CALLER_LABEL, self._caller)
            self._add_line(AGENT_LABEL, self._agent)
            status = await self._session.start()
            if status >= 300:
                self._errors.append(f"dial: the recorder answered {status}")
        finally:
            self._events.put_nowait(Event.ASK_GIVEN if self._questions else Event.NOT_TO_BE_ASKED)

    async def _play_question(self) -> None:
        _, prompt = self._question()
        self._asked_from = self._centre.now()
        # What the caller hears comes from the other end of the line.
        self._session.streams[AGENT_LABEL].speak(prompt.audio)
        self._later(prompt.length_ms / 1000 + QUESTION_TAIL_SECONDS, Event.QUESTION_ENDED)

    async def _post_asked(self) -> None:
        (ask, prompt), control, announced = self._question(), self._control(), self._known()
        if self._asked_from is None:
            return
        await control.asked(
            announced.call,
            ask,
            begin=self._asked_from,
            end=self._centre.now(),
            played_ms=prompt.length_ms,
            length_ms=prompt.length_ms,
        )
        if ask.purpose:
            self._further.append(ask.purpose)
        self._mark(f"asked {ask.purpose}".rstrip())

    async def _let_caller_answer(self) -> None:
        await asyncio.sleep(scenarios.REACT_SECONDS)
        ask, _ = self._question()
        do, value = self._plan.further if ask.purpose else (self._plan.answer, self._plan.value)
        try:
            await self._act(do, value, because=f"answer {ask.purpose}".rstrip())
        finally:
            await self._after_answer()

    async def _after_answer(self) -> None:
        """The next question, for a caller who agreed to the recording; after the last one, the agent."""
        if self._plan.agrees and len(self._questions) > 1:
            del self._questions[0]
            await asyncio.sleep(scenarios.NEXT_QUESTION_SECONDS)
            self._events.put_nowait(Event.FURTHER_QUESTION)
        else:
            self._events.put_nowait(Event.CALLER_ANSWERED)

    async def _connect(self) -> None:
        await asyncio.sleep(scenarios.CONNECT_SECONDS)
        self._events.put_nowait(Event.AGENT_ANSWERED)

    async def _talk(self) -> None:
        self._session.streams[CALLER_LABEL].speak(self._dialogue.caller)
        self._session.streams[AGENT_LABEL].speak(self._dialogue.agent)
        length = min(self._dialogue.seconds, self._centre.max_talk_seconds)
        for step in self._steps:
            self._later(step.after, Event.STEP_DUE)
        self._later(length, Event.TALK_ENDED)

    async def _step(self) -> None:
        step = self._steps.pop(0)
        await self._act(step.do, step.value, because=f"step {step.do}")

    async def _act(self, do: Do, value: str, *, because: str) -> None:
        """What a caller or the gateway does, marked with what had been sent by then."""
        if do is Do.PRESS:
            self._mark(because)
            self._session.streams[CALLER_LABEL].press(self._digits(value))
        elif do is Do.POST:
            kind, _, what = value.partition(":")
            ask = self._questions[0][0] if self._questions else None
            control, call = self._control(), self._known().call
            self._mark(because)
            await control.act(
                call, kind, self._digits(what), at=self._centre.now(), ask=ask if kind == "digit" else None
            )
        elif do is Do.JOIN:
            self._mark(because)
            await self._join()

    def _digits(self, value: str) -> str:
        ask = self._questions[0][0] if self._questions else None
        meant = {"yes": ask.yes if ask else "1", "no": ask.no if ask else "2"}
        return meant.get(value, value)

    async def _join(self) -> None:
        third = cast.THIRD
        if self._centre.control is not None and self._announced is not None:
            await self._centre.control.party(
                self._announced.call, "third-1", "joined", third.aor, at=self._centre.now()
            )
        self._add_line(THIRD_LABEL, third)
        self._session.streams[THIRD_LABEL].speak(self._dialogue.caller)
        status = await self._session.reoffer()
        if status >= 300:
            self._errors.append(f"join: the recorder answered {status}")

    async def _hang_up(self) -> None:
        for timer in self._timers:
            timer.cancel()
        reports = await self._session.hang_up()
        self._row = {
            "call": self.number,
            "scenario": self.scenario,
            "control": self._announced.call if self._announced else None,
            "receipt_code": self._announced.receipt_code if self._announced else None,
            "asked": self._asked_from is not None,
            "further": self._further,
            "sip_session_id": self._names.sip_session_id,
            "sip_status": self._session.status,
            "changes": [
                {"at": rfc3339(change.at), "by": change.by, "open": change.open_labels}
                for change in self._session.changes
            ],
            "marks": self._marks,
            "streams": [asdict(report) for report in reports],
            "errors": self._errors,
        }
        self._centre.progress(
            self._progress()
            | {
                "done": True,
                "audio": sum(report.audio for report in reports),
                "leaked": sum(report.leaked for report in reports),
                "errors": self._errors,
            }
        )

    def _question(self) -> tuple[Ask, Prompt]:
        if not self._questions:
            raise MitschnittError("no question was given")
        return self._questions[0]

    def _control(self) -> ControlClient:
        if self._centre.control is None:
            raise MitschnittError("no control API to post to")
        return self._centre.control

    def _known(self) -> Announced:
        if self._announced is None:
            raise MitschnittError("the control API does not know this call")
        return self._announced

    def _later(self, seconds: float, event: Event) -> None:
        loop = asyncio.get_running_loop()
        self._timers.append(loop.call_later(seconds, self._events.put_nowait, event))

    def _mark(self, what: str) -> None:
        """Notes the time and how many audio packets each stream had sent: what came before, what after."""
        at = rfc3339(self._centre.now())
        self._marks.append({"what": what, "at": at, "counters": self._session.counters()})

    def _changed(self, change: Change) -> None:
        self._tell(open_labels=change.open_labels, by=change.by)

    def _tell(self, **more: object) -> None:
        self._centre.progress(self._progress() | more)

    def _progress(self) -> dict[str, object]:
        call = self._announced.call if self._announced else None
        return {
            "at": rfc3339(self._centre.now()),
            "call": self.number,
            "control": call,
            "scenario": self.scenario,
            "state": self.state,
        }

    def _add_line(self, label: str, speaker: Speaker) -> None:
        setup = StreamSetup(
            stream=self.number * STREAMS_PER_CALL + int(label),
            label=label,
            ssrc=self._dice.getrandbits(32),
            first_seq=self._dice.getrandbits(16),
            first_time=self._dice.getrandbits(32),
            law=self._centre.law,
            payload_type=8 if self._centre.law is g711.Law.PCMA else 0,
            stamped=self._centre.stamped,
        )
        stream = RtpStream(setup, address=self._centre.media_host)
        self._session.add(Line(label, stream.port, speaker, self._uuid(), self._uuid()), stream)

    def _uuid(self) -> str:
        """Base64 of a UUID (RFC 7865, section 6.10)."""
        return base64.b64encode(uuid.UUID(int=self._dice.getrandbits(128), version=4).bytes).decode()

    def _name_session(self) -> SessionNames:
        local, remote = (uuid.UUID(int=self._dice.getrandbits(128), version=4).hex for _ in range(2))
        return SessionNames(
            session_id=self._uuid(),
            sip_session_id=f"{local};remote={remote}",
            sdp_id=self._dice.getrandbits(31),
            host=self._centre.media_host,
            law=self._centre.law,
        )
