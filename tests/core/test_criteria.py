"""Which calls a criterion means: the first that holds, and nothing but a real `true` counts."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from cel_expr_python import cel
from hypothesis import given
from hypothesis import strategies as st

from dialogue import POLICY_TEXT
from mitschnitt.core.criteria import (
    FAILED,
    MAX_WHEN_CHARS,
    NONE,
    VARIABLES,
    Criteria,
    Placed,
    Traits,
    compile_criteria,
)
from mitschnitt.core.policy import Policy, Stratum
from mitschnitt.core.policy_text import parse_policy
from mitschnitt.errors import ConfigError

CALL = Traits(queue="cards", direction="inbound", hour=9, weekday=1)
TEN = "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]"
BOMB = f"{TEN}.all(x, {TEN}.all(y, {TEN}.all(z, {TEN}.all(u, {TEN}.all(v, {TEN}.all(w, true))))))"


def policy(*strata: str, exclusions: tuple[str, ...] = ()) -> Policy:
    """A policy with these criteria."""
    head, tail = POLICY_TEXT.decode().split("[[stratum]]")
    tail = tail[tail.index("[asking]") :]
    text = "".join(f'[[stratum]]\nname = "s{n}"\nwhen = """{when}"""\nrate = 1\n' for n, when in enumerate(strata))
    text += "".join(f'[[exclusion]]\nname = "e{n}"\nwhen = """{when}"""\n' for n, when in enumerate(exclusions))
    return parse_policy((head + text + tail).encode())


def placed(*strata: str, exclusions: tuple[str, ...] = (), call: Traits = CALL) -> Placed:
    return compile_criteria(policy(*strata, exclusions=exclusions)).place(call)


def test_the_first_stratum_that_holds_is_the_calls() -> None:
    assert placed("queue == 'loans'", "hour < 12", "true") == Placed(1, None)


def test_exclusions_come_first() -> None:
    assert placed("true", exclusions=("hour > 20", "weekday == 1")) == Placed(None, 1)


def test_a_call_that_nothing_means_is_excluded_as_none() -> None:
    assert placed("hour > 20") == Placed(None, NONE)
    assert placed() == Placed(None, NONE)


@pytest.mark.parametrize("when", ["{'a': 1}.b == 1", "hour == 9 && {1: true}.a"])
def test_a_criterion_that_fails_excludes_the_call_as_failed(when: str) -> None:
    assert placed("false", when, "true") == Placed(None, FAILED)
    assert placed("true", exclusions=(when,)) == Placed(None, FAILED)


@pytest.mark.parametrize("when", ["1 / 0 == 1", "dyn(1)", "dyn('true')", "null", "[true]", f"{TEN}.all(a, {BOMB})"])
def test_an_expression_of_the_whole_language_that_is_not_true_never_draws(when: str) -> None:
    whole = cel.NewEnv(variables=VARIABLES)
    expression = whole.compile(when)
    assert Criteria((expression,), ()).place(CALL) == Placed(None, FAILED)


@pytest.mark.parametrize(
    "when, holds",
    [
        ("queue == 'cards' && direction != 'outbound'", True),
        ("queue in ['loans', 'cards'] || hour < 6", True),
        ("hour >= 8 && hour < 18 && weekday <= 5", True),
        ("tenure_days >= 0 && tenure_days < 90", False),
        ("tenure_days == -1", True),
        ("!queue.startsWith('car')", False),
        ("queue.endsWith('ds') && queue.contains('r')", True),
        ("hour > 12 ? false : weekday == 1", True),
        ("// who calls early\nhour < 10", True),
    ],
)
def test_criteria_compare_the_facts_of_a_call(when: str, holds: bool) -> None:
    assert placed(when) == (Placed(0, None) if holds else Placed(None, NONE))


@pytest.mark.parametrize(
    "when, sentence",
    [
        ("hour", "must be true or false, found int"),
        ("null", "must be true or false, found null"),
        ("'true'", "must be true or false, found string"),
        ("[true]", "must be true or false, found list"),
        ("agent == 'anna'", "stratum s0: line 1, column 1 of `when`: undeclared reference to 'agent'; known are queue"),
        ("hour >", "stratum s0: line 1, column 7 of `when`: Syntax error"),
        ("true &&\n  hour == 'x'", "stratum s0: line 2, column 8 of `when`: found no matching overload"),
        (" ", "needs|1 to 1000 characters"),
        ("true" + " " * MAX_WHEN_CHARS, f"at most {MAX_WHEN_CHARS}"),
    ],
)
def test_a_criterion_that_is_wrong_is_refused_with_its_place(when: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        compile_criteria(policy(when))


BOMBS = {
    "nested comprehensions": (f"{TEN}.all(a, {TEN}.all(b, {TEN}.all(c, {BOMB})))", "undeclared reference"),
    "a text that doubles": ("'a' + 'a' + queue == queue", "undeclared reference to '_\\+_'"),
    "a pattern": ("queue.matches('(a+)+$')", "undeclared reference to 'matches'"),
    "deep brackets": ("(" * 240 + "true" + ")" * 240, "nested too deeply"),
    "deep lists": ("hour in " + "[" * 200 + "]" * 200, "nested too deeply"),
    "deep choices": ("true ? " * 60 + "true" + " : true" * 60, "nested too deeply|at most"),
    "a long one": ("true" + " && true" * 3_000, "1 to 1000 characters|at most"),
    "a call of a day": ("timestamp('2026-01-01T00:00:00Z') == timestamp(hour)", "undeclared reference to 'timestamp'"),
}


@pytest.mark.parametrize("phrase", BOMBS)
def test_an_expression_that_would_take_without_end_is_refused(phrase: str) -> None:
    when, sentence = BOMBS[phrase]
    with pytest.raises(ConfigError, match=sentence):
        compile_criteria(policy(when))


WORDS = st.sampled_from(
    [
        *VARIABLES,
        *("==", "&&", "||", "!", "<", "in", "(", ")", "[", "]", "1", "9u", "'a'", "?", ":", ".", "true", "-", ""),
    ]
)


@pytest.mark.thorough
@given(st.lists(WORDS, max_size=12).map(" ".join))
def test_any_words_are_a_criterion_that_places_a_call_or_a_config_error(when: str) -> None:
    try:
        criteria = compile_criteria(replace(policy("true"), strata=(Stratum("s", when, Fraction(1)),)))
    except ConfigError as error:
        assert str(error).startswith("policy: stratum s: ")  # noqa: PT017 - either outcome is checked
    else:
        assert criteria.place(CALL) in (Placed(0, None), Placed(None, NONE), Placed(None, FAILED))
