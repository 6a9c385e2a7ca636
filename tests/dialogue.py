"""Dialogues with the gate: what it is told, and what it must do then. A failure prints the whole dialogue.

    (play().hears(joined(CALLER, AGENT), t(0)).goes(State.ASKING, Command.LISTEN, Command.OFFER, because="...")
           .hears(asked(), t(8)).stays()
           .hears(pressed("1"), t(9)).goes(State.KEEPING, Command.KEEP, Command.OFFER, because="consent.all"))

Times are seconds after the call arrived. No clock, no sockets: the gate's own functions, one after the other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from mitschnitt.core.consent import Act, ActKind, Asked, Role, StandingGrant
from mitschnitt.core.gate import CallFacts, Command, Happening, Party, State, Step, Surroundings, Trigger, end, step
from mitschnitt.core.policy_text import parse_policy
from mitschnitt.core.purpose import TRAINING
from mitschnitt.core.view import Agent, View

START = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
PROMPT_SHA256 = "5c" * 32
PROMPT_MS = 4_000  # length of the policy's only question
WINDOW_S = 12  # the policy's window; answers count from the question's end until then

POLICY_TEXT = f"""\
name = "training, everybody is asked"
language = "de"
languages = ["de", "en"]
timezone = "Europe/Berlin"
signed_by = ["officer", "council"]

[controller]
name = "Centre Ltd"

[[purpose]]
id = "training"
records = true
retention = "P30D"
roles = ["coach"]

[draw]
beacon = "none"

[[stratum]]
name = "everybody"
when = "true"
rate = 1

[asking]
mode = "announced"
window_s = {WINDOW_S}
yes = "1"
no = "2"
withdraw = "*9"
pause = "*0"

[[prompt]]
name = "ask-training"
language = "de"
sha256 = "{PROMPT_SHA256}"
length_ms = {PROMPT_MS}
""".encode()
POLICY = parse_policy(POLICY_TEXT)

JENS = Agent("jens.albers", "hotline", "2024-02-01", ("sip:jens.albers@centre.example.org",))
CALLER = Party("caller", Role.CALLER, 0)
AGENT = Party("agent", Role.AGENT, 1, agent=JENS.id)
THIRD = Party("third-1", Role.THIRD, 2)


def t(seconds: float) -> datetime:
    """The time this many seconds after the call arrived."""
    return START + timedelta(seconds=seconds)


def grant(
    *, agent: str = JENS.id, granted: float = -3600, expires: float = 3600, withdrawn: float | None = None
) -> StandingGrant:
    """A standing grant of an agent; times in seconds after the call arrived."""
    taken_back = None if withdrawn is None else t(withdrawn)
    return StandingGrant(agent, TRAINING, t(granted), t(expires), "notice-2026-1", taken_back)


def view_with(*grants: StandingGrant, version: int = 1) -> View:
    """The keeper's world with exactly these grants."""
    return View(version, POLICY, POLICY_TEXT, (JENS,), grants, bytes(range(32)))


@dataclass(frozen=True)
class Scene:
    """All that the gate can be told."""

    facts: CallFacts
    around: Surroundings


Told = Callable[[Scene], Scene]

QUIET = Scene(CallFacts(unbound="", undrawn=""), Surroundings(view_with(grant()), timedelta(seconds=1)))


def nothing(scene: Scene) -> Scene:
    """Only time went by."""
    return scene


def joined(*parties: Party) -> Told:
    """These parties are on the line now, besides those who were."""
    names = {party.name for party in parties}

    def told(scene: Scene) -> Scene:
        others = tuple(party for party in scene.facts.parties if party.name not in names)
        return replace(scene, facts=replace(scene.facts, parties=(*others, *parties)))

    return told


def left(party: Party) -> Told:
    """This party left the line."""
    return joined(replace(party, present=False))


def asked(
    party: Party = CALLER,
    *,
    start: float = 0,
    played_ms: int = PROMPT_MS,
    length_ms: int = PROMPT_MS,
    took: float | None = None,
    prompt: str = "ask-training",
    sha256: str = PROMPT_SHA256,
) -> Told:
    """The question was played to this party, `start` seconds after the call arrived; `took` seconds."""
    ended = start + (played_ms / 1000 if took is None else took)
    fact = Asked(party.name, prompt, sha256, "de", t(start), t(ended), played_ms, length_ms)
    return lambda scene: replace(scene, facts=scene.facts.with_asked(fact))


def act(kind: ActKind, value: str, party: Party, at: float) -> Told:
    """This party acted at this second."""
    fact = Act(party.name, kind, value, t(at))
    return lambda scene: replace(scene, facts=scene.facts.with_act(fact))


def pressed(digit: str, *, at: float, by: Party = CALLER) -> Told:
    """This party answered with this digit."""
    return act(ActKind.DIGIT, digit, by, at)


def took_back(*, at: float, by: Party = CALLER) -> Told:
    """This party withdrew."""
    return act(ActKind.WITHDRAW, "", by, at)


def paused_it(*, at: float, by: Party = CALLER) -> Told:
    """This party asked for a pause."""
    return act(ActKind.PAUSE, "", by, at)


def resumed_it(*, at: float, by: Party = CALLER) -> Told:
    """This party ended its pause."""
    return act(ActKind.RESUME, "", by, at)


def excluded(rule: str) -> Told:
    """This call is not to be asked ("" = it is)."""
    return lambda scene: replace(scene, facts=replace(scene.facts, excluded=rule))


def undrawn(rule: str) -> Told:
    """The draw lets nobody be asked ("" = the call is drawn)."""
    return lambda scene: replace(scene, facts=replace(scene.facts, undrawn=rule))


def unbound(rule: str) -> Told:
    """Streams cannot be laid to parties ("" = they can)."""
    return lambda scene: replace(scene, facts=replace(scene.facts, unbound=rule))


def broke(rule: str = "vault.no_space") -> Told:
    """We can no longer keep."""
    return lambda scene: replace(scene, facts=replace(scene.facts, failed=rule))


def sees(view: View | None, *, age: float = 1) -> Told:
    """The recorder has this view, `age` seconds old."""
    return lambda scene: replace(scene, around=replace(scene.around, view=view, view_age=timedelta(seconds=age)))


def aged(age: float) -> Told:
    """The view that the recorder has is this many seconds old now."""
    return lambda scene: replace(scene, around=replace(scene.around, view_age=timedelta(seconds=age)))


def clock(*, steady: bool) -> Told:
    """Whether wall and monotonic clock agree."""
    return lambda scene: replace(scene, around=replace(scene.around, clock_steady=steady))


def hindered(rule: str) -> Told:
    """Nothing new could be kept, by this rule; "" when it could."""
    return lambda scene: replace(scene, around=replace(scene.around, hindrance=rule))


@dataclass
class Play:
    """One dialogue. It walks the gate as a session does, and remembers every line for the failure message."""

    scene: Scene
    state: State = State.ARRIVED
    last: Step | None = None
    lines: list[str] = field(default_factory=list)
    walked: set[tuple[State, Trigger]] = field(default_factory=set)

    def hears(self, told: Told, at: datetime) -> Play:
        """The gate is told a fact at this time."""
        self.scene = told(self.scene)
        self._take(step(self.state, self.scene.facts, self.scene.around, at), at, None)
        return self

    def ends(self, at: datetime) -> Play:
        """The call is over at this time."""
        self._take(end(self.state, self.scene.facts, self.scene.around, at), at, Happening.CALL_ENDED)
        return self

    def goes(self, state: State, *commands: Command, because: str) -> Play:
        """The gate must now be in this state, have given exactly these commands, by this rule."""
        assert self.last is not None, "a dialogue begins with what the gate hears"
        found = (self.state, self.last.commands, self.last.decision.rule)
        expected = (state, commands, because)
        assert found == expected, self._told(f"expected {_line(*expected)}")
        return self

    def stays(self, *, because: str) -> Play:
        """Nothing changes and nothing is done, by this rule."""
        return self.goes(self.state, because=because)

    def _take(self, moved: Step, at: datetime, happening: Trigger | None) -> None:
        self.walked.add((self.state, happening or moved.decision.verdict))
        self.state, self.last = moved.state, moved
        line = _line(moved.state, moved.commands, moved.decision.rule)
        self.lines.append(f"{(at - START).total_seconds():6.1f} s  {line}")

    def _told(self, complaint: str) -> str:
        return "\n".join(["the dialogue so far:", *self.lines, complaint])


def _line(state: State, commands: tuple[Command, ...], rule: str) -> str:
    return f"{state} [{rule}] {' '.join(commands) or '-'}"


def play(scene: Scene = QUIET) -> Play:
    """A dialogue that begins with a call that just arrived; nobody is on its line yet."""
    return Play(scene)


def keeping() -> Play:
    """A dialogue in which caller and agent have agreed: the gate is open since second 6."""
    return (
        play()
        .hears(joined(CALLER, AGENT), t(0))
        .hears(asked(), t(4))
        .hears(pressed("1", at=6), t(6))
        .goes(State.KEEPING, Command.KEEP, Command.OFFER, because="consent.all")
    )
