"""Twin of vault/door: the right bytes to the right key, gone keys before files, nothing removed too much."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mitschnitt.errors import Damaged, KeyGone, VaultError
from mitschnitt.vault.blobs import Blobs, LocalBlobs, MemoryBlobs
from mitschnitt.vault.derive import Kind, artefact_context, artefact_key, artefact_name
from mitschnitt.vault.door import Vault
from mitschnitt.vault.keytree import KeyTree
from mitschnitt.vault.sealed import HEADER_BYTES, Sealer
from second.make_vectors import stream

CALL, OTHER = stream("call", 16), stream("other call", 16)
INDEX = 1234
TREE = KeyTree.fresh(stream("tree", 32))
PLAIN = {
    (party, kind): stream(f"{party} {kind}", 20_000 + party) for party in (0, 1) for kind in (Kind.MEDIA, Kind.TIMELINE)
}


def keep(blobs: Blobs, call: bytes, index: int) -> None:
    for (party, kind), plain in PLAIN.items():
        key = artefact_key(TREE.leaf_key(index, party), kind, party)
        salt = stream(f"salt {index} {party} {kind}", 24)
        sealer = Sealer(key, salt=salt, context=artefact_context(call, party, kind))
        writer = blobs.create(artefact_name(call, party, kind))
        writer.write(sealer.header + sealer.update(plain) + sealer.finish())
        writer.commit()


@pytest.fixture(params=["local", "memory"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    kept: Blobs = LocalBlobs(tmp_path) if request.param == "local" else MemoryBlobs()
    keep(kept, CALL, INDEX)
    keep(kept, OTHER, INDEX + 1)
    return kept


def test_each_artefact_of_each_party_is_read(blobs: Blobs) -> None:
    vault = Vault(blobs, TREE.leaf_key)
    read = {place: vault.read(CALL, INDEX, *place, 0, 10**6) for place in PLAIN}
    assert read == PLAIN
    assert {place: vault.size(CALL, *place) for place in PLAIN} == {place: len(plain) for place, plain in PLAIN.items()}


MEMORY = MemoryBlobs()
keep(MEMORY, CALL, INDEX)


@given(st.integers(0, 21_000), st.integers(0, 21_000))
@settings(max_examples=60, deadline=None)
def test_any_range_equals_the_slice(start: int, stop: int) -> None:
    vault = Vault(MEMORY, TREE.leaf_key)
    assert vault.read(CALL, INDEX, 0, Kind.MEDIA, start, stop) == PLAIN[0, Kind.MEDIA][start:stop]


def test_a_punctured_call_is_gone_while_its_files_lie_about(blobs: Blobs) -> None:
    vault = Vault(blobs, TREE.puncture_call(INDEX).leaf_key)
    for party, kind in PLAIN:
        with pytest.raises(KeyGone, match="no longer derives"):
            vault.read(CALL, INDEX, party, kind, 0, 1)
    assert vault.read(OTHER, INDEX + 1, 0, Kind.MEDIA, 0, 9) == PLAIN[0, Kind.MEDIA][:9]


def test_a_withdrawn_party_is_gone_and_the_other_is_not(blobs: Blobs) -> None:
    vault = Vault(blobs, TREE.puncture_leaf(INDEX, 0).leaf_key)
    with pytest.raises(KeyGone):
        vault.read(CALL, INDEX, 0, Kind.MEDIA, 0, 1)
    assert vault.read(CALL, INDEX, 1, Kind.MEDIA, 0, 10**6) == PLAIN[1, Kind.MEDIA]


def test_the_door_follows_the_tree_that_is_asked_at_that_moment(blobs: Blobs) -> None:
    trees = [TREE]
    vault = Vault(blobs, lambda index, leaf: trees[-1].leaf_key(index, leaf))
    assert vault.read(CALL, INDEX, 0, Kind.MEDIA, 0, 1) == PLAIN[0, Kind.MEDIA][:1]
    trees.append(TREE.puncture_call(INDEX))
    with pytest.raises(KeyGone):
        vault.read(CALL, INDEX, 0, Kind.MEDIA, 0, 1)


def test_a_file_under_another_name_does_not_open() -> None:
    moved = MemoryBlobs()
    writer = moved.create(artefact_name(CALL, 0, Kind.MEDIA))
    writer.write(MEMORY.read(artefact_name(CALL, 1, Kind.MEDIA), 0, 10**6))
    writer.commit()
    with pytest.raises(Damaged, match="key commitment"):
        Vault(moved, TREE.leaf_key).read(CALL, INDEX, 0, Kind.MEDIA, 0, 1)


def test_another_index_does_not_open() -> None:
    with pytest.raises(Damaged, match="key commitment"):
        Vault(MEMORY, TREE.leaf_key).read(CALL, INDEX + 1, 0, Kind.MEDIA, 0, 1)


@pytest.mark.parametrize("size", [0, HEADER_BYTES - 1, HEADER_BYTES, HEADER_BYTES + 15])
def test_a_cut_file_is_damaged(size: int) -> None:
    cut = MemoryBlobs()
    writer = cut.create(artefact_name(CALL, 0, Kind.MEDIA))
    writer.write(MEMORY.read(artefact_name(CALL, 0, Kind.MEDIA), 0, size))
    writer.commit()
    vault = Vault(cut, TREE.leaf_key)
    with pytest.raises(Damaged):
        vault.read(CALL, INDEX, 0, Kind.MEDIA, 0, 1)
    with pytest.raises(Damaged, match="no whole sealed file has"):
        vault.size(CALL, 0, Kind.MEDIA)


def test_a_missing_file_is_said_to_be_missing(blobs: Blobs) -> None:
    vault = Vault(blobs, TREE.leaf_key)
    with pytest.raises(VaultError, match="2.media"):
        vault.read(CALL, INDEX, 2, Kind.MEDIA, 0, 1)
    with pytest.raises(VaultError, match="2.media"):
        vault.size(CALL, 2, Kind.MEDIA)


def test_a_party_is_removed_and_nobody_else(blobs: Blobs) -> None:
    vault = Vault(blobs, TREE.leaf_key)
    before = set(blobs.names())
    assert (vault.remove(CALL, 1), vault.remove(CALL, 1)) == (2, 0)
    own = {artefact_name(CALL, 1, Kind.MEDIA), artefact_name(CALL, 1, Kind.TIMELINE)}
    assert before - set(blobs.names()) == own


def test_party_1_is_not_party_11() -> None:
    blobs = MemoryBlobs()
    for party in (1, 11):
        blobs.create(artefact_name(CALL, party, Kind.MEDIA)).commit()
    assert Vault(blobs, TREE.leaf_key).remove(CALL, 1) == 1
    assert list(blobs.names()) == [artefact_name(CALL, 11, Kind.MEDIA)]


def test_a_call_is_removed_and_no_other(blobs: Blobs) -> None:
    vault = Vault(blobs, TREE.leaf_key)
    assert (vault.remove(CALL, None), vault.remove(CALL, None)) == (4, 0)
    assert len(list(blobs.names())) == 4
    assert vault.read(OTHER, INDEX + 1, 1, Kind.TIMELINE, 0, 10**6) == PLAIN[1, Kind.TIMELINE]


class CrashingBlobs(MemoryBlobs):
    """Ends the process at the second delete."""

    deletes = 0

    def delete(self, name: str) -> None:
        self.deletes += 1
        if self.deletes == 2:
            raise KeyboardInterrupt
        super().delete(name)


def test_a_removal_that_crashed_is_repeated() -> None:
    blobs = CrashingBlobs()
    keep(blobs, CALL, INDEX)
    vault = Vault(blobs, TREE.leaf_key)
    with pytest.raises(KeyboardInterrupt):
        vault.remove(CALL, None)
    assert len(list(blobs.names())) == 3
    assert (vault.remove(CALL, None), list(blobs.names())) == (3, [])


@pytest.mark.parametrize("kind", [Kind.JOURNAL, Kind.FACTS, Kind.LEAF, Kind.PEAKS])
def test_the_door_opens_only_what_lies_as_one_file_per_party(kind: Kind) -> None:
    with pytest.raises(VaultError, match=f"media and timeline, not {kind.value}"):
        Vault(MEMORY, TREE.leaf_key).read(CALL, INDEX, 0, kind, 0, 1)


@pytest.mark.parametrize("party", [-1, 12, 13])
def test_leaves_that_are_no_parties_are_refused(party: int) -> None:
    vault = Vault(MEMORY, TREE.leaf_key)
    with pytest.raises(VaultError, match=f"parties 0 to 11, got {party}"):
        vault.read(CALL, INDEX, party, Kind.MEDIA, 0, 1)
    with pytest.raises(VaultError, match=f"parties 0 to 11, got {party}"):
        vault.remove(CALL, party)


def test_no_method_of_the_door_takes_a_truth_value() -> None:
    methods = [method for name, method in inspect.getmembers(Vault, inspect.isfunction)]
    annotations = [str(p.annotation) for m in methods for p in inspect.signature(m).parameters.values()]
    assert len(methods) == 4
    assert [annotation for annotation in annotations if "bool" in annotation] == []
