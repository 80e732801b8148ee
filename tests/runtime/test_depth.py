"""How deeply a load verifies: leaves and tags, or the tags alone while a record holds."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest
from tests.runtime.shop import Shop, ShopLicensee

import modelseal
from modelseal import container
from modelseal.errors import ContainerDamaged
from modelseal.runtime import files, sharing
from modelseal.runtime.view import open_view

CHUNK = 65536
DATA = os.urandom(3 * CHUNK + 9)


@pytest.fixture
def sealed(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sealed model that is old enough to be recorded."""
    monkeypatch.setattr(files, "_SETTLED_NS", 0)
    return shop.seal("m.bin", DATA)[0]


def forged(path: Path, shop: Shop) -> bytes:
    """The bytes of ``path`` with one chunk encrypted anew by somebody who has the data key."""
    data = bytearray(path.read_bytes())
    licensee = ShopLicensee(shop.folder)
    model = licensee.verify(container.parse(container.BytesSource(data)))
    from modelseal.container import _keys

    key = bytes.fromhex(shop.keys[model.file_id.hex()]["1"])
    place = model._places[1]
    offset, size = place.place(0)
    cipher = _keys.section_cipher(model.prologue_hash, key, (), 1)
    plain = b"F" * (size - 16)
    aad = _keys.aad(1, place.info.first_chunk)
    data[offset : offset + size] = cipher.encrypt(_keys.nonce(0, False), plain, aad)
    return bytes(data)


def in_place(path: Path, data: bytes) -> None:
    """The same inode holds ``data`` and says that it was never touched."""
    before = path.stat()
    with path.open("r+b") as file:
        file.write(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_the_first_whole_load_is_full_and_later_ones_compare_the_tags(
    sealed: Path, licensee: ShopLicensee
) -> None:
    """A load of a part records nothing; the load that completes the leaves does."""
    view = open_view(sealed, licensee)
    assert view.depth == "full"
    view.private("m.bin", 0, 10)
    assert not licensee.records
    view.private("m.bin", 10)
    assert len(licensee.records) == 1 and view.depth == "full"
    del view
    again = open_view(sealed, licensee)
    assert again.depth == "tag" and bytes(again.private("m.bin")) == DATA


def test_a_young_file_is_not_recorded(shop: Shop, licensee: ShopLicensee) -> None:
    """A change within the same tick of the file system's clock would not show in its times."""
    path, _ = shop.seal("m.bin", DATA)
    assert bytes(open_view(path, licensee).private("m.bin")) == DATA
    assert not licensee.records


def test_a_swap_between_verification_and_use_is_noticed(
    sealed: Path, licensee: ShopLicensee, shop: Shop
) -> None:
    """Even one by a licensee who knows the key and puts the time of the change back."""
    bad = forged(sealed, shop)
    assert bytes(open_view(sealed, licensee).private("m.bin")) == DATA
    gc.collect()
    in_place(sealed, bad)
    after = open_view(sealed, licensee)
    assert after.depth == "full"
    with pytest.raises(ContainerDamaged):
        after.private("m.bin")


def test_a_swap_after_the_record_was_read_is_noticed_before_anything_is_handed_out(
    sealed: Path, licensee: ShopLicensee, shop: Shop
) -> None:
    """The tags of the forged bytes hold; the descriptor tells that it changed."""
    bad = forged(sealed, shop)
    assert bytes(open_view(sealed, licensee).private("m.bin")) == DATA
    gc.collect()
    view = open_view(sealed, licensee)
    assert view.depth == "tag"
    in_place(sealed, bad)
    with pytest.raises(ContainerDamaged):
        view.private("m.bin")
    assert view.depth == "full"


def test_a_touched_file_with_the_same_bytes_is_verified_again_and_opens(
    sealed: Path, licensee: ShopLicensee
) -> None:
    open_view(sealed, licensee).private("m.bin")
    gc.collect()
    view = open_view(sealed, licensee)
    os.utime(sealed, (1, 1))
    assert bytes(view.private("m.bin")) == DATA and view.depth == "full"


def test_full_can_be_demanded_and_is_told(sealed: Path, licensee: ShopLicensee, shop: Shop) -> None:
    """By ``modelseal.open`` for one file."""
    for wanted, reached in (("auto", "full"), ("auto", "tag"), ("full", "full"), ("auto", "tag")):
        gc.collect()
        with modelseal.open(sealed, depth=wanted) as opened:
            assert opened.depth == reached
            assert opened.read() == DATA
    with pytest.raises(modelseal.errors.Misuse):
        modelseal.open(sealed, depth="none")


def test_what_was_verified_by_tags_is_not_shared_with_who_wants_leaves(
    sealed: Path, licensee: ShopLicensee
) -> None:
    open_view(sealed, licensee).private("m.bin")
    gc.collect()
    before = sharing.live()
    with (
        open_view(sealed, licensee).shared("m.bin") as tags,
        open_view(sealed, licensee, full=True).shared("m.bin") as leaves,
        open_view(sealed, licensee).shared("m.bin") as other,
    ):
        assert sharing.live() == before + 2
        assert tags.obj is other.obj and tags.obj is not leaves.obj
        assert bytes(tags) == bytes(leaves) == DATA


def test_one_keyring_serves_every_read_of_a_view_and_is_wiped_with_it(
    sealed: Path, licensee: ShopLicensee
) -> None:
    view = open_view(sealed, licensee)
    for start in range(0, len(DATA), CHUNK // 2):
        view.private("m.bin", start, start + 1)
    assert len(licensee.key_requests) == 1
    kept = view.private("m.bin")
    assert not any(secret._arena.closed for secret in licensee.live_secrets)
    view.close()
    assert all(secret._arena.closed for secret in licensee.live_secrets)
    assert bytes(kept) == DATA
