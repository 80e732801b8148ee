"""The tree agrees with RFC 6962's reference tests, and every proof verifies while no other does.

Origin of the fixed values: google/certificate-transparency, ``merkletree/merkle_tree_test.cc``
and ``merkle_verifier_test.cc`` (also transparency-dev/merkle, ``testonly/constants.go``).
"""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelseal.audit import Frontier, TileTree, grow, leaf_hash, merkle
from modelseal.audit.merkle import verify_consistency, verify_inclusion
from modelseal.errors import AuditBroken, Misuse

LEAVES = [
    bytes.fromhex(text)
    for text in (
        "", "00", "10", "2021", "3031", "40414243", "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]  # fmt: skip
_ROOTS = """
    e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
    6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d
    fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125
    aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77
    d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7
    4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4
    76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef
    ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c
    5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328
"""
ROOTS = _ROOTS.split()
INCLUSION = {
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
}
CONSISTENCY = {
    (1, 8): INCLUSION[0, 8],
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 5): [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}


def tree(leaves: list[bytes]) -> TileTree:
    grown = grow(0, leaves, lambda _path: None)
    return TileTree(grown.size, grown.tiles.get)


def numbered(count: int) -> list[bytes]:
    return [leaf_hash(number.to_bytes(4, "big")) for number in range(count)]


def naive_root(leaves: list[bytes]) -> bytes:
    """RFC 6962, section 2.1, word for word."""
    if len(leaves) < 2:
        return leaves[0] if leaves else hashlib.sha256(b"").digest()
    half = 1
    while half * 2 < len(leaves):
        half *= 2
    joined = b"\x01" + naive_root(leaves[:half]) + naive_root(leaves[half:])
    return hashlib.sha256(joined).digest()


@pytest.mark.parametrize("size", range(9))
def test_roots_are_those_of_the_reference(size: int) -> None:
    leaves = [leaf_hash(leaf) for leaf in LEAVES[:size]]
    assert Frontier(leaves).root().hex() == ROOTS[size]
    assert tree(leaves).root().hex() == ROOTS[size]


@pytest.mark.parametrize(("index", "size"), INCLUSION)
def test_inclusion_proofs_are_those_of_the_reference(index: int, size: int) -> None:
    leaves = [leaf_hash(leaf) for leaf in LEAVES[:size]]
    proof = tree(leaves).inclusion_proof(index)
    assert [item.hex() for item in proof] == INCLUSION[index, size]
    verify_inclusion(leaves[index], index, size, proof, bytes.fromhex(ROOTS[size]))


@pytest.mark.parametrize(("old", "new"), CONSISTENCY)
def test_consistency_proofs_are_those_of_the_reference(old: int, new: int) -> None:
    proof = tree([leaf_hash(leaf) for leaf in LEAVES[:new]]).consistency_proof(old)
    assert [item.hex() for item in proof] == CONSISTENCY[old, new]
    verify_consistency(old, bytes.fromhex(ROOTS[old]), new, bytes.fromhex(ROOTS[new]), proof)


@pytest.mark.parametrize("size", range(1, 40))
def test_every_proof_of_small_trees_verifies_and_no_altered_one_does(size: int) -> None:
    leaves = numbered(size)
    whole = tree(leaves)
    root = whole.root()
    assert root == naive_root(leaves)
    for index in range(size):
        proof = whole.inclusion_proof(index)
        verify_inclusion(leaves[index], index, size, proof, root)
        for other in (index + 1, size):
            with pytest.raises(AuditBroken):
                verify_inclusion(leaves[index], other, size, proof, root)
    for old in range(1, size + 1):
        proof, before = whole.consistency_proof(old), naive_root(leaves[:old])
        verify_consistency(old, before, size, root, proof)
        with pytest.raises(AuditBroken):
            verify_consistency(old, before, size, root, [*proof, root])
        with pytest.raises(AuditBroken):
            verify_consistency(old, leaf_hash(b"?"), size, root, proof)
        if proof:
            with pytest.raises(AuditBroken):
                verify_consistency(old, before, size, root, proof[:-1])


@given(sizes=st.lists(st.integers(1, 400), min_size=1, max_size=4), data=st.data())
def test_growing_in_any_steps_gives_the_same_tree_with_working_proofs(
    sizes: list[int], data: st.DataObject
) -> None:
    leaves = numbered(sum(sizes))
    tiles: dict[str, bytes] = {}
    size = 0
    for step in sizes:
        grown = grow(size, leaves[size : size + step], tiles.get)
        tiles |= grown.tiles
        size = grown.size
    assert grown.root == Frontier(leaves).root() == tree(leaves).root()
    whole = TileTree(size, tiles.get)
    index = data.draw(st.integers(0, size - 1))
    verify_inclusion(leaves[index], index, size, whole.inclusion_proof(index), grown.root)
    old = data.draw(st.integers(1, size))
    verify_consistency(
        old, Frontier(leaves[:old]).root(), size, grown.root, whole.consistency_proof(old)
    )


def test_a_tree_of_70000_leaves_works_across_three_levels() -> None:
    leaves = numbered(70_000)
    whole = tree(leaves)
    assert whole.root() == Frontier(leaves).root()
    for index in (0, 255, 256, 65_535, 65_536, 69_999):
        verify_inclusion(leaves[index], index, 70_000, whole.inclusion_proof(index), whole.root())


def test_the_empty_tree_begins_every_tree() -> None:
    root = Frontier(numbered(3)).root()
    verify_consistency(0, merkle.EMPTY_ROOT, 3, root, [])
    with pytest.raises(AuditBroken):
        verify_consistency(0, root, 3, root, [])


@given(st.integers(-2, 12), st.integers(-2, 12), st.lists(st.binary(max_size=33), max_size=5))
def test_random_proofs_are_refused_with_our_own_error(
    one: int, two: int, proof: list[bytes]
) -> None:
    root = Frontier(numbered(3)).root()
    with pytest.raises(AuditBroken):
        verify_inclusion(leaf_hash(b"x"), one, two, proof, root)
    with pytest.raises(AuditBroken):
        verify_consistency(one, leaf_hash(b"x"), two, root, proof)


def test_proofs_outside_the_tree_are_a_mistake_of_the_caller() -> None:
    whole = tree(numbered(5))
    for wrong in (-1, 5):
        with pytest.raises(Misuse):
            whole.inclusion_proof(wrong)
    for wrong in (0, 6):
        with pytest.raises(Misuse):
            whole.consistency_proof(wrong)
