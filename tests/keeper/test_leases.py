"""Leases: each index once, rows before keys, what is not used is punctured."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from keeper.site_on_disk import make_site, open_holdings
from mitschnitt.config import Config
from mitschnitt.errors import TooLarge
from mitschnitt.keeper.apply import Holdings
from mitschnitt.keeper.keyring import RESERVE_CALLS
from mitschnitt.store import queries


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return make_site(tmp_path)


@pytest.fixture
def holdings(config: Config) -> Iterator[Holdings]:
    with open_holdings(config) as opened:
        yield opened


def test_blocks_never_overlap_also_after_a_restart(config: Config) -> None:
    indices: list[int] = []
    for _ in range(2):
        with open_holdings(config) as holdings:
            for recorder in (1, 2):
                block = holdings.leases.lease(recorder, "boot", 4)
                assert block.nodes[1] == holdings.keyring.call_node(block.first + 1)
                indices += range(block.first, block.first + len(block.nodes))
    assert indices == list(range(16))


def test_an_older_database_beside_the_tree_leads_to_indices_that_nobody_had(config: Config) -> None:
    backup = config.database.read_bytes()
    with open_holdings(config) as holdings:
        block = holdings.leases.lease(1, "boot", 4)
        holdings.leases.retire(holdings.leases.unused(1, "next"), {block.first})
    for path in config.database.parent.iterdir():
        path.unlink()
    config.database.write_bytes(backup)
    config.database.chmod(0o600)
    with open_holdings(config) as holdings:
        assert holdings.leases.lease(1, "boot", 4).first >= RESERVE_CALLS
    with open_holdings(config) as holdings:
        assert holdings.leases.lease(1, "boot", 4).first == RESERVE_CALLS + 4


@pytest.mark.parametrize("count", [0, -1, 4_097])
def test_a_lease_has_a_sensible_size(holdings: Holdings, count: int) -> None:
    with pytest.raises(TooLarge, match="1 to 4096 keys"):
        holdings.leases.lease(1, "boot", count)


def test_an_index_is_claimed_once_by_its_own_recorder(holdings: Holdings) -> None:
    block = holdings.leases.lease(1, "boot", 4)
    assert not holdings.leases.claim(2, block.number, block.first)
    assert not holdings.leases.claim(1, block.number, block.first + 4)
    assert holdings.leases.claim(1, block.number, block.first)
    assert not holdings.leases.claim(1, block.number, block.first)


def test_what_no_call_used_of_a_former_life_is_punctured(holdings: Holdings) -> None:
    old, new = holdings.leases.lease(1, "old", 6), holdings.leases.lease(1, "new", 2)
    unused = holdings.leases.unused(1, "new")
    holdings.leases.retire(unused, {old.first + 2})
    derives = [holdings.keyring.derives(old.first + offset) for offset in range(6)]
    assert derives == [False, False, True, False, False, False]
    assert holdings.keyring.derives(new.first)
    assert holdings.leases.unused(1, "new") == []
    assert [lease.boot for lease in holdings.writer.submit(queries.open_leases).result(10)] == ["new"]
    assert not holdings.leases.claim(1, old.number, old.first + 2)
