"""The site of the demo's scene `week`: teams of 9, 7 and 4, a signed policy, a beacon of three roles, a clock.

Everything is made as people make it: role keys under a password, signatures, commitments, values. Holds no outcome.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mitschnitt.commands.init import provision
from mitschnitt.config import Config, load_config
from mitschnitt.core.beacon import ROLES, commitment_of
from mitschnitt.core.consent import StandingGrant
from mitschnitt.core.periods import week_of
from mitschnitt.core.purpose import TRAINING
from mitschnitt.keeper.acts import SignedAct
from mitschnitt.keeper.day_acts import check_commitment, check_reveal, sign_commitment, sign_reveal
from mitschnitt.keeper.days import Days
from mitschnitt.keeper.grants import sign_grant, sign_withdrawal
from mitschnitt.keeper.policies import Policies
from mitschnitt.keeper.role_keys import load_private, make_key

ZONE = ZoneInfo("Europe/Berlin")
TEAMS = {"hotline": 9, "billing": 7, "orders": 4}
NOTICE = "notice-training-1"
WITHOUT_CONSENT = ("hotline-3", "billing-5")
WITHDRAWS = "hotline-4"  # on Wednesday at noon
NEWCOMERS = ("hotline-9", "billing-7", "orders-4")
PASSWORD = b"a password of the demo"
PROMPT_MS = 4_000
PROMPT_SHA256 = hashlib.sha256(b"the question of the demo").hexdigest()
AGENT_WEEK = 25  # draws of one agent in the week; newcomers reach it

CONFIG = "\n[limits]\nrecorders = 2\n"
POLICY = f"""\
name = "coaching from drawn calls"
language = "de"
timezone = "Europe/Berlin"
signed_by = ["officer", "council"]

[controller]
name = "Beispiel Versand GmbH"

[[purpose]]
id = "training"
records = true
retention = "P30D"
caller = "consent"
agent = "consent"
third = "consent"
notice = "{NOTICE}"
roles = ["coach"]

[draw]
beacon = "commit"

[[exclusion]]
name = "complaints about us"
when = 'queue == "complaints"'

[[exclusion]]
name = "night"
when = "hour >= 22 || hour < 6"

[[stratum]]
name = "newcomers"
when = "tenure_days >= 0 && tenure_days < 100"
rate = 0.5
announced = "agents in their first hundred days are drawn more often, and know it"

[[stratum]]
name = "hotline"
when = 'queue == "hotline"'
rate = 0.20

[[stratum]]
name = "everything else"
when = "true"
rate = 0.10

[caps]
agent_week = {AGENT_WEEK}
share = 0.4

[cells]
people = 5
calls = 20

[asking]
mode = "announced"
window_s = 12
yes = "1"
no = "2"
withdraw = "*9"
pause = "*0"

[[prompt]]
name = "ask-training"
language = "de"
sha256 = "{PROMPT_SHA256}"
length_ms = {PROMPT_MS}
"""


class WeekClock:
    """Wall clock and monotonic clock of the scene, which go together: a week passes in seconds."""

    def __init__(self, now: datetime) -> None:
        self._now = now
        self._seconds = 1_000.0

    def now(self) -> datetime:
        """The scene's time, in UTC."""
        return self._now

    def monotonic(self) -> float:
        """Seconds that only run forward."""
        return self._seconds

    def until(self, at: datetime) -> None:
        """Let time pass until then; what lies behind is left where it is."""
        passed = (at - self._now).total_seconds()
        if passed > 0:
            self._now, self._seconds = at, self._seconds + passed


@dataclass(slots=True)
class WeekSite:
    """The directory, who is who, and the clock."""

    directory: Path
    config: Config
    officer_key: Path
    policies: Policies
    roles: dict[str, Ed25519PrivateKey]
    agents: dict[str, Ed25519PrivateKey]
    clock: WeekClock
    monday: date

    @property
    def week(self) -> str:
        """`2026-W47`."""
        return week_of(self.monday)

    def local(self, day: date, hour: int, minute: int = 0) -> datetime:
        """A moment of the week, in UTC."""
        return datetime.combine(day, time(hour, minute), ZONE).astimezone(UTC)

    def days(self) -> list[date]:
        """Monday to Sunday."""
        return [self.monday + timedelta(days=ahead) for ahead in range(7)]


def last_week(today: date) -> date:
    """The Monday of the last ISO week that is over."""
    return today - timedelta(days=today.weekday() + 7)


def make_site(root: Path, today: date) -> WeekSite:
    """A site whose policy all have signed the Friday before, and which begins on the Monday of the last week."""
    monday = last_week(today)
    keys = {name: Ed25519PrivateKey.generate() for name in agent_names()}
    agents_text = "".join(_agent(name, key, monday) for name, key in keys.items())
    officer_key = provision(root, allow_unsigned_policy=False, config_text=CONFIG, agents_text=agents_text)
    config = load_config(root)
    clock = WeekClock(datetime.combine(monday - timedelta(days=3), time(10), ZONE).astimezone(UTC))
    hands = root.with_name(root.name + ".hands")
    hands.mkdir(mode=0o700)
    roles = {}
    for role in ROLES:
        make_key(config.directory, role, hands / f"{role}.pem", PASSWORD)
        roles[role] = load_private(hands / f"{role}.pem", PASSWORD)
    policies = Policies.of(config)
    policy = policies.files.read(policies.files.write(POLICY.encode())).policy
    for role in policy.signed_by:
        policies.signatures.sign(policy, role, roles[role], now=clock.now())
    policies.activate(policy, monday, now=clock.now())
    return WeekSite(config.directory, config, officer_key, policies, roles, keys, clock, monday)


def agent_names() -> list[str]:
    """All twenty."""
    return [f"{team}-{number}" for team, size in TEAMS.items() for number in range(1, size + 1)]


def _agent(name: str, key: Ed25519PrivateKey, monday: date) -> str:
    started = monday - timedelta(days=40 if name in NEWCOMERS else 400)
    public = base64.b64encode(key.public_key().public_bytes_raw()).decode()
    return (
        f'[[agent]]\nid = "{name}"\nteam = "{name.partition("-")[0]}"\nstarted = "{started}"\n'
        f'patterns = ["sip:{name}@pbx.example.org"]\nkey = "{public}"\n\n'
    )


def consent_of(site: WeekSite, name: str) -> SignedAct:
    """An agent's own act, for a year, from now on."""
    at = site.clock.now()
    return sign_grant(StandingGrant(name, TRAINING, at, at + timedelta(days=365), NOTICE), site.agents[name])


def withdrawal_of(site: WeekSite, name: str) -> SignedAct:
    """The agent takes it back."""
    return sign_withdrawal(site.agents[name], agent=name, purpose=TRAINING, withdrawn_at=site.clock.now())


def hold_ceremony(site: WeekSite, days: Days) -> None:
    """All three commit for the week, its records are published, and they tell their values."""
    now, names = site.clock.now(), [day.isoformat() for day in site.days()]
    for role, key in site.roles.items():
        acts = [
            sign_commitment(key, role=role, day=day, commitment=commitment_of(day, role, _value(day, role, key)))
            for day in names
        ]
        days.commit([check_commitment(site.directory, act) for act in acts], now)
    for role, key in site.roles.items():
        told = [
            sign_reveal(key, role=role, day=day, value=_value(day, role, key), record=_record(site, day))
            for day in names
        ]
        days.reveal([check_reveal(site.directory, act) for act in told], now)


def _value(day: str, role: str, key: Ed25519PrivateKey) -> bytes:
    """A value that only the holder of the key can know; `draw commit` draws it at random instead."""
    return hashlib.sha256(key.private_bytes_raw() + f"{role} {day}".encode()).digest()


def _record(site: WeekSite, day: str) -> bytes:
    return hashlib.sha256((site.directory / "draw" / day / "day.json").read_bytes()).digest()
