"""The Merkle tree of RFC 6962, section 2.1, over SHA-256: hashes, proofs and their checks.

A tree is anything that gives hashes of complete subtrees (``Nodes``); ``tiles.TileTree`` is one.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Sequence
from typing import Protocol

from modelseal.errors import AuditBroken, Misuse

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()
MAX_SIZE = 2**62


class Nodes(Protocol):
    """Hashes of complete subtrees."""

    def node(self, level: int, index: int) -> bytes:
        """The hash over leaves ``index * 2**level`` to ``(index + 1) * 2**level``."""
        ...


def leaf_hash(entry: bytes) -> bytes:
    """SHA-256(0x00 || entry)."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 || left || right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Frontier:
    """The right edge of a growing tree: enough to append and to know the root, nothing more."""

    __slots__ = ("_edge", "size")

    def __init__(self, leaves: Iterable[bytes] = ()) -> None:
        self.size = 0
        self._edge: list[bytes] = []
        for leaf in leaves:
            self.append(leaf)

    def append(self, leaf: bytes) -> None:
        """The tree has one more leaf, by its hash."""
        carry, bits = leaf, self.size
        while bits & 1:
            carry = node_hash(self._edge.pop(), carry)
            bits >>= 1
        self._edge.append(carry)
        self.size += 1

    def root(self) -> bytes:
        """The Merkle tree hash of all leaves so far."""
        if not self._edge:
            return EMPTY_ROOT
        carry = self._edge[-1]
        for left in reversed(self._edge[:-1]):
            carry = node_hash(left, carry)
        return carry


def subtree_root(nodes: Nodes, start: int, count: int) -> bytes:
    """The Merkle tree hash of ``count`` leaves from ``start``, a multiple of the largest power of
    two below ``count``.
    """
    if count == 0:
        return EMPTY_ROOT
    if count & (count - 1) == 0:
        level = count.bit_length() - 1
        return nodes.node(level, start >> level)
    left = _split(count)
    return node_hash(
        subtree_root(nodes, start, left), subtree_root(nodes, start + left, count - left)
    )


def inclusion_proof(nodes: Nodes, index: int, size: int) -> list[bytes]:
    """The audit path of leaf ``index`` in the tree of ``size`` leaves (RFC 6962, 2.1.1)."""
    if not 0 <= index < size <= MAX_SIZE:
        raise Misuse("an inclusion proof needs an index inside the tree")
    path: list[bytes] = []
    start, count = 0, size
    while count > 1:
        left = _split(count)
        if index - start < left:
            path.append(subtree_root(nodes, start + left, count - left))
            count = left
        else:
            path.append(subtree_root(nodes, start, left))
            start, count = start + left, count - left
    return path[::-1]


def consistency_proof(nodes: Nodes, old: int, new: int) -> list[bytes]:
    """The proof that the tree of ``old`` leaves begins the tree of ``new`` (RFC 6962, 2.1.2)."""
    if not 0 < old <= new <= MAX_SIZE:
        raise Misuse("a consistency proof leads from a tree to one at least as large")
    path: list[bytes] = []
    start, count, known, whole = 0, new, old, True
    while known != count:
        left = _split(count)
        if known <= left:
            path.append(subtree_root(nodes, start + left, count - left))
            count = left
        else:
            path.append(subtree_root(nodes, start, left))
            start, count, known, whole = start + left, count - left, known - left, False
    if not whole:
        path.append(subtree_root(nodes, start, count))
    return path[::-1]


def verify_inclusion(
    leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes
) -> None:
    """Returns when ``leaf`` is number ``index`` of the tree; ``AuditBroken`` otherwise.

    RFC 9162, section 2.1.3.2.
    """
    if not 0 <= index < size <= MAX_SIZE or not _are_hashes([leaf, root, *proof]):
        raise AuditBroken("the inclusion proof has another shape", fault="proof")
    place, last, carry = index, size - 1, leaf
    for item in proof:
        if last == 0:
            raise AuditBroken("the inclusion proof is too long", fault="proof")
        if place & 1 or place == last:
            carry = node_hash(item, carry)
            while place and not place & 1:
                place, last = place >> 1, last >> 1
        else:
            carry = node_hash(carry, item)
        place, last = place >> 1, last >> 1
    if last != 0 or not hmac.compare_digest(carry, root):
        raise AuditBroken("the inclusion proof does not lead to the root", fault="proof")


def verify_consistency(
    old: int, old_root: bytes, new: int, new_root: bytes, proof: Sequence[bytes]
) -> None:
    """Returns when the old tree begins the new one; ``AuditBroken`` otherwise.

    RFC 9162, section 2.1.4.2; the empty tree begins every tree, with an empty proof.
    """
    if not 0 <= old <= new <= MAX_SIZE or not _are_hashes([old_root, new_root, *proof]):
        raise AuditBroken("the consistency proof has another shape", fault="proof")
    if old in (0, new):
        same = hmac.compare_digest(old_root, EMPTY_ROOT if old == 0 else new_root)
        if proof or not same:
            raise AuditBroken("the trees are not the same", fault="proof")
        return
    from_old, from_new = _replay(old, new, old_root, proof)
    if not (hmac.compare_digest(from_old, old_root) and hmac.compare_digest(from_new, new_root)):
        raise AuditBroken("the consistency proof does not lead to the roots", fault="proof")


def _replay(old: int, new: int, old_root: bytes, proof: Sequence[bytes]) -> tuple[bytes, bytes]:
    path = [old_root, *proof] if old & (old - 1) == 0 else list(proof)
    place, last = old - 1, new - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    if not path:
        raise AuditBroken("the consistency proof is empty", fault="proof")
    from_old = from_new = path[0]
    for item in path[1:]:
        if last == 0:
            raise AuditBroken("the consistency proof is too long", fault="proof")
        if place & 1 or place == last:
            from_old, from_new = node_hash(item, from_old), node_hash(item, from_new)
            while place and not place & 1:
                place, last = place >> 1, last >> 1
        else:
            from_new = node_hash(from_new, item)
        place, last = place >> 1, last >> 1
    if last != 0:
        raise AuditBroken("the consistency proof is too short", fault="proof")
    return from_old, from_new


def _split(count: int) -> int:
    """The largest power of two smaller than ``count``."""
    return 1 << (count - 1).bit_length() - 1


def _are_hashes(items: Sequence[bytes]) -> bool:
    return all(isinstance(item, bytes) and len(item) == HASH_BYTES for item in items)
