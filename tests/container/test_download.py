"""What a downloader and a mirror need: the front alone, leaves, holes, the trailer."""

from __future__ import annotations

import hashlib
import random
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelseal.container import (
    PROLOGUE_BYTES,
    BytesSource,
    Prologue,
    VariantKey,
    crc_trailer,
    crc_update,
    file_digest,
    is_sealed,
    leaf_hash,
    parse,
)
from modelseal.crypto.hpke import KemPrivateKey
from modelseal.errors import ContainerDamaged, ContainerTruncated, Misuse, SealedKeyInvalid

CHUNK = 65536


def test_a_download_is_verified_chunk_by_chunk_from_the_front_alone(
    publisher: Any, content: Any
) -> None:
    """128 bytes tell the front, the front tells every chunk, in any order, from any mirror."""
    data, _ = publisher.seal(publisher.section({"a": content("a", 5 * CHUNK + 3)}))
    front_bytes = Prologue.from_bytes(data[:PROLOGUE_BYTES]).front_bytes
    with pytest.raises(ContainerTruncated):
        parse(BytesSource(data[: front_bytes - 1]), front_only=True)
    with pytest.raises(ContainerTruncated):
        parse(BytesSource(data[:front_bytes]))
    model = parse(BytesSource(data[:front_bytes]), front_only=True).verify_signatures(
        [publisher.ed25519.verify_key()], product="demo"
    )
    rebuilt = bytearray(data[:front_bytes]).ljust(model.file_bytes, b"\0")
    ranges = list(model.leaf_ranges())
    random.Random(1).shuffle(ranges)
    for offset, size, expected in ranges:
        chunk = data[offset : offset + size]
        assert leaf_hash(model.prologue.suite, chunk) == expected
        rebuilt[offset : offset + size] = chunk
    assert rebuilt == data
    with pytest.raises(ContainerDamaged):
        model.verify_leaves()


def test_the_ranges_cover_the_file_behind_the_front_without_gap(
    publisher: Any, content: Any
) -> None:
    """They are a sequence like any other: length, negative index, slices, end."""
    data, _ = publisher.seal(
        publisher.section({"a": content("a", 2 * CHUNK)}), publisher.section({"b": b""}, "other")
    )
    model = publisher.verified(data)
    ranges = model.leaf_ranges()
    at = model.front_bytes
    for offset, size, _ in ranges:
        assert offset == at
        at += size
    assert at == len(data)
    assert (ranges[-1], ranges[1:3]) == (ranges[len(ranges) - 1], [ranges[1], ranges[2]])
    with pytest.raises(IndexError):
        ranges[len(ranges)]


def test_a_changed_leaf_table_is_noticed_before_any_leaf_is_used(publisher: Any) -> None:
    """The hash of the table is in the signed header."""
    data, made = publisher.seal(publisher.section({"a": b"x"}))
    changed = bytearray(data)
    changed[publisher.verified(data).prologue.leaf_table_offset] ^= 1
    model = publisher.verified(changed)
    for ask in (
        model.leaf_ranges,
        model.verify_leaves,
        lambda: model.open_index(made.data_keys[0]),
    ):
        with pytest.raises(ContainerDamaged):
            ask()
    assert len(model.open_index(made.data_keys[0], depth="tag")) == 1


@pytest.fixture(scope="module")
def variant(publisher: Any, forging: Any, content: Any) -> Any:
    plain = content("variant", 2 * CHUNK + 10)
    forge = forging.Forge([publisher.ed25519], publisher.recovery.public_key(), publisher.random)
    made = forge.make(
        forging.index_of(forging.one_entry("v", plain)),
        forging.Part(plain, kind="variant", variants=3),
    )
    return plain, made


def test_every_choice_of_variants_opens_to_the_same_size_with_its_own_keys(
    publisher: Any, variant: Any
) -> None:
    """Each licensee's pick opens, in whole and in ranges; with the seed the publisher too."""
    plain, made = variant
    model = publisher.verified(made.data)
    for shift in range(3):
        picked = [
            VariantKey(*pair) for pair in made.bundle(1, lambda chunk, s=shift: (chunk + s) % 3)
        ]
        target = bytearray(len(plain))
        model.open_section(1, None, memoryview(target), bundle_keys=picked, threads=2)
        assert target == plain
        part = bytearray(CHUNK)
        model.read_range(1, None, CHUNK // 2, memoryview(part), bundle_keys=picked)
        assert part == plain[CHUNK // 2 : CHUNK // 2 + CHUNK]
        assert picked[0].key.hex() not in repr(picked)
    target = bytearray(len(plain))
    model.open_section(1, made.data_keys[1], memoryview(target))
    assert target == plain
    model.check_key(1, made.data_keys[1])
    with pytest.raises(ContainerDamaged):
        model.check_key(1, made.data_keys[0])
    for wrong in (picked[:2], [*picked, picked[0]], ["ab", "cd", "ef"]):
        with pytest.raises(Misuse):
            model.open_section(1, None, memoryview(target), bundle_keys=wrong)


def test_variants_the_licensee_lacks_may_be_holes_and_no_other_chunk(
    publisher: Any, variant: Any
) -> None:
    """Size and offsets stay; what is needed must be there."""
    plain, made = variant
    clean = publisher.verified(made.data)
    picked = [VariantKey(*pair) for pair in made.bundle(1, lambda chunk: 1)]
    labels = {key.label for key in picked}
    sparse = bytearray(made.data)
    for number, record in enumerate(clean.variant_records(1)):
        if record.label not in labels:
            offset, size, _ = clean.leaf_ranges()[1 + number]
            sparse[offset : offset + size] = bytes(size)
    model = publisher.verified(sparse)
    target = bytearray(len(plain))
    model.open_section(1, None, memoryview(target), bundle_keys=picked)
    assert target == plain
    model.verify_leaves(allow_holes=True)
    with pytest.raises(ContainerDamaged):
        model.verify_leaves()
    other = [VariantKey(*pair) for pair in made.bundle(1, lambda chunk: 2)]
    with pytest.raises(ContainerDamaged):
        model.open_section(1, None, memoryview(target), bundle_keys=other)
    assert not any(target)


def test_recovery_opens_with_the_recovery_key_and_no_other(publisher: Any, variant: Any) -> None:
    """The data keys come back, bound to this file."""
    data, made = publisher.seal(publisher.section({"a": b"x"}), publisher.section({"b": b""}, "b"))
    model = publisher.verified(data)
    assert model.recover_keys(publisher.recovery) == made.data_keys
    with pytest.raises(SealedKeyInvalid):
        model.recover_keys(KemPrivateKey.generate())
    forged = publisher.verified(variant[1].data)
    assert forged.recover_keys(publisher.recovery) == variant[1].data_keys


@given(sealed=st.binary(max_size=300), plain=st.binary(max_size=300))
def test_the_trailer_gives_the_sealed_bytes_the_checksum_of_the_plain_ones(
    sealed: bytes, plain: bytes
) -> None:
    """CRC-32 as in zip, for any two byte strings."""
    trailer = crc_trailer(crc_update(0, sealed), zlib.crc32(plain))
    assert zlib.crc32(sealed + trailer) == zlib.crc32(plain)


def test_the_trailer_lies_outside_every_digest(publisher: Any) -> None:
    """With and without it the file opens the same and has the same blob digest."""
    data, made = publisher.seal(publisher.section({"a": b"x"}))
    with_trailer = data + crc_trailer(zlib.crc32(data), 0x12345678)
    model = publisher.verified(with_trailer)
    assert (model.has_crc_trailer, publisher.verified(data).has_crc_trailer) == (True, False)
    assert model.digest() == hashlib.sha256(data).hexdigest()
    assert model.digest() == file_digest(BytesSource(data), len(data))
    model.verify_leaves()
    target = bytearray(1)
    model.open_section(1, made.data_keys[1], memoryview(target))
    assert target == b"x"


def test_a_sealed_model_is_known_by_its_first_eight_bytes(publisher: Any) -> None:
    """Never by its name."""
    data, _ = publisher.seal(publisher.section({"a": b"x"}))
    assert is_sealed(data[:8])
    assert not is_sealed(data[:7])
    assert not is_sealed(b"\x89PNG\r\n\x1a\n")
