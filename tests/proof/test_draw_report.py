"""Reports: what was found takes back what was proved, and each finding names its file."""

from __future__ import annotations

from mitschnitt.proof.draw_report import Cheat, Finding, From, Report


def test_a_finding_is_one_sentence_that_names_its_day_and_its_file() -> None:
    finding = Finding(Cheat.DROPPED, From.COUNCIL, "2026-11-23", "2 draws are not in the public list")
    assert str(finding) == "2026-11-23: dropped: 2 draws are not in the public list (from the council's bundle)"


def test_what_was_proved_holds_only_without_what_takes_it_back() -> None:
    report = Report()
    report.proves("numbers have no gap", Cheat.DROPPED)
    report.proves("caps were kept", Cheat.CAP)
    report.proves("caps were kept", Cheat.CAP)
    assert report.proved == ["numbers have no gap", "caps were kept"]
    report.finds(Cheat.CAP, From.COUNCIL, "2026-11-23", "one too many")
    assert report.proved == ["numbers have no gap"]
    report.finds(Cheat.BROKEN, From.PUBLIC, "2026-11-23", "cut")
    assert report.proved == []


def test_what_is_left_open_is_said_once() -> None:
    report = Report()
    for _ in range(2):
        report.leaves_open("who called")
    assert report.unproved == ["who called"]


def test_cheats_are_told_by_file() -> None:
    report = Report()
    report.finds(Cheat.CAP, From.COUNCIL, "d", "x")
    report.finds(Cheat.FILTER, From.PUBLIC, "d", "y")
    assert report.cheats() == {Cheat.CAP, Cheat.FILTER}
    assert report.cheats([From.PUBLIC]) == {Cheat.FILTER}
