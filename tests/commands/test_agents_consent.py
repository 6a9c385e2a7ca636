"""An agent's own acts at the command line: terms before a yes, a withdrawal without a question, refusals by rule."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from typer.testing import CliRunner, Result

from commands.keeper_stub import StubDoor
from keeper.site_on_disk import Running, make_site, running_keeper
from mitschnitt.cli import app
from mitschnitt.commands import agents_consent
from mitschnitt.commands.agents_consent import Signer
from mitschnitt.config import Config
from mitschnitt.core.consent import StandingGrant
from mitschnitt.core.view import Agent
from mitschnitt.errors import ConfigError, NotAllowed
from mitschnitt.keeper.acts import SignedAct
from mitschnitt.keeper.grants import Withdrawal, check_act
from mitschnitt.keeper.role_keys import make_private

PASSWORD = "correct-horse-7"  # noqa: S105 - of a key that this test makes
OFFER = {
    "purpose": "training",
    "language": "en",
    "notice": "n-2",
    "retention": "P30D",
    "roles": ["coach"],
    "agreement": "",
    "controller": "Centre Ltd",
    "contact": "privacy@example.org",
}
HERE = Path("/nowhere")


@dataclass
class Desk:
    """A door, and an agent with a key."""

    door: StubDoor
    signer: Signer
    public: Ed25519PublicKey

    def acts(self) -> list[StandingGrant | Withdrawal]:
        """What was brought, checked against the agent's key."""
        key = base64.b64encode(self.public.public_bytes_raw()).decode()
        agent = Agent("anna", "", "", ("sip:anna@x",), key)
        return [
            check_act(SignedAct(base64.b64decode(body["act"]), base64.b64decode(body["signature"])), [agent])
            for method, path, body in self.door.asked
            if (method, path) == ("POST", "/grants")
        ]

    def has(self, **consent: Any) -> None:
        told = {"purpose": "training", "notice": "n-2", "state": "given", **consent}
        self.door.answers["POST", "/consents"] = {"agent": "anna", "language": "en", "consents": [told]}


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.setenv("MITSCHNITT_ROLE_PASSWORD", PASSWORD)
    public = make_private(tmp_path / "site", tmp_path / "anna.pem", PASSWORD.encode())
    offered: Mapping[str, Any] = {"offered": [OFFER]}
    door = StubDoor({("GET", "/consents"): offered, ("POST", "/grants"): {"recorders": 2}})
    door.behind(monkeypatch, agents_consent)
    made = Desk(door, Signer("anna", tmp_path / "anna.pem", None), public)
    made.has(state="not given")
    return made


def says(monkeypatch: pytest.MonkeyPatch, answer: str) -> list[str]:
    """What the person says, and what that is asked."""
    asked: list[str] = []

    def prompt(question: str, *, default: str, show_default: bool, err: bool) -> str:
        assert (default, show_default, err) == ("", False, True)
        asked.append(question)
        return answer

    monkeypatch.setattr(typer, "prompt", prompt)
    return asked


def grant(desk: Desk, **more: Any) -> None:
    wanted = {"notice": "", "months": 12, "language": "", "as_json": False, **more}
    agents_consent.grant(HERE, desk.signer, wanted.pop("purpose", "training"), **wanted)


def test_the_terms_are_told_before_the_question(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    says(monkeypatch, "n")
    with pytest.raises(typer.Abort):
        grant(desk)
    terms = capsys.readouterr().err
    for told in (
        "training",
        "n-2",
        "Centre Ltd, privacy@example.org",
        "coach",
        "30 days",
        "section 26(2)",
        "withdraw",
    ):
        assert told in terms
    assert desk.acts() == []


def test_a_yes_is_signed_for_the_policys_notice_and_for_a_year_at_most(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    says(monkeypatch, "y")
    grant(desk, notice="n-2")
    [given] = desk.acts()
    assert isinstance(given, StandingGrant)
    assert (given.agent, given.purpose, given.notice) == ("anna", "training", "n-2")
    assert timedelta(days=364) < given.expires_at - given.granted_at <= timedelta(days=366)
    assert "in force on all 2 recorders" in capsys.readouterr().out
    grant(desk, months=3, as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert (told["agent"], told["notice"], told["recorders"]) == ("anna", "n-2", 2)
    shorter = desk.acts()[1]
    assert isinstance(shorter, StandingGrant)
    assert shorter.expires_at - shorter.granted_at <= timedelta(days=92)


def test_a_works_agreement_is_told_as_the_limit_that_it_is(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.door.answers["GET", "/consents"] = {"offered": [{**OFFER, "agreement": "BV 7", "notice": "", "roles": []}]}
    says(monkeypatch, "y")
    grant(desk)
    terms = capsys.readouterr().err
    assert "BV 7 (it limits this, and stands in for none of it)" in terms
    assert "none is named" in terms
    assert "nobody" in terms


@pytest.mark.parametrize("answer", ["", "n", "nein", "no", "j?", "vielleicht", "1", "yes please"])
@pytest.mark.parametrize("language", ["de", "en"])
def test_whatever_is_no_clear_yes_is_a_no(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, answer: str, language: str
) -> None:
    says(monkeypatch, answer)
    with pytest.raises(typer.Abort):
        grant(desk, language=language)
    assert desk.acts() == []


@pytest.mark.parametrize(
    "policys, wanted, question",
    [
        ("de", "", "Stimmen Sie zu?"),
        ("en", "", "Do you agree?"),
        ("de", "en", "Do you agree?"),
        ("en", "de", "Stimmen Sie zu?"),
        ("fr", "", "Stimmen Sie zu?"),
    ],
)
def test_terms_and_question_come_in_the_policys_language_unless_another_is_wanted(  # noqa: PLR0913 - fixtures and a row
    desk: Desk,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    policys: str,
    wanted: str,
    question: str,
) -> None:
    desk.door.answers["GET", "/consents"] = {"offered": [{**OFFER, "language": policys}]}
    asked = says(monkeypatch, "Ja" if question.startswith("Stimmen") else "Yes")
    grant(desk, language=wanted)
    said = capsys.readouterr()
    german = question.startswith("Stimmen")
    assert asked == [f"{question} [{'j' if german else 'y'}/N]"]
    assert ("§ 26 Abs. 2 BDSG" in said.err, "section 26(2) BDSG" in said.err) == (german, not german)
    assert said.out.startswith("Einwilligung erteilt bis" if german else "granted until")
    assert len(desk.acts()) == 1


def test_taking_back_and_looking_speak_german_where_the_policy_does(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    told = {"purpose": "training", "notice": "n-2", "state": "given", "expires_at": "2027-11-26T09:00:00Z"}
    desk.door.answers["POST", "/consents"] = {"agent": "anna", "language": "de", "consents": [told]}
    agents_consent.withdraw(HERE, desk.signer, "training", language="", as_json=False)
    assert capsys.readouterr().out.startswith("Einwilligung widerrufen; wirksam auf allen 2 Recordern.")
    agents_consent.show(HERE, desk.signer, language="", as_json=False)
    assert capsys.readouterr().out == "training (Hinweis n-2): erteilt, bis 26.11.2027\n"
    agents_consent.show(HERE, desk.signer, language="en", as_json=False)
    assert capsys.readouterr().out == "training (notice n-2): given, until 2027-11-26\n"


def test_a_language_that_nobody_speaks_here_is_refused_before_anything_is_done(desk: Desk) -> None:
    refused = pytest.raises(ConfigError, match="language: expected one of de, en; found 'fr'")
    with refused:
        grant(desk, language="fr")
    with refused:
        agents_consent.withdraw(HERE, desk.signer, "training", language="fr", as_json=False)
    with refused:
        agents_consent.show(HERE, desk.signer, language="fr", as_json=False)
    assert desk.door.asked == []


@pytest.mark.parametrize(
    "wish, rule",
    [({"purpose": "surveys"}, "grant.purpose.unknown"), ({"notice": "n-1"}, "grant.notice")],
)
def test_what_the_policy_does_not_ask_for_is_refused_before_any_terms(
    desk: Desk, wish: dict[str, str], rule: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(NotAllowed) as refused:
        grant(desk, **wish)
    assert refused.value.rule == rule
    assert capsys.readouterr().err == ""
    assert desk.acts() == []


def test_a_withdrawal_asks_nothing_and_gives_no_reason(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    desk.door.answers["POST", "/grants"] = {"recorders": 1}
    agents_consent.withdraw(HERE, desk.signer, "training", language="", as_json=False)
    [taken_back] = desk.acts()
    assert isinstance(taken_back, Withdrawal)
    assert abs(taken_back.at - datetime.now(UTC)) < timedelta(minutes=1)
    assert "withdrawn; in force on the recorder" in capsys.readouterr().out


def test_a_withdrawal_is_never_older_than_what_it_takes_back(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    ahead = datetime.now(UTC) + timedelta(minutes=4)
    desk.has(granted_at=ahead.isoformat(), withdrawn_at=None)
    agents_consent.withdraw(HERE, desk.signer, "training", language="", as_json=True)
    [taken_back] = desk.acts()
    assert isinstance(taken_back, Withdrawal)
    assert taken_back.at == ahead
    assert json.loads(capsys.readouterr().out)["withdrawn_at"] == ahead.isoformat()


def test_without_a_recorder_it_is_said_that_none_is_there(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    desk.door.answers["POST", "/grants"] = {"recorders": 0}
    agents_consent.withdraw(HERE, desk.signer, "training", language="", as_json=False)
    assert "no recorder yet" in capsys.readouterr().out


def test_the_own_consents_are_shown(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    desk.has(expires_at="2027-11-26T09:00:00Z")
    agents_consent.show(HERE, desk.signer, language="", as_json=False)
    assert capsys.readouterr().out == "training (notice n-2): given, until 2027-11-26\n"
    desk.has(state="expired", notice="")
    agents_consent.show(HERE, desk.signer, language="", as_json=False)
    assert capsys.readouterr().out == "training: expired\n"
    agents_consent.show(HERE, desk.signer, language="", as_json=True)
    assert json.loads(capsys.readouterr().out)["consents"][0]["state"] == "expired"
    desk.door.answers["POST", "/consents"] = {"agent": "anna", "language": "en", "consents": []}
    agents_consent.show(HERE, desk.signer, language="", as_json=False)
    assert "asks agents for no consent" in capsys.readouterr().out


def test_a_wrong_password_signs_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MITSCHNITT_ROLE_PASSWORD", "wrong-horse-77")
    with pytest.raises(ConfigError, match="wrong password"):
        agents_consent.withdraw(HERE, desk.signer, "training", language="", as_json=False)
    assert desk.acts() == []


# -- with a keeper that runs -----------------------------------------------------------------------


@dataclass
class Centre:
    """A keeper as a process, Ben with a key of his own, and the command line."""

    config: Config
    keeper: Running
    key: Path

    def runs(self, *words: str, said: str = "") -> Result:
        directory = str(self.config.directory)
        return CliRunner().invoke(app, ["agents", *words, "--dir", directory], input=said)

    def acts(self, what: str, *more: str, purpose: str = "training", agent: str = "ben", said: str = "") -> Result:
        asked = () if what == "show" else ("--purpose", purpose)
        return self.runs("consent", what, "--agent", agent, "--key", str(self.key), *asked, *more, said=said)


@pytest.fixture
def centre(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Centre]:
    monkeypatch.setenv("MITSCHNITT_ROLE_PASSWORD", PASSWORD)
    config = make_site(tmp_path)
    made = Centre(config, None, tmp_path / "ben.pem")  # type: ignore[arg-type]  # the keeper comes next
    line = made.runs("key", "--agent", "ben", "--out", str(made.key)).stdout.splitlines()[-1]
    agents = config.directory / "agents.toml"
    agents.write_text(agents.read_text().replace('id = "ben"', f'id = "ben"\n{line}'))
    with running_keeper(config) as keeper:
        made.keeper = keeper
        yield made


@pytest.mark.thorough
def test_consent_is_given_shown_and_taken_back_while_the_keeper_runs(centre: Centre) -> None:
    assert "training: nicht erteilt" in centre.acts("show").stdout
    assert centre.acts("grant", said="n\n").exit_code == 1
    assert "training: nicht erteilt" in centre.acts("show").stdout
    granted = centre.acts("grant", "--months", "6", said="j\n")
    assert (granted.exit_code, "Einwilligung erteilt bis" in granted.stdout) == (0, True)
    assert "training: erteilt, bis" in centre.acts("show").stdout
    assert centre.acts("withdraw").exit_code == 0
    assert "training: widerrufen" in centre.acts("show").stdout
    again = centre.acts("grant", said="j\n")
    assert again.exit_code == 0
    assert "training: erteilt" in centre.acts("show").stdout


@pytest.mark.thorough
def test_what_is_not_the_agents_own_is_refused_with_its_rule(centre: Centre) -> None:
    for what, words, rule in (
        ("withdraw", {"agent": "anna"}, "grant.signature"),
        ("show", {"agent": "anna"}, "grant.signature"),
        ("withdraw", {"agent": "nobody"}, "grant.agent.unknown"),
        ("grant", {"purpose": "surveys"}, "grant.purpose.unknown"),
    ):
        found = centre.acts(what, **words)
        assert isinstance(found.exception, NotAllowed), found.output
        assert found.exception.rule == rule


@pytest.mark.thorough
def test_the_list_is_the_same_whoever_agreed(centre: Centre) -> None:
    before = centre.runs("list").stdout
    centre.acts("grant", said="j\n")
    assert centre.runs("list").stdout == before
    centre.acts("withdraw")
    assert centre.runs("list").stdout == before
    assert "ben" in before
