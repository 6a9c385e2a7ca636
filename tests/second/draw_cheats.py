"""Cheats on the lists of the draw: each changes facts and writes all files anew, with every hash that it can make.

Shares no code with mitschnitt. Beside each stands what must be found, and in which file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from fractions import Fraction

from second.draw_lists import (
    POLICY,
    SPECIAL,
    Day,
    Draw,
    copied,
    council_of,
    day_record,
    empty_day,
    give,
    honest_week,
    number_of,
    public_of,
)


@dataclass
class Files:
    """What a verifier is handed."""

    lists: dict[str, bytes]  # by name
    records: dict[str, bytes]
    policy: bytes = POLICY.encode()


@dataclass
class Case:
    """A week before it is written: the facts behind each file may differ."""

    publics: list[Day]
    councils: list[Day]
    records: list[Day]
    more: list[Day] = field(default_factory=list)  # further public lists
    policy: bytes = POLICY.encode()

    def both(self) -> list[tuple[Day, Day]]:
        return list(zip(self.publics, self.councils, strict=True))

    def files(self) -> Files:
        lists = {f"{day.day}/public.mdl": public_of(day) for day in self.publics}
        lists |= {f"{day.day}/council.mdl": council_of(day) for day in self.councils}
        lists |= {f"{day.day}/other.mdl": public_of(day) for day in self.more}
        return Files(lists, {f"{day.day}/day.json": day_record(day) for day in self.records}, self.policy)


MONDAY = "2026-11-23"
Cheating = Callable[[Case], None]
CHEATS: dict[str, tuple[Cheating, str, str]] = {}


def cheat(what: str, where: str) -> Callable[[Cheating], Cheating]:
    """Registers a cheat: what is found, and in which file."""

    def register(function: Cheating) -> Cheating:
        CHEATS[function.__name__] = function, what, where
        return function

    return register


def case(week: list[Day] | None = None) -> Case:
    """The honest one."""
    week = week or honest_week()
    return Case([copied(day) for day in week], [copied(day) for day in week], [copied(day) for day in week])


def files_of(name: str, week: list[Day] | None = None) -> Files:
    """What this cheat hands over."""
    found = case(week)
    CHEATS[name][0](found)
    return found.files()


def first(day: Day, verdict: str, **wanted: object) -> Draw:
    return next(
        draw
        for draw in day.draws
        if draw.verdict == verdict and all(getattr(draw, name) == value for name, value in wanted.items())
    )


def without(day: Day, draw: Draw) -> None:
    day.draws = [other for other in day.draws if (other.source, other.n) != (draw.source, draw.n)]


# -- 1, 2: calls that are not there, or should not be --------------------------------------------


@cheat("dropped", "council")
def drops_a_call_from_the_public_list(case: Case) -> None:
    without(case.publics[1], first(case.publics[1], "drawn"))


@cheat("dropped", "council")
def drops_a_call_from_both(case: Case) -> None:
    for public, council in case.both()[1:2]:
        victim = first(council, "not_drawn")
        without(public, victim)
        without(council, victim)


@cheat("dropped", "public")
def forgets_what_became_of_a_draw(case: Case) -> None:
    for public, council in case.both()[:1]:
        for day in (public, council):
            first(day, "drawn", outcome="not_agreed", place=0).outcome = ""


@cheat("added", "council")
def adds_a_call_to_the_public_list(case: Case) -> None:
    day = case.publics[0]
    ids = (number_of("added", at).to_bytes(8, "big") * 2 for at in range(1000))
    lost = next(draw_id for draw_id in ids if not day.wins(draw_id, day.strata[0][1]))
    day.draws.append(Draw("keeper", 0, 0, bytes(8), "not_drawn", id=lost))


# -- 3: grinding ---------------------------------------------------------------------------------


@cheat("ground", "council")
def grinds_an_id_until_the_call_is_not_drawn(case: Case) -> None:
    for public, council in case.both()[:1]:
        ids = (number_of("ground", at).to_bytes(8, "big") * 2 for at in range(1000))
        lost = next(draw_id for draw_id in ids if not public.wins(draw_id, public.strata[0][1]))
        for day in (public, council):
            draw = first(day, "drawn", place=0, outcome="kept")
            draw.verdict, draw.outcome, draw.id = "not_drawn", "", lost


@cheat("ground", "day")
def takes_another_day_key_when_the_beacon_is_known(case: Case) -> None:
    for public, council in case.both()[:1]:
        for day in (public, council):
            day.key = hashlib.sha256(b"a better key").digest()
            redraw(day)


@cheat("ground", "council")
def shows_the_council_another_key_than_was_promised(case: Case) -> None:
    # The header of the bundle names the hash of the key that it shows; the public list names the promised one.
    case.councils[0].key = bytes(32)


def redraw(day: Day) -> None:
    """Draws the same calls anew, by the same rates; caps play no part."""
    for draw in day.draws:
        if draw.place >= len(day.strata):
            continue
        won = day.wins(day.id_of(draw), day.strata[draw.place][1])
        draw.outcome = (draw.outcome or "kept") if won else ""
        draw.verdict = "drawn" if won else "not_drawn"


# -- 4: drawing again ----------------------------------------------------------------------------


@cheat("redrawn", "public")
def publishes_a_second_list(case: Case) -> None:
    again = copied(case.publics[0])
    again.draws.append(Draw("keeper", 10_000, SPECIAL["none"], bytes(8), "excluded"))
    case.more.append(again)


@cheat("redrawn", "council")
def draws_one_number_twice(case: Case) -> None:
    for public, council in case.both()[:1]:
        again = first(council, "not_drawn")
        public.draws.append(replace(again, id=b"\x01" * 16))
        council.draws.append(replace(again))


@cheat("redrawn", "public")
def draws_by_a_beacon_of_its_own(case: Case) -> None:
    for public, council in case.both()[:1]:
        for day in (public, council):
            day.beacon = hashlib.sha256(b"mine").digest()
            redraw(day)


@cheat("redrawn", "day")
def exchanges_the_operators_value(case: Case) -> None:
    for public, council in case.both()[:1]:
        for day in (public, council):
            value = hashlib.sha256(b"a better value").digest()
            text = f"mitschnitt/v1/beacon/value|{day.day}|operator|".encode() + value
            day.shares = {**day.shares, "operator": (hashlib.sha256(text).digest(), value)}
            redraw(day)


@cheat("redrawn", "public")
def takes_yesterdays_values(case: Case) -> None:
    for public, council in case.both()[1:2]:
        for day in (public, council):
            day.shares = empty_day(case.publics[0].day).shares
            redraw(day)


# -- 5: the policy ---------------------------------------------------------------------------------


@cheat("policy", "day")
def edits_the_policy_in_mid_period(case: Case) -> None:
    case.policy = POLICY.replace("0.20", "0.10").encode()
    for public, council in case.both():
        for day in (public, council):
            day.policy_hash = hashlib.sha256(case.policy).digest()
            day.strata = (("hotline", Fraction(1, 10)), *day.strata[1:])
            redraw(day)


@cheat("policy", "public")
def draws_by_other_rates_than_it_names(case: Case) -> None:
    for public, council in case.both()[:1]:
        for day in (public, council):
            day.strata = (("hotline", Fraction(1, 100)), *day.strata[1:])
            redraw(day)


@cheat("policy", "public")
def draws_by_a_policy_that_nobody_is_shown(case: Case) -> None:
    for public, council in case.both()[:1]:
        for day in (public, council):
            day.policy_hash = bytes(32)
            redraw(day)


@cheat("policy", "council")
def checks_other_caps_than_the_policys(case: Case) -> None:
    case.councils[0].caps["agent_week"] = 40


# -- 7: filters ------------------------------------------------------------------------------------


@cheat("filter", "public")
def filters_without_a_line(case: Case) -> None:
    for public, council in case.both()[:1]:
        public.unlisted = council.unlisted = frozenset({"night"})


@cheat("filter", "public")
def counts_fewer_than_it_filters(case: Case) -> None:
    for public, council in case.both()[:1]:
        public.counts["night"] = council.counts["night"] = 1


@cheat("filter", "public")
def filters_by_what_the_policy_does_not_say(case: Case) -> None:
    for public, council in case.both()[:1]:
        for day in (public, council):
            day.exclusions = (*day.exclusions, "complaints about us")
            for draw in [draw for draw in day.draws if draw.verdict == "drawn"][:5]:
                draw.place, draw.verdict, draw.outcome = 0x8002, "excluded", ""


@cheat("misdrawn", "public")
def does_not_draw_what_was_drawn(case: Case) -> None:
    for public, council in case.both()[:1]:
        for day in (public, council):
            draw = first(day, "drawn", place=0, outcome="kept")
            draw.verdict, draw.outcome = "not_drawn", ""


@cheat("misdrawn", "council")
def moves_a_call_to_another_stratum_in_public(case: Case) -> None:
    day = case.publics[0]
    draw = next(draw for draw in day.draws if draw.place == 0 and not day.wins(day.id_of(draw), Fraction(1, 5)))
    draw.place = 1


# -- 8: caps ---------------------------------------------------------------------------------------


def favours(case: Case, verdict: str, lease: bool) -> None:  # noqa: FBT001 - of a cheat
    place = next(at for at, day in enumerate(case.councils) if any(draw.verdict == verdict for draw in day.draws))
    for public, council in case.both()[place : place + 1]:
        for day in (public, council):
            draw = first(day, verdict)
            draw.verdict, draw.outcome = "drawn", "kept"
        for later in case.councils[place:]:
            give(later.allowances, council, draw, "share", "")
            if any(draw.tag) and lease:
                give(later.allowances, council, draw, "agent_week", draw.tag.hex())


def takes_back(case: Case, draw: Draw) -> None:
    """Nobody was given a unit for this draw on Monday."""
    for day in case.councils:
        for row in day.allowances:
            if row[:4] in ([MONDAY, "share", draw.source, ""], [MONDAY, "agent_week", draw.source, draw.tag.hex()]):
                row[5:] = [row[5] - 1, row[6] - 1]


@cheat("cap", "council")
def draws_an_agent_once_more_than_the_week_allows(case: Case) -> None:
    favours(case, "capped.agent_week", lease=True)


@cheat("cap", "council")
def draws_an_agent_without_a_unit(case: Case) -> None:
    favours(case, "capped.agent_share", lease=False)


@cheat("cap", "council")
def draws_more_of_an_agents_calls_than_its_share(case: Case) -> None:
    for _ in range(3):
        favours(case, "capped.agent_share", lease=True)


@cheat("cap", "council")
def draws_in_a_recorder_without_a_unit_of_the_whole(case: Case) -> None:
    for day in case.councils:
        day.allowances = [row for row in day.allowances if row[1:3] != ["share", "recorder-0"]]


@cheat("cap", "council")
def takes_more_units_than_a_source_was_given(case: Case) -> None:
    for day in case.councils:
        row = next(row for row in day.allowances if row[1] == "agent_week")
        row[6] += 1


@cheat("cap", "council")
def caps_an_agents_call_in_a_recorder_that_has_a_unit(case: Case) -> None:
    for public, council in case.both()[1:2]:
        drawn = [draw for draw in council.draws if (draw.source, draw.verdict) == ("recorder-0", "drawn")]
        tags = [draw.tag for draw in drawn]
        once = next(draw for draw in drawn if any(draw.tag) and tags.count(draw.tag) == 1 and draw.outcome == "kept")
        for day in (public, council):
            draw = first(day, "drawn", source=once.source, n=once.n)
            draw.verdict, draw.outcome = "capped.agent_week", ""
    for day in case.councils[1:]:
        for row in day.allowances:
            if row[3] == draw.tag.hex() and row[2] == "recorder-0" and row[4] == draw.n:
                row[0], row[6] = MONDAY, 0  # it was lent yesterday, and is still there


@cheat("cap", "council")
def caps_a_call_and_says_nobodys_cap_it_was(case: Case) -> None:
    for public, council in case.both()[:1]:
        for day in (public, council):
            draw = first(day, "drawn", place=0, outcome="kept")
            draw.verdict, draw.outcome, draw.tag = "capped.agent_week", "", bytes(8)


@cheat("cap", "public")
def caps_calls_by_a_policy_without_caps(case: Case) -> None:
    case.policy = POLICY[: POLICY.index("[caps]")].encode()
    for day in case.records:
        day.policy_hash = hashlib.sha256(case.policy).digest()
    for public, council in case.both():
        for day in (public, council):
            day.policy_hash, day.caps = hashlib.sha256(case.policy).digest(), dict.fromkeys(day.caps)
            redraw(day)
            draw = first(day, "drawn", place=0)
            draw.verdict, draw.outcome = "capped.agent_week", ""


@cheat("cap", "council")
def caps_a_call_while_the_whole_has_a_unit(case: Case) -> None:
    for public, council in case.both()[:1]:
        for day in (public, council):
            # At the end of the day its share is well above what was given.
            day.draws.reverse()
            draw = first(day, "drawn", place=0, outcome="kept", source="keeper")
            draw.verdict, draw.outcome = "capped.share", ""
    takes_back(case, draw)


@cheat("failures", "council")
def marks_other_failures_than_it_counts(case: Case) -> None:
    first(case.councils[0], "drawn", place=0, outcome="kept").marked = True
