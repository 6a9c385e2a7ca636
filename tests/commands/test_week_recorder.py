"""The recorder of the scene `week`: what its ledger wrote is what the keeper knows, and nothing of a voice is in it."""

from __future__ import annotations

from commands.week_stage import short_week
from mitschnitt.commands.week_site import WITHOUT_CONSENT
from mitschnitt.vault.journal_files import segments


def test_both_recorders_wrote_journals_of_their_own() -> None:
    config = short_week().week.site.config
    assert all(segments(config.journal(number)) for number in (1, 2))


def test_nobody_is_kept_with_an_agent_who_did_not_agree() -> None:
    seen = short_week()
    kept = {item.planned.agent for item in seen.week.played if seen.states[item.call_id] == "kept"}
    assert kept
    assert not kept & set(WITHOUT_CONSENT)


def test_only_who_said_yes_is_kept() -> None:
    seen = short_week()
    kept = {item.planned.caller for item in seen.week.played if seen.states[item.call_id] == "kept"}
    assert kept == {"yes"}
    assert all(item.asked for item in seen.week.played if seen.states[item.call_id] == "kept")


def test_a_kept_call_has_two_empty_files_for_each_party() -> None:
    seen = short_week()
    files = [path for path in seen.week.site.config.audio.rglob("*") if path.is_file()]
    kept = sum(state == "kept" for state in seen.states.values())
    assert len(files) == 4 * kept
    assert max(path.stat().st_size for path in files) < 2_000
