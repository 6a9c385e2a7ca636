"""What each rule says, in German and English, in words for somebody who only made a telephone call.

One table, and one of families for what no person of a call is told: who may be told which rule stands in
`core/silence`. A test holds both against docs/rules.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

LANGUAGES = ("de", "en")


@dataclass(frozen=True, slots=True)
class Sentence:
    """One rule in both languages."""

    de: str
    en: str

    def said(self, language: str) -> str:
        """In this language; German for any other."""
        return self.en if language == "en" else self.de


_NOT_CLEAR_WHO = Sentence(
    "Es war nicht sicher, wer am Gespräch beteiligt war. Darum wurde nichts aufgezeichnet.",
    "It was not certain who was on the call. So nothing was recorded.",
)
_NOT_CLEAR_WHOSE = Sentence(
    "Es war nicht sicher, wessen Stimme zu hören war. Darum wurde nichts aufgezeichnet.",
    "It was not certain whose voice was heard. So nothing was recorded.",
)
_NOT_MATCHED = Sentence(
    "Das Gespräch ließ sich keiner Anmeldung zuordnen. Darum wurde niemand gefragt und nichts aufgezeichnet.",
    "The call could not be matched to an announcement. So nobody was asked and nothing was recorded.",
)
_FAULT = Sentence(
    "Wegen einer technischen Störung wurde nichts oder nicht alles aufgezeichnet.",
    "Because of a technical fault, nothing or not everything was recorded.",
)
_CAP = Sentence(
    "Das Los fiel auf das Gespräch, aber die Obergrenze war erreicht. Es wurde nichts aufgezeichnet.",
    "The draw chose the call, but the limit was reached. Nothing was recorded.",
)
_DRAW_MISSING = Sentence(
    "Für diesen Tag war die Auslosung nicht vollständig vorbereitet. Darum wurde niemand gefragt.",
    "The draw was not fully prepared for that day. So nobody was asked.",
)
_AGENT_NO = Sentence(
    "Von Seiten der Mitarbeitenden lag keine gültige Einwilligung vor. Es wurde nichts aufgezeichnet.",
    "There was no valid consent on the agents' side. Nothing was recorded.",
)
_NOTHING_THERE = Sentence("Es gibt keine Aufzeichnung.", "There is no recording.")
_NOT_FOUND = Sentence("Unter diesem Namen ist hier nichts bekannt.", "Nothing of that name is known here.")
_LATER = Sentence("Das Gespräch läuft noch; danach ist mehr zu sagen.", "The call is still running; ask again later.")
SENTENCES: Mapping[str, Sentence] = MappingProxyType(
    {
        "consent.all": Sentence(
            "Alle Beteiligten haben zugestimmt. Das Gespräch wurde aufgezeichnet.",
            "Everybody on the call agreed. The call was recorded.",
        ),
        "consent.given": Sentence("Dieser Beteiligte hat zugestimmt.", "This party agreed."),
        "consent.others": Sentence(
            "Es wurde nichts aufbewahrt: Nicht alle Beteiligten haben zugestimmt, oder es war technisch nicht möglich.",
            "Nothing was kept: not everybody on the call agreed, or it was not technically possible.",
        ),
        "consent.withdrawn": Sentence(
            "Eine Einwilligung wurde im Gespräch widerrufen. Die Aufzeichnung ist vernichtet.",
            "Consent was taken back during the call. The recording is destroyed.",
        ),
        "consent.agent.unknown": _AGENT_NO,
        "consent.agent.none": _AGENT_NO,
        "consent.agent.expired": _AGENT_NO,
        "consent.agent.notice": _AGENT_NO,
        "consent.agent.withdrawn": _AGENT_NO,
        "consent.caller.waiting": Sentence(
            "Sie wurden nicht gefragt. Darum wurde nichts aufgezeichnet.",
            "You were not asked. So nothing was recorded.",
        ),
        "consent.caller.prompt.cut": Sentence(
            "Die Frage wurde Ihnen nicht bis zum Ende vorgespielt. Darum zählt keine Antwort; es wurde nichts "
            "aufgezeichnet.",
            "The question was not played to you to its end. So no answer counts; nothing was recorded.",
        ),
        "consent.caller.prompt.unknown": Sentence(
            "Ihnen wurde eine andere Frage vorgespielt als die vereinbarte. Darum wurde nichts aufgezeichnet.",
            "You heard another question than the one that was agreed on. So nothing was recorded.",
        ),
        "consent.caller.refused": Sentence(
            "Sie haben Nein gesagt. Es wurde nichts aufgezeichnet.",
            "You said no. Nothing was recorded.",
        ),
        "consent.caller.silent": Sentence(
            "Sie haben nicht geantwortet; das gilt als Nein. Es wurde nichts aufgezeichnet.",
            "You did not answer; that counts as a no. Nothing was recorded.",
        ),
        "consent.third.waiting": Sentence(
            "Ein weiterer Beteiligter war noch nicht gefragt.", "Another party had not been asked yet."
        ),
        "consent.third.prompt.cut": Sentence(
            "Einem weiteren Beteiligten wurde die Frage nicht bis zum Ende vorgespielt.",
            "The question was not played to its end to another party.",
        ),
        "consent.third.prompt.unknown": Sentence(
            "Ein weiterer Beteiligter hörte eine andere Frage als die vereinbarte.",
            "Another party heard another question than the one that was agreed on.",
        ),
        "consent.third.refused": Sentence("Ein weiterer Beteiligter hat Nein gesagt.", "Another party said no."),
        "consent.third.silent": Sentence(
            "Ein weiterer Beteiligter hat nicht geantwortet; das gilt als Nein.",
            "Another party did not answer; that counts as a no.",
        ),
        "act.pause": Sentence("Die Aufzeichnung war angehalten.", "The recording was paused."),
        "parties.none": _NOT_CLEAR_WHO,
        "parties.alone": _NOT_CLEAR_WHO,
        "parties.no_agent": _NOT_CLEAR_WHO,
        "parties.ambiguous": _NOT_CLEAR_WHO,
        "parties.too_many": _NOT_CLEAR_WHO,
        "agent.ambiguous": _NOT_CLEAR_WHO,
        "binding.missing": _NOT_CLEAR_WHOSE,
        "binding.ambiguous": _NOT_CLEAR_WHOSE,
        "binding.mixed": _NOT_CLEAR_WHOSE,
        "binding.cname": _NOT_CLEAR_WHOSE,
        "binding.contradiction": _NOT_CLEAR_WHOSE,
        "call.unmatched": _NOT_MATCHED,
        "call.ambiguous": _NOT_MATCHED,
        "call.elsewhere": _NOT_MATCHED,
        "call.over": _NOT_MATCHED,
        "call.crowded": _NOT_MATCHED,
        "call.empty": Sentence(
            "Alle haben zugestimmt, aber es kam kein Ton an. Es gibt nichts aufzubewahren.",
            "Everybody agreed, but no sound arrived. There is nothing to keep.",
        ),
        "draw.drawn": Sentence(
            "Das Los fiel auf dieses Gespräch; darum durfte gefragt werden.",
            "The draw chose this call; so the question could be asked.",
        ),
        "draw.not_drawn": Sentence(
            "Das Los fiel nicht auf dieses Gespräch. Es wurde niemand gefragt und nichts aufgezeichnet.",
            "The draw did not choose this call. Nobody was asked and nothing was recorded.",
        ),
        "draw.excluded": Sentence(
            "Gespräche dieser Art sind nach den veröffentlichten Regeln ausgenommen. Es wurde nichts aufgezeichnet.",
            "The published rules leave out calls of this kind. Nothing was recorded.",
        ),
        "draw.cap": _CAP,
        "draw.cap.agent_week": _CAP,
        "draw.cap.agent_share": _CAP,
        "draw.cap.share": _CAP,
        "draw.waiting": Sentence(
            "Das Los fiel auf das Gespräch, aber es endete, bevor gefragt werden durfte.",
            "The draw chose the call, but it ended before the question could be asked.",
        ),
        "draw.missing": _DRAW_MISSING,
        "draw.day.missing": _DRAW_MISSING,
        "draw.beacon.missing": _DRAW_MISSING,
        "policy.unknown": _FAULT,
        "session.lost": _FAULT,
        "client.refused": _FAULT,
        "view.missing": _FAULT,
        "view.stale": _FAULT,
        "clock.unsteady": _FAULT,
        "store.locked": _FAULT,
        "keys.none": _FAULT,
        "ports.none": _FAULT,
        "facts.broken": _FAULT,
        "recorder.failed": _FAULT,
        "recorder.lost": Sentence(
            "Die Aufzeichnung wurde durch eine technische Störung abgebrochen.",
            "The recording was broken off by a technical fault.",
        ),
        "recorder.truncated": Sentence(
            "Die Aufzeichnung wurde durch eine technische Störung abgebrochen; bis dahin ist sie aufbewahrt.",
            "The recording was broken off by a technical fault; up to there it is kept.",
        ),
        "decision.missing": _FAULT,
        "keeper.gone": _FAULT,
        "vault.no_space": _FAULT,
        "access.coach.training": Sentence(
            "Wer ausbildet, darf hören, wozu für Ausbildung zugestimmt wurde.",
            "Coaches may hear what was agreed for training.",
        ),
        "access.purpose.not_agreed": Sentence(
            "Dafür haben die Beteiligten nicht zugestimmt.", "The parties did not agree to that."
        ),
        "access.not_kept": _NOTHING_THERE,
        "access.key_gone": _NOTHING_THERE,
        "access.retention.over": Sentence("Die Aufbewahrungsfrist ist vorbei.", "The time of keeping is over."),
        "access.decision.live": _LATER,
        "access.page.live": _LATER,
        "access.page.none": Sentence(
            "Aus der Zeit dieses Gesprächs gibt es noch keine Seiten für die Beteiligten.",
            "There are no pages for the parties from the time of this call.",
        ),
        "playback.over": _NOT_FOUND,
        "call.unknown": _NOT_FOUND,
    }
)


# Of what nobody is told who only made a call: how acts, commands and signatures are refused. One sentence a family.


FAMILIES: Mapping[str, Sentence] = MappingProxyType(
    {
        "access": Sentence("Diese Rolle darf das nicht oder nur so.", "This role may not do that, or only like this."),
        "clock": Sentence("Die Uhr dieser Anlage geht nicht richtig.", "The clock of this site is not right."),
        "drain": Sentence("Die Anlage abschalten darf nur der Betrieb.", "Only the operator may drain the site."),
        "draw": Sentence(
            "Ein Wert für die Auslosung passt nicht zu dem, was vorher festgelegt war.",
            "A value of the draw does not fit what was fixed before.",
        ),
        "erase": Sentence(
            "Aufzeichnungen löscht, wer für den Datenschutz zuständig ist.",
            "Recordings are erased by the data protection officer.",
        ),
        "figures": Sentence("Diese Zahl wird niemandem gesagt.", "This figure is told nobody."),
        "grant": Sentence("Diese Einwilligung gilt so nicht.", "This consent does not count as it is."),
        "keeper": Sentence("Gespeichertes lässt sich zurzeit nicht ändern.", "Nothing can be written at the moment."),
        "policy": Sentence(
            "So kann das Regelwerk nicht in Kraft sein oder treten.",
            "The policy cannot be in force like this, or come into it.",
        ),
        "role": Sentence("Die Unterschrift passt nicht zu dieser Rolle.", "The signature does not fit this role."),
        "trial": Sentence("Ein Testanruf ist so nicht möglich.", "A test call is not possible like this."),
        "vault": Sentence("Gespeichertes lässt sich zurzeit nicht lesen.", "What is stored cannot be read now."),
    }
)


def said(rule: str, language: str) -> str:
    """The sentence of a rule, or of its family; the rule's own name where a newer process has told another one."""
    sentence = SENTENCES.get(rule) or FAMILIES.get(rule.partition(".")[0])
    return rule if sentence is None else sentence.said(language)
