"""Damaged, truncated, rearranged and forged files: refused, with nothing handed out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

from modelseal.container import BytesSource, Prologue, parse
from modelseal.container import _keys as keys
from modelseal.errors import (
    ContainerDamaged,
    ContainerMalformed,
    ContainerTruncated,
    InvalidBytes,
    ModelsealError,
    NotSealed,
    ReleaseTooOld,
    WrongProduct,
)

CHUNK = 65536
BEFORE_A_KEY = {
    "not_sealed", "container_version", "container_truncated", "container_malformed",
    "container_signature", "wrong_publisher", "container_damaged",
}  # fmt: skip


@pytest.fixture(scope="module")
def made(publisher: Any, content: Any) -> Any:
    """Three chunks in section 1, one in section 2, signed with both algorithms."""
    return publisher.seal(
        publisher.section({"a": content("a", 2 * CHUNK + 100)}),
        publisher.section({"b": content("b", 300)}, "other"),
        both=True,
    )


def whole(publisher: Any, data: bytes, made: Any) -> None:
    """All checks there are."""
    model = parse(BytesSource(data)).verify_signatures(publisher.pinned, product="demo")
    model.verify_leaves()
    model.open_index(made.data_keys[0])
    for info in model.sections[1:]:
        target = memoryview(bytearray(info.plain_bytes))
        model.open_section(info.id, made.data_keys[info.id], target)


def test_every_flipped_byte_of_the_front_is_refused(publisher: Any, made: Any) -> None:
    """Prologue, header, signatures and leaf table: each byte, before any key is used."""
    data, _ = made
    front = Prologue.from_bytes(data).front_bytes
    changed = bytearray(data)
    for offset in range(front):
        changed[offset] ^= 1 << (offset % 8)
        with pytest.raises(InvalidBytes) as refusal:
            parse(BytesSource(changed)).verify_signatures(
                publisher.pinned, product="demo"
            ).verify_leaves()
        assert refusal.value.code in BEFORE_A_KEY
        changed[offset] = data[offset]
    whole(publisher, bytes(changed), made[1])


@pytest.mark.parametrize("stored", [0, 1, 2, 3, 4])
def test_a_flipped_byte_of_a_chunk_is_refused_in_every_way_of_reading(
    publisher: Any, made: Any, stored: int
) -> None:
    """First, middle and last byte of ciphertext and tag; full, tag, ranges and leaves."""
    data, result = made
    clean = publisher.verified(data)
    offset, size, _ = clean.leaf_ranges()[stored]
    section = next(s for s in reversed(clean.sections) if s.first_chunk <= stored)
    for at in (0, 1, size // 2, size - 17, size - 16, size - 1):
        changed = bytearray(data)
        changed[offset + at] ^= 0x80
        model = publisher.verified(changed)
        with pytest.raises(ContainerDamaged):
            model.verify_leaves()
        for depth in ("full", "tag"):
            for threads in (1, 3):
                target = bytearray(b"\xaa") * section.plain_bytes
                with pytest.raises(ContainerDamaged):
                    model.open_section(
                        section.id, result.data_keys[section.id], memoryview(target),
                        depth=depth, threads=threads,
                    )  # fmt: skip
                assert not any(target)
            target = bytearray(b"\xaa") * section.plain_bytes
            with pytest.raises(ContainerDamaged):
                model.read_range(
                    section.id, result.data_keys[section.id], 0, memoryview(target), depth=depth
                )
            assert not any(target)


def test_a_file_cut_anywhere_in_its_structure_is_truncated(publisher: Any, made: Any) -> None:
    """Each boundary, one byte before and one after, with the code for it."""
    data, _ = made
    prologue = Prologue.from_bytes(data)
    ranges = publisher.verified(data).leaf_ranges()
    edges = {8, 128, prologue.signatures_offset, prologue.leaf_table_offset, prologue.data_offset}
    edges |= {offset for offset, _, _ in ranges} | {offset + size for offset, size, _ in ranges}
    for cut in {edge + step for edge in edges for step in (-1, 0, 1)}:
        if cut >= len(data):
            continue
        expected = NotSealed if cut < 8 else ContainerTruncated
        with pytest.raises(expected):
            parse(BytesSource(data[:cut]))


def test_a_file_that_shrinks_after_parsing_is_damaged_and_the_target_zero(
    publisher: Any, made: Any
) -> None:
    """What ends early once a key is used has the one code."""
    data, result = made

    class Shrinking(BytesSource):
        limit = len(data)

        def read_into(self, offset: int, target: memoryview) -> None:
            if offset + target.nbytes > self.limit:
                raise ContainerTruncated("gone")
            super().read_into(offset, target)

    source = Shrinking(data)
    model = parse(source).verify_signatures(publisher.pinned, product="demo")
    model.leaf_ranges()
    source.limit = model.leaf_ranges()[2].offset
    target = bytearray(b"\xaa") * model.sections[1].plain_bytes
    with pytest.raises(ContainerDamaged):
        model.open_section(1, result.data_keys[1], memoryview(target))
    assert not any(target)
    with pytest.raises(ContainerDamaged):
        model.verify_leaves()


def test_bytes_that_change_between_two_reads_cannot_pass_the_hash_and_feed_the_cipher(
    publisher: Any, made: Any
) -> None:
    """Each stored chunk is read once: its hash and its decryption see the same copy."""
    data, result = made

    class Once(BytesSource):
        seen: set[int]

        def read_into(self, offset: int, target: memoryview) -> None:
            assert offset not in self.seen
            self.seen.add(offset)
            super().read_into(offset, target)

    source = Once(data)
    source.seen = set()
    model = parse(source).verify_signatures(publisher.pinned, product="demo")
    target = bytearray(model.sections[1].plain_bytes)
    model.open_section(1, result.data_keys[1], memoryview(target))


def test_chunks_moved_within_or_between_files_are_refused(publisher: Any, content: Any) -> None:
    """Swapped, repeated, of another section, of another sealing of the same plaintext."""
    plan = [publisher.section({f"{n}": content("same", 2 * CHUNK)}, f"e{n}") for n in range(2)]
    data, made = publisher.seal(*plan)
    other, _ = publisher.seal(*plan)
    ranges = publisher.verified(data).leaf_ranges()
    size = ranges[1].size

    def moved(target: int, source: bytes, origin: int) -> bytearray:
        changed = bytearray(data)
        to, start = ranges[target].offset, ranges[origin].offset
        changed[to : to + size] = source[start : start + size]
        return changed

    swapped = moved(1, data, 2)
    swapped[ranges[2].offset : ranges[2].offset + size] = data[ranges[1].offset :][:size]
    for changed in (swapped, moved(1, data, 2), moved(1, data, 3), moved(1, other, 1)):
        model = publisher.verified(changed)
        for depth in ("full", "tag"):
            with pytest.raises(ContainerDamaged):
                model.open_section(
                    1, made.data_keys[1], memoryview(bytearray(2 * CHUNK)), depth=depth
                )


def test_who_holds_the_key_cannot_forge_content_for_others(publisher: Any, content: Any) -> None:
    """A chunk encrypted anew under the right key opens by its tag, but its leaf is not signed."""
    data, made = publisher.seal(publisher.section({"a": content("a", 1000)}))
    model = publisher.verified(data)
    offset, _, _ = model.leaf_ranges()[1]
    cipher = keys.section_cipher(model.prologue_hash, made.data_keys[1], (), 1)
    forged = cipher.encrypt(keys.nonce(0, True), bytes(1000), keys.aad(1, 1))
    changed = bytearray(data)
    changed[offset : offset + len(forged)] = forged
    model = publisher.verified(changed)
    target = bytearray(1000)
    model.open_section(1, made.data_keys[1], memoryview(target), depth="tag")
    with pytest.raises(ContainerDamaged):
        model.open_section(1, made.data_keys[1], memoryview(target), depth="full")


def test_a_ciphertext_that_opens_under_two_keys_opens_only_under_the_committed_one(
    publisher: Any,
) -> None:
    """AES-GCM alone would accept both; the commitment lets one through."""
    data, made = publisher.seal(publisher.section({"a": bytes(48)}))
    model = publisher.verified(data)
    right, wrong = made.data_keys[1], bytes(range(32))
    ciphers = [keys.section_cipher(model.prologue_hash, k, (), 1) for k in (right, wrong)]
    raw = [
        bytes(keys._derive(model.prologue_hash, (k,), keys.CHUNK_KEY + b"\1\0\0\0"))
        for k in (right, wrong)
    ]
    nonce, aad = keys.nonce(0, True), keys.aad(1, 1)
    both = _collision(raw[0], raw[1], nonce, aad, 48)
    assert [len(cipher.decrypt(nonce, both, aad)) for cipher in ciphers] == [48, 48]
    changed = bytearray(data)
    offset = model.leaf_ranges()[1].offset
    changed[offset : offset + 64] = both
    model = publisher.verified(changed)
    target = bytearray(48)
    model.open_section(1, right, memoryview(target), depth="tag")
    assert any(target)
    with pytest.raises(ContainerDamaged):
        model.open_section(1, wrong, memoryview(target), depth="tag")
    assert not any(target)


def test_product_and_release_are_checked_after_the_signature(publisher: Any, made: Any) -> None:
    """The publisher's file for another product, or an old release, says so."""
    model = parse(BytesSource(made[0]))
    with pytest.raises(WrongProduct):
        model.verify_signatures(publisher.pinned, product="else")
    with pytest.raises(ReleaseTooOld) as refusal:
        model.verify_signatures(publisher.pinned, product="demo", min_release=4)
    assert refusal.value.params == {"release": 3, "min_release": 4}
    assert model.verify_signatures(publisher.pinned, product=None, min_release=3).release == 3


@pytest.mark.parametrize(
    "size", [0, 1, 7, 8, 127, 128, 129, 4096], ids=lambda size: f"{size} bytes"
)
@pytest.mark.parametrize("fill", [0x00, 0xFF, 0x81, 0xBF])
def test_nonsense_after_the_magic_is_refused_at_once(made: Any, size: int, fill: int) -> None:
    """Whatever follows the first bytes, the refusal is one of ours."""
    for start in (b"", made[0][:8], made[0][:12], made[0][:128]):
        with pytest.raises(InvalidBytes):
            parse(BytesSource(start + bytes([fill]) * size))


@pytest.mark.parametrize("nested", [b"\x81", b"\xa1\x00", b"\x9f"])
def test_nesting_a_hundred_thousand_deep_is_refused_without_recursion(
    publisher: Any, forging: Any, nested: bytes
) -> None:
    """Lists, maps and open-ended lists, in a header that the publisher signed."""
    forge = _forge(publisher, forging)
    forge.encode_header = lambda header: nested * 100_000 + b"\x00"
    made = forge.make(forging.index_of(forging.one_entry("a", b"a")), forging.Part(b"a"))
    with pytest.raises(ContainerMalformed):
        parse(BytesSource(made.data))


def test_a_large_hostile_header_costs_little(publisher: Any, forging: Any) -> None:
    """A megabyte of small items is refused like any other nonsense."""
    forge = _forge(publisher, forging)
    forge.encode_header = lambda header: b"\x9a\x00\x0f\xff\x00" + bytes(0xFFF00)
    made = forge.make(forging.index_of(forging.one_entry("a", b"a")), forging.Part(b"a"))
    with pytest.raises(ContainerMalformed):
        parse(BytesSource(made.data))


def test_only_our_errors_leave_whatever_is_flipped_with_keys_in_use(
    publisher: Any, forging: Any
) -> None:
    """A publisher's own nonsense in the index: one code, each byte in turn."""
    for at in range(200):
        forge = _forge(publisher, forging)
        good = forging.pad_index(
            forging.cbor.encode(forging.index_of(forging.one_entry("a", b"abc")))
        )
        if good[at] == 0 and at > 8:
            break
        bent = bytearray(good)
        bent[at] ^= 1 << (at % 7)
        made = forge.make(bytes(bent), forging.Part(b"abc"))
        model = publisher.verified(made.data)
        try:
            model.open_index(made.data_keys[0])
        except ModelsealError as refusal:
            assert refusal.code == "container_damaged"


def _forge(publisher: Any, forging: Any) -> Any:
    return forging.Forge([publisher.ed25519], publisher.recovery.public_key(), publisher.random)


def _collision(k1: bytes, k2: bytes, nonce: bytes, aad: bytes, size: int) -> bytes:
    """A ciphertext with one tag that is right under both keys (AES-GCM does not commit)."""
    multiply = _multiply
    hashes = [int.from_bytes(_block(k, bytes(16)), "big") for k in (k1, k2)]
    masks = [int.from_bytes(_block(k, nonce + b"\0\0\0\1"), "big") for k in (k1, k2)]
    lengths = (len(aad) * 8) << 64 | size * 8
    blocks = [aad, *(bytes([n]) * 16 for n in range(size // 16 - 1)), bytes(16)]

    def tag(h: int, mask: int, parts: list[bytes]) -> int:
        state = 0
        for part in parts:
            state = multiply(state ^ int.from_bytes(part, "big"), h)
        return multiply(state ^ lengths, h) ^ mask

    difference = tag(hashes[0], masks[0], blocks) ^ tag(hashes[1], masks[1], blocks)
    squares = multiply(hashes[0], hashes[0]) ^ multiply(hashes[1], hashes[1])
    last = multiply(difference, _inverse(squares, multiply))
    blocks[-1] = last.to_bytes(16, "big")
    return b"".join(blocks[1:]) + tag(hashes[0], masks[0], blocks).to_bytes(16, "big")


def _block(key: bytes, block: bytes) -> bytes:
    return Cipher(AES(key), ECB()).encryptor().update(block)


def _multiply(x: int, y: int) -> int:
    """The product in GCM's field (SP 800-38D, 6.3)."""
    z = 0
    for bit in range(127, -1, -1):
        if x >> bit & 1:
            z ^= y
        y = y >> 1 ^ (0xE1 << 120 if y & 1 else 0)
    return z


def _inverse(x: int, multiply: Callable[[int, int], int]) -> int:
    """x to the power of 2^128 - 2."""
    result, power = 1 << 127, x
    for _ in range(127):
        power = multiply(power, power)
        result = multiply(result, power)
    return result
