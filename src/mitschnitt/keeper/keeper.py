"""The keeper as its sockets see it: announced calls, posted facts, recorders' requests, views, reading, erasing.

Glue: every decision is core's, every key the keyring's, every row the store's. Runs on one event loop; what
blocks runs in threads, one per recorder, so that a recovery never holds up another recorder's withdrawal.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, TypeVar

from mitschnitt.core.call import CALL_ID_BYTES, decode_call_id, encode_call_id
from mitschnitt.core.consent import Act, ActKind, Asked, act_to_json, agent_consent, asked_to_json
from mitschnitt.core.decision import Verdict
from mitschnitt.core.draw import UNTOLD, told_from_json
from mitschnitt.core.policy import Policy
from mitschnitt.core.view import Agent, View
from mitschnitt.errors import ConfigError, MitschnittError, NotAllowed, TooLarge
from mitschnitt.keeper import erasing
from mitschnitt.keeper.acts import SignedAct
from mitschnitt.keeper.agents_file import AgentsFile
from mitschnitt.keeper.announced import Announced, AnnouncedCall, PartyPost, Ref, party_to_json
from mitschnitt.keeper.apply import Applier, Holdings
from mitschnitt.keeper.clock import rfc3339, wall_clock
from mitschnitt.keeper.consents import listed, notices_of, offered, own_consents
from mitschnitt.keeper.draining import Drain
from mitschnitt.keeper.drawing import Drawing
from mitschnitt.keeper.grants import counting, import_grant, standing_grants
from mitschnitt.keeper.leases import Block
from mitschnitt.keeper.policy_watch import PolicyWatch
from mitschnitt.keeper.pulse import Pulse
from mitschnitt.keeper.questions import further, question
from mitschnitt.keeper.receipts import new_receipt
from mitschnitt.keeper.recovery import recover
from mitschnitt.keeper.site import Site
from mitschnitt.keeper.trials import Trials
from mitschnitt.store import queries
from mitschnitt.store.queries import AccessRow
from mitschnitt.store.writer import Writer
from mitschnitt.vault.blobs import Blobs

RENEW_SECONDS = 5.0  # between two looks at days and at what is free of the caps, as between two views
IN_FORCE_SECONDS = 1.0  # design: consent changes are in force within a second, on every recorder
LOOK_SECONDS = 0.005  # between two looks at what recorders have acknowledged
STEP_SECONDS = 0.2  # without a poke, journals are looked at this often

log = logging.getLogger("mitschnitt.keeper")
Send = Callable[[Mapping[str, Any]], None]
T = TypeVar("T")
NO_DRAWS: Mapping[str, object] = MappingProxyType({})


@dataclass(slots=True)
class Recorder:
    """One recorder as the keeper sees it."""

    applier: Applier
    thread: ThreadPoolExecutor
    send: Send | None = None  # None while it is not connected
    boot: str = ""
    ready: bool = False
    view_version: int = 0  # that it has acknowledged
    stepping: asyncio.Task[None] | None = field(default=None)
    complaint: str = ""  # the last failure that was logged


class Keeper:
    """All of it. Methods that are not `async` touch memory only."""

    def __init__(
        self,
        site: Site,
        holdings: Holdings,
        blobs: Blobs,
        appliers: Sequence[Applier],
        *,
        drawing: Drawing,
        rules: PolicyWatch,
        announced_limit: int,
        now: Callable[[], datetime] = wall_clock,
    ) -> None:
        self._site = site
        self._holdings = holdings
        self._blobs = blobs
        self._rules = rules
        self._now = now
        self._announced = Announced(limit=announced_limit)
        self._drawing = drawing
        self._renewal: asyncio.Task[None] | None = None
        self._renewed_at = float("-inf")
        self.recorders = {
            applier.recorder: Recorder(applier, ThreadPoolExecutor(1, f"recorder-{applier.recorder}"))
            for applier in appliers
        }
        self.trials = Trials(self._tell_all)
        self.drain = Drain(self._tell_all)
        self._version = 0
        self._pulse = Pulse(holdings.writer, time.monotonic)
        self._agents_file = AgentsFile(site.agents_path)
        self._renewing = asyncio.Lock()
        self._opening = asyncio.Lock()
        self.view = self._read_view()

    @property
    def drawing(self) -> Drawing:
        """What draws, for the door."""
        return self._drawing

    @property
    def writer(self) -> Writer:
        """The database's, for its figures."""
        return self._holdings.writer

    # -- views -----------------------------------------------------------------------------------

    def _read_view(self) -> View:
        acts = self._holdings.writer.submit(queries.grant_acts).result()
        self._version += 1
        return self._site.view(self._version, counting(standing_grants(acts, self._site.agents)), self._rules.current)

    async def _renew_view(self) -> None:
        """One at a time: a view that was read before an act came must not take the place of one read after it."""
        async with self._renewing:
            read = await asyncio.to_thread(self._read_view)
            rules = self._rules.current  # it may be another than when the thread began
            self.view = replace(read, policy=rules.policy, policy_text=rules.text)
            self.push_view()

    def push_view(self) -> None:
        """Tell every connected recorder how the world is."""
        for number, recorder in self.recorders.items():
            if recorder.send is not None:
                recorder.send(self._view_message(number))

    def _view_message(self, number: int) -> dict[str, Any]:
        day, lent = self._drawing.days.today(self._now()), self._drawing.lending.lent(number, self.view.agents)
        around = {"store_locked": self._pulse.is_locked, "closed": self._rules.closed}
        return {"type": "view", **replace(self.view, day=day, lent=lent).to_json(), **around}

    async def renew_draw(self) -> None:
        """Open days, lend recorders what is free of the caps, and tell them."""
        self._renewed_at = time.monotonic()
        # One at a time: two recorders that come at once must not open the same day twice.
        async with self._opening:
            news = await asyncio.to_thread(self._drawing.renew, self.view, self._now())
        if news:
            self.push_view()

    def _look_at_rules(self) -> bool:
        """Whether another policy is in force, or nobody new may be asked any more, or people may again."""
        if not self._rules.look(self._now()):
            return False
        self._version += 1
        rules = self._rules.current
        self.view = replace(self.view, version=self._version, policy=rules.policy, policy_text=rules.text)
        return True

    def _tell_all(self, message: Mapping[str, Any]) -> None:
        for recorder in self.recorders.values():
            if recorder.send is not None:
                recorder.send(message)

    async def import_grant(self, signed: SignedAct) -> int:
        """An agent's signed act; how many recorders have it in force when this returns, after a second at most."""
        notices = notices_of(self.view.policy)
        await asyncio.to_thread(
            import_grant, self._holdings.writer, self._site.agents, signed, now=self._now(), notices=notices
        )
        await self._renew_view()
        return await self._in_force()

    async def _in_force(self) -> int:
        """How many recorders have acknowledged what holds now; waits for those that are connected."""
        version, until = self._version, time.monotonic() + IN_FORCE_SECONDS
        while True:
            connected = [recorder for recorder in self.recorders.values() if recorder.send is not None]
            done = sum(recorder.view_version >= version for recorder in connected)
            if done == len(connected) or time.monotonic() >= until:
                return done
            await asyncio.sleep(LOOK_SECONDS)

    @property
    def agents(self) -> tuple[Agent, ...]:
        """Who works here now."""
        return self._site.agents

    def consents_offered(self) -> list[dict[str, Any]]:
        """What agents can agree to; public, as the policy is."""
        return offered(self.view.policy)

    def agents_listed(self, role: str) -> list[dict[str, str]]:
        """Who works here, for whoever mends the file. NotAllowed for other roles."""
        return listed(self._site.agents, role)

    def own_consents(self, question: SignedAct) -> dict[str, Any]:
        """To the agent who signed the question: how it stands with the own consents."""
        return own_consents(self.view, self._site.agents, question, now=self._now())

    async def _look_at_agents(self) -> None:
        """A changed agents.toml counts; one that is broken, or too large for a view, changes nobody."""
        if not self._agents_file.is_stale:
            return
        teams = self._rules.current.policy.cells.teams
        agents = await asyncio.to_thread(self._agents_file.changed, teams=teams)
        if agents is None:
            return
        former, self._site = self._site, replace(self._site, agents=agents)
        try:
            await self._renew_view()
        except TooLarge:
            log.exception("agents.toml has more agents than a view can carry; they stay as they were")
            self._site = former
            await self._renew_view()

    # -- whoever speaks to the caller ------------------------------------------------------------

    async def announce(
        self,
        refs: Sequence[Ref],
        *,
        queue: str,
        direction: str,
        agent: str | None,
        language: str,
        answer_by: str,
    ) -> dict[str, Any]:
        """A call will come: its id, and what to ask, or null and no further question where nobody is to be asked.

        First the draw, then what the agent agreed to: consent is never an exclusion from the draw. Null is one word
        for all that it may mean.
        """
        now = self._now()
        named = None if agent is None else self._site.agent_named(agent)
        self._announced.expect(refs, now)
        view, told = self.view, UNTOLD
        if not self._pulse.is_locked:
            told = await self._drawing.draws.announced(view, queue=queue, direction=direction, agent=named, now=now)
        call_id, receipt = encode_call_id(secrets.token_bytes(CALL_ID_BYTES)), new_receipt()
        self._announced.announce(
            call_id, refs, queue=queue, direction=direction, agent=named, answer_by=answer_by, now=now,
            page_key=receipt.page_key, policy=view.policy.hash, draw=told,
        )  # fmt: skip
        # By the policy that drew it: the call keeps that one, also when another began meanwhile.
        asks = told.drawn and self._may_ask(view.policy, named, now)
        return {
            "call": call_id,
            "ask": question(view.policy, language) if asks else None,
            "further": further(view.policy, language) if asks else [],
            "receipt_code": receipt.code,
        }

    def _may_ask(self, policy: Policy, agent: str | None, now: datetime) -> bool:
        if self._rules.closed:
            return False
        # Who the agent will be may be open while the caller waits in a queue; whoever it is must have agreed.
        if agent is None:
            return True
        notice = policy.purposes[policy.purpose].notice
        answer = agent_consent("agent", agent, self.view.grants, policy.purpose, now, notice=notice)
        return answer.verdict is Verdict.OPEN

    def post_asked(self, call_id: str, asked: Asked) -> None:
        """A prompt was played. NotAllowed(`call.unknown`) for a call that is unknown or over."""
        call = self._announced.add_asked(call_id, asked, self._now())
        self._tell(call, call.asked_message(asked))

    def post_party(self, call_id: str, post: PartyPost) -> None:
        """Somebody joined or left."""
        call = self._announced.add_party(call_id, post, self._now())
        self._tell(call, call.party_message(post))

    async def post_act(self, call_id: str, act: Act) -> None:
        """A party acted. A withdrawal is taken as long as anything of the call is left."""
        try:
            call = self._announced.add_act(call_id, act, self._now())
        except NotAllowed:
            if act.kind is not ActKind.WITHDRAW or not await self._withdraw_later(call_id):
                raise
            return
        self._tell(call, call.act_message(act))
        if act.kind is ActKind.WITHDRAW and call.recorder is not None:
            await self._withdraw_running(self.recorders[call.recorder], call_id)

    async def _withdraw_running(self, recorder: Recorder, call_id: str) -> None:
        """The recorder was told; the key goes here too, whether or not it listens."""
        if not await self._in_thread(recorder, lambda: recorder.applier.withdraw(call_id)):
            await asyncio.to_thread(erasing.erase, self._holdings, call_id)

    async def _withdraw_later(self, call_id: str) -> bool:
        """Whether a call that nobody announces any more had something to withdraw; it is gone now."""
        row = await asyncio.to_thread(
            lambda: self._holdings.writer.submit(lambda connection: queries.call_by_id(connection, call_id)).result()
        )
        if row is None or row.state == queries.NOT_KEPT:
            return False
        if row.state == queries.LIVE and row.recorder in self.recorders:
            await self._withdraw_running(self.recorders[row.recorder], call_id)
            return True
        return await asyncio.to_thread(erasing.erase, self._holdings, call_id) is not None

    def _tell(self, call: AnnouncedCall, message: Mapping[str, Any]) -> None:
        """To the recorder of the call, if there is one; otherwise it is told when it joins or reconnects."""
        recorder = self.recorders.get(call.recorder) if call.recorder is not None else None
        if recorder is not None and recorder.send is not None:
            recorder.send(message)

    # -- recorders -------------------------------------------------------------------------------

    def knows(self, recorder: int) -> bool:
        """Whether there is such a recorder."""
        return recorder in self.recorders

    def attach(self, number: int, send: Send) -> None:
        """A recorder is connected; it gets the view at once."""
        recorder = self.recorders[number]
        recorder.send, recorder.ready = send, False
        send(self._view_message(number))
        for message in (*self.trials.greeting(self._now()), *self.drain.greeting()):
            send(message)

    def detach(self, number: int, send: Send) -> None:
        """The connection is gone, unless a newer one took its place."""
        recorder = self.recorders[number]
        if recorder.send == send:
            recorder.send, recorder.ready = None, False

    async def hello(
        self, number: int, boot: str, live: Sequence[str], draws: Mapping[str, object] = NO_DRAWS
    ) -> tuple[int, list[Mapping[str, Any]]]:
        """The next seq for this boot after recovery of former ones, and what was posted about its running calls.

        MalformedPacket when what is said to be running is no call id, or a draw is none. `draws` are those of running
        calls, for a keeper that was started anew.
        """
        for call in live:
            decode_call_id(call)
        told = {call: told_from_json(draw) for call, draw in draws.items()}
        recorder, now = self.recorders[number], self._now()
        recorder.boot = boot
        self._announced.end_all_but(number, live)
        calls = [self._announced.adopt(call, number, now, draw=told.get(call, UNTOLD)) for call in live]
        next_seq = await self._in_thread(
            recorder, lambda: recover(recorder.applier, self._holdings, self._blobs, boot=boot, now=now)
        )
        recorder.ready = True
        return next_seq, [message for call in calls for message in call.facts()]

    async def drawn_before(self, number: int) -> dict[str, object]:
        """What a recorder must know of its former lives before it draws: its numbers, and the units it took."""
        spent, agents, now = self._drawing.lending.spent, self.view.agents, self._now()
        future = self._holdings.writer.submit(lambda connection: spent(connection, number, agents, now))
        told = await asyncio.wrap_future(future)
        await self.renew_draw()
        return told

    async def lease(self, number: int, count: int) -> Block:
        """Fresh keys for a recorder."""
        boot = self.recorders[number].boot
        return await asyncio.to_thread(self._holdings.leases.lease, number, boot, count)

    def acknowledged(self, number: int, version: int) -> None:
        """The recorder has this view."""
        self.recorders[number].view_version = version

    def join(self, number: int, refs: Sequence[Ref]) -> dict[str, Any]:
        """The `joined` message, without its token."""
        joined = self._announced.join(refs, number, self._now())
        if isinstance(joined, str):
            return {"type": "joined", "call": None, "rule": joined}
        found = joined.call
        return {
            "type": "joined",
            "call": found.call_id,
            "rule": "",
            "again": joined.again,
            "matched": [{"kind": ref.kind, "value": ref.value} for ref in joined.matched],
            "queue": found.queue,
            "direction": found.direction,
            "agent": found.agent,
            "answer_by": found.answer_by,
            "draw": found.draw.to_json(),
            "page_key": base64.b64encode(found.page_key).decode(),
            **self._policy_told(found.policy),
            "asked": [asked_to_json(asked) for asked in found.asked],
            "acts": [act_to_json(act) for act in found.acts],
            "parties": [party_to_json(post) for post in found.parties],
        }

    def _policy_told(self, digest: str) -> dict[str, Any]:
        """Under which policy a call was announced; its text, too, when recorders know another one by now."""
        told = {"policy": digest}
        if digest and digest != self.view.policy.hash:
            with contextlib.suppress(ConfigError):  # without a text the recorder keeps nothing of the call
                text = self._rules.policies.files.read(digest).text
                return {**told, "policy_text": base64.b64encode(text).decode()}
        return told

    def begin_trial(self, role: str, *, host: str, caller: str, wait: timedelta) -> dict[str, Any]:
        """A test call will come from this host. NotAllowed for other roles, or while one is under way."""
        begun = self.trials.begin(role, host=host, caller=caller, wait=wait, now=self._now())
        log.info("a test call is awaited", extra={"seconds": int(wait.total_seconds())})
        return begun

    def look_at_trial(self, role: str, token: str) -> dict[str, Any]:
        """How far it is, and what was found."""
        return self.trials.look(role, token, self._now())

    def stop_trial(self, role: str, token: str) -> None:
        """Nobody waits for it any more."""
        self.trials.stop(role, token, self._now())

    def trial_taken(self, number: int, token: str) -> None:
        """A recorder has the test call."""
        self.trials.taken(number, token, self._now())

    async def trial_told(self, number: int, message: Mapping[str, Any]) -> None:
        """What a recorder found; what cannot be read or written down is left out, and its connection stays."""
        if not self.trials.expects(number, message):
            return
        try:
            if message.get("call"):
                # The row is durable before anybody can ask what was found: nobody is looked at unseen.
                await asyncio.to_thread(self._note_trial, str(message["call"]))
            self.trials.told(number, message, self._now())
        except MitschnittError:
            log.exception("what a recorder found of a test call was left out", extra={"recorder": number})

    def _note_trial(self, call_id: str) -> None:
        """The tester's call was looked at more closely than others are; both sides can see that (design, P7)."""
        decode_call_id(call_id)
        row = AccessRow(call_id, "operator", "trial", rfc3339(self._now()), "trial.operator")
        self._holdings.writer.submit(lambda connection: queries.add_access(connection, row)).result()

    def ended(self, call: str, drawn: object = None) -> None:
        """The call is over for those who post facts. `drawn` is {day, source, n, outcome} of its draw, if it had one.

        Outcomes stand beside draws, never beside calls, and come in memory only: what is lost counts as failed.
        """
        self._announced.end(call)
        if drawn is not None:
            self._drawing.draws.note_outcome(drawn)

    def poke(self, number: int) -> None:
        """New entries are in the journal of this recorder."""
        recorder = self.recorders[number]
        if recorder.stepping is None or recorder.stepping.done():
            recorder.stepping = asyncio.get_running_loop().create_task(self._step(recorder))

    async def step_forever(self) -> None:
        """Look at all journals every so often, until cancelled."""
        while True:
            for number in self.recorders:
                self.poke(number)
            self._announced.expire(self._now())
            news = self._look_at_rules(), self._pulse.look()
            if any(news):
                self.push_view()
            self._renew_when_due()
            await self._look_at_agents()
            await asyncio.sleep(STEP_SECONDS)

    def _renew_when_due(self) -> None:
        is_idle = self._renewal is None or self._renewal.done()
        if is_idle and time.monotonic() - self._renewed_at >= RENEW_SECONDS:
            self._renewal = asyncio.get_running_loop().create_task(self.renew_draw())

    async def close(self) -> None:
        """Apply what is in the journals, then end the threads."""
        if self._renewal is not None:
            await self._renewal
        for recorder in self.recorders.values():
            if recorder.stepping is not None:
                await recorder.stepping
            await self._step(recorder)
            recorder.thread.shutdown()

    def status(self) -> dict[str, int]:
        """Counts for `doctor` and the health page; nothing of any call."""
        recorders = self.recorders.values()
        return {
            "recorders": sum(recorder.ready for recorder in recorders),
            "view": self._version,
            "view_acknowledged": min((recorder.view_version for recorder in recorders if recorder.ready), default=0),
            "epoch": self._holdings.keyring.epoch,
            "lease_blocks": self._holdings.leases.open_blocks,
            "journal_lag": sum(recorder.applier.lag for recorder in recorders),
            "announced": len(self._announced),
            "agents": len(self._site.agents),
            "store_locked": int(self._pulse.is_locked),
            "policy_closed": int(bool(self._rules.closed)),
            "state_copies": len(self._holdings.keyring.copies),
        }

    async def _step(self, recorder: Recorder) -> None:
        try:
            await self._in_thread(recorder, recorder.applier.step)
        except MitschnittError as error:
            if recorder.complaint != str(error):
                recorder.complaint = str(error)
                number = recorder.applier.recorder
                log.exception("a journal could not be applied; it is tried again", extra={"recorder": number})
        else:
            recorder.complaint = ""

    async def _in_thread(self, recorder: Recorder, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(recorder.thread, work)
