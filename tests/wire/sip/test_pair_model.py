"""Two user agents that do what comes to mind, over a network that loses, doubles and reorders.

Nothing either does may raise. Once the network is whole and five minutes have passed, no transaction is left and every
INVITE has got a final answer or was reported as timed out; after a sign of life both agree on whether the call lives.
With a short session timer they agree without being told to ask.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from examples import many
from mitschnitt.wire.sip.agent import UserAgent
from mitschnitt.wire.sip.config import SRC_FEATURE, AgentConfig
from mitschnitt.wire.sip.events import (
    CancelReceived,
    InviteReceived,
    ReinviteReceived,
    ResponseReceived,
    SipEvent,
    TransactionTimedOut,
    UpdateReceived,
)
from mitschnitt.wire.sip.hop import Hop
from mitschnitt.wire.sip.message import parse_message
from sip_pair import CLIENT_PORT, SDP, SERVER_PORT, SERVER_URI, tokens

SDP_TYPE = "application/sdp"
LONG_SESSION = 86_400  # seconds: no refresh falls into a scene that is not about them
SHORT_SESSION = 90  # seconds: several refreshes fall into each scene
HEALED_SECONDS = 300.0  # longer than any transaction waits: timer C, and the resends after it
MAX_ON_THE_WAY = 40  # packets; more would only slow the scene


class Side:
    """One agent, what it must still answer, and what became of its INVITEs."""

    def __init__(self, name: str, port: int, feature: str, session: int) -> None:
        self.port = port
        config = AgentConfig(port=port, feature=feature, session_expires_s=session)
        self.agent = UserAgent(config, tokens(name))
        self.unanswered: list[str] = []
        self.asked: set[str] = set()  # INVITE transactions of ours without an end
        self.dialog = ""

    def hear(self, event: SipEvent) -> None:
        if isinstance(event, InviteReceived):
            self.dialog = event.dialog
        if isinstance(event, InviteReceived | ReinviteReceived | UpdateReceived):
            self.unanswered.append(event.transaction)
        elif isinstance(event, CancelReceived) and event.transaction in self.unanswered:
            self.unanswered.remove(event.transaction)
        elif (
            isinstance(event, TransactionTimedOut)
            or isinstance(event, ResponseReceived)
            and event.response.status >= 200
        ):
            self.asked.discard(event.transaction)


class Network:
    """Packets on their way; the scene says which arrives, is lost or comes twice."""

    def __init__(self, session: int) -> None:
        self.now = 100.0
        self.client = Side("c", CLIENT_PORT, SRC_FEATURE, session)
        self.server = Side("s", SERVER_PORT, "+sip.srs", session)
        self.on_the_way: list[tuple[Side, bytes]] = []

    @property
    def sides(self) -> tuple[Side, Side]:
        return self.client, self.server

    def collect(self) -> None:
        """What both want to send and have to tell."""
        for side, other in ((self.client, self.server), (self.server, self.client)):
            for event in side.agent.events():
                side.hear(event)
            for hop, data in side.agent.outbox():
                parse_message(data)
                assert hop.port == other.port
                self.on_the_way.append((other, data))

    def deliver(self, index: int, *, keep: bool = False) -> None:
        """One packet arrives; with `keep` a copy of it is still on its way."""
        to, data = self.on_the_way[index] if keep else self.on_the_way.pop(index)
        sender = self.client if to is self.server else self.server
        to.agent.receive(data, Hop("UDP", "127.0.0.1", sender.port), self.now)
        self.collect()

    def deliver_all(self) -> None:
        while self.on_the_way:
            self.deliver(0)

    def wait(self, seconds: float, then: Callable[[], None]) -> None:
        """Time passes timer by timer; `then` happens after each."""
        until = self.now + seconds
        while (due := [at for side in self.sides if (at := side.agent.next_timer()) is not None]) and min(due) <= until:
            self.now = max(self.now, min(due))
            for side in self.sides:
                side.agent.tick(self.now)
            self.collect()
            then()
        self.now = until

    def answer_all(self) -> None:
        """Whoever was asked says yes; a healed network carries it."""
        self.deliver_all()
        for side in self.sides:
            while side.unanswered:
                side.agent.respond(side.unanswered.pop(0), 200, now=self.now, body=SDP, content_type=SDP_TYPE)
                self.collect()
        self.deliver_all()

    def heal(self) -> None:
        self.answer_all()
        self.wait(HEALED_SECONDS, self.answer_all)


class TwoAgents(RuleBasedStateMachine):
    """Commands from both sides, and a network without mercy."""

    scenes: ClassVar[int] = 0

    def __init__(self, session: int = LONG_SESSION) -> None:
        super().__init__()
        self.net = Network(session)

    def side(self, server: bool) -> Side:
        return self.net.server if server else self.net.client

    @precondition(lambda self: not self.net.client.dialog)
    @rule()
    def client_invites(self) -> None:
        side, net = self.net.client, self.net
        hop = Hop("UDP", "127.0.0.1", SERVER_PORT)
        side.dialog = side.agent.invite(
            SERVER_URI, hop, now=net.now, sender="sip:c@127.0.0.1", body=SDP, content_type=SDP_TYPE
        )
        found = side.agent._end.dialogs[side.dialog].invite_out
        assert found
        side.asked.add(found)
        net.collect()

    @precondition(lambda self: self.net.client.dialog)
    @rule(server=st.booleans())
    def offers_anew(self, server: bool) -> None:
        side = self.side(server)
        transaction = side.agent.reinvite(side.dialog, now=self.net.now, body=SDP, content_type=SDP_TYPE)
        if transaction:
            side.asked.add(transaction)
        self.net.collect()

    @precondition(lambda self: self.net.client.dialog)
    @rule(server=st.booleans(), what=st.sampled_from(["update", "bye", "cancel"]))
    def commands(self, server: bool, what: str) -> None:
        side = self.side(server)
        getattr(side.agent, what)(side.dialog, now=self.net.now)
        self.net.collect()

    @rule(server=st.booleans())
    def asks_for_a_sign_of_life(self, server: bool) -> None:
        other = self.side(not server)
        hop = Hop("UDP", "127.0.0.1", other.port)
        self.side(server).agent.options("sip:x@127.0.0.1", hop, now=self.net.now, sender="sip:y@127.0.0.1")
        self.net.collect()

    @precondition(lambda self: self.net.client.unanswered or self.net.server.unanswered)
    @rule(status=st.sampled_from([180, 200, 200, 200, 486]))
    def answers(self, status: int) -> None:
        side = self.net.client if self.net.client.unanswered else self.net.server
        transaction = side.unanswered[0]
        side.agent.respond(
            transaction, status, now=self.net.now, body=SDP if status == 200 else b"", content_type=SDP_TYPE
        )
        if status >= 200:
            side.unanswered.remove(transaction)
        self.net.collect()

    @precondition(lambda self: self.net.on_the_way)
    @rule(index=st.integers(0, MAX_ON_THE_WAY), twice=st.booleans())
    def a_packet_arrives(self, index: int, twice: bool) -> None:
        keep = twice and len(self.net.on_the_way) < MAX_ON_THE_WAY
        self.net.deliver(index % len(self.net.on_the_way), keep=keep)

    @precondition(lambda self: self.net.on_the_way)
    @rule()
    def all_arrive_in_order(self) -> None:
        self.net.deliver_all()

    @precondition(lambda self: self.net.on_the_way)
    @rule(index=st.integers(0, MAX_ON_THE_WAY))
    def a_packet_is_lost(self, index: int) -> None:
        self.net.on_the_way.pop(index % len(self.net.on_the_way))

    @rule(seconds=st.sampled_from([0.1, 0.6, 2.0, 5.0, 33.0]))
    def time_passes(self, seconds: float) -> None:
        self.net.wait(seconds, lambda: None)

    def teardown(self) -> None:
        TwoAgents.scenes += 1
        net = self.net
        net.heal()
        assert [side.agent.load[1] for side in net.sides] == [0, 0], "transactions outlive all patience"
        assert [side.asked for side in net.sides] == [set(), set()], "an INVITE got neither answer nor time-out"
        # Who lost the peer's BYE for all of its 32 s can only ask; the recorder does so after silence.
        for side in net.sides:
            side.agent.update(side.dialog, now=net.now)
            net.collect()
        net.heal()
        lives = [side.agent.load[0] for side in net.sides]
        assert lives[0] == lives[1], "one side thinks that the call lives, the other not"
        waits = [due for side in net.sides if (due := side.agent.next_timer()) is not None]
        assert not waits or (lives == [1, 1] and min(waits) > net.now + HEALED_SECONDS), "more than a session timer"


@pytest.mark.thorough
def test_two_agents_on_a_bad_network_come_to_one_mind() -> None:
    before = TwoAgents.scenes
    run_state_machine_as_test(
        TwoAgents, settings=settings(max_examples=many(150), stateful_step_count=30, deadline=None)
    )
    assert TwoAgents.scenes > before  # what holds is asserted at the end of each scene


STEPS = st.one_of(
    st.tuples(st.just("commands"), st.booleans(), st.sampled_from(["update", "bye", "cancel"])),
    st.tuples(st.just("offers_anew"), st.booleans()),
    st.tuples(st.just("answers"), st.sampled_from([180, 200, 200, 200, 486])),
    st.tuples(st.just("a_packet_arrives"), st.integers(0, 3), st.booleans()),
    st.tuples(st.just("a_packet_arrives"), st.just(0), st.just(value=False)),
    st.tuples(st.just("a_packet_is_lost"), st.integers(0, 3)),
    st.tuples(st.just("all_arrive_in_order")),
    st.tuples(st.just("time_passes"), st.sampled_from([0.1, 0.6, 2.0, 5.0, 33.0])),
)
NEEDS_PACKETS = ("a_packet_arrives", "a_packet_is_lost", "all_arrive_in_order")


@pytest.mark.thorough
@settings(max_examples=many(400), deadline=None)
@given(whole=st.booleans(), steps=st.lists(STEPS, min_size=3, max_size=24))
def test_no_order_of_commands_and_losses_leaves_anything_behind(whole: bool, steps: list[tuple[Any, ...]]) -> None:
    scene = TwoAgents()
    play(scene, whole, steps)
    scene.teardown()


@pytest.mark.thorough
@settings(max_examples=many(200), deadline=None)
@given(whole=st.booleans(), steps=st.lists(STEPS, min_size=3, max_size=24))
def test_with_a_session_timer_both_sides_agree_in_the_end_whatever_was_lost(
    whole: bool, steps: list[tuple[Any, ...]]
) -> None:
    scene = TwoAgents(SHORT_SESSION)
    play(scene, whole, steps)
    scene.net.heal()
    scene.net.heal()
    lives = [side.agent.load[0] for side in scene.net.sides]
    assert lives[0] == lives[1]
    for side in scene.net.sides:
        side.agent.bye(side.dialog, now=scene.net.now)
    scene.net.collect()
    scene.net.heal()
    assert [side.agent.load for side in scene.net.sides] == [(0, 0), (0, 0)]
    assert [side.agent.next_timer() for side in scene.net.sides] == [None, None]


def play(scene: TwoAgents, whole: bool, steps: list[tuple[Any, ...]]) -> None:
    """The client invites, over a whole network or not, and then these steps that are possible."""
    scene.client_invites()
    if whole:
        scene.net.answer_all()
    for what, *given_values in steps:
        if what in NEEDS_PACKETS and not scene.net.on_the_way:
            continue
        if what == "answers" and not (scene.net.client.unanswered or scene.net.server.unanswered):
            continue
        getattr(scene, what)(*given_values)


def test_a_call_over_a_whole_network_lives_on_both_sides() -> None:
    scene = TwoAgents()
    scene.client_invites()
    scene.net.heal()
    assert [side.agent.load for side in scene.net.sides] == [(1, 0), (1, 0)]
    scene.commands(server=True, what="bye")
    scene.teardown()
    assert [side.agent.load for side in scene.net.sides] == [(0, 0), (0, 0)]
