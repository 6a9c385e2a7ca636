"""Draws docs/gate.md from the gate's own table; with `--check` it only says whether the page is current."""

from __future__ import annotations

import sys
from pathlib import Path

from mitschnitt.core.gate import TRANSITIONS, Command, Happening, State
from mitschnitt.core.policy import MAX_WINDOW

TARGET = Path(__file__).parent / "gate.md"

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
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    padded = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    rule = "  ".join("-" * width for width in widths)
    return "\n".join(["```text", padded[0], rule, *padded[1:], "```"])


def page() -> str:
    """The whole of docs/gate.md."""
    meanings = "\n".join(f"- `{command}`: {meaning}" for command, meaning in MEANINGS.items())
    return f"{INTRO}\n{picture()}\n\n## The table\n\n{table()}\n\n## What the commands mean\n\n{meanings}\n"


def main(arguments: list[str]) -> int:
    """Write the page, or with --check say whether the committed one is current."""
    drawn = page()
    if arguments == ["--check"]:
        current = TARGET.is_file() and TARGET.read_text(encoding="utf-8") == drawn
        print("docs/gate.md is current" if current else "docs/gate.md is not current: run `make docs`")
        return 0 if current else 1
    TARGET.write_text(drawn, encoding="utf-8")
    print("drew docs/gate.md")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
