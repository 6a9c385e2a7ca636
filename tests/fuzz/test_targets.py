"""The targets of the fuzzer without the fuzzer: every seed, every cut of a seed, and what was once found.

A finding becomes a file in `tests/vectors/fuzz/<target>/` and stays one.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from fuzz.seeds import CUT, VECTORS, seeds
from fuzz.targets import CUT as CUT_OF_TARGETS
from fuzz.targets import TARGETS

FOUND = VECTORS / "fuzz"


@pytest.mark.parametrize("target", TARGETS)
def test_a_seed_and_its_cuts_bring_out_only_what_is_promised(target: str) -> None:
    found = {}
    for number, seed in enumerate(seeds(target)):
        step = max(1, len(seed) // (4 if target == "agent" else 16))
        for length in [*range(0, len(seed), step), len(seed)]:
            try:
                TARGETS[target](seed[:length])
            except Exception as error:  # noqa: BLE001 - whatever it is, it is told with its seed, and the others are tried
                found[f"seed {number}, {length} bytes"] = repr(error)
    assert found == {}


@pytest.mark.parametrize("path", sorted(FOUND.rglob("*.bin")), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_what_the_fuzzer_once_found_stays_fixed(path: Path) -> None:
    assert TARGETS[path.parent.name](path.read_bytes()) is None


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_every_target_has_seeds(target: str) -> None:
    assert len(list(seeds(target))) >= 4


def test_seeds_and_targets_cut_at_the_same_bytes() -> None:
    assert CUT == CUT_OF_TARGETS


def test_the_shares_of_a_run_name_every_target_and_make_a_whole() -> None:
    shares: dict[str, int] = runner().SHARES
    assert shares.keys() == TARGETS.keys()
    assert sum(shares.values()) == 100


def runner() -> ModuleType:
    """The fuzzer's own module, which needs atheris only to run."""
    spec = importlib.util.spec_from_file_location("fuzz_run", Path(__file__).with_name("run.py"))
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    before = list(sys.path)
    spec.loader.exec_module(module)
    sys.path[:] = before
    return module
