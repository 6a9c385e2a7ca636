"""What agents read before they agree: all that the law wants told, in German and English alike."""

from __future__ import annotations

import string
from dataclasses import fields
from datetime import date
from typing import Any

import pytest

from mitschnitt.commands.agents_terms import WORDS, Words, consent_line, recorders, span, terms, words_for
from mitschnitt.core.access import ROLES
from mitschnitt.core.durations import Duration, parse_duration
from mitschnitt.core.purpose import ACCOUNTABILITY, BUILT_IN, OBLIGATION
from mitschnitt.core.rule_texts import LANGUAGES
from mitschnitt.errors import ConfigError
from mitschnitt.keeper.consents import STATES

OFFER: dict[str, Any] = {
    "purpose": "training",
    "notice": "n-2",
    "retention": "P1Y6M",
    "roles": ["coach", "officer"],
    "agreement": "BV 7",
    "controller": "Musterbank AG",
    "contact": "datenschutz@bank.example",
}
UNTIL = date(2027, 11, 26)
GERMAN, ENGLISH = WORDS["de"], WORDS["en"]


@pytest.mark.parametrize(
    "told",
    [
        "Art. 6 Abs. 1 Buchst. a DSGVO, § 26 Abs. 2 BDSG",
        "Schulung (training)",
        "alle anderen auch zustimmen",
        "verantwortlich  Musterbank AG, datenschutz@bank.example",
        "n-2 (Sie haben ihn in Textform bekommen",
        "Trainerinnen und Trainer, Datenschutzbeauftragte",
        "jede Aufzeichnung 1 Jahr und 6 Monate",
        "BV 7 (begrenzt die Einwilligung und ersetzt nichts davon)",
        "26.11.2027; dann endet die Einwilligung von selbst",
        "Sie entscheiden frei",
        "kein Teil Ihres Arbeitsvertrags",
        "hat keine\nNachteile",
        "Weder Ihre Vorgesetzten noch Kolleginnen und Kollegen erfahren hier",
        "Wer\neine Aufzeichnung von Ihnen hört, weiß damit, dass Sie zugestimmt haben",
        "Datenschutzbeauftragte sehen es",
        "kann es manchmal erschließen",
        "jederzeit widerrufen (Art. 7 Abs. 3 DSGVO): in einem Schritt, ohne Grund und ohne Nachteile",
        "mitschnitt agents consent withdraw --agent anna --purpose training --key",
        "endet und wird vernichtet",
        "bleibt rechtmäßig",
        "Frühere\nAufzeichnungen bleiben hörbar, bis ihre Zeit abläuft, außer Sie verlangen, dass sie gelöscht werden",
        "Art. 17 DSGVO",
        "Auskunft und eine Kopie, Berichtigung, Einschränkung und Übertragung",
        "Art. 15, 16, 18, 20",
        "Aufsichtsbehörde für den Datenschutz (Art. 77 DSGVO)",
    ],
)
def test_the_german_terms_say_all_that_has_to_be_said(told: str) -> None:
    assert told in terms("anna", OFFER, UNTIL, GERMAN)


@pytest.mark.parametrize(
    "told",
    [
        "Art. 6(1)(a) GDPR, section 26(2) BDSG",
        "everybody else agrees as well",
        "controller      Musterbank AG, datenschutz@bank.example",
        "you were given its text",
        "coaches, the data protection officer",
        "1 year and 6 months per recording",
        "BV 7 (it limits this, and stands in for none of it)",
        "2027-11-26, then it ends by itself",
        "of your own free will and no part of your contract",
        "has no drawbacks",
        "at any time (Art. 7(3) GDPR), in one step, without a reason and without drawbacks",
        "mitschnitt agents consent withdraw --agent anna --purpose training --key",
        "whoever hears a recording of you knows by it that you agreed",
        "data protection officer sees it",
        "can sometimes work it out",
        "stays lawful",
        "Earlier recordings can be heard until their time is over, unless\nyou demand that they are erased",
        "Art. 17 GDPR",
        "access and a copy, rectification, restriction and portability",
        "Art. 15, 16, 18, 20",
        "supervisory authority for data protection (Art. 77 GDPR)",
    ],
)
def test_the_english_terms_say_the_same(told: str) -> None:
    assert told in terms("anna", OFFER, UNTIL, ENGLISH)


@pytest.mark.parametrize("words", WORDS.values(), ids=WORDS)
def test_what_the_policy_leaves_open_is_told_as_open(words: Words) -> None:
    bare = terms("anna", {**OFFER, "notice": "", "agreement": "", "roles": [], "purpose": "fun"}, UNTIL, words)
    assert words.no_notice in bare
    assert words.nobody in bare
    assert words.own_purpose.format(id="fun") in bare
    assert "BV 7" not in bare
    assert "\n\n\n" not in bare


def test_both_languages_say_as_much() -> None:
    assert tuple(WORDS) == LANGUAGES
    gaps = [{name for _, name, _, _ in string.Formatter().parse(words.terms) if name} for words in WORDS.values()]
    assert gaps[0] == gaps[1]
    empty = [
        (language, item.name)
        for language, words in WORDS.items()
        for item in fields(words)
        if not getattr(words, item.name)
    ]
    assert empty == [("en", "states")], "the door's own words are English"


def test_every_purpose_role_and_state_has_german_words() -> None:
    assert set(GERMAN.purposes) == set(ENGLISH.purposes) == set(BUILT_IN) - {OBLIGATION, ACCOUNTABILITY}
    assert set(GERMAN.roles) == set(ENGLISH.roles) <= set(ROLES)
    assert set(GERMAN.states) == set(STATES.values())


@pytest.mark.parametrize(
    "text, german, english",
    [
        ("P30D", "30 Tage", "30 days"),
        ("P1D", "1 Tag", "1 day"),
        ("P2W", "14 Tage", "14 days"),
        ("P6M", "6 Monate", "6 months"),
        ("P2Y1M3D", "2 Jahre und 1 Monat und 3 Tage", "2 years and 1 month and 3 days"),
    ],
)
def test_a_period_is_told_as_people_say_it(text: str, german: str, english: str) -> None:
    assert (span(parse_duration(text), GERMAN), span(parse_duration(text), ENGLISH)) == (german, english)


def test_a_language_is_the_wanted_one_then_the_policys_then_german() -> None:
    assert words_for("en", "de") is words_for("", "en") is ENGLISH
    assert words_for("de", "en") is words_for("", "de") is words_for("", "fr") is words_for("", "") is GERMAN
    with pytest.raises(ConfigError, match="expected one of de, en; found 'fr'"):
        words_for("fr", "de")


def test_the_policys_language_may_be_that_of_one_country() -> None:
    assert words_for("", "en-GB") is words_for("", "en-US-x-centre") is ENGLISH
    assert words_for("", "de-AT") is words_for("", "fr-CH") is GERMAN


def test_recorders_are_counted_in_words() -> None:
    assert [recorders(count, GERMAN) for count in (1, 2)] == ["dem Recorder", "allen 2 Recordern"]
    assert [recorders(count, ENGLISH) for count in (0, 1)] == ["no recorder yet: none is connected", "the recorder"]
    assert "keiner verbunden" in recorders(0, GERMAN)


@pytest.mark.parametrize("state", STATES.values())
def test_a_consent_that_is_not_given_has_no_end(state: str) -> None:
    consent = {"purpose": "training", "notice": "", "state": state, "expires_at": "2027-11-26T09:00:00Z"}
    assert (consent_line(consent, ENGLISH) == f"training: {state}") == (state != "given")
    assert ("26.11.2027" in consent_line(consent, GERMAN)) == (state == "given")


def test_nothing_lasts_no_time_at_all() -> None:
    assert span(Duration(), GERMAN) == ""
