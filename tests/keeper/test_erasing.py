"""Erasing what is kept, and finishing an erasure that a crash cut short."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from keeper.fake_recorder import Books, stamped
from keeper.keys import Killed
from keeper.site_on_disk import make_site, open_holdings
from mitschnitt.config import Config
from mitschnitt.core.call import decode_call_id, encode_call_id
from mitschnitt.errors import KeyGone
from mitschnitt.keeper.apply import Applier, Holdings
from mitschnitt.keeper.erasing import erase, finish_erasures
from mitschnitt.store import queries
from mitschnitt.vault.derive import Kind

CALL = encode_call_id(b"\x07" * 16)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return make_site(tmp_path)


@pytest.fixture
def holdings(config: Config) -> Iterator[Holdings]:
    with open_holdings(config) as opened:
        block = opened.leases.lease(1, "boot", 4)
        books = Books(config, 1, opened.officer_key)
        books.arrived(CALL, block.first, block.number)
        books.track(CALL)
        books.media_slice(CALL, block.nodes[0], 0, stamped("x", 2))
        books.sealed(CALL, block.nodes[0], 0)
        books.closed(CALL, kept=True)
        Applier(1, config.journal(1), opened).drain()
        yield opened


def state(holdings: Holdings) -> str:
    row = holdings.writer.submit(lambda connection: queries.call_by_id(connection, CALL)).result(10)
    assert row is not None
    return row.state


def test_an_erased_recording_has_no_key_no_files_and_no_rows(holdings: Holdings, config: Config) -> None:
    raw = decode_call_id(CALL)
    assert holdings.vault.read(raw, 0, 0, Kind.MEDIA, 0, 320) == stamped("x", 2)
    copies = {path: path.read_bytes() for path in config.audio.rglob("*") if path.is_file()}
    before = holdings.keyring.epoch
    assert erase(holdings, CALL) == before + 1
    assert state(holdings) == "not_kept"
    assert list(config.audio.iterdir()) == []
    # The files from last night's backup open nothing.
    for path, data in copies.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    with pytest.raises(KeyGone):
        holdings.vault.read(raw, 0, 0, Kind.MEDIA, 0, 320)
    assert erase(holdings, CALL) is None


@pytest.mark.parametrize("step", ["remove", "submit"])
def test_an_erasure_that_was_cut_short_is_finished_at_start(
    holdings: Holdings, config: Config, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        if step == "remove":
            patch.setattr(type(holdings.vault), "remove", die)
        else:
            patch.setattr(holdings.writer, "scrub", die)
        with pytest.raises(Killed):
            erase(holdings, CALL)
    assert state(holdings) == "kept"
    assert finish_erasures(holdings) == 1
    assert state(holdings) == "not_kept"
    assert list(config.audio.iterdir()) == []
    assert finish_erasures(holdings) == 0
