"""Reads the text of a policy, strictly: an unknown key is an error, because a typing mistake must not open a gate.

Decides nothing about a call, and does not compile criteria (`criteria` does).
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from types import MappingProxyType

from mitschnitt.core.access import ROLES
from mitschnitt.core.durations import Duration, parse_duration
from mitschnitt.core.policy import (
    PARTIES,
    SHA256_HEX,
    Asking,
    Basis,
    BeaconKind,
    Caps,
    Cells,
    Company,
    Exclusion,
    Group,
    Policy,
    Prompt,
    PurposeRule,
    Queue,
    Stratum,
)
from mitschnitt.core.purpose import ACCOUNTABILITY, Purpose
from mitschnitt.core.strict_table import StrictTable
from mitschnitt.core.toml_lines import lines_of
from mitschnitt.errors import ConfigError

MAX_POLICY_BYTES = 256 * 1024  # far above any policy that a person can read
MAX_LINE_CHARS = 4_000  # of one line: the time to read a key grows with the square of its parts
MAX_WINDOW = timedelta(seconds=12)  # an answer later than this is no answer to the question
MAX_PURPOSES = 64  # more than anybody can be asked about
MAX_STRATA = 256  # and as many exclusions: each is an expression that every call may be held against
MAX_PROMPTS = 1_024  # purposes times languages
MAX_QUEUES = 4_096
MAX_GROUPS = 1_024
MAX_WEEK_DRAWS = 10_000  # calls of one agent in one week: beyond what anybody can take
SEQUENCE = re.compile(r"\*[0-9]{1,3}")  # never a single digit: those are answers
PURPOSE_ID = re.compile(r"[a-z][a-z0-9_]{0,63}")
NAME = re.compile(r"[^\s\x00-\x1f\x7f](?:[^\x00-\x1f\x7f]{0,62}[^\s\x00-\x1f\x7f])?")
LANGUAGE = re.compile(r"[a-z]{2,3}(?:-[A-Z]{2})?")
ZONE = re.compile(r"[A-Za-z0-9_+-]{1,30}(?:/[A-Za-z0-9_+-]{1,30}){0,2}")
SIGNERS = ("officer", "council", "operator")

KNOWN_KEYS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "": (
            *("name", "language", "languages", "timezone", "signed_by", "controller", "processor", "purpose", "draw"),
            *("stratum", "exclusion", "caps", "queue", "cells", "group", "asking", "prompt"),
        ),
        "controller": ("name", "address", "contact", "officer_contact"),
        "processor": ("name", "address", "contact", "officer_contact"),
        "purpose": ("id", "records", "retention", *PARTIES, "notice", "agreement", "roles"),
        "draw": ("beacon",),
        "stratum": ("name", "when", "rate", "hand_picked", "announced"),
        "exclusion": ("name", "when"),
        "caps": ("agent_week", "agent_share", "share"),
        "queue": ("id", "client", "contact", "region"),
        "cells": ("people", "calls"),
        "group": ("name", "teams", "parent"),
        "asking": ("mode", "window_s", "yes", "no", "withdraw", "pause"),
        "prompt": ("name", "language", "sha256", "length_ms", "purpose"),
    }
)  # by section; in the order in which docs/policy.md tells of them


def parse_policy(data: bytes, *, file: str = "policy") -> Policy:
    """The policy in a file's bytes; ConfigError says where, what was found and what was expected."""
    if len(data) > MAX_POLICY_BYTES:
        raise ConfigError(f"{file}: {len(data)} bytes, at most {MAX_POLICY_BYTES} are read")
    try:
        text = data.decode()
        _check_lines(text)
        values = tomllib.loads(text, parse_float=Decimal)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{file}: not TOML: {error}") from error
    top = StrictTable(file, (), values, lines_of(text))
    top.only(KNOWN_KEYS[""])
    purposes, languages = _purposes(top), _languages(top)
    records = next(rule.id for rule in purposes.values() if rule.records)
    strata = _strata(top)
    asking = top.section("asking", KNOWN_KEYS["asking"])
    withdraw, pause = _sequences(asking)
    yes, no = _answers(asking)
    return Policy(
        hash=hashlib.sha256(data).hexdigest(),
        name=top.text("name"),
        language=languages[0],
        languages=languages[1:],
        timezone=_matching(top, "timezone", ZONE, "a time zone such as Europe/Berlin"),
        signed_by=_signers(top),
        controller=_company(top, "controller"),
        processor=_company(top, "processor") if "processor" in values else None,
        purposes=purposes,
        purpose=records,
        beacon=_beacon(top, strata),
        strata=strata,
        exclusions=_exclusions(top),
        caps=_caps(top),
        queues=_queues(top),
        cells=_cells(top),
        asking=asking.choice("mode", Asking),
        window=timedelta(seconds=asking.whole("window_s", low=1, high=MAX_WINDOW.seconds)),
        yes=yes,
        no=no,
        withdraw=withdraw,
        pause=pause,
        prompts=_prompts(top, purposes, records, languages[1:]),
    )


def _check_lines(text: str) -> None:
    longest = max(map(len, text.split("\n")))
    if longest > MAX_LINE_CHARS:
        raise ValueError(f"a line has {longest} characters, at most {MAX_LINE_CHARS} are read")


def _matching(table: StrictTable, key: str, form: re.Pattern[str], meant: str, default: str | None = None) -> str:
    value = table.text(key, default)
    if value != default and not form.fullmatch(value):
        raise table.fault(key, f"`{key}` must be {meant}, found {value[:60]!r}")
    return value


def _name(table: StrictTable, key: str, default: str | None = None) -> str:
    return _matching(table, key, NAME, "a name of 1 to 64 characters on one line", default)


def _languages(top: StrictTable) -> tuple[str, ...]:
    """The policy's own language, and then all of them."""
    own = _matching(top, "language", LANGUAGE, "a language such as de or de-AT")
    every = top.texts("languages", (own,))
    for language in every:
        if not LANGUAGE.fullmatch(language):
            raise top.fault(
                "languages", f"`languages` must hold languages such as de or de-AT, found {language[:60]!r}"
            )
    if own not in every:
        raise top.fault("languages", f"`languages` must hold the policy's own `{own}`, found {', '.join(every)}")
    return own, *every


def _signers(top: StrictTable) -> tuple[str, ...]:
    signers = top.texts("signed_by")
    unknown = [role[:60] for role in signers if role not in SIGNERS]
    if unknown or not signers:
        found = repr(unknown[0]) if unknown else "nobody"
        raise top.fault("signed_by", f"`signed_by` must name who signs, of {', '.join(SIGNERS)}; found {found}")
    return signers


def _company(top: StrictTable, key: str) -> Company:
    table = top.section(key, KNOWN_KEYS[key])
    return Company(
        _name(table, "name"), table.text("address", ""), table.text("contact", ""), table.text("officer_contact", "")
    )


def _duration(table: StrictTable, key: str) -> Duration:
    try:
        return parse_duration(table.text(key))
    except ConfigError as error:
        if key not in table.values or not isinstance(table.values[key], str):
            raise
        raise table.fault(key, f"`{key}`: {error}") from error


def _purposes(top: StrictTable) -> Mapping[Purpose, PurposeRule]:
    tables = top.sections("purpose", KNOWN_KEYS["purpose"], most=MAX_PURPOSES, unique="id")
    rules = {rule.id: rule for rule in map(_purpose, tables)}
    recording = [rule.id for rule in rules.values() if rule.records]
    if len(recording) != 1:
        found = ", ".join(recording) or "none"
        raise top.fault("purpose", f"needs exactly one [[purpose]] with records = true, found {found}")
    return MappingProxyType(rules)


def _purpose(table: StrictTable) -> PurposeRule:
    name = _matching(table, "id", PURPOSE_ID, "lower-case letters, digits and _ such as training")
    if name == ACCOUNTABILITY:
        raise table.fault("id", f"`id` {name} is built in and holds no audio; leave it out")
    roles = table.texts("roles", ())
    for role in roles:
        if role not in ROLES:
            raise table.fault("roles", f"`roles` must be of {', '.join(ROLES)}; found {role[:60]!r}")
    return PurposeRule(
        id=Purpose(name),
        records=table.flag("records"),
        retention=_duration(table, "retention"),
        basis=MappingProxyType({party: table.choice(party, Basis, Basis.CONSENT) for party in PARTIES}),
        notice=_name(table, "notice", ""),
        agreement=table.text("agreement", ""),
        roles=frozenset(roles),
    )


def _strata(top: StrictTable) -> tuple[Stratum, ...]:
    return tuple(
        Stratum(
            name=_name(table, "name"),
            when=table.text("when"),
            rate=table.share("rate"),
            hand_picked=table.flag("hand_picked"),
            announced=table.text("announced", ""),
        )
        for table in top.sections("stratum", KNOWN_KEYS["stratum"], most=MAX_STRATA, unique="name")
    )


def _exclusions(top: StrictTable) -> tuple[Exclusion, ...]:
    tables = top.sections("exclusion", KNOWN_KEYS["exclusion"], most=MAX_STRATA, unique="name")
    return tuple(Exclusion(_name(table, "name"), table.text("when")) for table in tables)


def _beacon(top: StrictTable, strata: tuple[Stratum, ...]) -> BeaconKind:
    draw = top.section("draw", KNOWN_KEYS["draw"])
    kind = draw.choice("beacon", BeaconKind)
    below = [stratum for stratum in strata if stratum.rate < 1]
    if kind is BeaconKind.NONE and below:
        raise draw.fault(
            "beacon",
            f"`beacon` may be none only where every rate is 1; stratum {below[0].name} has {below[0].rate}, "
            "and without a beacon its draw could be chosen",
        )
    return kind


def _caps(top: StrictTable) -> Caps:
    table = top.section("caps", KNOWN_KEYS["caps"], optional=True)
    return Caps(
        table.whole("agent_week", low=0, high=MAX_WEEK_DRAWS) if "agent_week" in table.values else None,
        table.share("agent_share") if "agent_share" in table.values else None,
        table.share("share") if "share" in table.values else None,
    )


def _queues(top: StrictTable) -> tuple[Queue, ...]:
    return tuple(
        Queue(_name(table, "id"), _name(table, "client", ""), table.text("contact", ""), _name(table, "region", ""))
        for table in top.sections("queue", KNOWN_KEYS["queue"], most=MAX_QUEUES, unique="id")
    )


def _cells(top: StrictTable) -> Cells:
    table = top.section("cells", KNOWN_KEYS["cells"], optional=True)
    least = Cells()
    return Cells(
        people=table.whole("people", low=1, high=1_000_000, default=least.people),
        calls=table.whole("calls", low=1, high=1_000_000_000, default=least.calls),
        groups=_groups(top),
    )


def _groups(top: StrictTable) -> tuple[Group, ...]:
    """Groups form a forest, and a team is in one of them: overlapping figures could be subtracted from each other."""
    tables = top.sections("group", KNOWN_KEYS["group"], most=MAX_GROUPS, unique="name")
    groups = [Group(_name(table, "name"), table.texts("teams", ()), _name(table, "parent", "")) for table in tables]
    parents = {group.name: group.parent for group in groups}
    taken: dict[str, str] = {}
    for table, group in zip(tables, groups, strict=True):
        if group.parent and group.parent not in parents:
            raise table.fault("parent", f"`parent` must be the name of a [[group]], found {group.parent!r}")
        above, seen = group.parent, {group.name}
        while above:
            if above in seen:
                raise table.fault("parent", f"`parent` leads from {group.name} back to {above}; groups form a tree")
            seen.add(above)
            above = parents.get(above, "")
        for team in group.teams:
            if team in taken:
                raise table.fault("teams", f"`teams` names {team[:60]!r}, which is in group {taken[team]} already")
            taken[team] = group.name
    return tuple(groups)


def _answers(asking: StrictTable) -> tuple[str, str]:
    found = {}
    for key in ("yes", "no"):
        value = asking.text(key)
        if len(value) != 1 or value not in "0123456789":
            raise asking.fault(key, f"`{key}` must be one digit, found {value[:60]!r}")
        found[key] = value
    if found["yes"] == found["no"]:
        raise asking.fault("no", f"yes and no must differ, both are {found['no']}")
    return found["yes"], found["no"]


def _sequences(asking: StrictTable) -> tuple[str, str]:
    withdraw, pause = (_matching(asking, key, SEQUENCE, "* and 1 to 3 digits") for key in ("withdraw", "pause"))
    if withdraw.startswith(pause) or pause.startswith(withdraw):
        raise asking.fault("pause", f"withdraw {withdraw} and pause {pause}: neither may begin the other")
    return withdraw, pause


def _prompts(
    top: StrictTable, purposes: Mapping[Purpose, PurposeRule], records: Purpose, languages: tuple[str, ...]
) -> tuple[Prompt, ...]:
    prompts: list[Prompt] = []
    for table in top.sections("prompt", KNOWN_KEYS["prompt"], most=MAX_PROMPTS):
        prompt = _prompt(table, records)
        if prompt.purpose not in purposes:
            known = ", ".join(purposes)
            raise table.fault("purpose", f"`purpose` must be one of {known}, found {prompt.purpose[:60]!r}")
        if prompt.language not in languages:
            known = ", ".join(languages)
            raise table.fault("language", f"`language` must be one of {known}, found {prompt.language!r}")
        for other in prompts:
            if (other.name, other.language) == (prompt.name, prompt.language):
                raise table.fault("name", f"`name` {prompt.name!r} is there twice in {prompt.language}")
            if other.sha256 == prompt.sha256 and other.purpose != prompt.purpose:
                raise table.fault("sha256", f"`sha256` is that of a question after {other.purpose}; ask one by one")
        prompts.append(prompt)
    if not any(prompt.purpose == records for prompt in prompts):
        raise top.fault("prompt", f"at least one [[prompt]] for {records} is needed; without one nobody can agree")
    return tuple(prompts)


def _prompt(table: StrictTable, records: Purpose) -> Prompt:
    return Prompt(
        name=_name(table, "name"),
        language=_matching(table, "language", LANGUAGE, "a language such as de or de-AT"),
        sha256=_matching(table, "sha256", SHA256_HEX, "64 lower-case hex digits of the audio file"),
        length_ms=table.whole("length_ms", low=1_000, high=120_000),
        purpose=Purpose(table.text("purpose", records)),
    )
