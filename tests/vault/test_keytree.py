"""Twin of vault/keytree: known answers, a model of all leaves, the one spelling, and no forgotten bytes."""

from __future__ import annotations

import json
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mitschnitt.errors import Damaged, KeyGone, VaultError
from mitschnitt.vault.keytree import CALLS, HEADER, ROW, KeyTree, Shape, leaf_key
from second import ggm

VECTORS = Path(__file__).parent.parent / "vectors/keytree"
KEYS: dict[str, Any] = json.loads((VECTORS / "keys.json").read_text())
STATES: dict[str, Any] = json.loads((VECTORS / "states.json").read_text())
SEED = bytes.fromhex(KEYS["seed"])
SMALL = Shape(call_depth=4, leaf_depth=2)
SETTINGS = settings(max_examples=80, deadline=None)

# (first call, number of calls, leaf or None): what one puncture takes away
Cut = tuple[int, int, int | None]
CUTS = st.lists(st.tuples(st.integers(0, 15), st.integers(0, 4), st.one_of(st.none(), st.integers(0, 3))), max_size=12)


def applied(tree: KeyTree, cut: Cut) -> KeyTree:
    first, count, leaf = cut
    if leaf is not None:
        return tree.puncture_leaf(first, leaf)
    return tree.puncture_calls(first, min(count, 16 - first))


def taken(cut: Cut) -> set[tuple[int, int]]:
    first, count, leaf = cut
    if leaf is not None:
        return {(first, leaf)}
    return {(call, number) for call in range(first, min(first + count, 16)) for number in range(4)}


def derived(tree: KeyTree, call: int, leaf: int) -> bytes | None:
    try:
        return tree.leaf_key(call, leaf)
    except KeyGone:
        return None


@pytest.mark.parametrize("call", KEYS["calls"], ids=lambda call: str(call["index"]))
def test_keys_are_those_of_the_second_implementation(call: dict[str, Any]) -> None:
    tree = KeyTree.fresh(SEED)
    node = tree.call_node(call["index"])
    assert node.hex() == call["call_node"]
    assert [leaf_key(node, leaf).hex() for leaf in range(16)] == call["leaves"]
    assert [tree.leaf_key(call["index"], leaf).hex() for leaf in range(16)] == call["leaves"]


@pytest.mark.parametrize("case", STATES["states"], ids=lambda case: case["name"])
def test_states_are_those_of_the_second_implementation(case: dict[str, Any]) -> None:
    tree = KeyTree.fresh(SEED)
    for depth, prefix in case["punctured"]:
        if depth == CALLS.depth:
            tree = tree.puncture_leaf(prefix >> 4, prefix & 15)
        else:
            span = 1 << (CALLS.call_depth - depth)
            tree = tree.puncture_calls(prefix * span, span)
    for _ in range(case["epoch"]):
        tree = tree.next_epoch()
    assert bytes(tree).hex() == case["state"]
    assert KeyTree.parse(bytes.fromhex(case["state"])) == tree


@given(CUTS)
@SETTINGS
def test_after_any_punctures_exactly_the_others_derive_and_as_before(cuts: list[Cut]) -> None:
    fresh = KeyTree.fresh(SEED, shape=SMALL)
    model: dict[tuple[int, int], bytes | None] = {
        (call, leaf): fresh.leaf_key(call, leaf) for call in range(16) for leaf in range(4)
    }
    tree = fresh
    for cut in cuts:
        tree = applied(tree, cut)
        model |= dict.fromkeys(taken(cut))
    assert {place: derived(tree, *place) for place in model} == model
    left = {call * 4 + leaf for (call, leaf), key in model.items() if key is not None}
    assert {number for span in tree.leaf_ranges() for number in span} == left
    assert {call for span in tree.ranges() for call in span} == {number // 4 for number in left}


@given(CUTS)
@SETTINGS
def test_a_call_node_derives_only_while_the_whole_call_does(cuts: list[Cut]) -> None:
    fresh = KeyTree.fresh(SEED, shape=SMALL)
    tree = fresh
    for cut in cuts:
        tree = applied(tree, cut)
    touched = {call for cut in cuts for call, _ in taken(cut)}
    for call in range(16):
        if call in touched:
            with pytest.raises(KeyGone, match="no longer derives"):
                tree.call_node(call)
        else:
            assert tree.call_node(call) == fresh.call_node(call)


@given(CUTS, st.randoms(use_true_random=False))
@SETTINGS
def test_the_order_of_punctures_leaves_no_trace(cuts: list[Cut], shuffler: Any) -> None:
    other = list(cuts)
    shuffler.shuffle(other)
    one = two = KeyTree.fresh(SEED, shape=SMALL)
    for first, second in zip(cuts, other, strict=True):
        one, two = applied(one, first), applied(two, second)
    assert bytes(one) == bytes(two)
    assert one == two


@given(CUTS)
@SETTINGS
def test_states_agree_with_the_second_implementation_after_any_punctures(cuts: list[Cut]) -> None:
    tree, seeds = KeyTree.fresh(SEED, shape=SMALL), {"": SEED}
    for cut in cuts:
        tree = applied(tree, cut)
        for call, leaf in taken(cut):
            seeds = ggm.puncture(seeds, ggm.path(call << 2 | leaf, 6))
    assert bytes(tree) == ggm.serialise(seeds, 0, 4, 2)


@given(CUTS)
@SETTINGS
def test_a_state_is_parsed_to_the_same_tree(cuts: list[Cut]) -> None:
    tree = KeyTree.fresh(SEED, shape=SMALL).next_epoch()
    for cut in cuts:
        tree = applied(tree, cut)
    assert KeyTree.parse(bytes(tree), shape=SMALL) == tree
    assert bytes(KeyTree.parse(bytes(tree), shape=SMALL)) == bytes(tree)


@given(CUTS, st.data())
@SETTINGS
def test_a_damaged_state_is_refused_or_is_another_tree_in_its_one_spelling(
    cuts: list[Cut], data: st.DataObject
) -> None:
    tree = KeyTree.fresh(SEED, shape=SMALL)
    for cut in cuts:
        tree = applied(tree, cut)
    state = bytearray(bytes(tree))
    state[data.draw(st.integers(0, len(state) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        parsed = KeyTree.parse(bytes(state), shape=SMALL)
    except Damaged:
        return
    assert bytes(parsed) == bytes(state)
    assert parsed != tree


def test_puncturing_what_is_gone_gives_the_same_tree() -> None:
    tree = KeyTree.fresh(SEED).puncture_calls(4, 8).puncture_leaf(77, 3)
    assert tree.puncture_call(5) is tree
    assert tree.puncture_calls(6, 2) is tree
    assert tree.puncture_leaf(8, 15) is tree
    assert tree.puncture_leaf(77, 3) is tree
    assert tree.puncture_calls(1000, 0) is tree


def test_the_older_tree_is_untouched_by_a_puncture() -> None:
    tree = KeyTree.fresh(SEED)
    before = bytes(tree)
    assert bytes(tree.puncture_call(3)) != before
    assert bytes(tree) == before


def test_a_call_without_its_last_leaf_is_gone_as_if_punctured_at_once() -> None:
    one_by_one = KeyTree.fresh(SEED)
    for leaf in range(16):
        one_by_one = one_by_one.puncture_leaf(9, leaf)
    assert bytes(one_by_one) == bytes(KeyTree.fresh(SEED).puncture_call(9))


def test_parties_outlive_the_withdrawal_of_another() -> None:
    fresh = KeyTree.fresh(SEED)
    tree = fresh.puncture_leaf(9, 0)
    with pytest.raises(KeyGone):
        tree.leaf_key(9, 0)
    assert [tree.leaf_key(9, leaf) for leaf in range(1, 16)] == [fresh.leaf_key(9, n) for n in range(1, 16)]


def test_punctured_nodes_their_ancestors_and_descendants_are_not_in_the_state() -> None:
    fresh = KeyTree.fresh(SEED)
    state = bytes(fresh.puncture_call(123_456).puncture_leaf(99, 2).puncture_calls(2**20, 2**18))
    call, leaf, block = ggm.path(123_456, 32), ggm.path(99 << 4 | 2, 36), ggm.path(4, 14)
    gone = {bits[:length] for bits in (call, leaf, block) for length in range(len(bits) + 1)}
    gone |= {call + ggm.path(number, 4) for number in range(16)}
    assert fresh.call_node(123_456) == ggm.descend(SEED, call)
    assert [bits for bits in sorted(gone) if ggm.descend(SEED, bits) in state] == []
    assert ggm.descend(SEED, call[:-1] + "1") in state  # the scan finds what is there: the sibling


def test_a_prefix_of_a_million_calls_leaves_a_small_state() -> None:
    tree = KeyTree.fresh(SEED).puncture_calls(0, 1_000_000)
    assert len(bytes(tree)) <= HEADER.size + CALLS.call_depth * ROW.size
    assert tree.ranges() == [range(1_000_000, 2**32)]
    with pytest.raises(KeyGone):
        tree.call_node(999_999)
    assert tree.call_node(1_000_000) == KeyTree.fresh(SEED).call_node(1_000_000)


def test_everything_can_be_punctured() -> None:
    tree = KeyTree.fresh(SEED).puncture_calls(0, 2**32)
    assert (tree.ranges(), len(bytes(tree))) == ([], HEADER.size)
    with pytest.raises(KeyGone):
        tree.call_node(0)


def test_ranges_are_joined_across_nodes() -> None:
    tree = KeyTree.fresh(SEED).puncture_call(5).puncture_leaf(8, 0)
    assert tree.ranges() == [range(5), range(6, 2**32)]
    assert tree.leaf_ranges() == [range(5 * 16), range(6 * 16, 8 * 16), range(8 * 16 + 1, 2**36)]


def test_the_epoch_counts_batches_and_is_part_of_the_state() -> None:
    tree = KeyTree.fresh(SEED).puncture_call(1)
    later = tree.next_epoch().next_epoch()
    assert (tree.epoch, later.epoch) == (0, 2)
    assert KeyTree.parse(bytes(later)).epoch == 2
    assert later.call_node(2) == tree.call_node(2)


def test_a_tree_never_prints_its_keys() -> None:
    tree = KeyTree.fresh(SEED).puncture_call(1)
    assert repr(tree) == str(tree) == "KeyTree(epoch=0)"


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_seeds_and_nodes_have_32_bytes(length: int) -> None:
    with pytest.raises(VaultError, match=f"a tree grows from 32 bytes, got {length}"):
        KeyTree.fresh(bytes(length))
    with pytest.raises(VaultError, match=f"a call node has 32 bytes, got {length}"):
        leaf_key(bytes(length), 0)


@pytest.mark.parametrize("index", [-1, 2**32])
def test_calls_outside_the_tree_are_refused(index: int) -> None:
    tree = KeyTree.fresh(SEED)
    for attempt in (tree.call_node, tree.puncture_call):
        with pytest.raises(VaultError, match="calls are 0 to 4294967295, got"):
            attempt(index)
    with pytest.raises(VaultError, match="calls are 0 to 4294967295, got"):
        tree.puncture_leaf(index, 0)


@pytest.mark.parametrize(("first", "count"), [(0, -1), (2**32 - 1, 2), (0, 2**32 + 1)])
def test_ranges_outside_the_tree_are_refused(first: int, count: int) -> None:
    with pytest.raises(VaultError, match=f"got {count} from {first} on"):
        KeyTree.fresh(SEED).puncture_calls(first, count)


@pytest.mark.parametrize("leaf", [-1, 16])
def test_leaves_outside_the_call_are_refused(leaf: int) -> None:
    with pytest.raises(VaultError, match=f"a call has leaves 0 to 15, got {leaf}"):
        KeyTree.fresh(SEED).leaf_key(0, leaf)
    with pytest.raises(VaultError, match=f"a call has leaves 0 to 15, got {leaf}"):
        leaf_key(SEED, leaf)


def state_of(*rows: tuple[int, int]) -> bytes:
    head = HEADER.pack(b"MTKT", 1, 32, 4, 0, 0, len(rows))
    return head + b"".join(ROW.pack(depth, prefix, SEED) for depth, prefix in rows)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        pytest.param([(37, 0)], "outside the tree", id="too deep"),
        pytest.param([(1, 2)], "outside the tree", id="prefix too wide"),
        pytest.param([(2, 2), (2, 0)], "out of order", id="descending"),
        pytest.param([(2, 0), (2, 0)], "out of order", id="twice"),
        pytest.param([(1, 0), (2, 1)], "out of order", id="below another"),
        pytest.param([(2, 1), (1, 0)], "out of order", id="above another"),
        pytest.param([(2, 0), (2, 1)], "two whole siblings", id="split without need"),
        pytest.param([(36, 2), (36, 3)], "two whole siblings", id="split leaves"),
    ],
)
def test_other_spellings_are_damaged(rows: list[tuple[int, int]], words: str) -> None:
    with pytest.raises(Damaged, match=words):
        KeyTree.parse(state_of(*rows))


def test_all_orders_but_the_ascending_one_are_damaged() -> None:
    rows = [(3, 0), (3, 2), (3, 5), (3, 7)]
    accepted = []
    for order in permutations(rows):
        try:
            KeyTree.parse(state_of(*order))
        except Damaged:
            continue
        accepted.append(list(order))
    assert accepted == [rows]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        pytest.param(b"", "begins with 24 bytes, got 0", id="empty"),
        pytest.param(b"XXXX" + state_of()[4:], "not a key tree of this kind", id="magic"),
        pytest.param(state_of()[:4] + b"\x02" + state_of()[5:], "not a key tree of this kind", id="version"),
        pytest.param(state_of()[:5] + b"\x1f" + state_of()[6:], "not a key tree of this kind", id="depth"),
        pytest.param(state_of((2, 0))[:-1], "1 nodes need 65 bytes, got 64", id="cut"),
        pytest.param(state_of((2, 0)) + b"x", "1 nodes need 65 bytes, got 66", id="longer"),
    ],
)
def test_what_is_not_a_state_is_damaged(data: bytes, words: str) -> None:
    with pytest.raises(Damaged, match=words):
        KeyTree.parse(data)
