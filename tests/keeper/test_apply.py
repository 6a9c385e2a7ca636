"""Applying a journal: erasures first, rows with their position, a locked database stops nothing."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from keeper.fake_recorder import BINDING, Books, stamped
from keeper.site_on_disk import make_site, open_holdings
from mitschnitt.config import Config
from mitschnitt.core.call import encode_call_id
from mitschnitt.errors import Damaged, NoSpace
from mitschnitt.keeper.apply import Applier, Holdings
from mitschnitt.keeper.bindings import binding_told
from mitschnitt.keeper.leases import Block
from mitschnitt.store import queries
from mitschnitt.store.engine import open_engine
from mitschnitt.store.queries import CallRow, PartyRow
from mitschnitt.vault.decision import SEALED_BYTES
from mitschnitt.vault.journal_files import JournalWriter

CALLS = [encode_call_id(bytes([number]) * 16) for number in range(1, 9)]
ONE, TWO = CALLS[:2]


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return make_site(tmp_path)


@pytest.fixture
def holdings(config: Config) -> Iterator[Holdings]:
    with open_holdings(config) as opened:
        yield opened


@pytest.fixture
def block(holdings: Holdings) -> Block:
    return holdings.leases.lease(1, "boot-1", 8)


@pytest.fixture
def books(config: Config, holdings: Holdings) -> Books:
    return Books(config, 1, holdings.officer_key)


@pytest.fixture
def applier(config: Config, holdings: Holdings) -> Applier:
    return Applier(1, config.journal(1), holdings)


def row(holdings: Holdings, call: str) -> CallRow | None:
    return holdings.writer.submit(lambda connection: queries.call_by_id(connection, call)).result(10)


def parties(holdings: Holdings, call: str) -> list[PartyRow]:
    return holdings.writer.submit(lambda connection: queries.parties_of(connection, call)).result(10)


def keep(books: Books, block: Block, call: str, offset: int = 0) -> None:
    books.arrived(call, block.first + offset, block.number)
    books.track(call)
    books.media_slice(call, block.nodes[offset], 0, stamped("x", 2))
    books.sealed(call, block.nodes[offset], 0)
    books.closed(call, kept=True)


def test_a_kept_call_has_its_row_its_parties_and_its_due_date(
    applier: Applier, books: Books, block: Block, holdings: Holdings
) -> None:
    keep(books, block, ONE)
    applier.drain()
    found = row(holdings, ONE)
    assert found is not None
    assert (found.state, found.tree_index, found.policy_hash) == ("kept", block.first, books.policy)
    assert found.due_at is not None
    assert found.due_at[:10] > found.arrived_day
    assert [(party.party, party.role, party.reason) for party in parties(holdings, ONE)] == [(0, "caller", "ended")]
    assert applier.position.seq == 4
    assert applier.outcomes == {"kept": 1}


@pytest.mark.parametrize(
    "names, kept",
    [
        ({"0": "lusab-babad-gutih"}, "lusab-babad-gutih"),
        ({"0": "Anna Muster"}, None),
        ({"0": 7}, None),
        ({"x": "lusab-babad-gutih"}, None),
        ({"99": "lusab-babad-gutih"}, None),
        (None, None),
    ],
)
def test_an_agents_pseudonym_is_kept_with_the_call_and_nothing_else_is(
    applier: Applier, books: Books, block: Block, holdings: Holdings, names: dict[str, object] | None, kept: str | None
) -> None:
    books.arrived(ONE, block.first, block.number)
    books.track(ONE)
    books.media_slice(ONE, block.nodes[0], 0, stamped("x", 2))
    books.sealed(ONE, block.nodes[0], 0)
    books.closed(ONE, kept=True, names=names)
    applier.drain()
    assert [party.pseudonym for party in parties(holdings, ONE)] == [kept]


def test_a_voice_that_comes_by_another_way_is_the_same_party_with_one_more_reason(
    applier: Applier, books: Books, block: Block, holdings: Holdings
) -> None:
    books.arrived(ONE, block.first, block.number)
    books.track(ONE)
    other = {**BINDING, "session": 1, "cname": True}
    books.track(ONE, 0, "caller", other)
    applier.drain()
    (party,) = parties(holdings, ONE)
    assert binding_told(party.binding) == [BINDING, other]


def test_what_was_applied_is_not_applied_again_after_a_restart(
    applier: Applier, books: Books, block: Block, config: Config, holdings: Holdings
) -> None:
    keep(books, block, ONE)
    applier.drain()
    again = Applier(1, config.journal(1), holdings)
    assert again.position == applier.position
    keep(books, block, TWO, 1)
    again.drain()
    assert again.position.seq == 8
    found = row(holdings, TWO)
    assert found is not None
    assert found.state == "kept"


def test_a_shred_punctures_before_the_database_knows(
    applier: Applier, books: Books, block: Block, config: Config, holdings: Holdings
) -> None:
    books.arrived(ONE, block.first, block.number)
    applier.drain()
    with open_engine(config.database).begin():
        books.shred(ONE)
        applier.step()
        assert not holdings.keyring.derives(block.first)
        assert applier.lag == 1
    applier.drain()
    assert applier.lag == 0
    assert applier.position.seq == 2


def test_a_call_that_is_not_kept_is_punctured_and_has_a_row_that_tells_nothing(
    applier: Applier, books: Books, block: Block, holdings: Holdings
) -> None:
    books.arrived(ONE, block.first, block.number)
    books.closed(ONE, kept=False)
    applier.drain()
    found = row(holdings, ONE)
    assert found is not None
    assert (found.state, found.tree_index, found.due_at) == ("not_kept", None, None)
    assert not holdings.keyring.derives(block.first)
    assert holdings.keyring.derives(block.first + 1)


@pytest.mark.parametrize("sealed", [True, False])
def test_kept_without_files_or_after_a_shred_is_not_kept(
    applier: Applier, books: Books, block: Block, config: Config, holdings: Holdings, sealed: bool
) -> None:
    books.arrived(ONE, block.first, block.number)
    books.track(ONE)
    if sealed:
        books.media_slice(ONE, block.nodes[0], 0, stamped("x", 2))
        books.shred(ONE)
        books.sealed(ONE, block.nodes[0], 0)
    books.closed(ONE, kept=True)
    applier.drain()
    found = row(holdings, ONE)
    assert found is not None
    assert found.state == "not_kept"
    assert parties(holdings, ONE) == []
    assert list(config.audio.iterdir()) == []


def test_a_withdrawal_that_is_faster_than_the_journal_is_remembered(
    applier: Applier, books: Books, block: Block, holdings: Holdings
) -> None:
    assert not applier.withdraw(ONE)
    books.arrived(ONE, block.first, block.number)
    applier.step()
    assert not holdings.keyring.derives(block.first)


def test_row_2_a_withdrawal_that_the_journal_told_first_does_not_ask_the_database(
    applier: Applier, books: Books, block: Block, holdings: Holdings
) -> None:
    books.arrived(ONE, block.first, block.number)
    books.shred(ONE)
    books.closed(ONE, kept=False)
    applier.step()
    assert not holdings.keyring.derives(block.first)
    assert applier.withdraw(ONE)


def test_a_withdrawal_reads_the_journal_first(applier: Applier, books: Books, block: Block, holdings: Holdings) -> None:
    books.arrived(ONE, block.first, block.number)
    assert applier.withdraw(ONE)
    assert not holdings.keyring.derives(block.first)


def test_a_key_that_was_not_leased_to_this_recorder_keeps_nothing(
    applier: Applier, books: Books, block: Block, holdings: Holdings
) -> None:
    other = holdings.leases.lease(2, "boot-x", 4)
    wrong = [(other.first, other.number), (block.first + 8, block.number), (block.first, 99)]
    books.arrived(CALLS[7], block.first, block.number)
    for call, (index, number) in zip(CALLS, [*wrong, (block.first, block.number)], strict=False):
        books.arrived(call, index, number)
        books.track(call)
        books.closed(call, kept=True)
    applier.drain()
    for call in CALLS[:4]:
        found = row(holdings, call)
        assert found is not None
        assert found.state == "not_kept"
    assert holdings.keyring.derives(other.first)
    assert holdings.keyring.derives(block.first)


def test_an_entry_that_makes_no_sense_is_passed_over(
    applier: Applier, books: Books, block: Block, holdings: Holdings
) -> None:
    books.arrived(ONE, block.first, block.number)
    books.tell(ONE, "sealed", {"party": 99})
    books.tell(ONE, "later_invention", {})
    books.tell(ONE, "closed", {"kept": "yes", "decision": "short"})
    keep(books, block, TWO, 1)
    applier.drain()
    found = [row(holdings, call) for call in (ONE, TWO)]
    assert [item.state for item in found if item is not None] == ["not_kept", "kept"]
    for call in (ONE, TWO):
        decision = holdings.writer.submit(partial(queries.decision_of, call_id=call)).result(10)
        assert decision is not None
        assert len(decision) == SEALED_BYTES


def test_a_puncture_that_fails_leaves_the_batch_for_the_next_time(
    applier: Applier, books: Books, block: Block, holdings: Holdings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_spans: object) -> int:
        raise NoSpace("full")

    books.arrived(ONE, block.first, block.number)
    books.closed(ONE, kept=False)
    with monkeypatch.context() as patch:
        patch.setattr(holdings.keyring, "puncture", full)
        with pytest.raises(NoSpace):
            applier.step()
    assert row(holdings, ONE) is None
    assert not applier.outcomes
    applier.drain()
    assert applier.outcomes == {"not_kept": 1}  # once, though it was looked at twice
    found = row(holdings, ONE)
    assert found is not None
    assert found.state == "not_kept"
    assert not holdings.keyring.derives(block.first)


def test_segments_that_were_applied_are_dropped(applier: Applier, config: Config, books: Books, block: Block) -> None:
    for number, call in enumerate(CALLS):
        books.arrived(call, block.first + number, block.number)
    books.writer.close()
    last = max(config.journal(1).glob("*.jnl"))
    size = last.stat().st_size
    books.writer = JournalWriter(config.journal(1), next_seq=1, rotate_bytes=size)
    books.closed(ONE, kept=False)
    assert len(list(config.journal(1).glob("*.jnl"))) == 2
    applier.drain()
    assert len(list(config.journal(1).glob("*.jnl"))) == 1


def test_a_torn_tail_waits_and_a_broken_middle_is_said(
    applier: Applier, books: Books, block: Block, config: Config
) -> None:
    books.arrived(ONE, block.first, block.number)
    path = max(config.journal(1).glob("*.jnl"))
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:20])
    applier.drain()
    assert applier.position.seq == 1
    path.write_bytes(whole + b"\0" * 8 + whole)
    with pytest.raises(Damaged):
        applier.drain()
