"""docs/gate.md and docs/sip.md are drawn from their tables, the keys in docs/operating.md from the configuration."""

from __future__ import annotations

import dataclasses
import importlib.util
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

from mitschnitt import config
from mitschnitt.core.gate import TRANSITIONS, Command, State
from mitschnitt.wire.sip import session_timer, transaction
from source import ROOT


@pytest.fixture(scope="module", name="draw")
def load_draw() -> ModuleType:
    spec = importlib.util.spec_from_file_location("draw", ROOT / "docs" / "draw.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_committed_picture_is_the_one_that_the_table_draws(draw: ModuleType) -> None:
    assert (ROOT / "docs" / "gate.md").read_text(encoding="utf-8") == draw.page(), "run `make docs`"


def test_every_row_is_drawn_in_both_pictures(draw: ModuleType) -> None:
    lines = draw.table().splitlines()
    assert len(lines) == len(TRANSITIONS) + 4  # two fences, a heading, a rule
    for (before, trigger), (after, _) in TRANSITIONS.items():
        arrow = next(line for line in draw.picture().splitlines() if f" {before} --> {after}:" in line)
        assert trigger.value in arrow


def test_every_command_is_explained_and_every_state_is_drawn(draw: ModuleType) -> None:
    assert set(draw.MEANINGS) == set(Command)
    assert [state for state in State if state.value not in draw.picture()] == []


def test_the_committed_machines_of_sip_are_those_of_the_tables(draw: ModuleType) -> None:
    assert (ROOT / "docs" / "sip.md").read_text(encoding="utf-8") == draw.sip_page(), "run `make docs`"


@pytest.mark.parametrize("machine", list(transaction.Machine))
def test_every_row_of_a_transaction_is_drawn_and_every_deviation_says_why(
    draw: ModuleType, machine: transaction.Machine
) -> None:
    rows = transaction.TABLES[machine]
    why = {(state, event): text for (of, state, event), text in transaction.DEVIATIONS.items() if of is machine}
    assert set(why) <= set(rows)
    lines, reasons = drawn_table(draw.machine_table(rows, why))
    assert (len(lines), len(reasons)) == (len(rows) + 4, len(why))
    assert [line for line in lines if line.endswith("]")] == [line for line in lines if "[" in line]
    for (before, event), (after, _) in rows.items():
        arrow = f" {before} --> {after}:"
        drawn = next(line for line in draw.machine_picture(before, rows).splitlines() if arrow in line)
        assert event.value in drawn


def test_every_row_of_the_session_timer_is_drawn(draw: ModuleType) -> None:
    lines, reasons = drawn_table(draw.machine_table(session_timer.TABLE, session_timer.DEVIATIONS))
    assert (len(lines), len(reasons)) == (len(session_timer.TABLE) + 4, len(session_timer.DEVIATIONS))
    picture = draw.machine_picture(session_timer.SessionState.OFF, session_timer.TABLE)
    assert [state for state in session_timer.SessionState if state.value not in picture] == []


def test_every_timer_of_a_transaction_is_explained_and_every_machine_has_a_title(draw: ModuleType) -> None:
    assert list(draw.SIP_TIMERS) == [timer.value for timer in transaction.Timer]
    assert set(draw.SIP_TITLES) == set(transaction.Machine)


def drawn_table(text: str) -> tuple[list[str], list[str]]:
    """(Lines of the fenced table, numbered reasons below it)."""
    table, _, below = text.partition("\n\n")
    return table.splitlines(), [line for line in below.splitlines() if line[:1].isdigit()]


def test_the_committed_keys_are_those_of_the_configuration(draw: ModuleType) -> None:
    text = draw.OPERATING.read_text(encoding="utf-8")
    assert draw.operating(text) == text, "run `make docs`"


def test_every_key_is_listed_with_its_default_and_a_meaning(draw: ModuleType) -> None:
    rows = [line for section in draw.key_tables() for line in section.splitlines() if line.startswith("| `")]
    fields = [item for section in config.SECTIONS.values() for item in dataclasses.fields(section)]
    assert len(rows) == len(fields) > 10
    for row, item in zip(rows, fields, strict=True):
        _, key, default, meaning, _ = row.split("|")
        assert key.strip() == f"`{item.name}`"
        assert tomllib.loads(f"found = {default.strip(' `')}") == {"found": _plain(item.default)}
        assert meaning.strip(), f"say behind `{item.name}` in config.py what it is, with its unit"


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def test_a_page_that_lost_its_marks_is_not_drawn_over(draw: ModuleType) -> None:
    with pytest.raises(ValueError, match="found only one or none"):
        draw.operating(f"text\n{draw.BEGIN}\nkeys\n")
    whole = "\n".join(f"{begin}\n{draw.END}" for begin in (draw.FIGURES, draw.SIZES, draw.BEGIN))
    assert draw.operating(whole).count(draw.END) == 3


def test_the_check_says_which_page_is_not_current(
    draw: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    old = "".join(f"{begin}\nold\n{draw.END}\n" for begin in (draw.FIGURES, draw.SIZES, draw.BEGIN))
    (tmp_path / "operating.md").write_text(old, encoding="utf-8")
    monkeypatch.setattr(draw, "OPERATING", tmp_path / "operating.md")
    assert draw.main(["--check"]) == 1
    told = capsys.readouterr().out
    assert "docs/gate.md is current" in told
    assert "docs/operating.md is not current: run `make docs`" in told
