"""A recorder without media, for the scene `week`: the real gate, the real ledger, the real draws; no SIP, no packet.

Keeps nothing that a voice said: the files that it seals for a kept call are empty ones, under the call's own keys.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from mitschnitt.commands.week_site import WeekClock
from mitschnitt.config import Config
from mitschnitt.core.call import decode_call_id
from mitschnitt.core.consent import Role, act_from_json, asked_from_json
from mitschnitt.core.gate import CallFacts, Command, Party, State, Surroundings, end, step
from mitschnitt.core.view import View, view_from_json
from mitschnitt.keeper.keeper import Keeper
from mitschnitt.recorder.call_draw import CallDraw
from mitschnitt.recorder.clock import rfc3339
from mitschnitt.recorder.draws import Draws
from mitschnitt.recorder.ledger import Ledger
from mitschnitt.recorder.link import LeasedKey
from mitschnitt.recorder.pages import Readers
from mitschnitt.recorder.recording import told_decision
from mitschnitt.vault.artefact import PartyHeader
from mitschnitt.vault.blobs import LocalBlobs
from mitschnitt.vault.finish import SALT_BYTES, SealedParty, finish_party
from mitschnitt.vault.journal_files import JournalWriter
from mitschnitt.vault.keytree import leaf_key

CODECS = {8: ("PCMA", 8_000)}
CALLER, AGENT = "caller", "agent"


class WeekCall:
    """One call in this recorder: facts, state, and what is journalled of it."""

    def __init__(self, recorder: WeekRecorder, joined: Mapping[str, Any], key: LeasedKey) -> None:
        self.call_id = str(joined["call"])
        self._recorder, self._key = recorder, key
        self._policy = str(joined["policy"])
        self._readers = Readers()
        self._readers.joined(joined)
        self.draw = CallDraw(recorder.draws, self.look)
        self.draw.announced(joined["draw"], agent=joined["agent"])
        self.state = State.ARRIVED
        self.facts = CallFacts()
        self._began: datetime | None = None
        refs = {"refs": list(joined["matched"])}
        pages = self._readers.at_arrival()
        recorder.ledger.arrived(self.call_id, key, refs, pages, policy=self._policy, at=recorder.now())

    def connect(self, agent: str, *, unbound: str = "") -> None:
        """Caller and agent are on the line."""
        parties = (Party(CALLER, Role.CALLER, 0), Party(AGENT, Role.AGENT, 1, agent=agent))
        self.facts = replace(self.facts, parties=parties, unbound=unbound)
        self.look()

    @property
    def waits(self) -> bool:
        """Whether a draw or a unit is being written down."""
        return self.facts.undrawn == "draw.waiting"

    def look(self) -> None:
        """One move of the gate, by what is known now."""
        recorder = self._recorder
        agents = [party.agent for party in self.facts.parties if party.agent is not None]
        self.facts = replace(self.facts, undrawn=self.draw.undrawn(recorder.view, agents))
        if self.waits:
            return  # as the session does: nothing is judged before the unit is on disk
        moved = step(self.state, self.facts, recorder.around(), recorder.now())
        self.state = moved.state
        for command in moved.commands:
            self._carry_out(command)

    def hear(self, message: Mapping[str, Any]) -> None:
        """What the keeper was posted of this call."""
        kind = message["type"]
        if kind == "asked":
            self.facts = self.facts.with_asked(asked_from_json(message))
        elif kind in ("act", "withdraw"):
            self.facts = self.facts.with_act(act_from_json(message))
        self.look()

    def _carry_out(self, command: Command) -> None:
        if command is Command.KEEP and self._began is None:
            self._began = self._recorder.now()
            for party, role in ((0, CALLER), (1, AGENT)):
                self._recorder.ledger.track(self.call_id, party, role, CODECS, at=self._began)
        elif command is Command.SHRED:
            self._recorder.ledger.shred(self.call_id, at=self._recorder.now())

    def end(self) -> None:
        """The call is over: files and last word, then the outcome of its draw, in memory only."""
        recorder, now = self._recorder, self._recorder.now()
        moved = end(self.state, self.facts, recorder.around(), now)
        kept = Command.SEAL in moved.commands and self._began is not None
        if kept:
            for party in (0, 1):
                recorder.ledger.sealed(self.call_id, _told(self._seal(party, now)), at=now, then=lambda: None)
        outcome = "kept" if kept else "not_kept"
        told = {"call": self.call_id, **told_decision(outcome, moved.decision, self.facts.acts, policy=self._policy)}
        pages = self._readers.at_end(outcome, moved.decision, self.facts, recorder.view, now)
        recorder.ledger.closed(
            self.call_id, told, recorder.view.officer_key, kept=outcome, ladders=(), pages=pages, at=now
        )
        recorder.keeper.ended(self.call_id, self.draw.outcome(moved.decision.rule, kept=kept))

    def _seal(self, party: int, now: datetime) -> SealedParty:
        began = rfc3339(self._began or now)
        return finish_party(
            (),
            leaf_key=leaf_key(self._key.node, party),
            call_id=decode_call_id(self.call_id),
            party=party,
            header=PartyHeader(CODECS, began, rfc3339(now), "ended"),
            blobs=self._recorder.blobs,
            salts=(secrets.token_bytes(SALT_BYTES), secrets.token_bytes(SALT_BYTES)),
        )


class WeekRecorder:
    """One of the two recorders, connected to the keeper by calls instead of a socket."""

    def __init__(self, number: int, config: Config, keeper: Keeper, clock: WeekClock) -> None:
        self.number, self.keeper = number, keeper
        self._clock = clock
        self.blobs = LocalBlobs(config.audio)
        self.draws = Draws(f"recorder-{number}")
        self.calls: dict[str, WeekCall] = {}
        self._view: View | None = None
        self._keys: list[LeasedKey] = []
        directory, boot = config.journal(number), f"week-{number}"
        self.boot = boot
        self.ledger = Ledger(
            lambda: JournalWriter(directory, next_seq=1),
            recorder=number,
            on_synced=self._synced,
            on_full=lambda: None,
        )
        self.draws.start(self.ledger)

    def now(self) -> datetime:
        """The scene's time."""
        return self._clock.now()

    @property
    def view(self) -> View:
        """The keeper's world, as it was told last."""
        if self._view is None:
            raise RuntimeError("a call came before the first view")
        return self._view

    async def start(self) -> None:
        """Say hello, as a recorder does that was never here before."""
        self.keeper.attach(self.number, self.hear)
        await self.keeper.hello(self.number, self.boot, [])
        self.draws.drawn_before(await self.keeper.drawn_before(self.number))

    def hear(self, message: Mapping[str, Any]) -> None:
        """One message of the keeper."""
        if message["type"] == "view":
            self._view = view_from_json(message)
            self.draws.see(self._view)
            self.keeper.acknowledged(self.number, self._view.version)
            for call in list(self.calls.values()):
                call.look()
        elif message.get("call") in self.calls:
            self.calls[str(message["call"])].hear(message)

    def around(self) -> Surroundings:
        """What holds for all calls now."""
        return Surroundings(self._view, timedelta(0))

    async def take(self, joined: Mapping[str, Any]) -> WeekCall:
        """A session came for this announced call."""
        if not self._keys:
            block = await self.keeper.lease(self.number, 64)
            self._keys = [LeasedKey(block.first + place, block.number, node) for place, node in enumerate(block.nodes)]
        call = WeekCall(self, joined, self._keys.pop(0))
        self.calls[call.call_id] = call
        return call

    def end(self, call: WeekCall) -> None:
        """The call is over here."""
        call.end()
        del self.calls[call.call_id]

    def _synced(self, then: list[Any]) -> None:
        # From the ledger's thread, as in the product; the scene waits for it between two steps.
        for done in then:
            done()


def _told(made: SealedParty) -> dict[str, Any]:
    return {
        "party": made.party,
        "media": {"name": made.media_name, "size": made.media_size, "sha256": made.media_sha256},
        "timeline": {"name": made.timeline_name, "size": made.timeline_size, "sha256": made.timeline_sha256},
        "reason": made.reason,
        "started_at": made.started_at,
        "ended_at": made.ended_at,
    }
