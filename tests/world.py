"""The cast of every test: one of each role, and an outsider who must see nothing.

Addresses lie under example.org and numbers in a range that nobody is given. A test that needs somebody takes
them from here, so that a name in a log, a page or a memory image is found by one search.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """Who somebody is towards mitschnitt (design, section 2)."""

    CALLER = "caller"
    AGENT = "agent"
    THIRD = "third"
    COACH = "coach"
    OFFICER = "officer"
    WORKS_COUNCIL = "works_council"
    OPERATOR = "operator"
    OUTSIDER = "outsider"


@dataclass(frozen=True)
class Person:
    """Somebody with a role, a display name and an address of record (RFC 3261, section 6)."""

    role: Role
    name: str
    aor: str


@dataclass(frozen=True)
class Number:
    """A caller's telephone number as signalling carries it."""

    e164: str

    @property
    def aor(self) -> str:
        """The number as an address of the carrier's domain."""
        return f"sip:{self.e164}@carrier.example.org;user=phone"


CLARA_NUMBER = Number("+49305550100")
THIRD_NUMBER = Number("+49305550042")

CALLER = Person(Role.CALLER, "Clara Sommer", CLARA_NUMBER.aor)
AGENT_WITH_GRANT = Person(Role.AGENT, "Jens Albers", "sip:jens.albers@centre.example.org")
AGENT_WITHOUT_GRANT = Person(Role.AGENT, "Nora Feld", "sip:nora.feld@centre.example.org")
AGENT_EXPIRED_GRANT = Person(Role.AGENT, "Emil Kranz", "sip:emil.kranz@centre.example.org")
THIRD = Person(Role.THIRD, "Tarek Haddad", THIRD_NUMBER.aor)
COACH = Person(Role.COACH, "Carla Brandt", "sip:carla.brandt@centre.example.org")
OFFICER = Person(Role.OFFICER, "Olga Wendt", "sip:olga.wendt@privacy.example.org")
WORKS_COUNCIL = Person(Role.WORKS_COUNCIL, "Wilma Roth", "sip:wilma.roth@council.example.org")
OPERATOR = Person(Role.OPERATOR, "Oskar Lange", "sip:oskar.lange@it.example.org")
OUTSIDER = Person(Role.OUTSIDER, "Ulf Fremd", "sip:ulf.fremd@elsewhere.example.org")

AGENTS = (AGENT_WITH_GRANT, AGENT_WITHOUT_GRANT, AGENT_EXPIRED_GRANT)
EVERYBODY = (CALLER, *AGENTS, THIRD, COACH, OFFICER, WORKS_COUNCIL, OPERATOR, OUTSIDER)


# The smallest policy that is one: everybody is asked, 1 is yes, 2 is no.
POLICY_TEXT = b"""
name = "t"
language = "de"
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
window_s = 12
yes = "1"
no = "2"
withdraw = "*9"
pause = "*0"
[[prompt]]
name = "ask"
language = "de"
sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
length_ms = 4000
"""
