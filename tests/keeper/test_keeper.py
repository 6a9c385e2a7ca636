"""The keeper's glue: who is asked, who is told, and when."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from keeper.fake_recorder import Books
from keeper.one_round import one_round
from keeper.site_on_disk import ANNAS_KEY, annas_grant, make_site, open_holdings, rules_of
from mitschnitt.config import Config
from mitschnitt.core.call import encode_call_id
from mitschnitt.core.consent import Act, ActKind, Asked, StandingGrant
from mitschnitt.core.purpose import TRAINING, Purpose
from mitschnitt.errors import NoSpace, NotAllowed, TooLarge
from mitschnitt.keeper import keeper as keeper_module
from mitschnitt.keeper.announced import PartyPost, Ref
from mitschnitt.keeper.apply import Applier, Holdings
from mitschnitt.keeper.consents import sign_question
from mitschnitt.keeper.drawing import open_drawing
from mitschnitt.keeper.grants import sign_grant, sign_withdrawal
from mitschnitt.keeper.keeper import Keeper
from mitschnitt.keeper.site import load_site
from mitschnitt.store import queries
from mitschnitt.vault.blobs import LocalBlobs


@dataclass
class World:
    config: Config
    holdings: Holdings
    keeper: Keeper
    now: datetime
    sent: list[Mapping[str, Any]] = field(default_factory=list)

    def send(self, message: Mapping[str, Any]) -> None:
        self.sent.append(message)

    def announce(self, agent: str | None = "anna", value: str = "leg") -> dict[str, Any]:
        return asyncio.run(
            self.keeper.announce(
                [Ref("header", value)], queue="q", direction="inbound", agent=agent, language="", answer_by="digit"
            )
        )

    def kinds(self) -> list[str]:
        return [str(message["type"]) for message in self.sent]

    def act(self, kind: ActKind = ActKind.DIGIT) -> Act:
        return Act("caller", kind, "1", self.now)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    config = make_site(tmp_path, recorders=1)
    with open_holdings(config) as holdings:
        made = World(config, holdings, None, datetime.now(UTC))  # type: ignore[arg-type]  # the keeper comes next
        appliers = [Applier(1, config.journal(1), holdings)]
        rules = rules_of(config)
        made.keeper = Keeper(
            load_site(config, rules.current.policy),
            holdings,
            LocalBlobs(config.audio),
            appliers,
            rules=rules,
            drawing=open_drawing(config, rules, holdings.writer),
            announced_limit=9,
            now=lambda: made.now,
        )
        asyncio.run(made.keeper.renew_draw())
        yield made
        asyncio.run(made.keeper.close())


@pytest.mark.parametrize(
    "agent, asks",
    [
        ("anna", True),
        ("sip:anna@pbx.example.org", True),
        (None, True),
        ("ben", False),
        ("sip:ben@pbx.example.org", False),
        ("sip:nobody@pbx.example.org", False),
    ],
)
def test_nobody_is_asked_in_vain_and_the_answer_has_one_shape(world: World, agent: str | None, asks: bool) -> None:
    told = world.announce(agent)
    assert set(told) == {"call", "ask", "further", "receipt_code"}
    assert (told["ask"] is not None) == asks
    assert told["further"] == []


def test_a_grant_that_is_over_or_taken_back_asks_nobody(world: World) -> None:
    world.now += timedelta(days=91)
    assert world.announce()["ask"] is None
    world.now -= timedelta(days=91)
    assert world.announce()["ask"] is not None
    back = sign_withdrawal(ANNAS_KEY, agent="anna", purpose=TRAINING, withdrawn_at=world.now)
    asyncio.run(world.keeper.import_grant(back))
    assert world.announce()["ask"] is None


def test_a_new_grant_is_sent_to_every_recorder_at_once(world: World) -> None:
    world.keeper.attach(1, world.send)
    asyncio.run(world.keeper.import_grant(annas_grant(10, granted_at=world.now)))
    assert world.kinds() == ["view", "view"]
    versions = [message["version"] for message in world.sent]
    assert versions == sorted(set(versions))
    # The newest of an agent and purpose is what counts; older ones are not sent.
    [newest] = world.sent[-1]["grants"]
    assert newest["granted_at"] == world.now.isoformat()


def test_whoever_brings_an_act_is_told_how_many_recorders_have_it_in_force(world: World) -> None:
    def answers(message: Mapping[str, Any]) -> None:
        world.keeper.acknowledged(1, message["version"])

    world.keeper.attach(1, answers)
    assert asyncio.run(world.keeper.import_grant(annas_grant(10, granted_at=world.now))) == 1
    world.keeper.detach(1, answers)
    world.now += timedelta(seconds=1)
    assert asyncio.run(world.keeper.import_grant(annas_grant(10, granted_at=world.now))) == 0


def test_a_recorder_that_does_not_answer_is_waited_for_a_second_and_not_counted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper_module, "IN_FORCE_SECONDS", 0.05)
    world.keeper.attach(1, world.send)
    assert asyncio.run(world.keeper.import_grant(annas_grant(10, granted_at=world.now))) == 0
    assert world.kinds() == ["view", "view"]


def test_two_acts_that_come_at_once_are_both_in_the_last_view(world: World) -> None:
    world.keeper.attach(1, world.send)
    later = world.now + timedelta(seconds=1)
    back = sign_withdrawal(ANNAS_KEY, agent="anna", purpose=TRAINING, withdrawn_at=later)

    async def both() -> None:
        given = annas_grant(10, granted_at=world.now)
        await asyncio.gather(world.keeper.import_grant(given), world.keeper.import_grant(back), return_exceptions=True)

    asyncio.run(both())
    assert world.keeper.view.grants[0].withdrawn_at == later
    versions = [message["version"] for message in world.sent]
    assert versions == sorted(set(versions))
    assert world.sent[-1]["grants"][0]["withdrawn_at"] is not None


def test_only_purposes_and_notices_of_the_policy_are_taken(world: World) -> None:
    given = StandingGrant("anna", Purpose("surveys"), world.now, world.now + timedelta(days=1), "n")
    with pytest.raises(NotAllowed, match=r"grant\.purpose\.unknown"):
        asyncio.run(world.keeper.import_grant(sign_grant(given, ANNAS_KEY)))
    assert world.keeper.consents_offered()[0]["purpose"] == "training"
    question = sign_question(ANNAS_KEY, agent="anna", at=world.now)
    assert world.keeper.own_consents(question)["consents"][0]["state"] == "given"


async def stepped(keeper: Keeper) -> None:
    """What is in the journal of the recorder now has been looked at."""
    recorder = keeper.recorders[1]
    if recorder.stepping is not None:
        await recorder.stepping
    keeper.poke(1)
    assert recorder.stepping is not None
    await recorder.stepping


def look(world: World) -> None:
    asyncio.run(one_round(world.keeper))


def test_a_changed_agents_toml_counts_at_every_recorder_without_a_restart(world: World) -> None:
    world.keeper.attach(1, world.send)
    path = world.config.directory / "agents.toml"
    text = path.read_text()
    path.write_text(text + '[[agent]]\nid = "carl"\npatterns = ["sip:carl@pbx.example.org"]\n')
    look(world)
    assert [agent["id"] for agent in world.sent[-1]["agents"]] == ["anna", "ben", "carl"]
    assert [agent["id"] for agent in world.keeper.agents_listed("operator")] == ["anna", "ben", "carl"]
    # Whoever is struck off has no grant any more; calls of theirs are shut by the next view.
    path.write_text(text[text.index('[[agent]]\nid = "ben"') :])
    look(world)
    assert [agent["id"] for agent in world.sent[-1]["agents"]] == ["ben"]
    assert world.sent[-1]["grants"] == []
    assert world.announce()["ask"] is None


def test_a_broken_agents_toml_changes_nobody(world: World) -> None:
    world.keeper.attach(1, world.send)
    path = world.config.directory / "agents.toml"
    path.write_text(path.read_text() * 2)
    look(world)
    assert world.kinds() == ["view"]
    assert len(world.keeper.agents_listed("operator")) == 2


def test_more_agents_than_a_view_can_carry_change_nobody(world: World) -> None:
    def send(message: Mapping[str, Any]) -> None:
        if len(message["agents"]) > 2:
            raise TooLarge("a frame of so many bytes")
        world.send(message)

    world.keeper.attach(1, send)
    path = world.config.directory / "agents.toml"
    path.write_text(path.read_text() + '[[agent]]\nid = "carl"\npatterns = ["sip:carl@pbx.example.org"]\n')
    look(world)
    assert len(world.keeper.agents_listed("operator")) == 2
    assert len(world.sent[-1]["agents"]) == 2


def test_facts_reach_the_recorder_that_joined_and_nobody_before(world: World) -> None:
    call = world.announce()["call"]
    world.keeper.attach(1, world.send)
    asyncio.run(world.keeper.post_act(call, world.act()))
    assert world.kinds() == ["view"]
    joined = world.keeper.join(1, [Ref("header", "leg")])
    assert (joined["call"], joined["answer_by"], len(joined["acts"])) == (call, "digit", 1)
    world.keeper.post_asked(call, Asked("caller", "p", "a" * 64, "de", world.now, world.now, 1, 1))
    world.keeper.post_party(call, PartyPost("third-1", "joined", "third", "", world.now))
    asyncio.run(world.keeper.post_act(call, world.act(ActKind.PAUSE)))
    assert world.kinds() == ["view", "asked", "party", "act"]


def test_an_invite_that_nobody_announced_is_told_so(world: World) -> None:
    assert world.keeper.join(1, [Ref("header", "x")]) == {
        "type": "joined",
        "call": None,
        "rule": "call.unmatched",
    }


def test_what_a_recorder_missed_it_hears_when_it_comes_back(world: World) -> None:
    call = world.announce()["call"]
    world.keeper.attach(1, world.send)
    world.keeper.join(1, [Ref("header", "leg")])
    world.keeper.detach(1, world.send)
    asyncio.run(world.keeper.post_act(call, world.act(ActKind.PAUSE)))
    assert world.kinds() == ["view"]
    next_seq, facts = asyncio.run(world.keeper.hello(1, "boot", [call]))
    assert next_seq == 1
    assert [(fact["type"], fact["kind"]) for fact in facts] == [("act", "pause")]


def test_a_call_that_the_recorder_no_longer_runs_takes_no_facts(world: World) -> None:
    call = world.announce()["call"]
    world.keeper.join(1, [Ref("header", "leg")])
    asyncio.run(world.keeper.hello(1, "boot", []))
    with pytest.raises(NotAllowed, match=r"call\.unknown"):
        asyncio.run(world.keeper.post_act(call, world.act()))


def test_an_old_connection_does_not_detach_its_successor(world: World) -> None:
    other: list[Mapping[str, Any]] = []
    world.keeper.attach(1, other.append)
    world.keeper.attach(1, world.send)
    world.keeper.detach(1, other.append)
    world.keeper.push_view()
    assert world.kinds() == ["view", "view"]


@pytest.mark.parametrize("announced", [True, False])
def test_a_withdrawal_punctures_a_running_call_announced_here_or_before_a_restart(
    world: World, announced: bool
) -> None:
    call = world.announce()["call"] if announced else "0" * 25 + "7"
    if announced:
        world.keeper.join(1, [Ref("header", "leg")])
    block = world.holdings.leases.lease(1, "boot", 1)
    Books(world.config, 1, world.holdings.officer_key).arrived(call, block.first, block.number)

    async def withdraw() -> None:
        task = asyncio.create_task(world.keeper.step_forever())
        await stepped(world.keeper)
        await world.keeper.post_act(call, world.act(ActKind.WITHDRAW))
        task.cancel()

    asyncio.run(withdraw())
    assert not world.holdings.keyring.derives(block.first)


def test_the_status_counts_and_names_nobody(world: World) -> None:
    world.keeper.attach(1, world.send)
    assert world.keeper.status()["recorders"] == 0
    asyncio.run(world.keeper.hello(1, "boot", []))
    world.keeper.acknowledged(1, 1)
    status = world.keeper.status()
    assert (status["recorders"], status["view_acknowledged"], status["agents"]) == (1, 1, 2)
    assert not [name for name in status if "grant" in name or "consent" in name]
    assert all(type(value) is int for value in status.values())


def test_a_journal_that_cannot_be_applied_is_said_once(world: World, caplog: pytest.LogCaptureFixture) -> None:
    (world.config.journal(1) / "000000000001.jnl").write_bytes(b"\0" * 8)
    Books(world.config, 1, world.holdings.officer_key)
    path = world.config.journal(1) / "000000000001.jnl"
    books = Books(world.config, 1, world.holdings.officer_key)
    books.tell("0" * 26, "shred", {})
    frame = path.read_bytes()
    path.write_bytes(frame + b"\0" * 9 + frame)

    async def look() -> None:
        for _ in range(3):
            await stepped(world.keeper)

    asyncio.run(look())
    told = [record for record in caplog.records if "could not be applied" in record.message]
    assert len(told) == 1
    path.unlink()


def test_a_test_call_is_told_to_recorders_now_and_to_those_that_come_while_it_is_awaited(world: World) -> None:
    world.keeper.attach(1, world.send)
    token = world.keeper.begin_trial("operator", host="192.0.2.1", caller="", wait=timedelta(seconds=60))["token"]
    assert world.sent[-1] == {"type": "watch", "token": token, "host": "192.0.2.1", "caller": "", "seconds": 60}
    world.keeper.attach(1, world.send)
    assert world.kinds() == ["view", "watch", "view", "watch"]
    world.keeper.trial_taken(1, token)
    world.keeper.attach(1, world.send)
    assert world.kinds()[-1] == "view"


def test_the_testers_call_is_written_down_as_looked_at_and_any_other_is_not(world: World) -> None:
    def accesses(call: str) -> list[tuple[str, str, str]]:
        rows = world.holdings.writer.submit(lambda connection: queries.accesses_of(connection, call)).result(10)
        return [(row.role, row.purpose, row.rule) for row in rows]

    call, other = encode_call_id(b"1" * 16), encode_call_id(b"2" * 16)
    for looked_at in (call, ""):
        token = world.keeper.begin_trial("operator", host="192.0.2.1", caller="", wait=timedelta(seconds=60))["token"]
        world.keeper.trial_taken(1, token)
        asyncio.run(world.keeper.trial_told(1, {"token": token, "call": looked_at, "findings": []}))
        assert world.keeper.look_at_trial("operator", token)["state"] == "told"
    assert accesses(call) == [("operator", "trial", "trial.operator")]
    assert accesses(other) == []


def test_what_cannot_be_written_down_is_not_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_work: object) -> object:
        raise NoSpace("full")

    token = world.keeper.begin_trial("operator", host="192.0.2.1", caller="", wait=timedelta(seconds=60))["token"]
    world.keeper.trial_taken(1, token)
    with monkeypatch.context() as patch:
        patch.setattr(world.holdings.writer, "submit", full)
        asyncio.run(world.keeper.trial_told(1, {"token": token, "call": encode_call_id(b"1" * 16), "findings": []}))
    assert world.keeper.look_at_trial("operator", token)["state"] == "running"


@pytest.mark.parametrize("message", [{"findings": "x", "call": ""}, {"findings": [], "call": "../x"}])
def test_what_a_recorder_tells_wrongly_is_left_out_and_its_connection_stays(
    world: World, message: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    token = world.keeper.begin_trial("operator", host="192.0.2.1", caller="", wait=timedelta(seconds=60))["token"]
    world.keeper.trial_taken(1, token)
    asyncio.run(world.keeper.trial_told(1, {"token": token, **message}))
    assert "was left out" in caplog.text
    assert world.keeper.look_at_trial("operator", token)["findings"] == []
