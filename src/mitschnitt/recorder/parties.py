"""Lays signalled participants and posted parties to the parties of the gate. Pure: values in, values out.

Whoever signalling or the gateway reports on the line is a party, with or without a stream of their own; what is
unclear is a rule by which the gate stays shut, never a guess.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from mitschnitt.core.consent import Role
from mitschnitt.core.gate import Party
from mitschnitt.core.view import View

MAX_PARTIES = 12  # leaves of a call's node in the key tree
MAX_IDS = 256  # participant ids, of all parties and recording sessions of a call over its life; a call has a dozen
GLOBAL_NUMBER = re.compile(r"\+[0-9]{5,15}")  # the same subscriber wherever it is written (E.164; RFC 3966, 5.1.4)


@dataclass(frozen=True, slots=True)
class Participant:
    """Somebody whom a recording session's metadata names; two sessions may use one id for two people."""

    id: str
    aor: str
    branch: int = 0  # which recording session of the call


@dataclass(frozen=True, slots=True)
class Roll:
    """Who is on the line, and which name each participant id and address goes by."""

    parties: tuple[Party, ...] = ()
    by_participant: Mapping[Participant, str] = field(default_factory=dict)
    by_aor: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""  # rule by which nobody can be told apart

    def party(self, name: str) -> Party | None:
        """The party of this name."""
        return next((party for party in self.parties if party.name == name), None)


def _name(roll: Roll, role: Role) -> str:
    taken = {party.name for party in roll.parties}
    if role is not Role.THIRD and role.value not in taken:
        return role.value
    return next(name for number in range(1, 100) if (name := f"{role.value}-{number}") not in taken)


def _role(roll: Roll, view: View, aor: str) -> tuple[Role, str | None, str]:
    agents = view.agents_at(aor) or tuple(agent for agent in view.agents if agent.id == aor)
    if len(agents) > 1:
        return Role.AGENT, None, "agent.ambiguous"
    if agents:
        return Role.AGENT, agents[0].id, ""
    has_caller = any(party.role is Role.CALLER for party in roll.parties)
    return (Role.THIRD if has_caller else Role.CALLER), None, ""


def _add(roll: Roll, view: View, aor: str, name: str = "") -> tuple[Roll, str]:
    role, agent, problem = _role(roll, view, aor)
    if len(roll.parties) >= MAX_PARTIES:
        return replace(roll, problem="parties.too_many"), ""
    named = name if name and roll.party(name) is None else _name(roll, role)
    party = Party(named, role, len(roll.parties), agent)
    by_aor = {**roll.by_aor, aor: named} if is_somebody(aor) else roll.by_aor
    return replace(roll, parties=(*roll.parties, party), by_aor=by_aor, problem=roll.problem or problem), named


def user_of(aor: str) -> str:
    """The user or number of an address, however it is written: `sip:+49@net;user=phone` and `tel:+49` are one."""
    return aor.strip().partition(":")[2 if ":" in aor else 0].partition("@")[0].partition(";")[0].lower()


def is_somebody(aor: str) -> bool:
    """Whether an address tells people apart; withheld ones do not (RFC 3323, 4.1.1.3)."""
    host = aor.partition("@")[2].partition(";")[0].partition(":")[0].lower()
    return user_of(aor) not in ("", "anonymous", "unknown", "unavailable", "restricted") and not host.endswith(
        ".invalid"
    )


def _known_as(roll: Roll, view: View, aor: str) -> str:
    """The name that this address goes by, "" when it is new or tells nobody apart."""
    if not is_somebody(aor):
        return ""
    agents = view.agents_at(aor)
    same = [party.name for party in roll.parties if len(agents) == 1 and party.agent == agents[0].id]
    if same and aor not in roll.by_aor:
        return same[0]  # one agent, by two of the addresses that agents.toml gives
    number = user_of(aor)
    if aor in roll.by_aor or not GLOBAL_NUMBER.fullmatch(number):
        return roll.by_aor.get(aor, "")
    return next((name for known, name in roll.by_aor.items() if user_of(known) == number), "")


def _named(roll: Roll, participant: Participant, name: str) -> Roll:
    if participant in roll.by_participant:
        return roll
    if len(roll.by_participant) >= MAX_IDS:
        return replace(roll, problem="parties.too_many")
    return replace(roll, by_participant={**roll.by_participant, participant: name})


def _present(roll: Roll, names: set[str], posted: frozenset[str]) -> Roll:
    parties = tuple(replace(party, present=party.name in names or party.name in posted) for party in roll.parties)
    return replace(roll, parties=parties)


def signalled(
    roll: Roll, participants: Sequence[Participant], view: View, *, posted: frozenset[str] = frozenset()
) -> Roll:
    """The roll after metadata that names exactly these participants. Who is missing has left, unless `posted` says so.

    The first who is no agent is the caller; later ones are third parties. An address that the gateway posted
    before, that came back under another id, or that another recording session names too, is the same party; two who
    share one address in one session at a time are two, and who goes by another address than before is somebody else.
    """
    names: dict[int, set[str]] = {}  # by recording session
    # Those who are known already first: a newcomer must not take the name of one of them by the address.
    for participant in sorted(participants, key=lambda one: one not in roll.by_participant):
        taken = names.setdefault(participant.branch, set())
        name = roll.by_participant.get(participant, "") or _known_as(roll, view, participant.aor)
        if not name or (name in taken and participant not in roll.by_participant):
            roll, name = _add(roll, view, participant.aor)
        if name:
            taken.add(name)
            roll = _named(roll, participant, name)
    return _present(roll, set().union(*names.values()), posted)


def posted_joined(roll: Roll, name: str, aor: str, view: View) -> tuple[Roll, str]:
    """The roll after the gateway reported that somebody joined, and the name that this party goes by.

    A name means who has it only while they are on the line or come back from the same address: gateways use
    the names of those who left again.
    """
    party = roll.party(name)
    known = {user_of(address) for address, named in roll.by_aor.items() if named == name}
    here = party is not None and party.present and (not aor or not known or user_of(aor) in known)
    back = party is not None and is_somebody(aor) and user_of(aor) in known
    if not here and not back:
        roll, name = _add(roll, view, aor, name)
    parties = tuple(replace(party, present=True) if party.name == name else party for party in roll.parties)
    return replace(roll, parties=parties), name
