"""Every rule has a sentence in both languages, and every sentence is of a rule."""

from __future__ import annotations

import re

import pytest

from mitschnitt.core.rule_texts import FAMILIES, LANGUAGES, SENTENCES, said
from test_rules import EXPLAINED, PAGE

WHY = PAGE.partition("\n## Why a call is kept or not\n")[2].partition("\n## ")[0]
OF_A_CALL = set(re.findall(r"`([a-z_.]+)`", "\n".join(row.split("|")[1] for row in WHY.splitlines() if "|" in row)))


def test_every_rule_by_which_a_call_is_kept_or_not_has_a_sentence_of_its_own() -> None:
    assert {"consent.all", "draw.not_drawn", "vault.no_space"} <= OF_A_CALL
    assert OF_A_CALL - set(SENTENCES) == set(), "what may a person concerned be told by these rules?"


def test_every_other_rule_has_a_sentence_or_is_of_a_family_that_has_one_and_every_sentence_is_of_a_rule() -> None:
    assert [rule for rule in EXPLAINED if said(rule, "de") == rule] == []
    assert set(SENTENCES) - set(EXPLAINED) == set()
    assert set(FAMILIES) - {rule.partition(".")[0] for rule in EXPLAINED} == set()


@pytest.mark.parametrize("rule", [*SENTENCES, *FAMILIES])
def test_a_sentence_is_one_in_both_languages_without_our_own_words(rule: str) -> None:
    texts = [said(rule, language) for language in LANGUAGES]
    assert len(set(texts)) == len(LANGUAGES)
    for text in texts:
        assert text.endswith(".")
        assert not [word for word in ("gate", "siprec", "keeper", "stratum", "beacon", "_") if word in text.lower()]


def test_another_language_is_german_and_a_rule_of_a_newer_process_is_its_own_name() -> None:
    assert said("consent.all", "fr") == said("consent.all", "de")
    assert said("of.a.newer.process", "de") == "of.a.newer.process"


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_caller_cannot_tell_by_the_sentence_which_cap_was_reached(language: str) -> None:
    caps = {text for rule in SENTENCES if rule.startswith("draw.cap") for text in [said(rule, language)]}
    assert len(caps) == 1
