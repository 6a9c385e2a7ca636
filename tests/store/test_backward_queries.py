"""What a backward draw may see of calls: kept ones of its days, and nothing of any other."""

from __future__ import annotations

from pathlib import Path

from keeper.days_on_disk import site
from mitschnitt.store.backward_queries import KeptRow, kept_between

NOW = "2026-11-26T00:00:00.000000Z"


def test_kept_calls_of_the_days_come_by_id_and_no_others(tmp_path: Path) -> None:
    with site(tmp_path) as here:
        here.keep({"C" * 26: "2026-11-17", "A" * 26: "2026-11-16", "B" * 26: "2026-11-18", "D" * 26: "2026-11-15"})
        here.erase("B" * 26)

        def ask(due_after: str) -> list[KeptRow]:
            return here.writer.submit(
                lambda connection: kept_between(connection, "2026-11-16", "2026-11-18", due_after=due_after)
            ).result()

        assert ask(NOW) == [
            KeptRow("A" * 26, "2026-11-16", "training"),
            KeptRow("C" * 26, "2026-11-17", "training"),
        ]
        assert ask("2027-02-01T00:00:00.000000Z") == []
