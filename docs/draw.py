"""Draws docs/gate.md and docs/sip.md from their tables, and in docs/operating.md keys, figures and sizes from the code.

With `--check` it only says whether both are current.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

import curve

from mitschnitt import config
from mitschnitt.commands import doctor
from mitschnitt.core.gate import TRANSITIONS, Command, Happening, State
from mitschnitt.core.policy_text import MAX_WINDOW
from mitschnitt.keeper import figures as keeper_figures
from mitschnitt.recorder import figures as recorder_figures
from mitschnitt.recorder.ports import SPARE_FILES
from mitschnitt.telemetry.metrics import Told
from mitschnitt.wire.sip import session_timer, transaction
from mitschnitt.wire.sip.transaction import Machine

TARGET = Path(__file__).parent / "gate.md"
SIP = Path(__file__).parent / "sip.md"
OPERATING = Path(__file__).parent / "operating.md"
PERFORMANCE = Path(__file__).parent / "performance.md"
CURVE_FIGURES = Path(__file__).parent / "figures" / "capture.json"
CURVE = Path(__file__).parent / "pictures" / "capture.svg"
SOAK_FIGURES = CURVE_FIGURES.with_name("soak.json")
CURVE_BEGIN = "<!-- drawn from docs/figures/capture.json by `make docs`; do not edit: a test compares -->"
PAGE_COLUMNS = 118
BEGIN = "<!-- drawn from src/mitschnitt/config.py by `make docs`; do not edit: a test compares -->"
END = "<!-- end of what is drawn -->"
FIGURES = "<!-- drawn from the tables of figures by `make docs`; do not edit: a test compares -->"
SIZES = "<!-- drawn from docs/figures and docs/draw.py by `make docs`; do not edit: a test compares -->"

PACKET_BYTES = 54  # Ethernet, IPv4, UDP and RTP around each payload, FCS left out
CODECS = (  # payload bytes a second
    ("PCMA, PCMU, G.722", 8_000), ("L16 at 16 kHz", 32_000), ("Opus at 32 kbit/s", 4_000),
    ("AMR-WB at 23.85 kbit/s", 3_050), ("G.729", 1_000),
)  # fmt: skip

INTRO = f"""\
# The gate of one call

Drawn from `TRANSITIONS` in `src/mitschnitt/core/gate.py` by `make docs`. Do not edit: a test compares.

A call begins in `arrived` and is *not recorded* unless the arrow to `keeping` was taken. Only the verdict `open`
leads there, and only when every party on the line has agreed: callers and third parties by a digit between the end of
a complete prompt and at most {MAX_WINDOW.seconds} s after it, agents by a standing grant that is in force. A pair of
state and verdict without a row changes nothing and does nothing. `call_ended` is the end of the call, whatever was
agreed.
"""

MEANINGS = {
    Command.LISTEN: "telephone events may pass the filter, audio may not",
    Command.KEEP: "fresh lines without filter, into the parties' tracks",
    Command.SHUT: "filter back first; undrained packets and the newest 1.5 s are discarded",
    Command.OFFER: "tell the client the form that the new state asks for",
    Command.SHRED: "forget the keys here, puncture them at the keeper",
    Command.SEAL: "write the parties' files",
    Command.FORGET: "nothing was kept: the unused key is punctured, the facts go",
    Command.HANG_UP: "end the recording session; the call itself goes on",
}


def picture() -> str:
    """The table as a Mermaid state diagram; an arrow carries all verdicts that lead the same way."""
    arrows: dict[tuple[State, State], list[str]] = {}
    for (before, trigger), (after, _) in TRANSITIONS.items():
        arrows.setdefault((before, after), []).append(trigger.value)
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {State.ARRIVED}"]
    lines += [f"    {before} --> {after}: {', '.join(triggers)}" for (before, after), triggers in arrows.items()]
    return "\n".join([*lines, f"    {State.ENDED} --> [*]", "```"])


def table() -> str:
    """The same as text: what is so, what the facts amount to, what follows, what is done in this order."""
    rows = [("state", "verdict", "next state", "commands")]
    for (before, trigger), (after, commands) in TRANSITIONS.items():
        shown = f"({trigger})" if isinstance(trigger, Happening) else trigger.value
        rows.append((before.value, shown, after.value, ", ".join(commands) or "-"))
    return columns(rows)


def columns(rows: Sequence[tuple[str, ...]]) -> str:
    """Rows as text in columns, the first row as heading."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    padded = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    rule = "  ".join("-" * width for width in widths)
    return "\n".join(["```text", padded[0], rule, *padded[1:], "```"])


def page() -> str:
    """The whole of docs/gate.md."""
    meanings = "\n".join(f"- `{command}`: {meaning}" for command, meaning in MEANINGS.items())
    return f"{INTRO}\n{picture()}\n\n## The table\n\n{table()}\n\n## What the commands mean\n\n{meanings}\n"


SIP_INTRO = """\
# The machines of SIP

Drawn from `TABLES` in `src/mitschnitt/wire/sip/transaction.py` and `TABLE` in `session_timer.py` beside it by
`make docs`. Do not edit: a test compares.

A pair of state and event without a row changes nothing and does nothing: it is late, doubled or impossible. A timer
that the new state has no row for is stopped. An event in brackets is a timer that fired; an action in brackets starts
one. For a server, responses are those that we send. Rows with a number depart from the standard; the number says why.

What is answered to whom, and what our own messages say, stands at the end. Why there is a core of our own:
[decision 0006](decisions/0006-own-sip-core.md).
"""

SIP_TITLES = {
    Machine.INVITE_CLIENT: "An INVITE of ours (RFC 3261, 17.1.1; RFC 6026)",
    Machine.INVITE_SERVER: "An INVITE of theirs (RFC 3261, 17.2.1; RFC 6026)",
    Machine.CLIENT: "Any other request of ours (RFC 3261, 17.1.2)",
    Machine.SERVER: "Any other request of theirs (RFC 3261, 17.2.2)",
}
SESSION_TITLE = "The session timer of a dialog (RFC 4028)"

SIP_TIMERS = {
    "A": "INVITE resent: 0.5 s, doubling; not over TCP and TLS",
    "B": "INVITE given up after 32 s",
    "C": "an INVITE that only ever got provisional answers is given up after 180 s, 32 s after its CANCEL",
    "D": "copies of a failure are waited for, 32 s",
    "E": "request resent: 0.5 s, doubling to 4 s; not over TCP and TLS",
    "F": "request given up after 32 s",
    "G": "failure resent until its ACK: 0.5 s, doubling to 4 s; not over TCP and TLS",
    "H": "the ACK is given up after 32 s",
    "I": "copies of the ACK are waited for, 5 s",
    "J": "copies of a request are waited for, 32 s",
    "K": "copies of a response are waited for, 5 s",
    "L": "copies of an accepted INVITE are waited for, 32 s",
    "M": "copies of a 2xx are waited for, also from other forks, 32 s",
}

SIP_NOTES = """\
## What is answered, and what we say

- **INFO** within a dialog is answered 200 and goes no further: its body is neither read nor kept. It may hold a key
  that somebody pressed, and it does not say who. A key counts only in the pressing party's own stream, or posted by
  whoever speaks to that party. An Info-Package is refused with 469 and an empty `Recv-Info`; outside a dialog it is
  481.
- **Merged requests**: a request that came another way already, and still runs, is answered 482 (RFC 3261, 8.2.2.2).
- **Offers**: one at a time, by INVITE or UPDATE. Two at once are refused with 491 and come again after 2.1 to 4 s for
  the owner of the Call-ID, after up to 2 s for the other; a second one before the first is answered gets 500 with
  `Retry-After`. A peer that refuses ours with 480, 486, 500, 503, 504, 600 or 603 and `Retry-After` is asked again
  then, but after at most 10 s: ours may be the offer that closes the session's form. `100rel` is refused with 420.
- **Session timer**: a client that supports `timer` refreshes, and when it is late, we do; for one that does not support
  it, we refresh if a proxy on the way asked for it. UPDATE without a body first; where it is refused with 405 or 501, a
  re-INVITE in the form of that moment. Where no timer was agreed, a client that was silent for 300 s is asked by UPDATE
  whether it is still there.
- **Reason**: every BYE and CANCEL of ours that somebody decided says `Q.850;cause=16;text="Normal call clearing"`,
  after a withdrawal as at the end of the recorder. Only ends that signalling itself brought about, and that the client
  can see on the wire, are named: no ACK, no refresh, no answer, a second answerer, an offer that nobody answered.
- **A recorder begins a session without an offer** (RFC 7866, 7.2): the client's 200 brings it, our ACK answers it
  within 5 s; otherwise a bare ACK and a BYE.
"""


def machine_picture(start: StrEnum, rows: Mapping[Any, Any]) -> str:
    """A machine as a Mermaid state diagram; an arrow carries all events that lead the same way."""
    arrows: dict[tuple[str, str], list[str]] = {}
    for (before, event), (after, _) in rows.items():
        arrows.setdefault((before.value, after.value), []).append(_shown(event))
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {start.value}"]
    lines += [f"    {before} --> {after}: {', '.join(events)}" for (before, after), events in arrows.items()]
    ends = {after for _, after in arrows} - {before for before, _ in arrows}
    return "\n".join([*lines, *(f"    {end} --> [*]" for end in sorted(ends)), "```"])


def machine_table(rows: Mapping[Any, Any], why: Mapping[Any, str]) -> str:
    """The same as text, and the reasons of its deviations as a numbered list below."""
    shown: list[tuple[str, ...]] = [("state", "event", "next state", "actions", "")]
    reasons: list[str] = []
    for (before, event), (after, doing) in rows.items():
        mark = ""
        if (before, event) in why:
            reason = f"{len(reasons) + 1}. {why[before, event]}."
            reasons.append(textwrap.fill(reason, PAGE_COLUMNS, subsequent_indent="   "))
            mark = f"[{len(reasons)}]"
        actions = ", ".join(_shown(item) for item in doing) or "-"
        shown.append((before.value, _shown(event), after.value, actions, mark))
    return "\n\n".join([columns(shown), *(["\n".join(reasons)] if reasons else [])])


def _shown(item: StrEnum) -> str:
    timer = isinstance(item, transaction.Timer | session_timer.SessionClock)
    return f"({item.value})" if timer else item.value


def sip_page() -> str:
    """The whole of docs/sip.md."""
    parts = [SIP_INTRO]
    for machine, rows in transaction.TABLES.items():
        begun = transaction.STARTS[machine]
        why = {(state, event): text for (of, state, event), text in transaction.DEVIATIONS.items() if of is machine}
        said = f"Begins in `{begun[0]}` with: {', '.join(_shown(item) for item in begun[1])}."
        picture_ = machine_picture(begun[0], rows)
        parts.append("\n\n".join([f"## {SIP_TITLES[machine]}", said, picture_, machine_table(rows, why)]) + "\n")
    timers = "\n".join(f"- `{name}`: {meaning}" for name, meaning in SIP_TIMERS.items())
    parts.append(f"## The timers of a transaction\n\n{timers}\n")
    session = machine_picture(session_timer.SessionState.OFF, session_timer.TABLE)
    rows_ = machine_table(session_timer.TABLE, session_timer.DEVIATIONS)
    said = (
        "Begins in `off`. `half time` is half of the interval; `last moment` is 32 s or a third of the interval\n"
        "before its end, whichever is less; `overdue` lies midway between them. `we refresh` and `they refresh`:\n"
        "so says the 2xx to an INVITE or UPDATE."
    )
    parts.append(f"## {SESSION_TITLE}\n\n{said}\n\n{session}\n\n{rows_}\n")
    return "\n".join([*parts, SIP_NOTES])


def meanings_of(section: type) -> dict[str, str]:
    """What the comment behind each key of a section says, with its unit; from the source, where people keep it."""
    lines = inspect.getsource(section).splitlines()
    found = {}
    for node in ast.walk(ast.parse(inspect.getsource(section))):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.end_lineno is not None:
            rest = lines[node.end_lineno - 1][node.end_col_offset or 0 :]
            # As text: Markdown would take `<DIR>` for markup.
            found[node.target.id] = rest.partition("#")[2].strip().replace("<", "&lt;")
    return found


def default_of(item: dataclasses.Field[object]) -> str:
    """A key's default as it would stand in config.toml."""
    value = item.default
    return json.dumps(list(value) if isinstance(value, tuple) else value)


def key_tables() -> Iterator[str]:
    """Each section of config.toml as a heading, a sentence and a table of its keys."""
    for name, section in config.SECTIONS.items():
        said = (inspect.getdoc(section) or "").removeprefix(f"[{name}]").strip()
        meanings = meanings_of(section)
        rows = [
            f"| `{item.name}` | `{default_of(item)}` | {meanings[item.name]} |" for item in dataclasses.fields(section)
        ]
        head = ["| key | default | meaning |", "|---|---|---|"]
        yield "\n".join([f"### `[{name}]`", "", said, "", *head, *rows])


def figure_tables() -> Iterator[str]:
    """The figures of keeper and recorders: name for a query, kind, meaning, when a change is told."""
    for title, figures in (("the keeper", keeper_figures.table(1)), ("a recorder", recorder_figures.TABLE)):
        rows = ["| figure | kind | what | a change is told |", "|---|---|---|---|"]
        for figure in figures:
            label = f" by `{figure.label}`" if figure.label else ""
            told = "at once" if figure.told is Told.AT_ONCE else f"{figure.least} calls at a time"
            rows.append(f"| `{figure.sample}`{label} | {figure.kind} | {figure.help} | {told} |")
        yield "\n".join([f"### Of {title}", "", *rows])


def measured() -> dict[str, Any]:
    """The figures of the cost curve."""
    figures: dict[str, Any] = json.loads(CURVE_FIGURES.read_text(encoding="utf-8"))
    return figures


def soaked() -> dict[str, Any]:
    """What `bench soak --json` wrote, with how it was called."""
    found: dict[str, Any] = json.loads(SOAK_FIGURES.read_text(encoding="utf-8"))
    return found


def size_tables() -> Iterator[str]:
    """What so many two-way calls at once want, and what an hour of one call leaves on the disk."""
    size = curve.sizes(measured()["runs"], config.Rtp().receiver, soaked())
    yield (
        f"Reckoned with {size.calls:,} calls for a recorder, {size.base_mib} MiB for it and {size.stream_kib} KiB for "
        f"each stream, packets received by `{config.Rtp().receiver}`:"
    )
    rows = [
        "| two-way calls at once | recorders | pairs of RTP ports | files of each | memory of all | G.711 comes in |",
        "|---|---|---|---|---|---|",
    ]
    for calls in (100, 500, 2_000, 6_000):
        recorders = -(-calls // size.calls)
        files = -(-calls // recorders) * doctor.SOCKETS_PER_CALL + SPARE_FILES
        memory = recorders * size.base_mib + 2 * calls * size.stream_kib // 1024
        megabits = 2 * calls * (8_000 + 50 * PACKET_BYTES) * 8 / 1e6
        ports = calls * doctor.LINES_PER_CALL
        rows.append(f"| {calls:,} | {recorders} | {ports:,} | {files:,} | {memory:,} MiB | {megabits:,.0f} Mbit/s |")
    yield "\n".join(rows)
    rows = ["| codec | an hour of a two-way call | 1,000 such hours |", "|---|---|---|"]
    rows += [f"| {name} | {7_200 * rate / 1e6:.1f} MB | {7_200 * rate / 1e6:,.0f} GB |" for name, rate in CODECS]
    yield "\n".join(rows)


def operating(text: str) -> str:
    """The page with its tables drawn anew; the rest is as people wrote it."""
    for begin, drawn in ((FIGURES, figure_tables()), (SIZES, size_tables()), (BEGIN, key_tables())):
        head, found, rest = text.partition(begin)
        _, end, tail = rest.partition(END)
        if not found or not end:
            raise ValueError(
                f"docs/operating.md: drawn parts stand between `{begin}` and `{END}`; found only one or none"
            )
        text = f"{head}{begin}\n\n" + "\n\n".join(drawn) + f"\n\n{END}{tail}"
    return text


def performance(before: str, figures: Mapping[str, Any]) -> str:
    """The page with its table drawn anew."""
    head, rest = before.split(CURVE_BEGIN)
    _, tail = rest.split(END, 1)
    return f"{head}{CURVE_BEGIN}\n\n{curve.told(figures)}\n\n{curve.table(figures['runs'])}\n\n{END}{tail}"


def main(arguments: list[str]) -> int:
    """Write the pages, or with --check say whether the committed ones are current."""
    pages = {TARGET: page(), SIP: sip_page(), OPERATING: operating(OPERATING.read_text(encoding="utf-8"))}
    figures = measured()
    drawn_page = performance(PERFORMANCE.read_text(encoding="utf-8"), figures)
    pages |= {PERFORMANCE: drawn_page, CURVE: curve.picture(figures["runs"])}
    code = 0
    for target, drawn in pages.items():
        name = f"docs/{target.name}"
        if arguments != ["--check"]:
            target.write_text(drawn, encoding="utf-8")
            print(f"drew {name}")
        elif target.is_file() and target.read_text(encoding="utf-8") == drawn:
            print(f"{name} is current")
        else:
            print(f"{name} is not current: run `make docs`")
            code = 1
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
