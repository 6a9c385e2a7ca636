"""Many transactions at once in one layer, against a second telling of RFC 3261, 17 and RFC 6026.

After every step both must have the same states, timers and messages; at the end nothing may be left.
"""

from __future__ import annotations

from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from examples import many
from mitschnitt.wire.sip.dialog import answer_to
from mitschnitt.wire.sip.hop import Hop
from mitschnitt.wire.sip.layer import TransactionLayer
from mitschnitt.wire.sip.message import Headers, Request, Response, parse_message
from mitschnitt.wire.sip.timers import Timers
from mitschnitt.wire.sip.transaction import Action, Durations, Timer
from second.transaction_model import LONG, PROXY_PATIENCE, InviteClient, InviteServer, OtherClient, OtherServer, Told

MAX_RUNNING = 4  # transactions at once: enough to mix up, few enough that each is spoken to
LATE = 10  # numbers from here on pick among all that ever ran
KINDS = {"INVITE out": InviteClient, "UPDATE out": OtherClient, "INVITE in": InviteServer, "UPDATE in": OtherServer}
STATUSES = st.sampled_from([100, 180, 200, 202, 404, 603])
WAITS = st.sampled_from([0.0, 0.1, 0.5, 1.0, 3.7, 5.0, 17.0, 32.0])
TOLD = {Action.TIME_OUT: "timeout", Action.FAIL: "broken"}


def request(method: str, number: int) -> Request:
    items = [
        ("Via", f"SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK{number}"),
        ("From", "<sip:a@192.0.2.1>;tag=1"),
        ("To", "<sip:b@192.0.2.2>"),
        ("Call-ID", "c"),
        ("CSeq", f"{number + 1} {method}"),
        ("Max-Forwards", "70"),
    ]
    return Request(Headers.of(items), b"", method, "sip:b@192.0.2.2")


class Scene:
    """One layer and, for each of its transactions, the second telling."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.timers = Timers()
        self.layer = TransactionLayer(Durations(), self.timers)
        self.told: dict[str, Told] = {}
        self.asked: dict[str, Request] = {}
        self.first: dict[tuple[str, str], bytes] = {}  # (transaction, message): its bytes when first sent
        self.finals: dict[str, set[str]] = {}

    def begin(self, kind: str, *, reliable: bool) -> None:
        number = len(self.told)
        name, method = f"t{number}", kind.split()[0]
        hop = Hop("TCP" if reliable else "UDP", "192.0.2.2", 5_000 + number)
        self.told[name] = KINDS[kind](self.now, reliable=reliable)
        self.asked[name] = request(method, number)
        if kind.endswith("out"):
            self.layer.ask(self.asked[name], name, hop, self.now, None)
        else:
            assert not self.layer.absorb(self.asked[name], self.now)
            self.layer.serve(self.asked[name], name, hop, self.now)

    def is_client(self, name: str) -> bool:
        return isinstance(self.told[name], InviteClient | OtherClient)

    def peer_speaks(self, name: str, status: int) -> None:
        """A response comes in, or for a server another copy of its request."""
        model, asked = self.told[name], self.asked[name]
        alive = model.state != "terminated"
        if self.is_client(name):
            model.response(status, self.now)
            assert self.layer.receive_response(answer_to(asked, status, "x"), self.now) == alive
        elif alive:
            model.again()
            assert self.layer.absorb(asked, self.now)

    def ack(self, name: str) -> None:
        model = self.told[name]
        if isinstance(model, InviteServer) and model.state != "terminated":
            model.ack(self.now)
            asked = self.asked[name]
            headers = asked.headers.without("CSeq").plus(("CSeq", f"{asked.cseq.number} ACK"))
            assert self.layer.absorb(Request(headers, b"", "ACK", asked.uri), self.now)

    def answer(self, name: str, status: int) -> None:
        model = self.told[name]
        found = self.layer.find(name)
        if found and not self.is_client(name):
            may = model.state in ("trying", "proceeding")
            model.answer(status, self.now)
            assert self.layer.answer(found, answer_to(self.asked[name], status, "x"), self.now) == may

    def lose(self, name: str) -> None:
        found = self.layer.find(name)
        hop = self.layer.hop(found) if found else None
        if hop:
            self.told[name].broken()
            self.layer.lost(hop, self.now)

    def wait(self, seconds: float) -> None:
        until = self.now + seconds
        while (due := self.timers.next()) is not None and due <= until:
            self.now = due
            while key := self.timers.pop_due(self.now):
                self.told[key[0]].fire(key[1], self.now)
                self.layer.fire(key[0], Timer(key[1]), self.now)
                self.compare()
        self.now = until

    def end(self) -> None:
        """Whatever happened, all is over within the longest patience, and nothing is left behind."""
        for name in self.told:
            self.answer(name, 500)  # a user that never answers is the only thing that may wait for ever
        self.compare()
        self.wait(PROXY_PATIENCE + LONG)
        assert len(self.layer) == len(self.timers) == 0
        assert self.timers.next() is None

    def compare(self) -> None:
        """Same messages to the same places, same words to the user, same states and timers."""
        sent: dict[str, list[str]] = {}
        for hop, data in self.layer.outbox:
            name, label = f"t{hop.port - 5_000}", label_of(data)
            sent.setdefault(name, []).append(label)
            assert self.first.setdefault((name, label), data) == data or label == "ACK"
            if label.isdigit() and int(label) >= 200:
                self.finals.setdefault(name, set()).add(label)
        heard: dict[str, list[str]] = {}
        for happening in self.layer.happenings:
            message = happening.message
            said = str(message.status) if isinstance(message, Response) else "ACK"
            heard.setdefault(happening.transaction.id, []).append(TOLD.get(happening.action, said))
        self.layer.outbox, self.layer.happenings = [], []
        for name, model in self.told.items():
            assert sent.get(name, []) == model.out, name
            assert heard.get(name, []) == model.told, name
            model.out, model.told = [], []
            self._compare_state(name, model)
        assert len(self.layer) == sum(model.state != "terminated" for model in self.told.values())
        assert len(self.timers) == sum(len(model.timers) for model in self.told.values())
        assert all(len(finals) == 1 for finals in self.finals.values())

    def _compare_state(self, name: str, model: Told) -> None:
        found = self.layer.find(name)
        assert (found.state if found else "terminated") == model.state, name
        deadlines = {str(timer): at for timer, at in found.deadlines.items()} if found else {}
        assert deadlines.keys() == model.timers.keys(), name
        assert all(abs(deadlines[letter] - at) < 1e-9 for letter, at in model.timers.items()), name


def label_of(data: bytes) -> str:
    message = parse_message(data)
    return message.method if isinstance(message, Request) else str(message.status)


STEPS = st.one_of(
    st.tuples(st.just("peer_speaks"), STATUSES),
    st.tuples(st.just("peer_speaks"), STATUSES),
    st.tuples(st.just("answer"), STATUSES),
    st.tuples(st.sampled_from(["ack", "lose"]), st.none()),
    st.tuples(st.just("wait"), WAITS),
)


@pytest.mark.thorough
@pytest.mark.parametrize("reliable", [False, True], ids=["UDP", "TCP"])
@pytest.mark.parametrize("kind", sorted(KINDS))
@settings(max_examples=many(150), deadline=None)
@given(steps=st.lists(STEPS, min_size=2, max_size=16))
def test_one_transaction_does_in_any_order_what_the_standards_tell(
    kind: str, reliable: bool, steps: list[tuple[str, float | None]]
) -> None:
    scene = Scene()
    scene.begin(kind, reliable=reliable)
    scene.compare()
    for what, value in steps:
        if what == "wait":
            scene.wait(value or 0.0)
        else:
            getattr(scene, what)("t0", *([] if value is None else [value]))
        scene.compare()
    scene.end()


class Transactions(RuleBasedStateMachine):
    """Peers, users, transports and time in any order."""

    scenes: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        self.scene = Scene()

    def pick(self, number: int) -> str:
        """Mostly one that runs; now and then one that is over, for what comes late."""
        names = list(self.scene.told)
        running = [name for name in names if self.scene.layer.find(name)]
        chosen = running if running and number < LATE else names
        return chosen[number % len(chosen)]

    @precondition(lambda self: len(self.scene.layer) < MAX_RUNNING)
    @rule(kind=st.sampled_from(sorted(KINDS)), reliable=st.booleans())
    def begins(self, kind: str, reliable: bool) -> None:
        self.scene.begin(kind, reliable=reliable)

    @precondition(lambda self: self.scene.told)
    @rule(number=st.integers(0, 11), status=STATUSES)
    def peer_speaks(self, number: int, status: int) -> None:
        self.scene.peer_speaks(self.pick(number), status)

    @precondition(lambda self: self.scene.told)
    @rule(number=st.integers(0, 11))
    def peer_acknowledges(self, number: int) -> None:
        self.scene.ack(self.pick(number))

    @precondition(lambda self: self.scene.told)
    @rule(number=st.integers(0, 11), status=STATUSES)
    def user_answers(self, number: int, status: int) -> None:
        self.scene.answer(self.pick(number), status)

    @precondition(lambda self: self.scene.told)
    @rule(number=st.integers(0, 11))
    def transport_breaks(self, number: int) -> None:
        self.scene.lose(self.pick(number))

    @rule(seconds=WAITS)
    def time_passes(self, seconds: float) -> None:
        self.scene.wait(seconds)

    @invariant()
    def both_tell_the_same(self) -> None:
        self.scene.compare()

    def teardown(self) -> None:
        Transactions.scenes += 1
        self.scene.end()


def test_many_transactions_at_once_do_what_the_standards_tell() -> None:
    before = Transactions.scenes
    run_state_machine_as_test(
        Transactions, settings=settings(max_examples=many(100), stateful_step_count=30, deadline=None)
    )
    assert Transactions.scenes > before  # what holds is asserted at the end of each scene


def test_a_lost_connection_does_not_let_a_copy_of_the_invite_begin_a_second_call() -> None:
    scene = Scene()
    scene.begin("INVITE in", reliable=True)
    scene.lose("t0")
    scene.compare()
    assert scene.layer.absorb(scene.asked["t0"], scene.now)
    scene.answer("t0", 200)
    scene.compare()
