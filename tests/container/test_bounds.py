"""Whatever is wrong with a file: every byte counts, little memory is taken, nothing is left."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.container.test_vectors import MANIFEST, bytes_of

from modelseal.container import BytesSource, parse
from modelseal.container._limits import DEFAULT_CHUNK_BYTES
from modelseal.crypto.signing import VerifyKey
from modelseal.errors import ContainerDamaged, InvalidBytes, ModelsealError

CHUNK = 65536
SIZES = (0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 1)


@pytest.fixture(scope="module")
def made(publisher: Any, content: Any) -> Any:
    """A first and a middle chunk of full length and a short last one."""
    return publisher.seal(publisher.section({"a": content("a", 2 * CHUNK + 100)}))


@pytest.mark.parametrize("size", SIZES)
def test_every_size_round_a_chunk_opens_whole_by_range_and_by_entry(
    publisher: Any, content: Any, size: int
) -> None:
    plain = content(f"size {size}", size)
    data, made = publisher.seal(publisher.section({"a": plain}))
    model = publisher.verified(data)
    assert model.section(1).chunk_count == max(1, -(-size // CHUNK))
    whole, entry = bytearray(size), bytearray(size)
    model.open_section(1, made.data_keys[1], memoryview(whole))
    model.read_entry(model.open_index(made.data_keys[0]).entry("a"), made.data_keys,
                     memoryview(entry))  # fmt: skip
    assert whole == entry == plain
    for start in {0, 1, CHUNK - 1, CHUNK, size - 1}:
        if 0 <= start < size:
            part = bytearray(min(2, size - start))
            model.read_range(1, made.data_keys[1], start, memoryview(part))
            assert part == plain[start : start + len(part)]


def _flip(publisher: Any, made: Any, stored: int, step: int) -> int:
    """Each ``step``-th byte of one stored chunk flipped, alone; how many were."""
    data, result = made
    offset, size, _ = publisher.verified(data).leaf_ranges()[stored]
    index = stored - 1
    changed = bytearray(data)
    model = publisher.verified(changed)
    length = min(CHUNK, 2 * CHUNK + 100 - index * CHUNK)
    tried = range(0, size, step)
    for at in tried:
        changed[offset + at] ^= 1 << (at % 8)
        for depth in ("tag", "full"):
            target = bytearray(b"\xaa") * length
            with pytest.raises(ContainerDamaged):
                model.read_range(
                    1, result.data_keys[1], index * CHUNK, memoryview(target), depth=depth
                )
            assert target == bytes(length)
        changed[offset + at] = data[offset + at]
    return len(tried)


@pytest.mark.parametrize(("stored", "step"), [(1, 509), (2, 521), (3, 1)])
def test_a_flipped_byte_anywhere_in_the_first_a_middle_and_the_last_chunk_is_damage(
    publisher: Any, made: Any, stored: int, step: int
) -> None:
    """Every byte of the last, short one; a sample of the others, all of which ``soak`` does."""
    assert _flip(publisher, made, stored, step) > 100


@pytest.mark.soak
@pytest.mark.parametrize("stored", [1, 2])
def test_every_flipped_byte_of_a_whole_chunk_is_damage(
    publisher: Any, made: Any, stored: int
) -> None:
    assert _flip(publisher, made, stored, 1) == CHUNK + 16


@settings(max_examples=60, deadline=None)
@given(changes=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=3))
def test_chunks_dropped_and_repeated_anywhere_are_refused(
    publisher: Any, made: Any, changes: list[tuple[int, int]]
) -> None:
    """Cut out, put in twice, in any order: another size is told first, else the chunk."""
    data, result = made
    front = publisher.verified(data).front_bytes
    chunks = [data[offset : offset + size] for offset, size, _ in
              publisher.verified(data).leaf_ranges()]  # fmt: skip
    order = list(range(len(chunks)))
    for drop, repeat in changes:
        if order:
            del order[drop % len(order)]
        order.insert(repeat % (len(order) + 1), repeat % len(chunks))
    altered = data[:front] + b"".join(chunks[place] for place in order)
    if altered == data:
        return
    with pytest.raises(InvalidBytes) as refusal:
        model = publisher.verified(altered)
        model.open_index(result.data_keys[0])
        target = bytearray(b"\xaa") * (2 * CHUNK + 100)
        try:
            model.open_section(1, result.data_keys[1], memoryview(target))
        finally:
            assert not any(target)
    same_size = len(altered) == len(data)
    expected = (
        {"container_damaged"} if same_size else {"container_truncated", "container_malformed"}
    )
    assert refusal.value.code in expected


def test_no_hostile_size_in_a_vector_costs_memory(publisher: Any) -> None:
    """Counts of 2^32, strings of 2^63, offsets past the end: refused before anything is taken."""
    worst, refused = 0, 0
    for case in MANIFEST["refused"]:
        data = bytes_of(case)
        pinned = [VerifyKey.from_jwk(MANIFEST["keys"][name]) for name in case["trust"]]
        tracemalloc.start()
        try:
            model = parse(BytesSource(data)).verify_signatures(pinned, product=case["product"])
            key = bytes.fromhex(case["data_keys"].get("0", ""))
            model.open_index(key)
            model.verify_leaves()
        except ModelsealError:
            refused += 1
        finally:
            worst = max(worst, tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    assert refused > 150
    assert worst < 16 * DEFAULT_CHUNK_BYTES


def test_a_source_without_an_end_is_never_read_to_one(publisher: Any, made: Any) -> None:
    """An endless file says a size; it is refused for it, with the first bytes read alone."""
    data, _ = made

    class Endless(BytesSource):
        read = 0

        @property
        def size_bytes(self) -> int:
            return (1 << 63) - 1

        def read_into(self, offset: int, target: memoryview) -> None:
            self.read += target.nbytes
            target[:] = (data[offset : offset + target.nbytes] + bytes(target.nbytes))[
                : target.nbytes
            ]

    source = Endless(data)
    with pytest.raises(InvalidBytes) as refusal:
        parse(source)
    assert refusal.value.code == "container_malformed"
    assert source.read == 128
