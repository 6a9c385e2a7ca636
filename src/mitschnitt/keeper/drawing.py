"""All that the keeper draws with: days, draws, what recorders are lent, and draws from what is kept."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import date, datetime

from mitschnitt.config import Config
from mitschnitt.core.view import View
from mitschnitt.errors import ConfigError, MitschnittError
from mitschnitt.keeper.backward_draws import BackwardDraws
from mitschnitt.keeper.day_steps import Plan
from mitschnitt.keeper.days import Days
from mitschnitt.keeper.draw_secret import load_secret
from mitschnitt.keeper.draws import Draws
from mitschnitt.keeper.lending import Lending
from mitschnitt.keeper.policy_files import zone_of
from mitschnitt.keeper.policy_watch import PolicyWatch
from mitschnitt.store import draw_queries
from mitschnitt.store.writer import Writer

log = logging.getLogger("mitschnitt.keeper")


@dataclass(slots=True)
class Drawing:
    """See the module. `renew` blocks; the parts say what each of theirs does."""

    days: Days
    draws: Draws
    lending: Lending
    backward: BackwardDraws
    complaint: str = ""  # the last failure that was logged

    def renew(self, view: View, now: datetime) -> bool:
        """Open the days that are due, then lend what is free; whether recorders have something new to hear.

        Without the database they go on with what they were told before. Raises nothing.
        """
        before = self.days.today(now)
        try:
            self.days.look_ahead(now)
            is_lent = self.lending.renew(view, now)
        except (MitschnittError, OSError) as error:
            if self.complaint != str(error):
                self.complaint = str(error)
                log.exception("days and caps of the draw could not be renewed; it is tried again")
            return False
        self.complaint = ""
        return is_lent or self.days.today(now) != before


def open_drawing(config: Config, rules: PolicyWatch, writer: Writer) -> Drawing:
    """What draws calls. ConfigError where the secret of the draw is lost, damaged or open to others."""
    drew_before = writer.submit(draw_queries.any_day).result()
    secret = load_secret(config.directory / "secrets", drew_before=drew_before)

    def plan(day: date) -> Plan | None:
        try:
            policy = rules.policies.on(day)
            return None if policy is None else Plan(policy.hash, policy.beacon, zone_of(policy))
        except (ConfigError, OSError):
            return None  # nobody is drawn by a policy that cannot be read, or not be carried out

    days = Days(
        writer,
        config.directory / "draw",
        secret,
        plan=plan,
        zone=lambda: zone_of(rules.current.policy),
        clock=rules.clock,
    )
    recorders = range(1, config.limits.recorders + 1)
    return Drawing(
        days,
        Draws(writer, secret, days.today),
        Lending(writer, secret, days.today, recorders),
        BackwardDraws(writer, config.directory / "draw" / "backward", secret, chain=days.chain),
    )
