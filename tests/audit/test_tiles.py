"""Tiles: paths and sizes of C2SP tlog-tiles."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.audit.world import grown

from modelseal import audit
from modelseal.audit import TileTree, grow, leaf_hash, tiles
from modelseal.audit.tiles import TilePath, bundle, parse_bundle, parse_path, paths_of
from modelseal.errors import AuditBroken, Misuse


def test_the_examples_of_the_specification_hold() -> None:
    assert str(TilePath(0, 1234067)) == "tile/0/x001/x234/067"
    assert str(TilePath(None, 5, 12)) == "tile/entries/005.p/12"
    paths = paths_of(70_000)
    at = {level: [p for p in paths if p.level == level] for level in range(4)}
    assert (len(at[0]), at[0][-1].width) == (274, 112)
    assert [p.width for p in at[1]] == [256, 17]
    assert [p.width for p in at[2]] == [1] and at[3] == []
    assert [str(p) for p in paths_of(256)] == ["tile/entries/000", "tile/0/000", "tile/1/000.p/1"]


@given(st.none() | st.integers(0, 7), st.integers(0, 10**12), st.integers(1, 256))
def test_parsing_undoes_writing_a_path(level: int | None, index: int, width: int) -> None:
    path = TilePath(level, index, width)
    assert parse_path(str(path)) == path


@pytest.mark.parametrize(
    "text",
    [
        "tile/0/1",
        "tile/00/001",
        "tile/8/001",
        "tile/0/x000/001",
        "tile/0/001/002",
        "tile/0/001.p/0",
        "tile/0/001.p/256",
        "tile/0/001.p/01",
        "tile/0/001\n",
        "tile/-1/001",
        "tile/0/../001",
        "tile/0/" + "x001/" * 60 + "001",
        "tile/0/" + "x999/" * 6 + "999",  # more leaves than any store counts
        "tile/0/\u0660\u0660\u0661",
        "",
    ],
)
def test_other_texts_are_no_path(text: str) -> None:
    with pytest.raises(AuditBroken):
        parse_path(text)


def test_growing_writes_exactly_the_tiles_of_the_new_size() -> None:
    log = grown(700, step=90)
    for path in paths_of(700):
        if path.level is not None:
            assert len(log.tiles[str(path)]) == path.width * 32


def test_growing_again_after_a_stop_writes_the_same_tiles() -> None:
    log = grown(300)
    fresh = [leaf_hash(b"%d" % number) for number in range(500)]
    first = grow(300, fresh, log.tiles.get)
    again = grow(300, fresh, (log.tiles | first.tiles).get)
    assert first == again


def test_a_partial_tile_is_read_from_its_full_successor() -> None:
    log = grown(700, step=350)
    only_full = {path: data for path, data in log.tiles.items() if ".p/" not in path}
    tree = TileTree(512 + 255, lambda path: only_full.get(path))
    assert tree.leaf(10) == leaf_hash(log.bodies[10])
    older = TileTree(300, lambda path: only_full.get(path) or log.tiles.get(path))
    assert older.root() == audit.Frontier(map(leaf_hash, log.bodies[:300])).root()


def test_a_missing_or_short_tile_is_reported_with_its_path() -> None:
    for broken in ({}, {"tile/0/000": b"short"}):
        with pytest.raises(AuditBroken) as caught:
            TileTree(300, broken.get).leaf(0)
        assert caught.value.params["path"] == "tile/0/000"


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_parsing_undoes_bundling(entries: list[bytes]) -> None:
    assert parse_bundle(bundle(entries)) == entries


@given(st.binary(max_size=100))
def test_other_bytes_are_no_bundle_or_bundle_back(data: bytes) -> None:
    try:
        entries = parse_bundle(data)
    except AuditBroken:
        return
    assert bundle(entries) == data


def test_a_bundle_holds_at_most_256_entries_of_64_kib() -> None:
    with pytest.raises(AuditBroken):
        parse_bundle(bundle([b"x"] * 257))
    with pytest.raises(Misuse):
        bundle([bytes(tiles.MAX_ENTRY_BYTES + 1)])


def test_hashes_and_subtrees_that_cannot_be_are_a_mistake_of_the_caller() -> None:
    with pytest.raises(Misuse):
        grow(0, [b"short"], lambda _path: None)
    log = grown(300)
    tree = TileTree(300, log.tiles.get)
    for level, index in ((0, 300), (6, 4), (8, 1)):
        with pytest.raises(Misuse):
            tree.node(level, index)


def test_growing_by_nothing_changes_nothing() -> None:
    log = grown(300)
    again = grow(300, [], log.tiles.get)
    assert again.tiles == {} and again.root == TileTree(300, log.tiles.get).root()
