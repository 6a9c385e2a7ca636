"""Every rule has a sentence in both languages, and every sentence is of a rule."""

from __future__ import annotations

import pytest

from mitschnitt.core.rule_texts import LANGUAGES, SENTENCES, said
from test_rules import EXPLAINED


def test_every_rule_of_the_page_has_a_sentence_and_every_sentence_a_rule() -> None:
    assert set(EXPLAINED) - set(SENTENCES) == set(), "what may a person concerned be told by these rules?"
    assert set(SENTENCES) - set(EXPLAINED) == set()


@pytest.mark.parametrize("rule", SENTENCES)
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
