"""Writes tests/vectors/draw_lists: an honest week, and what each cheat makes of it; only changed files are stored.

Shares no code with mitschnitt. Run: PYTHONPATH=tests python tests/second/make_draw_list_vectors.py
"""

from __future__ import annotations

import json
from pathlib import Path

from second.draw_cheats import CHEATS, Files, case, files_of
from second.draw_check import check
from second.draw_lists import honest_week

VECTORS = Path(__file__).parent.parent / "vectors" / "draw_lists"
SMALL_DAYS, SMALL_CALLS, SMALL_AGENTS = 2, 240, 14  # a week that is no burden to the repository


def written(files: Files) -> dict[str, bytes]:
    return {**files.lists, **files.records, "policy.toml": files.policy}


def main() -> None:
    week = honest_week(SMALL_DAYS, SMALL_CALLS, SMALL_AGENTS)
    honest = written(case(week).files())
    cases: dict[str, object] = {}
    for name in ("honest", *CHEATS):
        files = case(week).files() if name == "honest" else files_of(name, week)
        changed = {path: data for path, data in written(files).items() if name == "honest" or honest.get(path) != data}
        for path, data in changed.items():
            (VECTORS / name / path).parent.mkdir(parents=True, exist_ok=True)
            (VECTORS / name / path).write_bytes(data)
        found = check([*files.lists.values()], [*files.records.values()], [files.policy])
        cases[name] = {"files": sorted(changed), "found": sorted(map(list, found))}
    (VECTORS / "cases.json").write_text(json.dumps(cases, indent=1) + "\n")


if __name__ == "__main__":
    main()
