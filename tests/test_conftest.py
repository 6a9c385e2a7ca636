"""Skips are forbidden where CI_NO_SKIP is set, and only there: seen on a small suite of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from source import ROOT

SUITE = """
import pytest
@pytest.mark.skip(reason="too tired")
def test_marked(): assert True
def test_itself(): pytest.skip("not here")
@pytest.mark.xfail(reason="known")
def test_expected(): assert False
def test_fine(): assert True
"""


@pytest.fixture(name="suite")
def small_suite(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "tests" / "conftest.py", tmp_path / "conftest.py")
    (tmp_path / "test_some.py").write_text(SUITE, encoding="utf-8")
    (tmp_path / "test_whole.py").write_text("import pytest\npytest.skip('all of it', allow_module_level=True)\n")
    return tmp_path


def closing_line(suite: Path, switch: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(suite), str(suite)]
    environment = {**os.environ, "CI_NO_SKIP": switch, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, cwd=suite, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout.strip().splitlines()[-1]


@pytest.mark.thorough
@pytest.mark.parametrize("switch", ["", "0"])
def test_a_skip_is_a_skip_on_a_developers_machine(suite: Path, switch: str) -> None:
    code, line = closing_line(suite, switch)
    assert code == 0
    assert "1 passed, 3 skipped, 1 xfailed" in line


def test_a_skip_is_a_failure_where_skips_are_forbidden(suite: Path) -> None:
    code, line = closing_line(suite, "1")
    assert code != 0
    assert "error" in line
    (suite / "test_whole.py").unlink()
    code, line = closing_line(suite, "1")
    assert code == 1
    assert "2 failed, 1 passed, 1 error" in line
