"""docs/siprec.md tells which test shows which row of the checklist; no row is without one but those marked `later`."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from source import ROOT

LATER_ON_PURPOSE = {32, 33}  # SRTP


@pytest.fixture(scope="module", name="checklist")
def load_checklist() -> ModuleType:
    spec = importlib.util.spec_from_file_location("checklist", ROOT / "docs" / "checklist.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["checklist"] = module  # its dataclass looks itself up there
    spec.loader.exec_module(module)
    return module


def test_the_committed_page_is_the_one_that_is_drawn(checklist: ModuleType) -> None:
    assert checklist.TARGET.read_text(encoding="utf-8") == checklist.page(), "run `make docs`"


def test_the_rows_are_numbered_from_1_to_42(checklist: ModuleType) -> None:
    assert [row.row for row in checklist.rows()] == list(range(1, 43))
    assert {row.level for row in checklist.rows()} == {"must", "should", "may"}


def test_every_row_has_a_test_or_says_that_it_comes_later(checklist: ModuleType) -> None:
    tests, rows = checklist.all_tests(), checklist.rows()
    assert [row.row for row in rows if not row.later and not tests.get(row.row)] == []
    assert {row.row for row in rows if row.later} >= LATER_ON_PURPOSE


def test_no_test_names_a_row_that_is_none(checklist: ModuleType) -> None:
    assert set(checklist.all_tests()) - {row.row for row in checklist.rows()} == set()


def test_tests_are_found_by_their_name_wherever_they_stand(checklist: ModuleType, tmp_path: Path) -> None:
    (path := ROOT / "tests" / "test_checklist.py").is_file()
    assert checklist.tests_of([path]) == {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checklist, "ROOT", tmp_path)
        made = tmp_path / "test_x.py"
        made.write_text("class A:\n    async def test_row_07_x(self): ...\ndef test_row_7_y(): ...\n")
        assert checklist.tests_of([made]) == {7: ["test_x.py::test_row_07_x"]}
