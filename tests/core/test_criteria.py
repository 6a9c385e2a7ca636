"""Which calls a criterion means: the first that holds, and nothing but a real `true` counts."""

from __future__ import annotations

import pytest

from dialogue import POLICY_TEXT
from mitschnitt.core.criteria import FAILED, MAX_WHEN_CHARS, NONE, Placed, Traits, compile_criteria
from mitschnitt.core.policy import Policy
from mitschnitt.core.policy_text import parse_policy
from mitschnitt.errors import ConfigError

CALL = Traits(queue="cards", direction="inbound", hour=9, weekday=1)


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


@pytest.mark.parametrize("when", ["1 / (hour - 9) > 0", "queue.matches('a{1000}{1000}')"])
def test_a_criterion_that_fails_excludes_the_call_as_failed(when: str) -> None:
    assert placed("false", when, "true") == Placed(None, FAILED)
    assert placed("true", exclusions=(when,)) == Placed(None, FAILED)


@pytest.mark.parametrize(
    "when, sentence",
    [
        ("hour", "must be true or false, found int"),
        ("null", "must be true or false, found null"),
        ("dyn(true)", "must be true or false, found dyn"),
        ("agent == 'anna'", "stratum s0: line 1, column 1 of `when`: undeclared reference to 'agent'"),
        ("hour >", "stratum s0: line 1, column 7 of `when`: Syntax error"),
        ("true &&\n  hour == 'x'", "stratum s0: line 2, column 8 of `when`: found no matching overload"),
        ("true" + " " * MAX_WHEN_CHARS, f"at most {MAX_WHEN_CHARS}"),
    ],
)
def test_a_criterion_that_is_wrong_is_refused_with_its_place(when: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        compile_criteria(policy(when))
