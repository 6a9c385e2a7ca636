"""Who may do what: the whole matrix, walked against a table that was written by hand, and every row of ours turned."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest

from dialogue import START
from mitschnitt.core import access
from mitschnitt.core.access import (
    ANY,
    DEEDS,
    KEPT,
    OWN,
    ROLES,
    TABLE,
    Action,
    Kept,
    Limits,
    Permission,
    decide,
    unknown_role,
)
from mitschnitt.core.decision import Decision, Verdict
from mitschnitt.core.purpose import ACCOUNTABILITY, BUILT_IN, DISPUTE, OBLIGATION, TRAINING, Purpose

ONBOARDING, NONSENSE = Purpose("onboarding"), Purpose("nonsense")
PURPOSES = (*BUILT_IN, ONBOARDING)
EVERYBODY: Limits = {purpose: frozenset(ROLES) for purpose in PURPOSES}  # a policy that narrows nothing
GRANTS = ("none", "kept_for", "also", "obliged", "beside")
STATES = ("kept", "over", "live", "not_kept", "never")
OF_A_CALL = frozenset(action for action in Action if DEEDS[action].state)
LINES = (Path(__file__).parents[1] / "vectors" / "access" / "matrix.txt").read_text(encoding="utf-8").splitlines()
EXPECTED = [line.split() for line in LINES if line and not line.startswith("#")]


@dataclass(frozen=True)
class Cell:
    """One question: by whom, for what, of a call in which state; `-` where that is not asked."""

    role: str
    action: Action
    purpose: str = "-"
    grant: str = "-"
    state: str = "-"

    @property
    def call(self) -> Kept | None:
        """The call that is meant, None if there is none."""
        if self.state in ("-", "never"):
            return None
        asked = Purpose(self.purpose)
        other = DISPUTE if asked == TRAINING else TRAINING
        purpose, also = {
            "none": (other, ()),
            "kept_for": (asked, ()),
            "also": (other, (asked,)),
            "obliged": (OBLIGATION, (asked,)),
            "beside": (asked, (OBLIGATION,)),
            "-": (TRAINING, ()),
        }[self.grant]
        due = START if self.state == "over" else START + timedelta(microseconds=1)
        return Kept("kept" if self.state == "over" else self.state, purpose, due, frozenset(also))

    def ask(self, limits: Limits = EVERYBODY) -> Decision:
        purpose = None if self.purpose == "-" else Purpose(self.purpose)
        return decide(self.role, self.action, now=START, call=self.call, purpose=purpose, limits=limits)

    def expected(self) -> tuple[Verdict, str]:
        """By the first line of the file that fits."""
        names = (self.role, self.action.value, self.purpose, self.grant, self.state)
        for *columns, verdict, rule in EXPECTED:
            if all(column == "*" or name in column.split("|") for column, name in zip(columns, names, strict=True)):
                return {"yes": Verdict.OPEN, "no": Verdict.REFUSE}[verdict], rule
        raise AssertionError(f"no line of the file says anything of {self}")


def cells_of(role: str, action: Action) -> Iterator[Cell]:
    if action is Action.HEAR:
        for purpose, grant, state in itertools.product((*PURPOSES, NONSENSE), GRANTS, STATES):
            yield Cell(role, action, purpose, grant, state)
    elif action in OF_A_CALL:
        yield from (Cell(role, action, state=state) for state in STATES)
    else:
        yield Cell(role, action)


def wrong(role: str, action: Action) -> list[Cell]:
    """Cells whose answer is not the file's."""
    return [
        cell
        for cell in cells_of(role, action)
        if cell.ask() != Decision(cell.expected()[0], cell.expected()[1], cell.role)
    ]


@pytest.mark.parametrize("action", Action)
@pytest.mark.parametrize("role", [*ROLES, "nobody"])
def test_every_cell_of_the_matrix_answers_as_the_table_that_was_written_by_hand(role: str, action: Action) -> None:
    assert wrong(role, action) == []


def test_every_line_of_the_hand_written_table_decides_some_cell() -> None:
    pairs = itertools.product([*ROLES, "nobody"], Action)
    said = {cell.expected() for role, action in pairs for cell in cells_of(role, action)}
    assert {rule for *_, rule in EXPECTED} == {rule for _, rule in said}


def turned(row: Permission) -> Iterator[Permission]:
    """The row with one of its columns changed."""
    yield replace(row, rule="access.other")
    if row.states:
        yield from (replace(row, states=row.states ^ {state}) for state in ANY if row.states != {state})
    if row.purpose is not None:
        yield from (replace(row, purpose=other) for other in (*BUILT_IN, OWN) if other != row.purpose)
    yield from (replace(row, role=other) for other in ROLES if other != row.role)


@pytest.mark.thorough
def test_the_matrix_notices_any_row_that_is_missing_or_turned(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = 0
    for place, row in enumerate(TABLE):
        rest = (*TABLE[:place], *TABLE[place + 1 :])
        for table in (rest, *((other, *rest) for other in turned(row))):
            monkeypatch.setattr(access, "TABLE", table)
            assert any(wrong(role, row.action) for role in ROLES), table[0]
            tried += 1
    assert tried > 8 * len(TABLE)


@pytest.mark.thorough
def test_the_matrix_notices_any_row_that_is_added(monkeypatch: pytest.MonkeyPatch) -> None:
    there = {(row.role, row.action, row.purpose) for row in TABLE}
    hearing = [(role, Action.HEAR, purpose) for role in ROLES for purpose in (*BUILT_IN, OWN)]
    doing = [(role, action, None) for role in ROLES for action in Action if action is not Action.HEAR]
    added = [key for key in (*hearing, *doing) if key not in there]
    for role, action, purpose in added:
        row = Permission(role, action, KEPT if action in OF_A_CALL else access.NO_CALL, "access.new", purpose)
        monkeypatch.setattr(access, "TABLE", (*TABLE, row))
        assert wrong(role, action), row
    assert len(added) > len(TABLE)


@pytest.mark.parametrize("role", [*ROLES, "nobody"])
@pytest.mark.parametrize("state", STATES)
def test_what_the_law_demanded_is_heard_by_nobody_for_anything_else_whatever_was_agreed(role: str, state: str) -> None:
    asked = [Cell(role, Action.HEAR, purpose, grant, state) for purpose in PURPOSES for grant in ("obliged", "beside")]
    assert {cell.ask().verdict for cell in asked} == {Verdict.REFUSE}


@pytest.mark.parametrize("role", [*ROLES, "nobody"])
def test_nobody_hears_anything_for_accountability_or_because_a_law_demands_the_recording(role: str) -> None:
    for purpose, grant, state in itertools.product((ACCOUNTABILITY, OBLIGATION), GRANTS, STATES):
        assert Cell(role, Action.HEAR, purpose, grant, state).ask().verdict is Verdict.REFUSE


def test_a_policy_narrows_and_never_widens() -> None:
    """Every policy that names any set of up to two roles, or all, for every purpose."""
    few = [frozenset(roles) for count in (0, 1, 2) for roles in itertools.combinations(ROLES, count)]
    heard = 0
    for roles in [*few, frozenset(ROLES), frozenset({"nobody"})]:
        limits = dict.fromkeys(PURPOSES, roles)
        for role, purpose in itertools.product([*ROLES, "nobody"], (*PURPOSES, NONSENSE)):
            cell = Cell(role, Action.HEAR, purpose, "kept_for", "kept")
            by_table, by_policy = cell.ask(), cell.ask(limits)
            assert by_policy.verdict is (by_table.verdict if role in roles else Verdict.REFUSE)
            heard += by_policy.verdict is Verdict.OPEN
    assert heard > 0


def test_a_policy_that_names_no_role_lets_nobody_hear_and_says_that_it_was_the_policy() -> None:
    cell = Cell("coach", Action.HEAR, TRAINING, "kept_for", "kept")
    assert cell.ask({TRAINING: frozenset()}).rule == "access.policy.role"
    assert cell.ask({}).rule == "access.policy.role"
    assert Cell("operator", Action.HEAR, TRAINING, "kept_for", "kept").ask({}).rule == "access.role.purpose"


def test_a_purpose_that_the_policy_does_not_name_does_not_exist() -> None:
    cell = Cell("coach", Action.HEAR, ONBOARDING, "kept_for", "kept")
    assert cell.ask({TRAINING: frozenset(ROLES)}).rule == "access.purpose.unknown"
    assert decide("coach", Action.HEAR, now=START, call=cell.call, limits=EVERYBODY).rule == "access.purpose.unknown"


def test_nothing_is_heard_from_the_due_time_on() -> None:
    kept = Kept("kept", TRAINING, START + timedelta(days=30))
    before, at = kept.due_at - timedelta(microseconds=1), kept.due_at
    hear = {"call": kept, "purpose": TRAINING, "limits": EVERYBODY}
    assert decide("coach", Action.HEAR, now=before, **hear).verdict is Verdict.OPEN  # type: ignore[arg-type]  # one mapping
    assert decide("coach", Action.HEAR, now=at, **hear).rule == "access.retention.over"  # type: ignore[arg-type]  # as above


@pytest.mark.parametrize("action", [Action.HEAR, Action.SEE_FACTS, Action.SEE_LADDER])
@pytest.mark.parametrize("role", [*ROLES, "nobody"])
def test_a_call_that_does_not_exist_and_one_that_was_not_kept_look_the_same(role: str, action: Action) -> None:
    never, not_kept = (Cell(role, action, TRAINING, "kept_for", state).ask() for state in ("never", "not_kept"))
    assert never == not_kept


@pytest.mark.parametrize("role", ["", "Coach", "admin", "root", "coach ", "nobody"])
@pytest.mark.parametrize("action", Action)
def test_a_role_that_nobody_knows_is_refused_by_its_own_rule(role: str, action: Action) -> None:
    assert decide(role, action, now=START) == Decision(Verdict.REFUSE, "access.role.unknown", role)
    assert unknown_role(role).endswith(f"analyst, client; found {role!r}")


@pytest.mark.parametrize("state", ["", "KEPT", "erased", "anything else"])
@pytest.mark.parametrize("row", [row for row in TABLE if row.states], ids=lambda row: f"{row.role} {row.action}")
def test_a_state_that_nobody_knows_opens_nothing(row: Permission, state: str) -> None:
    kept = Kept(state, TRAINING, START + timedelta(days=1))
    decision = decide(row.role, row.action, now=START, call=kept, purpose=row.purpose, limits=EVERYBODY)
    assert decision.verdict is Verdict.REFUSE


def test_the_table_names_known_roles_and_built_in_purposes_once_each() -> None:
    assert {row.role for row in TABLE} == set(ROLES)
    assert {row.action for row in TABLE} == set(Action) == set(DEEDS)
    assert {row.purpose for row in TABLE} <= {None, OWN, *BUILT_IN}
    assert len({(row.role, row.action, row.purpose) for row in TABLE}) == len(TABLE)
    assert all((row.purpose is not None) is (row.action is Action.HEAR) for row in TABLE)
    assert all(bool(row.states) is (row.action in OF_A_CALL) for row in TABLE)
