"""The lists of a day: byte for byte those of a second implementation, written once, whole, and late enough."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Connection, delete, insert, update

from keeper.drawn_week import Site
from mitschnitt.errors import NoSpace, NotAllowed, VaultError
from mitschnitt.keeper import draw_lists
from mitschnitt.keeper.draw_list_header import ListRules
from mitschnitt.keeper.draw_list_records import Scratch
from mitschnitt.keeper.draw_lists import publish
from mitschnitt.store import list_queries
from mitschnitt.store.list_queries import ListDay
from mitschnitt.store.tables import draws
from second.draw_lists import copied, council_of, empty_day, honest_week, public_of

WEEK = honest_week(2, 240, 14)
VECTORS = Path(__file__).parent.parent / "vectors" / "draw_lists" / "honest"
MONDAY, TUESDAY = (day.day for day in WEEK)
EARLY = datetime(2026, 11, 23, 23, 59, tzinfo=UTC)
NEXT_DAY = datetime(2026, 11, 24, 0, 10, tzinfo=UTC)
LATE = datetime(2026, 11, 25, tzinfo=UTC)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path, WEEK)
    yield made
    made.close()


def days(site: Site) -> list[ListDay]:
    with site.reader.connect() as connection:
        return list_queries.days_before(connection, "2026-12-31")


def test_lists_are_byte_for_byte_those_of_the_second_implementation(site: Site) -> None:
    assert site.lists.look(LATE) == [str(MONDAY), str(TUESDAY)]
    for day in WEEK:
        assert site.file(day.day, "public.mdl").read_bytes() == public_of(day)
        assert site.file(day.day, "council.mdl").read_bytes() == council_of(day)
        assert site.file(day.day, "public.mdl").read_bytes() == (VECTORS / str(day.day) / "public.mdl").read_bytes()


def test_anybody_may_read_the_public_list_and_nobody_else_the_bundle(site: Site) -> None:
    site.lists.look(LATE)
    modes = {name: stat.S_IMODE(site.file(MONDAY, name).stat().st_mode) for name in ("public.mdl", "council.mdl")}
    assert modes == {"public.mdl": 0o644, "council.mdl": 0o600}
    assert sorted(path.name for path in site.file(MONDAY, "").iterdir()) == ["council.mdl", "public.mdl"]


def test_a_day_gets_its_list_when_it_is_over_and_all_its_calls_are(site: Site) -> None:
    assert site.lists.look(EARLY) == []
    assert site.lists.look(NEXT_DAY) == [str(MONDAY)]


def test_a_list_waits_for_calls_that_run_for_at_most_a_day(tmp_path: Path) -> None:
    week = [copied(WEEK[0])]
    running = next(draw for draw in week[0].draws if draw.outcome == "kept")
    running.outcome = ""
    site = Site(tmp_path, week)
    assert site.lists.look(NEXT_DAY) == []
    assert site.lists.look(LATE) == [str(MONDAY)]
    running.outcome = "failed"  # what nobody told in time
    assert site.file(MONDAY, "public.mdl").read_bytes() == public_of(week[0])
    site.close()


def test_a_list_waits_for_journals_that_are_behind_for_at_most_a_day(site: Site) -> None:
    site.settled = False
    assert site.lists.look(NEXT_DAY) == []
    assert site.lists.look(LATE) == [str(MONDAY), str(TUESDAY)][:1]


def test_a_list_is_never_written_twice(site: Site) -> None:
    site.lists.look(LATE)
    before = site.file(MONDAY, "public.mdl").stat()
    assert site.lists.look(LATE) == []
    assert site.lists.write(days(site)[0])
    after = site.file(MONDAY, "public.mdl").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


@pytest.mark.parametrize("name", ["public.mdl", "council.mdl"])
def test_another_list_for_a_day_that_has_one_is_refused(site: Site, name: str) -> None:
    site.lists.look(LATE)
    there = site.file(MONDAY, name).read_bytes()
    with site.engine.begin() as connection:
        other = {"stratum": None, "exclusion": 1, "verdict": "excluded", "outcome": None}
        connection.execute(update(draws).where(draws.c.n == 3).values(**other))
    if name == "council.mdl":
        site.file(MONDAY, "public.mdl").unlink()
    else:
        site.file(MONDAY, "council.mdl").unlink()
    with pytest.raises(NotAllowed, match=r"draw\.list\.second"):
        site.lists.write(days(site)[0])
    assert site.file(MONDAY, name).read_bytes() == there


def test_a_day_whose_list_is_refused_is_logged_and_holds_no_other_up(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    site.lists.look(NEXT_DAY)
    site.file(MONDAY, "council.mdl").write_bytes(b"MSDRAWC1")
    site.file(MONDAY, "public.mdl").unlink()
    assert site.lists.look(LATE) == [str(TUESDAY)]
    assert "a second, different list for a day of the draw is refused" in caplog.text
    caplog.clear()
    assert site.lists.look(LATE) == []
    assert caplog.text == ""


def test_a_crash_between_the_two_files_leaves_a_bundle_whose_list_the_next_look_writes(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = draw_lists.publish

    def crashes(path: Path, header: bytes, records: Scratch) -> None:
        if path.name == "public.mdl":
            raise OSError(5, "Input/output error")
        real(path, header, records)

    with monkeypatch.context() as patched:
        patched.setattr(draw_lists, "publish", crashes)
        with pytest.raises(NoSpace, match="cannot be written"):
            site.lists.write(days(site)[0])
    assert [path.name for path in site.file(MONDAY, "").iterdir()] == ["council.mdl"]
    assert str(MONDAY) in site.lists.look(LATE)
    assert site.file(MONDAY, "public.mdl").read_bytes() == public_of(WEEK[0])


def crash_between_the_files(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def crashes(path: Path, header: bytes, records: Scratch) -> None:
        if path.name == "public.mdl":
            raise OSError(5, "Input/output error")
        publish(path, header, records)

    with monkeypatch.context() as patched:
        patched.setattr(draw_lists, "publish", crashes)
        with pytest.raises(NoSpace, match="cannot be written"):
            site.lists.write(days(site)[0])


LATE_ENTRIES = {
    "of a source that drew that day": ("recorder-0", 9_000),
    "of a source that nobody had heard of": ("recorder-7", 1),
    "of one whose name comes first": ("a-recorder", 1),
}


@pytest.mark.parametrize("source, n", LATE_ENTRIES.values(), ids=LATE_ENTRIES)
def test_after_a_crash_between_the_two_files_the_list_says_what_the_bundle_says_though_a_draw_came_since(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, source: str, n: int
) -> None:
    monkeypatch.setattr("mitschnitt.store.list_queries.BLOCK_ROWS", 30)
    crash_between_the_files(site, monkeypatch)
    late = {"day": str(MONDAY), "source": source, "n": n, "stratum": 0, "exclusion": None, "verdict": "drawn"}
    with site.engine.begin() as connection:
        connection.execute(insert(draws).values(**late))
    assert str(MONDAY) in site.lists.look(LATE)
    assert site.file(MONDAY, "public.mdl").read_bytes() == public_of(WEEK[0])
    assert site.file(MONDAY, "council.mdl").read_bytes() == council_of(WEEK[0])
    told = [record for record in caplog.records if "they are in no list" in record.message]
    assert [vars(record)["count"] for record in told] == [1]


def test_whose_call_it_was_may_become_known_between_the_two_files(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    nobodys = next(draw for draw in WEEK[0].draws if not any(draw.tag))
    crash_between_the_files(site, monkeypatch)
    with site.engine.begin() as connection:
        theirs = update(draws).where(draws.c.day == str(MONDAY), draws.c.source == nobodys.source)
        connection.execute(theirs.where(draws.c.n == nobodys.n).values(agent_tag=b"8 bytes."))
    assert str(MONDAY) in site.lists.look(LATE)
    assert site.file(MONDAY, "public.mdl").read_bytes() == public_of(WEEK[0])


def _drop(connection: Connection) -> None:
    connection.execute(delete(draws).where(draws.c.day == str(MONDAY), draws.c.n == 3))


def _rename(connection: Connection) -> None:
    named = update(draws).where(draws.c.day == str(MONDAY), draws.c.agent_tag.is_not(None))
    connection.execute(named.values(agent_tag=b"8 bytes."))


def _forget_all(connection: Connection) -> None:
    connection.execute(delete(draws).where(draws.c.day == str(MONDAY)))


@pytest.mark.parametrize("change", [_drop, _rename, _forget_all])
def test_a_bundle_whose_draws_are_others_now_gets_no_list(
    site: Site, monkeypatch: pytest.MonkeyPatch, change: Callable[[Connection], None]
) -> None:
    crash_between_the_files(site, monkeypatch)
    with site.engine.begin() as connection:
        change(connection)
    with pytest.raises(NotAllowed, match=r"draw\.list\.second"):
        site.lists.write(days(site)[0])
    assert not site.file(MONDAY, "public.mdl").exists()


def test_what_a_crash_left_beside_a_list_is_never_written_into(site: Site) -> None:
    site.lists.look(LATE)
    public = site.file(MONDAY, "public.mdl")
    whole = public.read_bytes()
    os.link(public, public.with_name("public.mdl.new"))  # a crash between the two names
    os.link(public, public.with_name("kept"))
    public.unlink()
    site.lists.look(LATE)
    assert public.read_bytes() == public.with_name("kept").read_bytes() == whole
    assert not public.with_name("public.mdl.new").exists()


def test_a_day_without_a_beacon_has_no_list_because_nobody_was_drawn(tmp_path: Path) -> None:
    site = Site(tmp_path, [empty_day(MONDAY)])
    site.beacons[str(MONDAY)]["value"] = None
    assert site.lists.look(LATE) == []
    assert not site.published.exists()
    assert site.lists.due(LATE) == []
    site.close()


def test_a_day_on_which_nobody_called_has_an_empty_list(tmp_path: Path) -> None:
    quiet = empty_day(MONDAY)
    site = Site(tmp_path, [quiet])
    assert site.lists.look(LATE) == [str(MONDAY)]
    assert site.file(MONDAY, "public.mdl").read_bytes() == public_of(quiet)
    site.close()


def test_draws_that_the_policy_cannot_have_made_are_no_list(tmp_path: Path) -> None:
    site = Site(tmp_path, [WEEK[0]], ListRules((), (), None, None, None, cell_calls=20))
    with pytest.raises(VaultError, match="strata or exclusions that the policy"):
        site.lists.write(days(site)[0])
    assert list(site.file(MONDAY, "").iterdir()) == []
    site.close()


def test_runs_that_are_longer_than_memory_are_merged_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mitschnitt.keeper.draw_list_records.RUN_RECORDS", 50)
    monkeypatch.setattr("mitschnitt.store.list_queries.BLOCK_ROWS", 30)
    site = Site(tmp_path, WEEK)
    site.lists.look(LATE)
    assert site.file(TUESDAY, "public.mdl").read_bytes() == public_of(WEEK[1])
    assert site.file(TUESDAY, "council.mdl").read_bytes() == council_of(WEEK[1])
    site.close()


def test_a_disk_that_takes_nothing_is_no_space_and_nothing_is_published(site: Site) -> None:
    site.published.mkdir()
    site.file(MONDAY, "").write_bytes(b"in the way")
    with pytest.raises(NoSpace, match="lists of the draw cannot be written"):
        site.lists.write(days(site)[0])
    assert site.lists.look(LATE) == [str(TUESDAY)]
