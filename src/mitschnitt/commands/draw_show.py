"""`mitschnitt draw show PERIOD`: what was seen, left out, drawn, capped and what became of it, from lists only.

Shows no more than the lists say: an outcome that they tell for several strata together is told together here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import typer

from mitschnitt.commands.draw_files import content, find, policies_of
from mitschnitt.core.periods import Period, parse_period
from mitschnitt.errors import ConfigError, PeerError
from mitschnitt.exit_codes import DONE
from mitschnitt.keeper.clock import wall_clock
from mitschnitt.proof.draw_format import DrawList, Header
from mitschnitt.proof.draw_policy import read_policy

ANSWERS = ("kept", "failed", "not_agreed")
COLUMNS = ("seen", "drawn", "capped", *ANSWERS)
UNTOLD = "-"


@dataclass(slots=True)
class Row:
    """One stratum over the period; an answer is None once a day with draws did not tell it alone."""

    name: str
    rate: str
    seen: int = 0
    drawn: int = 0
    capped: int = 0
    answers: dict[str, int | None] = field(default_factory=lambda: dict.fromkeys(ANSWERS, 0))

    def to_json(self) -> dict[str, Any]:
        """Its columns by name."""
        counts = {"seen": self.seen, "drawn": self.drawn, "capped": self.capped}
        return {"name": self.name, "rate": self.rate, **counts, **self.answers}


@dataclass(slots=True)
class Summary:
    """All of a period. `told` sums what is told of outcomes, alone or together."""

    seen: int = 0
    strata: dict[tuple[str, str], Row] = field(default_factory=dict)
    exclusions: dict[str, int] = field(default_factory=dict)
    told: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("drawn", *ANSWERS), 0))


def run(name: str, directory: Path, *, as_json: bool) -> int:
    """Prints the period; ConfigError when it is none, has no list, or a list cannot be read."""
    period = parse_period(name)
    found = find([name], directory, council=False)
    headers = [_header(path) for path in found.lists]
    summary, over = summed(headers), _is_over(period, headers, directory)
    if as_json:
        typer.echo(json.dumps(_as_json(period, summary, found.missing, over=over)))
    else:
        typer.echo("\n".join(_lines(period, summary, found.missing, over=over)))
    return DONE


def _header(path: Path) -> Header:
    try:
        with path.open("rb") as stream:
            return DrawList(stream, str(path)).header
    except OSError as error:
        raise ConfigError(f"draw: cannot read {path}: {error.strerror}") from error
    except PeerError as error:
        raise ConfigError(f"draw: {path} is broken: {error}; `mitschnitt draw verify` says more") from error


def _is_over(period: Period, headers: Sequence[Header], directory: Path) -> bool:
    """In the zone of the newest policy in hand; without one, in UTC."""
    zone = "UTC"
    for policy, _ in policies_of(directory, [headers[-1].policy_hash.hex()]):
        zone = read_policy(content(policy), str(policy)).timezone
    return period.over(_local(wall_clock(), zone))


def _local(now: datetime, zone: str) -> datetime:
    return now.astimezone(ZoneInfo(zone))


def summed(headers: Iterable[Header]) -> Summary:
    """The lists of several days as one."""
    summary = Summary()
    for header in headers:
        summary.seen += header.seen
        for exclusion in header.exclusions:
            summary.exclusions[exclusion.name] = summary.exclusions.get(exclusion.name, 0) + exclusion.count
        for stratum in header.strata:
            rate = f"{stratum.rate.numerator}/{stratum.rate.denominator}"
            row = summary.strata.setdefault((stratum.name, rate), Row(stratum.name, rate))
            row.seen, row.drawn = row.seen + stratum.seen, row.drawn + stratum.drawn
            row.capped += stratum.capped
            _add(row.answers, stratum.outcomes, drawn=stratum.drawn)
            _add(summary.told, stratum.outcomes, drawn=0)
        if header.merged:
            _add(summary.told, header.merged[1], drawn=0)
    return summary


def _add(sums: dict[str, Any], outcomes: Any, *, drawn: int) -> None:
    for name, value in sums.items():
        if outcomes is None and drawn:
            sums[name] = None
        elif outcomes is not None and value is not None:
            sums[name] = value + getattr(outcomes, name)


def _as_json(period: Period, summary: Summary, missing: Sequence[str], *, over: bool) -> dict[str, Any]:
    return {
        "period": period.name,
        "over": over,
        "days_without_list": list(missing),
        "seen": summary.seen,
        "strata": [row.to_json() for row in summary.strata.values()],
        "exclusions": summary.exclusions,
        "outcomes": summary.told,
    }


def _lines(period: Period, summary: Summary, missing: Sequence[str], *, over: bool) -> list[str]:
    lines = [f"{period.name}: {summary.seen:,} calls seen"]
    if not over:
        lines.append(f"this period is not over: it ends with {period.last}")
    if missing:
        lines.append(f"no list for {', '.join(missing)}")
    width = max([len(row.name) for row in summary.strata.values()] + [len(name) for name in summary.exclusions] + [8])
    heads = "".join(f"{name.replace('_', ' '):>12}" for name in COLUMNS)
    lines += ["", f"{'stratum':{width}} {'rate':>10}{heads}"]
    for row in summary.strata.values():
        told = row.to_json()
        cells = "".join(f"{UNTOLD if told[name] is None else told[name]:>12}" for name in COLUMNS)
        lines.append(f"{row.name:{width}} {row.rate:>10}{cells}")
    lines += ["", f"{'exclusion':{width}} {'calls':>10}"]
    lines += [f"{name:{width}} {count:>10}" for name, count in summary.exclusions.items()]
    told_of = ", ".join(f"{summary.told[name]} {name.replace('_', ' ')}" for name in ANSWERS)
    return [*lines, "", f"of {summary.told['drawn']} drawn calls whose outcomes are told: {told_of}"]
