"""What agents are told before they agree, and of their own consents, in German and English: complete, in plain words.

Art. 7(2), 7(3), 13 GDPR and section 26(2) BDSG: for what, who hears it, how long, until when, how it is taken back, and
what others get to know of the answer. Words only; nothing here decides or asks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from mitschnitt.core.durations import Duration, parse_duration
from mitschnitt.core.rule_texts import LANGUAGES
from mitschnitt.errors import ConfigError

GERMAN = """\
{agent}, wir bitten Sie um Ihre Einwilligung (Art. 6 Abs. 1 Buchst. a DSGVO, § 26 Abs. 2 BDSG):

  wofür           {purpose}
  welche          Gespräche, die nach den Regeln ausgewählt sind und bei denen alle anderen auch zustimmen; sonst keine
  verantwortlich  {controller}
  Hinweis         {notice}
  wer hört es     {roles}
  wie lange       jede Aufzeichnung {retention}
{agreement}  gültig bis      {until}; dann endet die Einwilligung von selbst

Sie entscheiden frei. Die Einwilligung ist kein Teil Ihres Arbeitsvertrags. Ein Nein, oder gar keine Antwort, hat keine
Nachteile. Weder Ihre Vorgesetzten noch Kolleginnen und Kollegen erfahren hier, ob Sie zugestimmt haben. Ausnahmen: Wer
eine Aufzeichnung von Ihnen hört, weiß damit, dass Sie zugestimmt haben; Datenschutzbeauftragte sehen es, wenn sie ein
einzelnes Gespräch prüfen. Und wer über lange Zeit viele Ihrer Gespräche zählt, kann es manchmal erschließen.

Sie können die Einwilligung jederzeit widerrufen (Art. 7 Abs. 3 DSGVO): in einem Schritt, ohne Grund und ohne Nachteile.
mitschnitt agents consent withdraw --agent {agent} --purpose {id} --key DATEI
Von da an wird kein neues Gespräch mehr für diesen Zweck aufgezeichnet oder verwendet. Eine laufende Aufzeichnung, die
auf dieser Einwilligung beruht, endet und wird vernichtet. Was bis dahin geschah, bleibt rechtmäßig. Frühere
Aufzeichnungen bleiben hörbar, bis ihre Zeit abläuft, außer Sie verlangen, dass sie gelöscht werden (Art. 17 DSGVO).

Sie können auch Auskunft und eine Kopie, Berichtigung, Einschränkung und Übertragung verlangen (Art. 15, 16, 18, 20
DSGVO), alles bei: {controller}
Beschweren können Sie sich bei einer Aufsichtsbehörde für den Datenschutz (Art. 77 DSGVO).
"""

ENGLISH = """\
{agent}, you are asked for your consent (Art. 6(1)(a) GDPR, section 26(2) BDSG):

  for what        {purpose}
  which calls     those that the rules choose and on which everybody else agrees as well; no others
  controller      {controller}
  the notice      {notice}
  heard by        {roles}
  kept for        {retention} per recording
{agreement}  until           {until}, then it ends by itself

It is of your own free will and no part of your contract. Saying no, or nothing, has no drawbacks. Neither superiors nor
colleagues are told here whether you agreed. Exceptions: whoever hears a recording of you knows by it that you agreed;
the data protection officer sees it when looking into a single call. And whoever counts many of your calls over a long
time can sometimes work it out.

You can take it back at any time (Art. 7(3) GDPR), in one step, without a reason and without drawbacks:
mitschnitt agents consent withdraw --agent {agent} --purpose {id} --key FILE
From then on no new call is recorded or used for this purpose. A recording that runs and rests on this consent ends and
is destroyed. What was done until then stays lawful. Earlier recordings can be heard until their time is over, unless
you demand that they are erased (Art. 17 GDPR).

You can also demand access and a copy, rectification, restriction and portability (Art. 15, 16, 18, 20 GDPR), all of it
from: {controller}
You can complain to a supervisory authority for data protection (Art. 77 GDPR).
"""


@dataclass(frozen=True, slots=True)
class Words:
    """All that is said to an agent, in one language."""

    terms: str
    question: str
    yes: frozenset[str]  # what counts as agreeing; everything else is a no
    date: str  # of which strftime makes a date
    purposes: Mapping[str, str]  # built-in ones; a policy's own is told by its id
    own_purpose: str
    notice: str
    no_notice: str
    roles: Mapping[str, str]
    nobody: str
    agreement: str
    spans: tuple[tuple[str, str], ...]  # years, months, days: of one, of many
    and_: str
    granted: str
    withdrawn: str
    recorders: tuple[str, str, str]  # none, one, many
    states: Mapping[str, str]
    notice_of: str
    until: str
    nothing_asked: str


WORDS: Mapping[str, Words] = {
    "de": Words(
        terms=GERMAN,
        question="Stimmen Sie zu? [j/N]",
        yes=frozenset({"j", "ja", "y", "yes"}),
        date="%d.%m.%Y",
        purposes={
            "training": "Schulung (training): aus aufgezeichneten Gesprächen lernen",
            "live_listening": "Mithören (live_listening): ein Gespräch wird gehört, während es geführt wird",
            "dispute": "Streitfall (dispute): nachhören, was gesagt wurde, wenn darüber gestritten wird",
            "transcript": "Niederschrift (transcript): eine Maschine schreibt das Gespräch auf",
        },
        own_purpose="{id} (ein eigener Zweck dieses Hauses; der Hinweis erklärt ihn)",
        notice="{notice} (Sie haben ihn in Textform bekommen; stimmen Sie nicht zu, ohne ihn gelesen zu haben)",
        no_notice="keiner benannt",
        roles={
            "caller": "Anrufende",
            "agent": "Sie selbst",
            "coach": "Trainerinnen und Trainer",
            "officer": "Datenschutzbeauftragte",
        },
        nobody="niemand",
        agreement="  im Rahmen von   {agreement} (begrenzt die Einwilligung und ersetzt nichts davon)\n",
        spans=(("1 Jahr", "{} Jahre"), ("1 Monat", "{} Monate"), ("1 Tag", "{} Tage")),
        and_=" und ",
        granted="Einwilligung erteilt bis {until}; wirksam auf {recorders}",
        withdrawn=(
            "Einwilligung widerrufen; wirksam auf {recorders}. Laufende Aufzeichnungen, die auf ihr beruhen, enden und "
            "sind vernichtet"
        ),
        recorders=("keinem Recorder: noch ist keiner verbunden", "dem Recorder", "allen {} Recordern"),
        states={
            "given": "erteilt",
            "not given": "nicht erteilt",
            "withdrawn": "widerrufen",
            "expired": "abgelaufen",
            "given to another notice": "zu einem anderen Hinweis erteilt",
        },
        notice_of=" (Hinweis {notice})",
        until=", bis {until}",
        nothing_asked="die Regeln bitten Mitarbeitende um keine Einwilligung",
    ),
    "en": Words(
        terms=ENGLISH,
        question="Do you agree? [y/N]",
        yes=frozenset({"y", "yes"}),
        date="%Y-%m-%d",
        purposes={
            "training": "training: to learn from recorded calls",
            "live_listening": "live_listening: a call is heard while it is held",
            "dispute": "dispute: to hear again what was said, when that is in question",
            "transcript": "transcript: a machine writes the call down",
        },
        own_purpose="{id} (a purpose of this house; the notice explains it)",
        notice="{notice}   (you were given its text; do not agree without having read it)",
        no_notice="none is named",
        roles={"caller": "callers", "agent": "yourself", "coach": "coaches", "officer": "the data protection officer"},
        nobody="nobody",
        agreement="  within          {agreement} (it limits this, and stands in for none of it)\n",
        spans=(("1 year", "{} years"), ("1 month", "{} months"), ("1 day", "{} days")),
        and_=" and ",
        granted="granted until {until}; in force on {recorders}",
        withdrawn="withdrawn; in force on {recorders}. Recordings that run and rest on it end and are destroyed",
        recorders=("no recorder yet: none is connected", "the recorder", "all {} recorders"),
        states={},
        notice_of=" (notice {notice})",
        until=", until {until}",
        nothing_asked="the policy asks agents for no consent",
    ),
}


def words_for(wanted: str, policys: str) -> Words:
    """Words in the wanted language, "" = the policy's, and German where it is neither; ConfigError for another wish.

    A policy may speak the English of one country (`en-GB`, RFC 5646, 2.1): words are the same for all of them.
    """
    if wanted and wanted not in LANGUAGES:
        raise ConfigError(f"language: expected one of {', '.join(LANGUAGES)}; found {wanted!r}")
    return WORDS.get(wanted or policys.partition("-")[0], WORDS["de"])


def terms(agent: str, offer: Mapping[str, Any], until: date, words: Words) -> str:
    """What the agent is asked to agree to; `offer` as the door tells it."""
    purpose, notice, agreement = str(offer["purpose"]), str(offer["notice"]), str(offer["agreement"])
    return words.terms.format(
        agent=agent,
        id=purpose,
        purpose=words.purposes.get(purpose) or words.own_purpose.format(id=purpose),
        controller=", ".join(part for part in (offer["controller"], offer["contact"]) if part),
        notice=words.notice.format(notice=notice) if notice else words.no_notice,
        roles=", ".join(words.roles.get(role, role) for role in offer["roles"]) or words.nobody,
        retention=span(parse_duration(str(offer["retention"])), words),
        agreement=words.agreement.format(agreement=agreement) if agreement else "",
        until=until.strftime(words.date),
    )


def span(duration: Duration, words: Words) -> str:
    """How long, as people say it: `30 Tage`, `1 Jahr und 6 Monate`."""
    counted = zip((duration.years, duration.months, duration.days), words.spans, strict=True)
    return words.and_.join(one if number == 1 else many.format(number) for number, (one, many) in counted if number)


def recorders(count: int, words: Words) -> str:
    """On how many recorders an act is in force."""
    none, one, many = words.recorders
    return one if count == 1 else many.format(count) if count else none


def consent_line(consent: Mapping[str, Any], words: Words) -> str:
    """How it stands with one consent; `consent` as the door tells it."""
    state, notice = str(consent["state"]), str(consent["notice"])
    more = ""
    if state == "given":
        more = words.until.format(until=datetime.fromisoformat(consent["expires_at"]).strftime(words.date))
    told = words.notice_of.format(notice=notice) if notice else ""
    return f"{consent['purpose']}{told}: {words.states.get(state, state)}{more}"
