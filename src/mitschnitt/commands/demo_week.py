"""`mitschnitt demo --scene week`: a week of drawn calls, shown, verified, tampered with, and asked why.

Prints what the site, the verifier and the persons' own pages say; whatever is not as it must be makes exit code 4.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from mitschnitt.commands import draw_show, draw_verify
from mitschnitt.commands.call import load_key
from mitschnitt.commands.week_cheats import CHEATS, Lists, caught, load_lists
from mitschnitt.commands.week_play import CALLS, Played, Week, play
from mitschnitt.commands.week_site import POLICY, TEAMS, make_site
from mitschnitt.core.receipt_code import read_code
from mitschnitt.core.rule_texts import said
from mitschnitt.errors import ConfigError
from mitschnitt.exit_codes import DONE, VERIFICATION_FAILED
from mitschnitt.keeper.clock import wall_clock
from mitschnitt.keeper.pages import Pages
from mitschnitt.keeper.records import Records
from mitschnitt.vault.decision import open_decision
from mitschnitt.vault.page import key_of_code, open_page

OTHERS = ("coach", "council", "operator", "agent", "caller")  # who see one word of a call, and nothing else
AGENT_SAID_NO = frozenset({"consent.agent.none", "consent.agent.withdrawn"})
KINDS: Mapping[str, frozenset[str]] = {
    "not drawn": frozenset({"draw.not_drawn"}),
    "refused by the caller": frozenset({"consent.caller.refused"}),
    "refused by the agent": AGENT_SAID_NO,
    "withdrawn": frozenset({"consent.withdrawn"}),
    "kept": frozenset({"consent.all"}),
}


@dataclass(frozen=True, slots=True)
class Reason:
    """Why one call is kept or not, as each may know it."""

    kind: str
    played: Played
    officer: str  # the rule that only the officer's key opens
    caller: str  # the rule on the caller's own page
    others: frozenset[str]  # what each of the others sees, apart from the call's name


def run_week(console: Console, keep: Path | None, *, calls: int = CALLS) -> int:
    """Play the week; 0 when everything is as it must be, 4 otherwise. ConfigError where files are in the way."""
    teams = ", ".join(f"{name} {size}" for name, size in TEAMS.items())
    _say(console, f"a week of {calls:,} calls without media, by a clock that runs fast; teams: {teams}")
    with contextlib.ExitStack() as stack:
        root = keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mitschnitt-week-"))) / "site"
        if os.path.lexists(root):
            raise ConfigError(f"demo: {root} exists; --keep wants a new directory and overwrites nothing")
        site = make_site(root, wall_clock().date())
        _say(console, "officer and works council signed the policy on Friday; with the operator they made its beacons")
        stack.enter_context(_without_log())
        week, reasons = asyncio.run(play(site, lambda week, *doors: (week, _reasons(week, *doors)), calls=calls))
        failures = _show(console, week, calls)
        failures += _tamper(console, week)
        failures += _why(console, reasons)
        if keep is not None:
            _say(console, f"kept: {root}; try `mitschnitt draw verify {site.week} --council --dir {root}`")
    for failure in failures:
        console.print(Text("not as it must be: ", "red") + Text(failure), soft_wrap=True)
    if not failures:
        told = "the draw can be recomputed, eight cheats were found, and who said no is told to nobody else"
        console.print(Text("done: ", "green") + Text(told), soft_wrap=True)
    return VERIFICATION_FAILED if failures else DONE


@contextlib.contextmanager
def _without_log() -> Iterator[None]:
    """The keeper's log is no part of the scene, and a busy disk makes it talk."""
    silent, ours = logging.NullHandler(), logging.getLogger("mitschnitt")
    ours.addHandler(silent)
    try:
        yield
    finally:
        ours.removeHandler(silent)


def _say(console: Console, sentence: str) -> None:
    console.print(Text(sentence), soft_wrap=True)


def _show(console: Console, week: Week, calls: int) -> list[str]:
    """`draw show` and `draw verify` of the week, as a person starts them."""
    site = week.site
    _title(console, f"draw show {site.week}")
    draw_show.run(site.week, site.directory, as_json=False)
    _title(console, f"draw verify {site.week} --council")
    code = draw_verify.run([site.week], site.directory, draw_verify.Wish(council=True), as_json=False)
    seen = sum(found.header["seen"] for (_, name), found in _lists(week).lists.items() if name == "public.mdl")
    failures = [] if seen == calls else [f"{seen} calls were seen, not {calls}"]
    return failures if code == DONE else [*failures, "the honest week does not verify"]


def _lists(week: Week) -> Lists:
    return load_lists(week.site.directory / "draw", week.site.days(), POLICY.encode())


def _tamper(console: Console, week: Week) -> list[str]:
    """What the verifier says of eight copies that somebody changed."""
    _title(console, "tampering")
    lists, failures = _lists(week), []
    for cheating in CHEATS:
        finding, others = caught(lists, cheating)
        if finding is None:
            failures.append(f"{cheating.says}: nobody noticed")
            continue
        more = f" and {others - 1} more findings" if others > 1 else ""
        _say(console, f"{cheating.says}: found: {finding}{more}")
    return failures


def _why(console: Console, reasons: Mapping[str, Reason]) -> list[str]:
    """Why, for the persons who may know; and the one word of everybody else."""
    _title(console, "call why")
    failures = [f"no call was {kind}" for kind in KINDS if kind not in reasons]
    for kind, reason in reasons.items():
        _say(console, f"{reason.played.call_id}, {kind}")
        _say(console, f"  the officer, by key:    {reason.officer}")
        _say(console, f"  the caller, by receipt: {said(reason.caller, 'en')}")
        _say(console, f"  everybody else:         {' or '.join(sorted(reason.others))}")
    silent = {reason.others for kind, reason in reasons.items() if kind != "kept"}
    if silent != {frozenset({'{"state": "not_kept"}'})}:
        failures.append("somebody else can tell why a call was not kept")
    by_agent = reasons.get("refused by the agent")
    if by_agent is not None and by_agent.caller in AGENT_SAID_NO:
        failures.append("a caller learns that the agent said no")
    return failures


def _title(console: Console, title: str) -> None:
    console.print()
    console.print(Text(title, "bold"))


def _reasons(week: Week, records: Records, pages: Pages) -> dict[str, Reason]:
    """One call of each kind, told by the officer's key; all who see one word are asked for it."""
    key, found = load_key(week.site.officer_key), dict[str, Reason]()
    for item in week.played:
        rule = str(open_decision(key, item.call_id, records.decision(item.call_id, "officer"))["rule"])
        kind = next((kind for kind, rules in KINDS.items() if rule in rules), "")
        if kind and kind not in found:
            own = open_page(
                key_of_code(read_code(item.receipt)), "caller", item.call_id, pages.page(item.call_id, "caller")
            )
            seen = frozenset(_word(records.show(item.call_id, role)) for role in OTHERS)
            found[kind] = Reason(kind, item, rule, str(own["rule"]), seen)
    return {kind: found[kind] for kind in KINDS if kind in found}


def _word(shown: Mapping[str, Any]) -> str:
    """What somebody sees of a call, apart from its name; of a kept one its word stands for all."""
    told = {name: value for name, value in shown.items() if name != "call"}
    return json.dumps({"state": told["state"]} if told["state"] == "kept" else told)
