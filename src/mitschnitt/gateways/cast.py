"""Who calls and who answers in the simulated centre; nobody here exists, no number is given to anybody.

`demo` gives the agents in AGENTS_WITH_GRANT a standing grant and the others none.
"""

from __future__ import annotations

from dataclasses import dataclass

CARRIER = "carrier.example.org"
FIRST_NUMBER = 5550100  # of Berlin's prefix 30; a range that nobody is given
NUMBERS = 900  # callers before the numbers repeat


@dataclass(frozen=True)
class Speaker:
    """A display name and an address of record, as they stand in a session's metadata."""

    name: str
    aor: str


AGENTS_WITH_GRANT = (
    Speaker("Jens Albers", "sip:jens.albers@centre.example.org"),
    Speaker("Mia Lorenz", "sip:mia.lorenz@centre.example.org"),
    Speaker("Paul Okafor", "sip:paul.okafor@centre.example.org"),
    Speaker("Selma Yildiz", "sip:selma.yildiz@centre.example.org"),
)
AGENT_WITHOUT_GRANT = Speaker("Nora Feld", "sip:nora.feld@centre.example.org")
AGENT_EXPIRED_GRANT = Speaker("Emil Kranz", "sip:emil.kranz@centre.example.org")
THIRD = Speaker("Tarek Haddad", f"sip:+49305550042@{CARRIER};user=phone")

_FIRST_NAMES = ("Clara", "Anton", "Britta", "Deniz", "Elif", "Frieda", "Georg", "Hanna", "Ida", "Jakob")
_LAST_NAMES = ("Sommer", "Winter", "Berg", "Linde", "Voss", "Haas", "Kern", "Stein", "Busch")


def caller(number: int) -> Speaker:
    """The caller of call `number`; the first is Clara Sommer."""
    name = f"{_FIRST_NAMES[number % len(_FIRST_NAMES)]} {_LAST_NAMES[number % len(_LAST_NAMES)]}"
    return Speaker(name, f"sip:+4930{FIRST_NUMBER + number % NUMBERS}@{CARRIER};user=phone")


def agent(number: int) -> Speaker:
    """The agent of call `number`, among those who agreed."""
    return AGENTS_WITH_GRANT[number % len(AGENTS_WITH_GRANT)]
