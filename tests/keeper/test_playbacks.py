"""Play-backs: one access each, any stretch, asked anew each time, and nothing after an erasure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from keeper.site_on_disk import make_site, open_holdings
from mitschnitt.commands.bench_call import Spoken, keep_calls, payload_of, spoken_for
from mitschnitt.config import Config
from mitschnitt.core.access import ROLES
from mitschnitt.core.call import encode_call_id
from mitschnitt.errors import Damaged, KeyGone, MalformedPacket, NoSpace, NotAllowed, TooLarge
from mitschnitt.keeper import playbacks as module
from mitschnitt.keeper.apply import Holdings
from mitschnitt.keeper.erasing import erase
from mitschnitt.keeper.laid_out_calls import REST_SECONDS
from mitschnitt.keeper.playbacks import MAX_BEFORE, MAX_STRETCH_NS, Playbacks
from mitschnitt.keeper.records import Records
from mitschnitt.store import queries
from mitschnitt.store.engine import open_reader
from mitschnitt.store.queries import AccessRow
from mitschnitt.vault.door import Vault
from mitschnitt.wire.stretch import Stretch, unpack_stretches

CALL, OTHER = (encode_call_id(bytes([number]) * 16) for number in (1, 2))
SECONDS = 4
SECOND_NS = 1_000_000_000
COACH = {"purpose": "training", "role": "coach"}


@dataclass
class World:
    config: Config
    holdings: Holdings
    records: Records
    playbacks: Playbacks
    elapsed: float = 0.0

    def open(self, call: str = CALL, **asked: str) -> dict[str, Any]:
        return self.playbacks.open(call, now=now(), **{**COACH, **asked})

    def stretch(self, token: str, start: float = 0, stop: float = 1, *parties: int) -> list[Stretch]:
        span = (round(start * SECOND_NS), round(stop * SECOND_NS))
        return unpack_stretches(
            self.playbacks.stretch(token, "coach", span, parties=parties or (0, 1), before=0, now=now())
        )

    def accesses(self) -> list[AccessRow]:
        return self.holdings.writer.submit(lambda connection: queries.accesses_of(connection, CALL)).result(10)


def now() -> datetime:
    return datetime.now(UTC)


def two_parties() -> list[Spoken]:
    return [spoken_for(SECONDS, role=role, party=party) for party, role in enumerate(("caller", "agent"))]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    config = make_site(tmp_path)
    with open_holdings(config) as holdings:
        keep_calls(holdings, config, {CALL: two_parties(), OTHER: two_parties()})
        reader = open_reader(config.database)
        records = Records(holdings, reader)
        made = World(config, holdings, records, None)  # type: ignore[arg-type]  # it needs the world's clock
        made.playbacks = Playbacks(holdings, records, elapsed=lambda: made.elapsed)
        yield made
        reader.dispose()


def test_opening_tells_length_parties_and_codings_and_what_became_of_the_packets_is_told_when_asked(
    world: World,
) -> None:
    told = world.open()
    assert told["call"] == CALL
    assert SECONDS - 0.1 < told["duration_ns"] / SECOND_NS <= SECONDS
    assert [(row["party"], row["role"], row["reason"]) for row in told["parties"]] == [
        (0, "caller", "ended"),
        (1, "agent", "ended"),
    ]
    counted = world.playbacks.completeness(told["playback"], "coach", now=now())
    for row in told["parties"]:
        said = counted[str(row["party"])]
        assert dict(row["codecs"])["PCMA"] == said["received"] == said["expected"] - said["lost"]
        assert said["reason"] == "ended"


def test_a_stretch_has_the_payload_of_its_packets_and_no_byte_is_of_the_other_party(world: World) -> None:
    token = world.open()["playback"]
    caller, agent = world.stretch(token, 1, 2)
    for party, one in ((0, caller), (1, agent)):
        assert one.party == party
        assert 40 < one.rows.size <= 51
        numbers = np.rint(one.rows["first_ns"] / 20_000_000).astype(np.int64)
        expected = [payload_of(numbers + lead, party).tobytes() for lead in range(3)]  # the first ones may be lost
        assert bytes(one.payload) in expected
    assert bytes(caller.payload) != bytes(agent.payload)


def test_each_play_back_is_one_access_however_many_stretches_it_asks_for(world: World) -> None:
    token = world.open()["playback"]
    for second in range(SECONDS - 1):
        world.stretch(token, second, second + 1)
    assert [(row.role, row.purpose, row.rule) for row in world.accesses()] == [
        ("coach", "training", "access.coach.training")
    ]
    world.open()
    assert len(world.accesses()) == 2


def test_nothing_is_opened_when_the_access_cannot_be_written(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_work: object) -> object:
        raise NoSpace("full")

    opened: list[object] = []
    monkeypatch.setattr(world.holdings.writer, "submit", full)
    monkeypatch.setattr(Vault, "read", lambda *asked: opened.append(asked))
    with pytest.raises(NoSpace):
        world.open()
    assert opened == []


@pytest.mark.parametrize(
    "asked, rule",
    [
        ({"role": "operator"}, "access.role.purpose"),
        ({"role": "outsider"}, "access.role.unknown"),
        ({"purpose": "dispute"}, "access.role.purpose"),
        ({"call": encode_call_id(bytes([7]) * 16)}, "call.unknown"),
    ],
)
def test_who_may_not_hear_a_call_opens_nothing_and_leaves_no_access(
    world: World, asked: dict[str, str], rule: str
) -> None:
    with pytest.raises(NotAllowed) as refused:
        world.open(**asked)
    assert refused.value.rule == rule
    assert world.accesses() == []


@pytest.mark.thorough
@pytest.mark.parametrize("role", [role for role in (*ROLES, "outsider", "") if role != "coach"])
def test_the_name_of_a_play_back_is_worth_nothing_to_another_role_than_the_one_that_opened_it(
    world: World, role: str
) -> None:
    token = world.open()["playback"]
    told = set()
    for name in (token, "of nobody"):
        for ask in (
            lambda it=name: world.playbacks.stretch(it, role, (0, 1), parties=(0,), before=0, now=now()),
            lambda it=name: world.playbacks.completeness(it, role, now=now()),
            lambda it=name: world.playbacks.close(it, role),
        ):
            with pytest.raises(NotAllowed) as refused:
                ask()
            told.add((refused.value.rule, str(refused.value)))
    (only,) = told
    assert only[0] == ("playback.over" if role in ROLES else "access.role.unknown")
    assert world.stretch(token)[0].rows.size


def test_an_erasure_ends_the_play_back_at_the_next_stretch_and_the_call_beside_it_plays_on(world: World) -> None:
    token, other = world.open()["playback"], world.open(OTHER)["playback"]
    world.stretch(token)
    world.records.erase(CALL, "officer")
    for ask in (lambda: world.stretch(token), lambda: world.playbacks.completeness(token, "coach", now=now())):
        with pytest.raises(NotAllowed) as over:
            ask()
        assert over.value.rule == "playback.over"
    with pytest.raises(NotAllowed) as gone:
        world.open()
    assert gone.value.rule == "access.not_kept"
    assert world.stretch(other)[0].rows.size


def test_an_erasure_by_whatever_way_leaves_no_layout_behind(world: World) -> None:
    world.open()
    remembered = world.playbacks._laid_out
    assert remembered.find(CALL) is not None
    erase(world.holdings, CALL)
    assert remembered.find(CALL) is None


@pytest.mark.parametrize("party", [0, 1])
def test_an_erasure_while_a_call_is_laid_out_leaves_nothing_remembered(
    world: World, party: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, laid = Vault.read, list[object]()

    def erased_meanwhile(vault: Vault, *asked: Any) -> bytes:
        found = read(vault, *asked)
        if len(laid) == party:
            erase(world.holdings, CALL)
        laid.append(asked)
        return found

    monkeypatch.setattr(Vault, "read", erased_meanwhile)
    with pytest.raises(KeyGone, match="erased a moment ago"):
        world.open()
    assert len(laid) == party + 1
    assert world.playbacks._laid_out.find(CALL) is None


def test_an_erasure_while_a_stretch_is_read_is_told_as_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    token, read = world.open()["playback"], Vault.read

    def erased_meanwhile(vault: Vault, *asked: Any) -> bytes:
        erase(world.holdings, CALL)
        return read(vault, *asked)

    monkeypatch.setattr(Vault, "read", erased_meanwhile)
    with pytest.raises(KeyGone):
        world.stretch(token)


def test_the_end_of_retention_ends_a_play_back(world: World) -> None:
    token = world.open()["playback"]
    with pytest.raises(NotAllowed) as over:
        world.playbacks.stretch(token, "coach", (0, 1), parties=(0,), before=0, now=now() + timedelta(days=31))
    assert over.value.rule == "access.retention.over"


def test_a_play_back_that_rests_is_over_and_one_that_is_used_is_not(world: World) -> None:
    used, rests = world.open()["playback"], world.open()["playback"]
    world.elapsed = REST_SECONDS - 1
    world.stretch(used)
    world.elapsed = REST_SECONDS + 1
    world.stretch(used)
    with pytest.raises(NotAllowed, match=r"playback\.over"):
        world.stretch(rests)


def test_a_play_back_that_was_closed_or_never_was_is_over(world: World) -> None:
    token = world.open()["playback"]
    world.playbacks.close(token, "coach")
    for name in (token, "never"):
        with pytest.raises(NotAllowed, match=r"playback\.over"):
            world.stretch(name)


def test_more_play_backs_than_there_is_room_for_end_the_one_that_rested_longest(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_PLAYBACKS", 2)
    tokens = []
    for number in range(3):
        world.elapsed = number
        tokens.append(world.open()["playback"])
    with pytest.raises(NotAllowed, match=r"playback\.over"):
        world.stretch(tokens[0])
    assert all(world.stretch(token)[0].rows.size for token in tokens[1:])


def test_a_stretch_that_is_too_long_or_of_nobody_is_refused(world: World) -> None:
    token = world.open()["playback"]
    with pytest.raises(TooLarge, match="a stretch lasts at most"):
        world.playbacks.stretch(token, "coach", (0, MAX_STRETCH_NS + 1), parties=(0,), before=0, now=now())
    with pytest.raises(TooLarge, match=f"with {MAX_BEFORE} packets before it"):
        world.playbacks.stretch(token, "coach", (0, 1), parties=(0,), before=MAX_BEFORE + 1, now=now())
    with pytest.raises(MalformedPacket, match=r"has the parties \[0, 1\], not \[2\]"):
        world.stretch(token, 0, 1, 2)


@pytest.mark.parametrize("kind, when", [("media", "stretch"), ("timeline", "open")])
def test_damage_says_whose_and_of_what(world: World, kind: str, when: str) -> None:
    path = next(world.config.audio.rglob(f"{CALL}/1.{kind}"))
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.chmod(0o600)
    path.write_bytes(data)
    with pytest.raises(Damaged, match=rf"{kind} of party 1.*: chunk 0 fails its tag"):
        world.stretch(world.open()["playback"])
    if when == "stretch":
        assert world.stretch(world.open()["playback"], 0, 1, 0)[0].rows.size
