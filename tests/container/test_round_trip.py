"""What was sealed opens again, whole and in parts."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from threading import Event
from typing import Any

import pytest
from blake3 import blake3
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelseal.container import (
    BytesSource,
    EntryPlan,
    Part,
    SectionPlan,
    TogetherRef,
    _threads,
    inspect,
    parse,
)
from modelseal.crypto.signing import SigningKey
from modelseal.errors import ContainerDamaged, Misuse, NotFound, TogetherMissing
from modelseal.types import EntitlementExpression, Level, MemoryProtection

CHUNK = 65536
SIZES = [0, 1, 63, 64, 65, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 17]
FACE = EntitlementExpression.parse(["face.swap"])
quiet = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def opened(model: Any, keys: dict[int, bytes], **more: Any) -> dict[str, bytes]:
    """Every entry, read one by one."""
    files = {}
    for entry in model.open_index(keys[0]):
        target = bytearray(entry.size_bytes)
        model.read_entry(entry, keys, memoryview(target), **more)
        files[entry.name] = bytes(target)
    return files


@quiet
@given(
    sections=st.lists(
        st.lists(st.sampled_from(SIZES), min_size=1, max_size=4), min_size=1, max_size=3
    ),
    suite=st.sampled_from([1, 2]),
    threads=st.integers(1, 4),
)
def test_opening_gives_back_every_file_of_every_section(
    publisher: Any, content: Any, sections: list[list[int]], suite: int, threads: int
) -> None:
    """Whatever the sizes, suite and threads: seal, then open, is the identity."""
    files = [
        {f"{number}/{at}": content(f"{number}/{at}", size) for at, size in enumerate(sizes)}
        for number, sizes in enumerate(sections)
    ]
    data, made = publisher.seal(*map(publisher.section, files), suite=suite)
    model = publisher.verified(data)
    assert opened(model, made.data_keys) == {k: v for part in files for k, v in part.items()}
    for info in model.sections[1:]:
        whole = bytearray(info.plain_bytes)
        model.open_section(info.id, made.data_keys[info.id], memoryview(whole), threads=threads)
        for entry in model.open_index(made.data_keys[0]):
            for extent in entry.extents:
                if extent.section == info.id:
                    part = whole[extent.offset : extent.offset + extent.size_bytes]
                    assert blake3(part).digest() == extent.digest
    model.verify_leaves()
    assert model.digest() == hashlib.sha256(data).hexdigest()
    assert (len(data), model.file_id) == (made.size_bytes, made.file_id)


@quiet
@given(start=st.integers(0, 3 * CHUNK), size=st.integers(0, 3 * CHUNK))
def test_a_range_is_the_same_bytes_as_in_the_whole(
    publisher: Any, ranged: Any, start: int, size: int
) -> None:
    """Any range of an entry in several sections equals the slice of the original."""
    plain, model, made, entry = ranged
    size = min(size, max(0, len(plain) - start))
    start = min(start, len(plain))
    for depth in ("full", "tag"):
        target = bytearray(size)
        model.read_entry(entry, made.data_keys, memoryview(target), file_offset=start, depth=depth)
        assert target == plain[start : start + size]


@pytest.fixture(scope="module")
def ranged(publisher: Any, content: Any) -> Any:
    plain = content("ranged", 2 * CHUNK + 5000)
    cuts = [0, 700, CHUNK + 700, len(plain)]
    sections = [
        SectionPlan(FACE, [EntryPlan("model", BytesSource(plain[low:high]), low)], kind="weights")
        for low, high in pairwise(cuts)
    ]
    data, made = publisher.seal(*sections)
    model = publisher.verified(data)
    return plain, model, made, model.open_index(made.data_keys[0]).entry("model")


def test_only_the_chunks_of_a_range_are_read(publisher: Any, content: Any) -> None:
    """Reading one byte touches one stored chunk."""
    data, made = publisher.seal(publisher.section({"a": content("a", 4 * CHUNK)}))

    class Counting(BytesSource):
        read: list[tuple[int, int]]

        def read_into(self, offset: int, target: memoryview) -> None:
            self.read.append((offset, target.nbytes))
            super().read_into(offset, target)

    source = Counting(data)
    source.read = []
    model = parse(source).verify_signatures([publisher.ed25519.verify_key()], product="demo")
    source.read.clear()
    target = bytearray(1)
    model.read_range(1, made.data_keys[1], 2 * CHUNK + 5, memoryview(target), depth="tag")
    offset, size, _ = model.leaf_ranges()[1 + 2]
    assert (offset, size) in source.read
    assert sum(n for _, n in source.read if n > CHUNK) == CHUNK + 16


@pytest.mark.parametrize("damaged", [False, True])
def test_a_chunk_that_is_wanted_in_part_is_opened_in_the_memory_its_reader_gives(
    publisher: Any, content: Any, damaged: bool
) -> None:
    """No other memory holds plaintext, that one none afterwards, and a call makes it once."""
    plain = content("a", 3 * CHUNK)
    data, made = publisher.seal(publisher.section({"a": plain}))
    data = bytearray(data)
    data[-1] ^= damaged
    model, given = publisher.verified(bytes(data)), []

    def aside(size_bytes: int) -> memoryview:
        given.append(bytearray(b"old" + bytes(size_bytes - 3)))
        return memoryview(given[-1])

    target = bytearray(2 * CHUNK)
    try:
        model.read_range(
            1, made.data_keys[1], CHUNK // 2, memoryview(target), depth="tag", aside=aside
        )
        model.read_range(
            1, made.data_keys[1], 3 * CHUNK - 9, memoryview(target)[:9], depth="tag", aside=aside
        )
    except ContainerDamaged:
        assert damaged and not any(target)
    else:
        assert not damaged and target == plain[-9:] + plain[CHUNK // 2 + 9 :][: len(target) - 9]
    assert [len(one) for one in given] == [CHUNK] * (1 if damaged else 2)
    assert not any(any(one) for one in given)


@pytest.mark.parametrize("threads", [1, 3])
def test_scattered_parts_of_an_entry_are_read_chunk_by_chunk_each_once(
    publisher: Any, content: Any, threads: int
) -> None:
    """Parts that share a chunk, span several, touch, and leave chunks out."""
    plain = content("a", 9 * CHUNK + 7)
    data, made = publisher.seal(publisher.section({"0": b"x" * 64, "a": plain}))
    model = publisher.verified(data)
    entry = model.open_index(made.data_keys[0]).entry("a")
    reads, source, first = [], model.source, entry.extents[0].offset
    bounds = [(0, 1), (3, 5), (5, 9), (CHUNK // 2, 4 * CHUNK + 1), (4 * CHUNK + 1, 4 * CHUNK + 9),
              (7 * CHUNK, 7 * CHUNK), (8 * CHUNK - 64, 9 * CHUNK + 7)]  # fmt: skip
    targets = [bytearray(stop - start) for start, stop in bounds]
    parts = [Part(start, memoryview(t)) for (start, _), t in zip(bounds, targets, strict=True)]

    wanted = {(first + i) // CHUNK for start, stop in bounds for i in range(start, stop)}

    class Watching(BytesSource):
        def read_into(self, offset: int, target: memoryview) -> None:
            reads.append(offset)
            source.read_into(offset, target)

    model.source = Watching(data)
    reader = model.entry_reader(entry, made.data_keys)
    for _ in range(2):
        reads.clear()
        reader.read(parts, threads=threads)
        assert targets == [plain[start:stop] for start, stop in bounds]
        assert len(reads) == len(wanted)


@pytest.mark.parametrize("bounds", [[(5, 9), (0, 1)], [(0, 5), (4, 6)], [(0, CHUNK + 1)]])
def test_parts_out_of_order_overlapping_or_outside_the_entry_are_misuse(
    publisher: Any, content: Any, bounds: list[tuple[int, int]]
) -> None:
    data, made = publisher.seal(publisher.section({"a": content("a", CHUNK)}))
    model = publisher.verified(data)
    entry = model.open_index(made.data_keys[0]).entry("a")
    parts = [Part(start, memoryview(bytearray(stop - start))) for start, stop in bounds]
    with pytest.raises(Misuse):
        model.entry_reader(entry, made.data_keys).read(parts)


def test_a_damaged_chunk_leaves_every_part_zero(publisher: Any, content: Any) -> None:
    data, made = publisher.seal(publisher.section({"a": content("a", 3 * CHUNK)}))
    data = bytearray(data)
    data[-1] ^= 1
    model = publisher.verified(bytes(data))
    entry = model.open_index(made.data_keys[0]).entry("a")
    targets = [bytearray(b"old"), bytearray(b"old")]
    parts = [Part(0, memoryview(targets[0])), Part(3 * CHUNK - 3, memoryview(targets[1]))]
    with pytest.raises(ContainerDamaged):
        model.entry_reader(entry, made.data_keys).read(parts)
    assert targets == [bytearray(3), bytearray(3)]


def test_one_hundred_thousand_tiny_entries_seal_and_open(publisher: Any) -> None:
    """Many entries cost time and memory in proportion, and each can be read alone."""
    entries = [EntryPlan(f"t/{i}", BytesSource(i.to_bytes(3, "big"))) for i in range(100_000)]
    data, made = publisher.seal(SectionPlan(FACE, entries))
    model = publisher.verified(data)
    index = model.open_index(made.data_keys[0])
    assert len(index) == 100_000
    target = bytearray(3)
    model.read_entry(index.entry("t/77777"), made.data_keys, memoryview(target))
    assert int.from_bytes(target, "big") == 77777


def test_a_section_with_other_models_opens_only_with_their_secrets(
    publisher: Any, content: Any
) -> None:
    """Together-with is part of the key: no secret, a wrong one or a swapped one opens nothing."""
    data, made = publisher.seal(
        publisher.section({"nsfw": b"x"}), model="nsfw", secret_for_together=True
    )
    index = publisher.verified(data).open_index(made.data_keys[0])
    assert index.secret == made.together_secret
    assert made.together_secret.hex() not in repr(index) + repr(made)
    plain = content("swap", 100)
    others = (TogetherRef("nsfw", index.secret), TogetherRef("mark", b"m" * 32))
    data, made = publisher.seal(publisher.section({"swap": plain}, together_with=others))
    model = publisher.verified(data)
    good = {"nsfw": index.secret, "mark": b"m" * 32}
    assert opened(model, made.data_keys, together=good) == {"swap": plain}
    target = bytearray(100)
    for together in ({}, {"nsfw": index.secret}, {"nsfw": b"m" * 32, "mark": index.secret}):
        with pytest.raises(TogetherMissing):
            model.open_section(1, made.data_keys[1], memoryview(target), together=together)
    assert target == bytes(100)


def test_a_secret_is_carried_on_to_the_next_release(publisher: Any) -> None:
    """What was sealed against the first release opens with the second one's secret."""
    _, first = publisher.seal(publisher.section({"a": b"1"}), secret_for_together=True)
    data, second = publisher.seal(
        publisher.section({"a": b"2"}), release=4, together_secret=first.together_secret
    )
    secret = publisher.verified(data).open_index(second.data_keys[0]).secret
    others = (TogetherRef("safety", first.together_secret),)
    data, made = publisher.seal(publisher.section({"b": b"3"}, together_with=others))
    model = publisher.verified(data)
    assert opened(model, made.data_keys, together={"safety": secret}) == {"b": b"3"}


def test_nothing_about_the_inside_is_readable_without_a_key(publisher: Any) -> None:
    """Names, section names and content are in none of the bytes; entitlements are."""
    section = publisher.section(
        {"secret-folder/tensor-of-interest.bin": b"plaintext-of-the-model" * 10},
        "a+b c",
        name="the-graph",
        min_level=Level.L2,
        memory=MemoryProtection.SECRET,
    )
    data, _ = publisher.seal(section)
    for hidden in (b"secret-folder", b"tensor-of", b"plaintext-of", b"the-graph"):
        assert hidden not in data
    seen = inspect(BytesSource(data))["sections"][1]
    assert seen["entitlement"] == ["a+b", "c"]
    assert (seen["level"], seen["memory"]) == ("L2", "secret")


def test_two_sealings_of_the_same_plan_share_no_ciphertext(publisher: Any, content: Any) -> None:
    """Fresh keys and a fresh file id each time: no stored chunk is the same."""
    section = publisher.section({"a": content("a", CHUNK + 1)})
    first, second = (publisher.verified(publisher.seal(section)[0]) for _ in range(2))
    assert first.file_id != second.file_id
    leaves = [{leaf.hash for leaf in model.leaf_ranges()} for model in (first, second)]
    assert not leaves[0] & leaves[1]


def test_a_wrong_request_is_misuse_and_changes_nothing(publisher: Any) -> None:
    """Targets of another length, ranges outside, unknown sections, depths and missing keys."""
    data, made = publisher.seal(publisher.section({"a": b"0123456789"}))
    model = publisher.verified(data)
    index, key = model.open_index(made.data_keys[0]), made.data_keys[1]
    ten = memoryview(bytearray(10))
    wrong: list[Any] = [
        lambda: model.open_section(1, key, memoryview(bytearray(9))),
        lambda: model.open_section(1, key, memoryview(bytes(10))),
        lambda: model.open_section(1, key, ten, depth="none"),
        lambda: model.open_section(1, None, ten),
        lambda: model.open_section(True, key, ten),
        lambda: model.open_section(1, "key", ten),
        lambda: model.open_section(1, key, memoryview(bytearray(20))[::2]),
        lambda: model.read_range(1, key, 1, ten),
        lambda: model.read_range(1, key, -1, ten),
        lambda: model.read_entry(index.entry("a"), {}, ten),
        lambda: model.read_entry(index.entry("a"), made.data_keys, ten, file_offset=1),
        lambda: model.variant_records(1),
        lambda: model.verify_signatures([], product=None),
        lambda: model.verify_signatures([SigningKey.generate("ES256").verify_key()], product=None),
    ]
    for ask in wrong:
        with pytest.raises(Misuse):
            ask()
    for ask in (
        lambda: index.entry("b"),
        lambda: model.section(2),
        lambda: model.check_key(9, key),
    ):
        with pytest.raises(NotFound):
            ask()
    assert ten == bytes(10)


def test_the_key_of_one_section_is_no_key_of_another(publisher: Any) -> None:
    """Every pair of section and key but the right ones is refused by the commitment."""
    parts = [publisher.section({f"{n}": b"x"}, f"e{n}") for n in range(3)]
    data, made = publisher.seal(*parts)
    model = publisher.verified(data)
    for section in range(4):
        model.check_key(section, made.data_keys[section])
        model.check_key(section, bytearray(made.data_keys[section]))
        for other in set(range(4)) - {section}:
            with pytest.raises(ContainerDamaged):
                model.check_key(section, made.data_keys[other])


def test_a_system_without_more_threads_opens_all_the_same() -> None:
    """A pool that refuses to start a thread: the run is done by the caller's own."""

    class Refusing(ThreadPoolExecutor):
        def submit(self, *arguments: Any, **more: Any) -> Any:
            raise RuntimeError("can't start new thread")

    done: list[range] = []
    with Refusing(1) as pool:
        future = _threads._start(pool, lambda part, stop: done.append(part), range(3, 7), Event())
    assert (future.result(), done) == (None, [range(3, 7)])


@pytest.mark.parametrize("threads", [1, 2, 3, 64])
def test_any_range_by_any_number_of_threads_is_the_same_bytes(publisher: Any, threads: int) -> None:
    """Ranges that begin and end within chunks, on their borders, and cover all of them."""
    data = os.urandom(5 * CHUNK + 77)
    sealed, made = publisher.seal(publisher.section({"a": data}, "e"))
    model = publisher.verified(sealed)
    entry = model.open_index(made.data_keys[0]).entry("a")
    for low, high in ((0, len(data)), (1, 2), (CHUNK, 3 * CHUNK), (CHUNK - 1, 5 * CHUNK + 1)):
        target = bytearray(high - low)
        model.read_entry(
            entry, made.data_keys, memoryview(target), file_offset=low, threads=threads
        )
        assert target == data[low:high]


@pytest.mark.parametrize("threads", [1, 3])
def test_one_damaged_chunk_leaves_nothing_whichever_thread_met_it(
    publisher: Any, threads: int
) -> None:
    """The target is zero wholly, the good chunks of other threads included."""
    sealed, made = publisher.seal(publisher.section({"a": os.urandom(9 * CHUNK)}, "e"))
    for position in (-20, -4 * CHUNK, -9 * CHUNK):
        broken = bytearray(sealed)
        broken[position] ^= 1
        model = publisher.verified(bytes(broken))
        target = bytearray(b"x" * (9 * CHUNK))
        with pytest.raises(ContainerDamaged):
            model.read_range(1, made.data_keys[1], 0, memoryview(target), threads=threads)
        assert target == bytes(9 * CHUNK)


@pytest.mark.parametrize("threads", [1, 4])
def test_a_model_is_wholly_proved_once_every_leaf_held(publisher: Any, threads: int) -> None:
    """By reads in depth full of all there is, or by the check of all leaves; never by tags."""
    sealed, made = publisher.seal(publisher.section({"a": os.urandom(4 * CHUNK)}, "e"))
    model = publisher.verified(sealed)
    target = memoryview(bytearray(4 * CHUNK))
    model.read_range(1, made.data_keys[1], 0, target, depth="tag", threads=threads)
    model.read_range(1, made.data_keys[1], CHUNK, target[: 3 * CHUNK], threads=threads)
    model.open_index(made.data_keys[0])
    assert not model.wholly_proved
    model.read_range(1, made.data_keys[1], 5, target[:1])
    assert model.wholly_proved
    other = publisher.verified(sealed)
    seen: list[int] = []
    other.verify_leaves(lambda done, total: seen.append(done), threads=threads)
    assert other.wholly_proved and seen == sorted(seen) and seen[-1] == other.file_bytes
