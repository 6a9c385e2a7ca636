"""Recovery, also when it is killed itself."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from keeper.fake_recorder import BINDING, Books, now, stamped
from keeper.keys import Killed
from keeper.site_on_disk import make_site, open_holdings
from mitschnitt.config import Config
from mitschnitt.core.call import decode_call_id, encode_call_id
from mitschnitt.keeper import recovery
from mitschnitt.keeper.apply import Applier, Holdings
from mitschnitt.keeper.bindings import binding_told
from mitschnitt.keeper.recovery import recover
from mitschnitt.store import queries
from mitschnitt.vault.artefact import parse_timeline
from mitschnitt.vault.blobs import LocalBlobs
from mitschnitt.vault.derive import Kind

NOW = datetime(2027, 1, 1, tzinfo=UTC)
AGREED, ASKED, WITHDREW = (encode_call_id(bytes([number]) * 16) for number in (1, 2, 3))


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return make_site(tmp_path)


@pytest.fixture
def holdings(config: Config) -> Iterator[Holdings]:
    """A recorder's last words: one call that runs, one that was asked, one that was withdrawn."""
    with open_holdings(config) as opened:
        block = opened.leases.lease(1, "old", 8)
        books = Books(config, 1, opened.officer_key)
        for offset, call in enumerate((AGREED, ASKED, WITHDREW)):
            books.arrived(call, block.first + offset, block.number)
            if call != ASKED:
                books.track(call)
                books.media_slice(call, block.nodes[offset], 0, stamped("one", 2))
                books.media_slice(call, block.nodes[offset], 0, stamped("two", 2))
        books.shred(WITHDREW)
        yield opened


def run(config: Config, holdings: Holdings, boot: str = "new") -> int:
    applier = Applier(1, config.journal(1), holdings)
    return recover(applier, holdings, LocalBlobs(config.audio), boot=boot, now=NOW)


def states(holdings: Holdings) -> dict[str, str]:
    rows = holdings.writer.submit(queries.all_calls).result(10)
    return {row.call_id: row.state for row in rows}


def check(config: Config, holdings: Holdings) -> None:
    assert states(holdings) == {AGREED: "kept", ASKED: "not_kept", WITHDREW: "not_kept"}
    raw = decode_call_id(AGREED)
    media = stamped("one", 2) + stamped("two", 2)
    assert holdings.vault.read(raw, 0, 0, Kind.MEDIA, 0, 10_000) == media
    timeline = parse_timeline(holdings.vault.read(raw, 0, 0, Kind.TIMELINE, 0, 10_000))
    assert (timeline.header["reason"], timeline.header["octets"]) == ("truncated", len(media))
    (party,) = holdings.writer.submit(lambda connection: queries.parties_of(connection, AGREED)).result(10)
    assert binding_told(party.binding) == [BINDING]
    assert [holdings.keyring.derives(index) for index in range(8)] == [True] + [False] * 7
    assert list(config.journal(1).glob("*.sec")) == []
    assert len([path for path in config.audio.rglob("*") if path.is_file()]) == 2


def test_a_running_call_is_truncated_and_of_the_others_nothing_is_left(config: Config, holdings: Holdings) -> None:
    assert run(config, holdings) == 7
    check(config, holdings)


def test_the_same_boot_is_not_recovered(config: Config, holdings: Holdings) -> None:
    run(config, holdings)
    books = Books(config, 1, holdings.officer_key)
    block = holdings.leases.lease(1, "new", 2)
    call = encode_call_id(b"\x09" * 16)
    books.arrived(call, block.first, block.number)
    assert run(config, holdings) == 8
    assert states(holdings)[call] == "live"
    assert holdings.keyring.derives(block.first + 1)


STEPS = ("_finish_party", "_row_of", "_forget", "_close_all", "_retire_leases", "_remove")


@pytest.mark.thorough
@pytest.mark.parametrize("step", STEPS)
def test_a_recovery_that_is_killed_is_done_again(
    config: Config, holdings: Holdings, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(recovery, step, die)
        if step == "_close_all":  # runs in the writer's thread, where a kill is the writer's
            patch.setattr(holdings.writer, "submit", _dies_after(holdings.writer.submit, 3))
        with pytest.raises(Killed):
            run(config, holdings)
    run(config, holdings)
    check(config, holdings)


def _dies_after(submit: object, count: int) -> object:
    calls = iter(range(100))

    def wrapped(work: object) -> object:
        if next(calls) >= count:
            raise Killed
        assert callable(submit)
        return submit(work)

    return wrapped


def test_a_call_that_is_cut_in_its_last_slice_keeps_the_whole_ones(config: Config, holdings: Holdings) -> None:
    segment = max(config.journal(1).glob("*.sec"))
    data = segment.read_bytes()
    segment.write_bytes(data[:-40])
    run(config, holdings)
    assert states(holdings)[AGREED] == "kept"


def test_a_call_of_several_codecs_has_all_that_decoding_needs_in_its_timeline(config: Config) -> None:
    codecs = {"9": ["G722", 8000], "97": ["AMR-WB", 16000, 1, "octet-align=1"], "10": ["L16", 44100, 2, ""]}
    with open_holdings(config) as holdings:
        block = holdings.leases.lease(1, "old", 8)
        books = Books(config, 1, holdings.officer_key)
        books.arrived(AGREED, block.first, block.number)
        data = {"party": 0, "track": 0, "role": "caller", "codecs": codecs, "started_at": now()}
        books.tell(AGREED, "track", {**data, "binding": [BINDING]})
        books.media_slice(AGREED, block.nodes[0], 0, stamped("one", 2))
        run(config, holdings)
        plain = holdings.vault.read(decode_call_id(AGREED), 0, 0, Kind.TIMELINE, 0, 10_000)
    header = parse_timeline(plain).header
    assert header["codecs"] == {"9": ["G722", 8000], "97": ["AMR-WB", 16000], "10": ["L16", 44100]}
    assert header["formats"] == {"97": [1, "octet-align=1"], "10": [2, ""]}


def test_a_track_without_a_slice_is_no_recording(config: Config, holdings: Holdings) -> None:
    for segment in config.journal(1).glob("*.sec"):
        segment.unlink()
    run(config, holdings)
    assert set(states(holdings).values()) == {"not_kept"}
    assert not holdings.keyring.derives(0)
