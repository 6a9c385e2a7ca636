"""Who agreed, by which act. Silence, time-out, a cut prompt, a late or unasked digit are all a no (Art. 4(11), 7 GDPR).

Facts in, decisions out: this module keeps nothing and reads no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from mitschnitt.core.decision import Decision, Verdict
from mitschnitt.core.policy import Policy
from mitschnitt.core.purpose import Purpose
from mitschnitt.errors import MalformedPacket

MAX_TEXT_CHARS = 256  # of any text in a posted fact; longer ones are not ours
YEARS = range(2000, 2200)  # of any posted time; beyond them a window cannot be reckoned
LATE_POST = timedelta(seconds=2)  # an act made in time may reach us this much after its window: HTTP and RTP drain
ROUNDED_TIMES = timedelta(seconds=1)  # what `to` minus `from` may fall short of the played length: whole seconds


class Role(StrEnum):
    """What a party is on this call."""

    CALLER = "caller"
    AGENT = "agent"
    THIRD = "third"


class ActKind(StrEnum):
    """How a party spoke to us."""

    DIGIT = "digit"  # an answer: the policy says which digit is yes and which is no
    WITHDRAW = "withdraw"
    PAUSE = "pause"
    RESUME = "resume"


@dataclass(frozen=True, slots=True)
class Asked:
    """A prompt was played to a party; it counts only if it was played whole."""

    party: str
    prompt: str
    sha256: str
    language: str
    started_at: datetime
    ended_at: datetime
    played_ms: int
    length_ms: int

    @property
    def complete(self) -> bool:
        """Whether the whole prompt was heard, and there was time for it between its start and its end."""
        took = self.ended_at - self.started_at + ROUNDED_TIMES
        return 0 < self.length_ms <= self.played_ms and timedelta(milliseconds=self.length_ms) <= took


@dataclass(frozen=True, slots=True)
class Act:
    """A party did something: pressed a key, or had it posted by the IVR."""

    party: str
    kind: ActKind
    value: str
    at: datetime
    in_band: bool = False


@dataclass(frozen=True, slots=True)
class StandingGrant:
    """An agent's own signed act for one purpose (section 26(2) BDSG); its signature was checked on arrival."""

    agent: str
    purpose: Purpose
    granted_at: datetime
    expires_at: datetime
    notice: str
    withdrawn_at: datetime | None = None


def _yes(party: str) -> Decision:
    return Decision(Verdict.OPEN, "consent.given", party)


def agent_consent(
    party: str,
    agent: str | None,
    grants: Iterable[StandingGrant],
    purpose: Purpose,
    now: datetime,
    *,
    notice: str = "",
) -> Decision:
    """Whether this agent's newest standing grant covers the purpose at `now`. No grant is a refusal.

    A withdrawal counts at once, whatever its date, against every grant that is not newer than it. A grant that was
    given to another `notice` than the one that the policy names now ("" = it names none) does not count: whoever
    agreed was informed of something else (Art. 4(11) GDPR, section 26(2) BDSG).
    """
    if agent is None:
        return Decision(Verdict.REFUSE, "consent.agent.unknown", party)
    own = [grant for grant in grants if grant.agent == agent and grant.purpose == purpose]
    if not own:
        return Decision(Verdict.REFUSE, "consent.agent.none", party)
    granted_at = max(grant.granted_at for grant in own)
    newest = [grant for grant in own if grant.granted_at == granted_at]
    expires_at = min(grant.expires_at for grant in newest)
    taken_back = [grant.withdrawn_at for grant in own if grant.withdrawn_at is not None]
    if taken_back and max(taken_back) >= granted_at:
        return Decision(Verdict.WITHDRAW, "consent.agent.withdrawn", party)
    if notice and any(grant.notice != notice for grant in newest):
        return Decision(Verdict.REFUSE, "consent.agent.notice", party)
    if not granted_at <= now < expires_at:
        return Decision(Verdict.REFUSE, "consent.agent.expired", party)
    return _yes(party)


def window_of(asked: Asked, policy: Policy) -> tuple[datetime, datetime]:
    """From when to when an answer to this prompt counts (both ends included)."""
    return asked.ended_at, asked.ended_at + policy.window


def spoken_consent(
    party: str,
    asked: Iterable[Asked],
    acts: Iterable[Act],
    policy: Policy,
    now: datetime,
    *,
    purpose: Purpose | None = None,
) -> Decision:
    """What a caller or third party answered to the policy's prompts for a purpose (None: the one that records).

    A no beats a yes. Only a digit between the end of a complete, known prompt and the end of its window counts; all
    others are as if they had never been pressed. A yes whose time has not come yet is awaited. An answer belongs to
    the question before it: once another purpose is asked for, no yes counts for this one any more (Art. 7(2) GDPR),
    but a no does until that question was put to its end.
    """
    role = "caller" if party == "caller" else "third"
    wanted = policy.purpose if purpose is None else purpose
    questions = [item for item in asked if item.party == party]
    known = [item for item in questions if _asks_for(item, policy, {wanted})]
    others = [item for item in questions if _asks_for(item, policy, set(policy.purposes) - {wanted})]
    whole = [item for item in known if item.complete]
    if not whole:
        rule = "prompt.cut" if known else "prompt.unknown" if questions else "waiting"
        return Decision(Verdict.WAIT, f"consent.{role}.{rule}", party)
    digits = [act for act in acts if act.party == party and act.kind is ActKind.DIGIT]
    if any(act.value == policy.no and _answers(act, whole, policy, _noes_until(others)) for act in digits):
        return Decision(Verdict.REFUSE, f"consent.{role}.refused", party)
    yeses = [act for act in digits if act.value == policy.yes and act.at <= now]
    if any(_answers(act, whole, policy, _yeses_until(others)) for act in yeses):
        return _yes(party)
    if all(now >= window_of(item, policy)[1] + LATE_POST for item in whole):
        return Decision(Verdict.REFUSE, f"consent.{role}.silent", party)
    return Decision(Verdict.WAIT, f"consent.{role}.waiting", party)


def _asks_for(item: Asked, policy: Policy, purposes: Set[Purpose]) -> bool:
    return any(policy.knows_prompt(item.prompt, item.sha256, item.length_ms, purpose=one) for one in purposes)


Until = Callable[[Asked], datetime | None]  # from when on no answer belongs to this question; None: its window tells


def _answers(act: Act, whole: Iterable[Asked], policy: Policy, until: Until) -> bool:
    for item in whole:
        start, end = window_of(item, policy)
        cut = until(item)
        if start <= act.at <= end and (cut is None or act.at < cut):
            return True
    return False


def _yeses_until(others: Sequence[Asked]) -> Until:
    def begun(item: Asked) -> datetime | None:
        later = [other for other in others if other.ended_at >= item.ended_at]
        return min((max(other.started_at, item.ended_at) for other in later), default=None)

    return begun


def _noes_until(others: Sequence[Asked]) -> Until:
    def ended(item: Asked) -> datetime | None:
        return min((other.ended_at for other in others if other.ended_at > item.ended_at), default=None)

    return ended


def withdrawn(acts: Iterable[Act]) -> Act | None:
    """The first withdrawal of any party; it ends the recording of all (Art. 7(3) GDPR)."""
    return min((act for act in acts if act.kind is ActKind.WITHDRAW), key=lambda act: act.at, default=None)


def paused(acts: Iterable[Act], now: datetime) -> Act | None:
    """The pause that is in force: only a resume of the same party that came after it, in order and in time, lifts it.

    A resume whose time has not come yet lifts nothing.
    """
    in_force: dict[str, Act] = {}
    for act in acts:
        if act.kind is ActKind.PAUSE:
            in_force[act.party] = act
        elif act.kind is ActKind.RESUME and act.party in in_force and in_force[act.party].at <= act.at <= now:
            del in_force[act.party]
    return next(iter(in_force.values()), None)


def _text(data: Mapping[str, Any], key: str, default: str | None = None) -> str:
    value = data.get(key, default)
    if not isinstance(value, str) or len(value) > MAX_TEXT_CHARS:
        raise MalformedPacket(f"`{key}` must be a text of at most {MAX_TEXT_CHARS} characters")
    return value


def _time(data: Mapping[str, Any], key: str) -> datetime:
    try:
        at = datetime.fromisoformat(_text(data, key))
    except ValueError as error:
        raise MalformedPacket(f"`{key}` must be an RFC 3339 time, for example 2026-11-23T09:30:00Z") from error
    if at.tzinfo is None:
        raise MalformedPacket(f"`{key}` must name its zone, for example a final Z")
    if at.year not in YEARS:
        raise MalformedPacket(f"`{key}` lies in the year {at.year}, not in {YEARS.start} to {YEARS.stop - 1}")
    return at


def _count(data: Mapping[str, Any], key: str) -> int:
    value = data.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 31:
        raise MalformedPacket(f"`{key}` must be a whole number of milliseconds")
    return value


def asked_from_json(data: Mapping[str, Any]) -> Asked:
    """The fact behind `POST /asked` (design section 11); MalformedPacket says which field is wrong."""
    asked = Asked(
        party=_text(data, "party"),
        prompt=_text(data, "prompt"),
        sha256=_text(data, "sha256"),
        language=_text(data, "language", "de"),
        started_at=_time(data, "from"),
        ended_at=_time(data, "to"),
        played_ms=_count(data, "played_ms"),
        length_ms=_count(data, "length_ms"),
    )
    if asked.ended_at < asked.started_at:
        raise MalformedPacket("`to` lies before `from`")
    return asked


def asked_to_json(asked: Asked) -> dict[str, Any]:
    """The inverse of `asked_from_json`."""
    return {
        "party": asked.party,
        "prompt": asked.prompt,
        "sha256": asked.sha256,
        "language": asked.language,
        "from": asked.started_at.isoformat(),
        "to": asked.ended_at.isoformat(),
        "played_ms": asked.played_ms,
        "length_ms": asked.length_ms,
    }


def act_from_json(data: Mapping[str, Any]) -> Act:
    """The fact behind `POST /acts`; MalformedPacket says which field is wrong."""
    kind = _text(data, "kind")
    if kind not in set(ActKind):
        raise MalformedPacket(f"`kind` must be one of {', '.join(ActKind)}")
    return Act(_text(data, "party"), ActKind(kind), _text(data, "value", ""), _time(data, "at"))


def act_to_json(act: Act) -> dict[str, Any]:
    """The inverse of `act_from_json`."""
    return {"party": act.party, "kind": act.kind.value, "value": act.value, "at": act.at.isoformat()}


def grant_from_json(data: Mapping[str, Any]) -> StandingGrant:
    """A standing grant as the view and the store carry it."""
    return StandingGrant(
        agent=_text(data, "agent"),
        purpose=Purpose(_text(data, "purpose")),
        granted_at=_time(data, "granted_at"),
        expires_at=_time(data, "expires_at"),
        notice=_text(data, "notice"),
        withdrawn_at=_time(data, "withdrawn_at") if data.get("withdrawn_at") is not None else None,
    )


def grant_to_json(grant: StandingGrant) -> dict[str, Any]:
    """The inverse of `grant_from_json`."""
    return {
        "agent": grant.agent,
        "purpose": grant.purpose,
        "granted_at": grant.granted_at.isoformat(),
        "expires_at": grant.expires_at.isoformat(),
        "notice": grant.notice,
        "withdrawn_at": grant.withdrawn_at.isoformat() if grant.withdrawn_at else None,
    }
