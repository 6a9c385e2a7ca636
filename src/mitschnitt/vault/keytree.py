"""The puncturable key tree (GGM): every call key follows from one seed until it is punctured, never after.

    seed -- 32 levels --> call node -- 4 levels --> 16 leaves: parties 0..11, shared, facts, log, one reserved
    child = HMAC-SHA-256(parent, "mitschnitt/v1/node/" || "0" or "1")

Pure: no I/O, no clock, no randomness; a change is a new tree that shares what stayed. A punctured node and
its ancestors are not in the new tree; wiping older trees and their copies is the keeper's work.
State: "MTKT" | version u8 | call depth u8 | leaf depth u8 | 0 u8 | epoch u64 | count u64, then from left to
right (depth u8 | prefix u64 | seed 32) of the topmost nodes that are left; all big endian.
"""

from __future__ import annotations

import hmac
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from mitschnitt.errors import Damaged, KeyGone, VaultError

NODE_BYTES = 32  # output of HMAC-SHA-256
CALL_DEPTH = 32  # levels from the seed to a call: 2^32 calls
LEAF_DEPTH = 4  # levels from a call to its leaves: 16

MAGIC = b"MTKT"
VERSION = 1
HEADER = struct.Struct(">4sBBBBQQ")
ROW = struct.Struct(">BQ32s")
CHILD_LABELS = (b"mitschnitt/v1/node/0", b"mitschnitt/v1/node/1")

# What is left below a node: all of it (its 32 bytes), nothing, or what is left of both children.
Node = bytes | None | tuple["Node", "Node"]
Row = tuple[int, int, bytes]  # depth, prefix, seed


@dataclass(frozen=True)
class Shape:
    """Depths of a tree, in levels; only tests use another one than `CALLS`."""

    call_depth: int = CALL_DEPTH
    leaf_depth: int = LEAF_DEPTH

    @property
    def depth(self) -> int:
        """Levels from the seed to a leaf."""
        return self.call_depth + self.leaf_depth

    @property
    def calls(self) -> int:
        """Number of calls."""
        return 1 << self.call_depth

    @property
    def leaves(self) -> int:
        """Number of leaves per call."""
        return 1 << self.leaf_depth


CALLS = Shape()


@dataclass(frozen=True, repr=False)
class KeyTree:
    """What still derives. `epoch` counts erasure batches; the keeper raises it with every new KEK."""

    root: Node = field(repr=False)
    epoch: int = 0
    shape: Shape = CALLS

    @classmethod
    def fresh(cls, seed: bytes, *, shape: Shape = CALLS) -> KeyTree:
        """A tree with nothing punctured; `seed` is 32 random bytes and is the whole secret."""
        if len(seed) != NODE_BYTES:
            raise VaultError(f"a tree grows from {NODE_BYTES} bytes, got {len(seed)}")
        return cls(seed, shape=shape)

    def __repr__(self) -> str:
        """No key ever reaches a log line."""
        return f"KeyTree(epoch={self.epoch})"

    def call_node(self, index: int) -> bytes:
        """The 32-byte node of call `index`; KeyGone when the call or any leaf of it was punctured."""
        return self._derive(self._checked(index), self.shape.call_depth)

    def leaf_key(self, index: int, leaf: int) -> bytes:
        """The 32-byte key of one leaf; it outlives the punctures of its siblings. KeyGone when punctured."""
        return self._derive(self._leaf(index, leaf), self.shape.depth)

    def puncture_call(self, index: int) -> KeyTree:
        """A tree without call `index`; the same tree when it is gone already."""
        return self.puncture_calls(index, 1)

    def puncture_calls(self, first: int, count: int) -> KeyTree:
        """A tree without the calls `first` to `first + count - 1`; a range costs two paths."""
        if count < 0 or not 0 <= first <= self.shape.calls - count:
            raise VaultError(f"calls are 0 to {self.shape.calls - 1}, got {count} from {first} on")
        return self._without(first << self.shape.leaf_depth, (first + count) << self.shape.leaf_depth)

    def puncture_leaf(self, index: int, leaf: int) -> KeyTree:
        """A tree without one leaf of a call; the call's other leaves still derive."""
        number = self._leaf(index, leaf)
        return self._without(number, number + 1)

    def next_epoch(self) -> KeyTree:
        """The same keys, one erasure batch later."""
        return replace(self, epoch=self.epoch + 1)

    def ranges(self) -> list[range]:
        """Calls of which at least one leaf still derives, ascending, no two touching; holds no secret."""
        deep = self.shape.leaf_depth
        return _joined(range(r.start >> deep, ((r.stop - 1) >> deep) + 1) for r in self.leaf_ranges())

    def leaf_ranges(self) -> list[range]:
        """Leaf numbers (`index * 16 + leaf`) that still derive, ascending, no two touching."""
        spans = ((self.shape.depth - depth, prefix) for depth, prefix, _ in _rows(self.root))
        return _joined(range(prefix << height, (prefix + 1) << height) for height, prefix in spans)

    def __bytes__(self) -> bytes:
        """The state in its one spelling; secret, to be sealed under the KEK by the caller."""
        rows = [ROW.pack(*row) for row in _rows(self.root)]
        shape = self.shape
        head = HEADER.pack(MAGIC, VERSION, shape.call_depth, shape.leaf_depth, 0, self.epoch, len(rows))
        return head + b"".join(rows)

    @classmethod
    def parse(cls, data: bytes, *, shape: Shape = CALLS) -> KeyTree:
        """The inverse of `bytes(tree)`; Damaged for everything that `bytes` does not write."""
        if len(data) < HEADER.size:
            raise Damaged(f"a key tree begins with {HEADER.size} bytes, got {len(data)}")
        magic, version, *depths, epoch, count = HEADER.unpack_from(data)
        expected = (MAGIC, VERSION, [shape.call_depth, shape.leaf_depth, 0])
        if (magic, version, depths) != expected:
            raise Damaged(f"not a key tree of this kind: {(magic, version, depths)}, expected {expected}")
        if len(data) != HEADER.size + count * ROW.size:
            raise Damaged(f"{count} nodes need {HEADER.size + count * ROW.size} bytes, got {len(data)}")
        rows: list[Row] = list(ROW.iter_unpack(memoryview(data)[HEADER.size :]))
        position = 0  # first leaf that no row has covered yet
        for depth, prefix, _ in rows:
            if depth > shape.depth or prefix >> depth or prefix << (shape.depth - depth) < position:
                raise Damaged(f"node {prefix} at depth {depth} is out of order or outside the tree")
            position = (prefix + 1) << (shape.depth - depth)
        return cls(_grown(rows[::-1], 0, 0), epoch, shape)

    def _checked(self, index: int) -> int:
        if not 0 <= index < self.shape.calls:
            raise VaultError(f"calls are 0 to {self.shape.calls - 1}, got {index}")
        return index

    def _leaf(self, index: int, leaf: int) -> int:
        if not 0 <= leaf < self.shape.leaves:
            raise VaultError(f"a call has leaves 0 to {self.shape.leaves - 1}, got {leaf}")
        return self._checked(index) << self.shape.leaf_depth | leaf

    def _derive(self, prefix: int, depth: int) -> bytes:
        node = self.root
        for height in range(depth - 1, -1, -1):
            bit = prefix >> height & 1
            if isinstance(node, bytes):
                node = _child(node, bit)
            elif node is not None:
                node = node[bit]
        if not isinstance(node, bytes):
            raise KeyGone("the key tree no longer derives this key")
        return node

    def _without(self, first: int, stop: int) -> KeyTree:
        root = _cut(self.root, 0, 1 << self.shape.depth, first, stop)
        return self if root is self.root else replace(self, root=root)


def leaf_key(call_node: bytes, leaf: int) -> bytes:
    """The 32-byte key of leaf 0 to 15 below a call node, as a recorder derives it from a leased node."""
    if len(call_node) != NODE_BYTES:
        raise VaultError(f"a call node has {NODE_BYTES} bytes, got {len(call_node)}")
    if not 0 <= leaf < CALLS.leaves:
        raise VaultError(f"a call has leaves 0 to {CALLS.leaves - 1}, got {leaf}")
    node = call_node
    for height in range(LEAF_DEPTH - 1, -1, -1):
        node = _child(node, leaf >> height & 1)
    return node


def _child(node: bytes, bit: int) -> bytes:
    return hmac.digest(node, CHILD_LABELS[bit], "sha256")


def _cut(node: Node, base: int, size: int, first: int, stop: int) -> Node:
    """What is left of `node` (leaves `[base, base + size)`) without the leaves `[first, stop)`."""
    if node is None or stop <= base or base + size <= first or first == stop:
        return node
    if first <= base and base + size <= stop:
        return None
    half = size >> 1
    left, right = (_child(node, 0), _child(node, 1)) if isinstance(node, bytes) else node
    new_left = _cut(left, base, half, first, stop)
    new_right = _cut(right, base + half, half, first, stop)
    if new_left is None and new_right is None:
        return None
    if new_left is left and new_right is right:
        return node  # nothing of it was left to cut: the tree stays the same object
    return new_left, new_right


def _grown(rows: list[Row], depth: int, prefix: int) -> Node:
    """The node at `prefix`, made of those rows at the end of `rows` that lie below it; they are taken off.

    Two whole siblings are Damaged: punctures never leave them, and they would be a second spelling.
    """
    if not rows or rows[-1][0] < depth or rows[-1][1] >> (rows[-1][0] - depth) != prefix:
        return None
    if rows[-1][0] == depth:
        return rows.pop()[2]
    left = _grown(rows, depth + 1, prefix << 1)
    right = _grown(rows, depth + 1, prefix << 1 | 1)
    if isinstance(left, bytes) and isinstance(right, bytes):
        raise Damaged("two whole siblings: no puncture leaves a node split without need")
    return left, right


def _rows(root: Node) -> list[Row]:
    """The topmost whole nodes, from left to right."""
    rows: list[Row] = []
    waiting: list[tuple[Node, int, int]] = [(root, 0, 0)]
    while waiting:
        node, depth, prefix = waiting.pop()
        if isinstance(node, bytes):
            rows.append((depth, prefix, node))
        elif node is not None:
            waiting.append((node[1], depth + 1, prefix << 1 | 1))
            waiting.append((node[0], depth + 1, prefix << 1))
    return rows


def _joined(ranges: Iterable[range]) -> list[range]:
    """Ascending ranges with those that touch or overlap made one."""
    joined: list[range] = []
    for span in ranges:
        if joined and span.start <= joined[-1].stop:
            joined[-1] = range(joined[-1].start, max(joined[-1].stop, span.stop))
        else:
            joined.append(span)
    return joined
