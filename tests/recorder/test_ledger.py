"""The recorder's journal: order, syncs before what follows them, a disk that refuses, sealed decisions."""

from __future__ import annotations

import base64
import errno
import json
import os
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mitschnitt.errors import Damaged, NoSpace
from mitschnitt.recorder.ledger import Ledger
from mitschnitt.recorder.link import LeasedKey
from mitschnitt.recorder.pages import Page
from mitschnitt.vault.artefact import Coded
from mitschnitt.vault.decision import SEALED_BYTES, open_decision
from mitschnitt.vault.derive import FACTS_LEAF, Kind, artefact_key
from mitschnitt.vault.journal import Entry
from mitschnitt.vault.journal_files import JournalReader, JournalWriter, segments
from mitschnitt.vault.keytree import leaf_key
from mitschnitt.vault.page import open_page, page_size, public_of
from mitschnitt.wire.sip.ladder import Ladder, Rung, Way

AT = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
CALL, OTHER = "0" * 26, "1" * 26
KEY = LeasedKey(index=7, block=2, node=bytes(range(32)))
OFFICER = X25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
OFFICER_PUBLIC = OFFICER.public_key().public_bytes_raw()
RECORDER = 3


class Scene:
    """A ledger on a directory, and what it told."""

    def __init__(self, directory: Path, opening: Callable[[], JournalWriter] | None = None) -> None:
        self.directory = directory
        self.opened = 0
        self.full = threading.Event()
        self.synced: list[list[str]] = []  # types that were durable at each sync
        self.done: list[str] = []
        self._opening = opening or (lambda: JournalWriter(directory, next_seq=17))
        self.ledger = Ledger(self._open, recorder=RECORDER, on_synced=self._on_synced, on_full=lambda: self._on_full())

    def _open(self) -> JournalWriter:
        self.opened += 1
        return self._opening()

    def _on_synced(self, then: list[Callable[[], None]]) -> None:
        self.synced.append([entry.type for entry in entries(self.directory)])
        for action in then:
            action()

    def _on_full(self) -> None:
        assert self.ledger.refuses
        self.full.set()

    def close(self) -> list[Entry]:
        self.ledger.close()
        return entries(self.directory)


def entries(directory: Path) -> list[Entry]:
    return [entry for entry, _, _ in JournalReader(directory).read_from(0, 0)]


def decision(acts: int = 0, party: str = "") -> dict[str, Any]:
    act = {"party": party or "caller", "kind": "digit", "value": "1", "at": "2026-11-23T09:30:00.000000Z"}
    return {
        "call": CALL,
        "outcome": "not_kept",
        "rule": "consent.caller.prompt.unknown",
        "party": party,
        "policy": "ab" * 32,
        "acts": [{**act, "value": str(number)} for number in range(acts)],
    }


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mitschnitt.recorder.ledger.RETRY_SECONDS", 0.005)


def test_entries_stand_in_the_order_in_which_they_were_told(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.ledger.arrived(CALL, KEY, {"refs": []}, policy="ab" * 32, at=AT)
    codecs: dict[int, Coded] = {8: ("PCMA", 8000), 97: ("AMR-WB", 16000, 1, "octet-align=1")}
    scene.ledger.track(CALL, 0, "caller", codecs, at=AT)
    scene.ledger.shred(CALL, at=AT)
    scene.ledger.closed(CALL, decision(), OFFICER_PUBLIC, kept="not_kept", ladders=[], at=AT)
    found = scene.close()
    assert [entry.type for entry in found] == ["arrived", "track", "shred", "closed"]
    assert [entry.seq for entry in found] == [17, 18, 19, 20]
    assert found[1].data == {
        "party": 0,
        "track": 0,
        "role": "caller",
        "codecs": {"8": ["PCMA", 8000], "97": ["AMR-WB", 16000, 1, "octet-align=1"]},
        "binding": [],
        "started_at": "2026-11-23T09:30:00.000000Z",
    }
    assert found[2].data == {"party": None}


def test_personal_fields_open_with_the_key_of_the_call_only(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.ledger.arrived(CALL, KEY, {"refs": [{"value": "number of a caller"}]}, policy="ab" * 32, at=AT)
    (entry,) = scene.close()
    assert "number of a caller" not in json.dumps(entry.data)
    nonce = RECORDER.to_bytes(4, "big") + entry.seq.to_bytes(8, "big")
    cipher = AESGCM(artefact_key(leaf_key(KEY.node, FACTS_LEAF), Kind.FACTS, 0))
    opened = cipher.decrypt(nonce, base64.b64decode(entry.data["sealed"]), b"arrived")
    assert json.loads(opened) == {"refs": [{"value": "number of a caller"}]}
    assert (entry.data["index"], entry.data["block"]) == (7, 2)


def test_what_depends_on_an_entry_happens_after_its_sync(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.ledger.sealed(CALL, {"party": 0}, at=AT, then=lambda: scene.done.append(scene.synced[-1][-1]))
    scene.close()
    assert scene.done == ["sealed"]
    assert sum(scene.ledger.syncs.counts) >= 1


def ladder(rungs: int) -> Ladder:
    return Ladder([Rung(0, Way.IN, 0, "INVITE", number) for number in range(rungs)])


@pytest.mark.parametrize("kept", ["kept", "not_kept"])
@pytest.mark.parametrize("acts", [0, 1, 8])
@pytest.mark.parametrize("rungs", [0, 10, 64])
def test_a_decision_has_one_size_and_opens_with_the_officers_key(
    tmp_path: Path, kept: str, acts: int, rungs: int
) -> None:
    scene = Scene(tmp_path)
    scene.ledger.closed(CALL, decision(acts), OFFICER_PUBLIC, kept=kept, ladders=[ladder(rungs)], at=AT)
    (entry,) = scene.close()
    assert entry.data["kept"] is (kept == "kept")
    sealed = base64.b64decode(entry.data["decision"])
    assert len(sealed) == SEALED_BYTES
    told = open_decision(OFFICER.private_bytes_raw(), CALL, sealed)
    assert told["rule"] == "consent.caller.prompt.unknown"
    assert told["acts"] == decision(acts)["acts"]
    assert told["ladders"] == [ladder(rungs).to_json()]


def test_outside_the_decision_there_is_a_ladder_of_a_kept_call_only(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    for kept in ("kept", "not_kept"):
        scene.ledger.closed(CALL, decision(), OFFICER_PUBLIC, kept=kept, ladders=[ladder(3)], at=AT)
    kept_entry, other = scene.close()
    assert kept_entry.data["ladders"] == [ladder(3).to_json()]
    assert set(other.data) == {"kept", "decision", "pages"}


def test_further_purposes_that_were_agreed_stand_in_the_entry_of_a_kept_call_only(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    for kept in ("kept", "not_kept"):
        scene.ledger.closed(CALL, decision(), OFFICER_PUBLIC, kept=kept, ladders=[], also=["dispute"], at=AT)
    kept_entry, other = scene.close()
    assert kept_entry.data["also"] == ["dispute"]
    assert set(other.data) == {"kept", "decision", "pages"}


def test_entries_of_calls_that_are_not_kept_have_one_size_however_much_went_over_the_wire(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    for acts, rungs in ((0, 0), (1, 7), (8, 64)):
        scene.ledger.closed(CALL, decision(acts), OFFICER_PUBLIC, kept="not_kept", ladders=[ladder(rungs)], at=AT)
    assert len({len(json.dumps(entry.data)) for entry in scene.close()}) == 1


def test_pages_are_sealed_to_their_readers_and_have_one_size(tmp_path: Path) -> None:
    scene, key = Scene(tmp_path), bytes([7]) * 32
    for readers, told in (((), {}), ((public_of(key),), {"rule": "consent.all"})):
        pages = [Page("caller", readers, told), Page("agent", readers, told)]
        scene.ledger.closed(CALL, decision(), OFFICER_PUBLIC, kept="not_kept", ladders=[], pages=pages, at=AT)
    unread, read = scene.close()
    for person in ("caller", "agent"):
        sealed = [base64.b64decode(entry.data["pages"][person]) for entry in (unread, read)]
        assert [len(page) for page in sealed] == [page_size(person)] * 2
        assert open_page(key, person, CALL, sealed[1]) == {"rule": "consent.all"}
        with pytest.raises(Damaged):
            open_page(key, person, CALL, sealed[0])


def test_a_page_that_does_not_fit_takes_nothing_else_along(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    pages = [Page("caller", (), {"text": "x" * 2_000}), Page("agent", (), {})]
    scene.ledger.closed(CALL, decision(), OFFICER_PUBLIC, kept="kept", ladders=[], pages=pages, at=AT)
    (entry,) = scene.close()
    assert (entry.data["kept"], set(entry.data["pages"])) == (True, {"agent"})


def test_an_entry_that_cannot_be_written_does_not_hold_up_a_withdrawal(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.ledger.shred("no call id", at=AT)
    scene.ledger.shred(CALL, at=AT)
    assert [entry.call for entry in scene.close()] == [CALL]


def test_an_officers_key_that_seals_nothing_leaves_the_decision_to_the_keeper(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.ledger.closed(CALL, decision(), bytes(32), kept="not_kept", ladders=[], at=AT)
    (entry,) = scene.close()
    assert entry.data == {"kept": False, "decision": "", "pages": {}}


def test_an_old_file_of_the_journal_ends_with_the_next_entry_so_that_the_keeper_drops_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mitschnitt.recorder.ledger.ROTATE_SECONDS", 0.0)
    scene = Scene(tmp_path)
    for _ in range(2):
        synced = threading.Event()
        scene.ledger.sealed(CALL, {}, at=AT, then=synced.set)
        assert synced.wait(10)
    assert [entry.seq for entry in scene.close()] == [17, 18]
    assert segments(tmp_path) == [17, 18]


class Disk:
    """`os.write` and `os.fdatasync` of the journal fail while `broken` names them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.broken = ""
        for name in ("write", "fdatasync"):
            monkeypatch.setattr(os, name, self._around(name, getattr(os, name)))

    def _around(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(descriptor: int, *rest: Any) -> Any:
            on_journal = ".jnl" in Path(f"/proc/self/fd/{descriptor}").readlink().name
            if self.broken == name and on_journal:
                raise OSError(errno.ENOSPC, "no space left")
            return real(descriptor, *rest)

        return call


@pytest.mark.parametrize("broken", ["write", "fdatasync"])
def test_a_disk_that_refuses_is_told_and_tried_again_until_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    disk, scene = Disk(monkeypatch), Scene(tmp_path)
    scene.ledger.track(CALL, 0, "caller", {}, at=AT)
    while not scene.synced:
        threading.Event().wait(0.001)
    disk.broken = broken
    scene.ledger.shred(CALL, at=AT)
    scene.ledger.sealed(OTHER, {"party": 0}, at=AT, then=lambda: scene.done.append("then"))
    assert scene.full.wait(5)
    assert scene.ledger.refuses
    assert scene.done == []
    disk.broken = ""
    found = scene.close()
    assert [entry.type for entry in found] == ["track", "shred", "sealed"]
    assert [entry.seq for entry in found] == [17, 18, 19]
    assert scene.done == ["then"]


class Forgetful(JournalWriter):
    """Loses what it was given when it fails, as a disk does whose cache was dropped."""

    def __init__(self, directory: Path, fails: list[bool]) -> None:
        super().__init__(directory, next_seq=17)
        self._fails = fails
        self._lost = False

    def sync(self) -> None:
        if self._lost or (self._fails and self._fails.pop()):
            self._unwritten.clear()
            self._lost = True
            raise NoSpace("the disk dropped it")
        super().sync()


def wait_for(gate: threading.Event) -> None:
    assert gate.wait(5)


def test_what_a_failed_writer_lost_is_written_again_in_the_same_order(tmp_path: Path) -> None:
    fails = [True]
    gate = threading.Event()
    scene = Scene(tmp_path, lambda: Forgetful(tmp_path, fails))
    fields: Mapping[str, Any] = {"refs": []}
    scene.ledger._jobs.put((lambda _: wait_for(gate), None))  # so that all come in one batch
    scene.ledger.arrived(CALL, KEY, fields, policy="ab" * 32, at=AT)
    scene.ledger.shred(CALL, at=AT)
    scene.ledger.sealed(CALL, {"party": 0}, at=AT, then=lambda: scene.done.append("then"))
    gate.set()
    found = scene.close()
    assert [(entry.seq, entry.type) for entry in found] == [(17, "arrived"), (18, "shred"), (19, "sealed")]
    assert scene.opened == 2
    assert scene.done == ["then"]


def test_a_ledger_whose_thread_is_gone_refuses(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    assert not scene.ledger.refuses
    scene.close()
    assert scene.ledger.refuses
