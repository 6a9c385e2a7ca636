"""Standing grants: signed by the agent, for a year at most, taken back in one step."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mitschnitt.config import Config
from mitschnitt.core.consent import StandingGrant, agent_consent
from mitschnitt.core.decision import Verdict
from mitschnitt.core.purpose import TRAINING, Purpose
from mitschnitt.core.view import Agent
from mitschnitt.errors import ConfigError, MalformedPacket, MitschnittError, NotAllowed, TooLarge
from mitschnitt.keeper.acts import SignedAct
from mitschnitt.keeper.grants import (
    DOMAIN,
    Withdrawal,
    check_act,
    import_grant,
    import_grants,
    sign_grant,
    sign_withdrawal,
    standing_grants,
)
from mitschnitt.store import queries
from mitschnitt.store.engine import open_engine
from mitschnitt.store.upgrade import upgrade
from mitschnitt.store.writer import Writer

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
ANNAS_KEY = Ed25519PrivateKey.from_private_bytes(b"a" * 32)
BENS_KEY = Ed25519PrivateKey.from_private_bytes(b"b" * 32)


def agent(name: str, key: Ed25519PrivateKey) -> Agent:
    public = base64.b64encode(key.public_key().public_bytes_raw()).decode()
    return Agent(name, "team", "2026-01-01", (f"sip:{name}@example.org",), public)


AGENTS = (agent("anna", ANNAS_KEY), agent("ben", BENS_KEY), Agent("carl", "team", "2026-01-01", ("sip:c@x",)))


def grant(key: Ed25519PrivateKey = ANNAS_KEY, name: str = "anna", days: int = 90, at: datetime = NOW) -> SignedAct:
    expires = at + timedelta(days=days)
    return sign_grant(StandingGrant(name, TRAINING, at, expires, "notice-1"), key)


def signed(fields: dict[str, Any]) -> SignedAct:
    data = rfc8785.dumps(fields)
    return SignedAct(data, ANNAS_KEY.sign(DOMAIN + data))


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    engine = open_engine(tmp_path / "d.sqlite")
    upgrade(engine)
    made = Writer(engine)
    yield made
    made.close()


def stored(writer: Writer) -> tuple[StandingGrant, ...]:
    return standing_grants(writer.submit(queries.grant_acts).result(10), AGENTS)


def test_a_signed_grant_is_kept_and_counts(writer: Writer) -> None:
    said = import_grant(writer, AGENTS, grant(), now=NOW)
    assert isinstance(said, StandingGrant)
    assert stored(writer) == (said,)
    assert agent_consent("agent", "anna", stored(writer), TRAINING, NOW).verdict is Verdict.OPEN
    assert agent_consent("agent", "ben", stored(writer), TRAINING, NOW).verdict is Verdict.REFUSE


@pytest.mark.parametrize(
    "act, rule",
    [
        (grant(BENS_KEY), "grant.signature"),
        (grant(ANNAS_KEY, "ben"), "grant.signature"),
        (replace(grant(), signature=b"short"), "grant.signature"),
        (grant(ANNAS_KEY, "nobody"), "grant.agent.unknown"),
        (grant(ANNAS_KEY, "carl"), "grant.agent.unknown"),
        (grant(days=367), "grant.too_long"),
        (grant(days=0), "grant.too_long"),
        (grant(at=NOW + timedelta(minutes=6)), "grant.future"),
    ],
)
def test_a_grant_that_is_not_the_agents_own_or_lives_too_long_is_refused(
    writer: Writer, act: SignedAct, rule: str
) -> None:
    with pytest.raises(NotAllowed) as refused:
        import_grant(writer, AGENTS, act, now=NOW)
    assert refused.value.rule == rule
    assert stored(writer) == ()


def test_a_changed_act_is_not_the_one_that_was_signed() -> None:
    act = grant()
    later = act.act.replace(b"2027-02-21", b"2027-02-22")
    assert later != act.act
    with pytest.raises(NotAllowed, match=r"grant\.signature"):
        check_act(replace(act, act=later), AGENTS)


def test_a_signature_for_something_else_is_no_grant() -> None:
    data = grant().act
    with pytest.raises(NotAllowed, match=r"grant\.signature"):
        check_act(SignedAct(data, ANNAS_KEY.sign(data)), AGENTS)


def spoiled(**changes: Any) -> SignedAct:
    fields = json.loads(grant().act)
    for name, value in changes.items():
        fields.pop(name) if value is None else fields.update({name: value})
    return signed(fields)


@pytest.mark.parametrize(
    "act, error, says",
    [
        (SignedAct(b"{", b""), MalformedPacket, "canonical JSON"),
        (SignedAct(b'{"v": 1}', b""), MalformedPacket, "canonical JSON object"),
        (SignedAct(b"[]", b""), MalformedPacket, "canonical JSON object"),
        (SignedAct(b" " * 5_000, b""), TooLarge, "at most 4096 bytes"),
        (spoiled(v=2), MalformedPacket, "with v 1"),
        (spoiled(act="force"), MalformedPacket, "exactly its own fields"),
        (spoiled(notice=None), MalformedPacket, "exactly its own fields"),
        (spoiled(extra="x"), MalformedPacket, "exactly its own fields"),
        (spoiled(notice=7), MalformedPacket, "are texts"),
        (spoiled(granted_at="yesterday"), MalformedPacket, "RFC 3339"),
        (spoiled(granted_at="2026-11-23T09:00:00"), MalformedPacket, "name its zone"),
    ],
)
def test_what_is_no_act_is_refused(act: SignedAct, error: type[MitschnittError], says: str) -> None:
    with pytest.raises(error, match=says):
        check_act(act, AGENTS)


def test_a_withdrawal_ends_the_grant_and_a_new_grant_begins_anew(writer: Writer) -> None:
    import_grant(writer, AGENTS, grant(), now=NOW)
    back = NOW + timedelta(hours=1)
    act = sign_withdrawal(ANNAS_KEY, agent="anna", purpose=TRAINING, withdrawn_at=back)
    assert import_grant(writer, AGENTS, act, now=back) == Withdrawal("anna", TRAINING, back)
    assert agent_consent("agent", "anna", stored(writer), TRAINING, back).verdict is Verdict.WITHDRAW
    again = back + timedelta(hours=1)
    import_grant(writer, AGENTS, grant(at=again), now=again)
    assert agent_consent("agent", "anna", stored(writer), TRAINING, again).verdict is Verdict.OPEN


def withdrawal(at: datetime, purpose: Purpose = TRAINING) -> SignedAct:
    return sign_withdrawal(ANNAS_KEY, agent="anna", purpose=purpose, withdrawn_at=at)


@pytest.mark.parametrize(
    "first, second",
    [
        (grant(), grant(at=NOW - timedelta(seconds=1))),
        (grant(), withdrawal(NOW - timedelta(microseconds=1))),
        (withdrawal(NOW), grant(at=NOW - timedelta(days=1))),
        (withdrawal(NOW), grant(at=NOW)),
        (withdrawal(NOW), withdrawal(NOW - timedelta(days=1))),
    ],
)
def test_an_act_that_is_older_than_the_newest_is_refused_and_changes_nothing(
    writer: Writer, first: SignedAct, second: SignedAct
) -> None:
    import_grant(writer, AGENTS, first, now=NOW)
    before = stored(writer)
    with pytest.raises(NotAllowed) as refused:
        import_grant(writer, AGENTS, second, now=NOW)
    assert refused.value.rule == "grant.older"
    assert stored(writer) == before
    assert len(writer.submit(queries.grant_acts).result(10)) == 1


def test_acts_of_one_moment_are_taken_when_the_stricter_comes_second(writer: Writer) -> None:
    import_grant(writer, AGENTS, grant(), now=NOW)
    import_grant(writer, AGENTS, withdrawal(NOW), now=NOW)
    assert agent_consent("agent", "anna", stored(writer), TRAINING, NOW).rule == "consent.agent.withdrawn"


def test_what_another_agent_or_another_purpose_did_later_makes_nothing_older(writer: Writer) -> None:
    import_grant(writer, AGENTS, grant(BENS_KEY, "ben"), now=NOW)
    import_grant(writer, AGENTS, withdrawal(NOW, Purpose("transcript")), now=NOW)
    import_grant(writer, AGENTS, grant(at=NOW - timedelta(days=1)), now=NOW)
    assert agent_consent("agent", "anna", stored(writer), TRAINING, NOW).rule == "consent.given"


def test_the_same_act_again_is_taken_whatever_came_after_it(writer: Writer) -> None:
    import_grant(writer, AGENTS, grant(), now=NOW)
    import_grant(writer, AGENTS, withdrawal(NOW + timedelta(minutes=1)), now=NOW)
    import_grant(writer, AGENTS, grant(), now=NOW)
    assert agent_consent("agent", "anna", stored(writer), TRAINING, NOW).rule == "consent.agent.withdrawn"


def test_a_row_that_nobody_signed_makes_no_act_older(writer: Writer) -> None:
    forged = withdrawal(NOW + timedelta(minutes=4))
    writer.submit(
        lambda connection: queries.add_grant_act(
            connection, agent="anna", purpose=TRAINING, act=forged.act, signature=bytes(64)
        )
    ).result(10)
    import_grant(writer, AGENTS, grant(), now=NOW)
    assert agent_consent("agent", "anna", stored(writer), TRAINING, NOW).rule == "consent.given"


@pytest.mark.parametrize(
    "notices, rule",
    [
        ({}, "grant.purpose.unknown"),
        ({Purpose("transcript"): "notice-1"}, "grant.purpose.unknown"),
        ({TRAINING: "notice-2"}, "grant.notice"),
        ({TRAINING: "notice-1"}, ""),
        ({TRAINING: ""}, ""),
    ],
)
def test_a_grant_is_for_a_purpose_of_the_policy_and_after_the_notice_that_it_names(
    writer: Writer, notices: dict[Purpose, str], rule: str
) -> None:
    if rule:
        with pytest.raises(NotAllowed) as refused:
            import_grant(writer, AGENTS, grant(), now=NOW, notices=notices)
        assert refused.value.rule == rule
    else:
        import_grant(writer, AGENTS, grant(), now=NOW, notices=notices)
    assert len(stored(writer)) == (not rule)


def test_a_withdrawal_is_taken_whatever_the_policy_says_by_now(writer: Writer) -> None:
    import_grant(writer, AGENTS, grant(), now=NOW, notices={TRAINING: "notice-1"})
    import_grant(writer, AGENTS, withdrawal(NOW), now=NOW, notices={})
    assert agent_consent("agent", "anna", stored(writer), TRAINING, NOW).rule == "consent.agent.withdrawn"


def test_an_agents_new_key_makes_the_former_ones_grants_nobodys(writer: Writer) -> None:
    import_grant(writer, AGENTS, grant(), now=NOW)
    renewed = (agent("anna", BENS_KEY),)
    acts = writer.submit(queries.grant_acts).result(10)
    assert standing_grants(acts, renewed) == ()
    assert len(standing_grants(acts, AGENTS)) == 1


def test_rows_that_nobody_signed_count_for_nothing(writer: Writer) -> None:
    forged = replace(grant(), signature=b"\0" * 64)
    for act in (forged.act, b"{}"):
        writer.submit(
            lambda connection, data=act: queries.add_grant_act(  # type: ignore[misc]  # bound now, not later
                connection, agent="anna", purpose="training", act=data, signature=forged.signature
            )
        ).result(10)
    assert stored(writer) == ()


def test_an_agent_who_is_no_longer_listed_has_no_grant(writer: Writer) -> None:
    import_grant(writer, AGENTS, grant(), now=NOW)
    assert standing_grants(writer.submit(queries.grant_acts).result(10), AGENTS[1:]) == ()


def test_a_grant_that_is_over_is_kept_and_counts_for_nothing(writer: Writer) -> None:
    import_grant(writer, AGENTS, grant(at=NOW - timedelta(days=91)), now=NOW)
    assert agent_consent("agent", "anna", stored(writer), TRAINING, NOW).rule == "consent.agent.expired"


def test_acts_come_into_a_site_that_is_not_running(tmp_path: Path) -> None:
    site = Config(tmp_path)
    with pytest.raises(ConfigError, match=r"agents.toml"):
        import_grants(site, [])
    lines = [f'[[agent]]\nid = "{a.id}"\npatterns = ["{a.patterns[0]}"]\nkey = "{a.key}"\n' for a in AGENTS[:2]]
    (tmp_path / "agents.toml").write_text("\n".join(lines))
    with pytest.raises(ConfigError, match="is missing"):
        import_grants(site, [])
    site.database.parent.mkdir()
    engine = open_engine(site.database)
    upgrade(engine)
    import_grants(site, [grant(at=NOW - timedelta(days=4_000))])
    with engine.connect() as connection:
        assert len(queries.grant_acts(connection)) == 1
