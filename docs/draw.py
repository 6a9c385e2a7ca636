"""Draws docs/gate.md from the gate's table and the keys in docs/operating.md from the configuration's classes.

With `--check` it only says whether both are current.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from mitschnitt import config
from mitschnitt.core.gate import TRANSITIONS, Command, Happening, State
from mitschnitt.core.policy import MAX_WINDOW

TARGET = Path(__file__).parent / "gate.md"
OPERATING = Path(__file__).parent / "operating.md"
BEGIN = "<!-- drawn from src/mitschnitt/config.py by `make docs`; do not edit: a test compares -->"
END = "<!-- end of what is drawn -->"

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


def operating(text: str) -> str:
    """The page with its keys drawn anew; the rest is as people wrote it."""
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"docs/operating.md: the keys stand between `{BEGIN}` and `{END}`; found only one or none")
    drawn = "\n\n".join(key_tables())
    return f"{head}{BEGIN}\n\n{drawn}\n\n{END}{tail}"


def main(arguments: list[str]) -> int:
    """Write the pages, or with --check say whether the committed ones are current."""
    pages = {TARGET: page(), OPERATING: operating(OPERATING.read_text(encoding="utf-8"))}
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
