"""The verifier of the draw finds each cheat in the file where it shows, and agrees with a second one."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from mitschnitt.errors import ConfigError
from mitschnitt.proof.draw_report import From
from mitschnitt.proof.draws import Answer, Verifier
from second.draw_cheats import CHEATS, Case, Files, case, files_of, first, without
from second.draw_check import check
from second.draw_lists import POLICY, honest_week, public_of
from source import modules

VECTORS = Path(__file__).parent.parent / "vectors" / "draw_lists"
CASES = json.loads((VECTORS / "cases.json").read_text(encoding="utf-8"))
PLACES = {
    From.PUBLIC: "public",
    From.COUNCIL: "council",
    From.DAY: "day",
}
WEEK = honest_week()


def verified(files: Files, *ids: bytes) -> tuple[Verifier, list[Answer]]:
    verifier = Verifier()
    for name, data in files.lists.items():
        verifier.add_list(io.BytesIO(data), name)
    for name, data in files.records.items():
        verifier.add_day(data, name)
    verifier.add_policy(files.policy, "policy.toml")
    return verifier, verifier.check(ids)


def found_in(files: Files) -> set[tuple[str, str]]:
    verifier, _ = verified(files)
    return {(str(finding.cheat), PLACES[finding.source]) for finding in verifier.report.findings}


def second_opinion(files: Files) -> set[tuple[str, str]]:
    return check([*files.lists.values()], [*files.records.values()], [files.policy])


def test_an_honest_week_has_no_finding_and_says_what_was_proved() -> None:
    verifier, _ = verified(case(WEEK).files())
    assert verifier.report.findings == []
    assert len(verifier.report.proved) == 8
    assert any("foresee" in sentence for sentence in verifier.report.unproved)


@pytest.mark.thorough
@pytest.mark.parametrize("name", CHEATS)
def test_a_cheat_is_found_in_the_file_where_it_shows(name: str) -> None:
    _, what, where = CHEATS[name]
    files = files_of(name, WEEK)
    found = found_in(files)
    assert (what, where) in found
    assert found == second_opinion(files)


@pytest.mark.thorough
@pytest.mark.parametrize("name", CHEATS)
def test_what_was_found_is_not_called_proved(name: str) -> None:
    honest, cheated = verified(case(WEEK).files())[0], verified(files_of(name, WEEK))[0]
    assert len(cheated.report.proved) < len(honest.report.proved)


def stored(name: str) -> Files:
    paths = {path: VECTORS / "honest" / path for path in CASES["honest"]["files"]}
    paths |= {path: VECTORS / name / path for path in CASES[name]["files"]}
    data = {path: place.read_bytes() for path, place in paths.items()}
    lists = {path: text for path, text in data.items() if path.endswith(".mdl")}
    records = {path: text for path, text in data.items() if path.endswith(".json")}
    return Files(lists, records, data["policy.toml"])


@pytest.mark.parametrize("name", CASES)
def test_both_implementations_find_the_same_in_the_stored_files(name: str) -> None:
    expected = {(what, where) for what, where in CASES[name]["found"]}
    assert found_in(stored(name)) == expected == second_opinion(stored(name))


def test_the_stored_cases_are_all_cheats_and_the_honest_week_has_none() -> None:
    assert set(CASES) == {"honest", *CHEATS}
    assert [name for name in CASES if not CASES[name]["found"]] == ["honest"]


def dropped_everywhere() -> tuple[Case, bytes]:
    found = case(WEEK)
    last = max((draw for draw in found.councils[0].draws if draw.source == "keeper"), key=lambda draw: draw.n)
    for public, council in found.both()[:1]:
        without(public, last)
        without(council, last)
    return found, WEEK[0].id_of(last)


def test_the_last_call_dropped_from_every_file_is_found_by_its_caller_alone() -> None:
    found, draw_id = dropped_everywhere()
    assert found_in(found.files()) - {("cap", "council")} == set()
    verifier, answers = verified(found.files(), draw_id)
    assert answers[0].word == "absent"
    assert "a call was dropped" in verifier.report.findings[-1].sentence


def test_without_the_bundle_only_what_public_lists_show_is_found_and_the_rest_is_named() -> None:
    files = files_of("grinds_an_id_until_the_call_is_not_drawn", WEEK)
    files.lists = {name: data for name, data in files.lists.items() if "public" in name}
    verifier, _ = verified(files)
    assert verifier.report.findings == []
    assert any("were not ground" in sentence for sentence in verifier.report.unproved)


def test_one_list_alone_says_what_it_leaves_open() -> None:
    verifier = Verifier()
    verifier.add_list(io.BytesIO(public_of(WEEK[0])), "public.mdl")
    verifier.check()
    assert verifier.report.findings == []
    said = " ".join(verifier.report.unproved)
    assert all(word in said for word in ("day records", "council's bundle", "the policy", "callers look for"))


def test_a_list_is_no_second_one_when_it_is_handed_over_twice() -> None:
    verifier = Verifier()
    for name in ("a", "b"):
        verifier.add_list(io.BytesIO(public_of(WEEK[0])), name)
    verifier.check()
    assert verifier.report.findings == []


def asked(verdict: str, **wanted: object) -> Answer:
    draw = first(WEEK[0], verdict, **wanted)
    return verified(case(WEEK).files(), WEEK[0].id_of(draw))[1][0]


def test_a_caller_learns_whether_the_call_was_drawn() -> None:
    assert asked("not_drawn").word == "not_drawn"
    uncapped = honest_week(1, caps={"agent_week": 400, "agent_share": 1, "share": 1})
    drawn = uncapped[0].id_of(first(uncapped[0], "drawn"))
    assert verified(case(uncapped).files(), drawn)[1][0].word == "drawn"
    assert asked("excluded", place=0x8001).sentence.endswith("excluded as `night`")
    assert asked("excluded", place=65535).sentence.endswith("excluded as `none`")


def test_where_caps_closed_calls_a_public_list_does_not_say_whose() -> None:
    answer = asked("capped.agent_share", place=0)
    assert answer.word == "drawn_unless_capped"
    assert "caps closed" in answer.sentence


def test_a_draw_that_fails_one_agent_alarms() -> None:
    week = honest_week(3, 600, 8, caps={"agent_week": 400, "agent_share": 1, "share": 1})
    unlucky = week[0].draws[0].tag
    for day in week:
        own = [draw for draw in day.draws if draw.tag == unlucky and draw.verdict == "drawn"]
        for draw in own[: max(1, len(own) * 3 // 10)]:
            draw.outcome = "failed"
    files = case(week).files()
    assert ("failures", "council") in found_in(files)
    assert ("failures", "council") in second_opinion(files)


def test_what_is_no_list_is_no_finding_but_a_wrong_file() -> None:
    with pytest.raises(ConfigError, match="no list of the draw"):
        Verifier().add_list(io.BytesIO(b"PK\x03\x04 something else"), "photo.zip")
    with pytest.raises(ConfigError, match="no policy that draws"):
        Verifier().add_policy(POLICY.encode()[:100], "policy.toml")


def test_the_verifier_imports_nothing_of_what_draws_or_writes() -> None:
    own = {module.name: module for module in modules() if module.package == "proof"}
    seen, todo = set(), ["proof.draws"]
    while todo:
        name = todo.pop()
        seen.add(name)
        within = {item.removeprefix("mitschnitt.") for item in own[name].imports if item.startswith("mitschnitt.")}
        assert {item.partition(".")[0] for item in within} <= {"proof", "errors"}
        todo += [item for item in within if item in own and item not in seen]
    assert {"proof.draws", "proof.draw_format", "proof.draw_tickets", "proof.draw_council"} <= seen
