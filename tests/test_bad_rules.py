"""Which test shows that bad input to rules is refused in a clear sentence, and that nothing is changed by it.

A table to read; what it says of the tests is checked to exist, what they prove they prove themselves.
"""

from __future__ import annotations

import ast

import pytest

from source import ROOT

SHOWN_BY = {
    "broken TOML": [
        "commands/test_policy_propose.py::test_what_is_no_sound_policy_is_refused_and_nothing_is_changed",
        "core/test_policy_text.py::test_a_policy_that_is_wrong_is_refused_and_told_why",
        "core/test_policy_text.py::test_any_bytes_are_a_policy_or_a_config_error",
    ],
    "absurd or negative periods": [
        "commands/test_policy_propose.py::test_what_is_no_sound_policy_is_refused_and_nothing_is_changed",
        "core/test_durations.py::test_what_is_no_span_is_refused_and_told_why",
        "commands/test_draw_commit.py::test_wrong_usage_is_told_in_one_sentence",
    ],
    "duplicate patterns": [
        "core/test_roster.py::test_two_agents_whom_one_address_could_mean_are_refused_with_both_names",
        "keeper/test_agents_file.py::test_what_collides_is_told_with_the_lines_where_both_begin",
        "keeper/test_agents_file.py::test_a_broken_change_leaves_the_agents_and_is_complained_of_once_without_a_name",
    ],
    "expression bombs": [
        "commands/test_policy_propose.py::test_what_is_no_sound_policy_is_refused_and_nothing_is_changed",
        "core/test_criteria.py::test_an_expression_that_would_take_without_end_is_refused",
    ],
    "expressions that return no boolean": [
        "commands/test_policy_propose.py::test_what_is_no_sound_policy_is_refused_and_nothing_is_changed",
        "core/test_criteria.py::test_a_criterion_that_is_wrong_is_refused_with_its_place",
        "core/test_criteria.py::test_a_criterion_that_fails_excludes_the_call_as_failed",
        "keeper/test_policies.py::test_what_nobody_can_carry_out_is_not_activated_though_all_have_signed_it",
    ],
    "signatures by the wrong role": [
        "commands/test_policy_sign.py::test_the_wrong_role_or_key_signs_nothing",
        "keeper/test_signatures.py::test_who_may_not_sign_changes_nothing",
        "keeper/test_signatures.py::test_what_is_no_signature_of_this_role_on_this_policy_counts_for_nothing",
        "keeper/test_policies.py::test_what_does_not_check_is_not_activated",
        "commands/test_draw_commit.py::test_another_roles_key_is_refused",
    ],
    "a policy activated for yesterday": [
        "commands/test_policy_activate.py::test_today_and_yesterday_are_refused",
        "keeper/test_policies.py::test_yesterday_today_and_a_single_signature_are_refused_and_nothing_is_changed",
    ],
    "a clock an hour back": [
        "keeper/test_keeper_midnight.py::test_by_a_clock_that_jumps_no_policy_changes_and_nobody_is_asked",
        "keeper/test_days.py::test_by_a_clock_that_jumped_nobody_is_asked_and_nothing_changed",
        "keeper/test_policy_watch.py::test_a_wrong_clock_puts_no_policy_in_force_and_asks_nobody",
    ],
    "a clock 30 days ahead": [
        "keeper/test_keeper_midnight.py::test_by_a_clock_that_jumps_no_policy_changes_and_nobody_is_asked",
        "keeper/test_days.py::test_by_a_clock_that_jumped_nobody_is_asked_and_nothing_changed",
        "commands/test_draw_days.py::test_a_clock_that_is_not_trusted_is_told",
    ],
    "a reveal that is missing": [
        "keeper/test_days.py::test_one_value_missing_and_nobody_is_asked",
        "commands/test_draw_days.py::test_it_says_day_by_day_whose_act_is_missing",
        "journeys/test_no_values.py::test_on_a_day_without_values_nobody_is_asked_and_the_site_says_whose_are_missing",
    ],
    "a forged round of drand": [
        "commands/test_draw_round.py::test_a_forged_round_is_refused",
        "keeper/test_days.py::test_no_other_round_is_taken",
        "proof/test_drand.py::test_what_is_no_signature_is_refused_in_one_sentence",
    ],
}


def names_in(name: str) -> set[str]:
    tree = ast.parse((ROOT / "tests" / name).read_text(encoding="utf-8"))
    return {item.name for item in ast.walk(tree) if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)}


@pytest.mark.parametrize("item", SHOWN_BY)
def test_bad_input_is_shown_to_be_refused(item: str) -> None:
    found = [named.partition("::") for named in SHOWN_BY[item]]
    assert found
    assert [test for name, _, test in found if test not in names_in(name)] == []
