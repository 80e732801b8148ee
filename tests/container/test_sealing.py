"""What sealing refuses, and that it stays flat in memory."""

from __future__ import annotations

import functools
import hashlib
import os
import threading
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from itertools import pairwise
from typing import Any

import pytest

from modelseal.container import (
    BytesSink,
    BytesSource,
    EntryPlan,
    SectionPlan,
    TogetherRef,
    _threads,
    parse,
    seal,
)
from modelseal.crypto.signing import SigningKey
from modelseal.errors import (
    InternalError,
    Misuse,
    ModelsealError,
    SourceChanged,
    SourceNotSealable,
    StorageFailed,
)
from modelseal.types import EntitlementExpression

CHUNK = 65536
FACE = EntitlementExpression.parse(["face.swap"])


def sealing(maker: Any, plan: Any, **more: Any) -> Any:
    """One sealing into memory."""
    arguments: dict[str, Any] = {
        "publisher": [maker.ed25519],
        "recovery": maker.recovery.public_key(),
        "random": maker.random,
    }
    return seal(plan, more.pop("sink", None) or BytesSink(), **(arguments | more))


@pytest.mark.parametrize(
    "changed",
    [
        {"product": ""},
        {"product": "a/b"},
        {"model": " a"},
        {"model_version": "e\u0301"},
        {"release": -1},
        {"release": True},
        {"created_at": datetime(2026, 1, 1)},
        {"suite": 3},
        {"chunk_bytes": 65535},
        {"chunk_bytes": 98304},
        {"chunk_bytes": 1 << 24},
        {"sections": []},
        {"together_secret": b"short"},
    ],
    ids=str,
)
def test_a_plan_that_makes_no_sense_is_misuse(publisher: Any, changed: dict[str, Any]) -> None:
    """Nothing is written for it."""
    plan = replace(publisher.plan(publisher.section({"a": b"x"})), **changed)
    sink = BytesSink()
    with pytest.raises(Misuse):
        sealing(publisher, plan, sink=sink)
    assert sink.size_bytes == 0


@pytest.mark.parametrize(
    "section",
    [
        SectionPlan(FACE, [EntryPlan("a", BytesSource(b""))], kind="index"),
        SectionPlan(FACE, [EntryPlan("a", BytesSource(b""))], kind="variant"),
        SectionPlan(FACE, [EntryPlan("a", BytesSource(b""))], kind="No"),
        SectionPlan(FACE, [EntryPlan("a", BytesSource(b""))], name=""),
        SectionPlan(FACE, []),
        SectionPlan(None, [EntryPlan("a", BytesSource(b""))]),  # type: ignore[arg-type]
        SectionPlan(
            FACE,
            [EntryPlan("a", BytesSource(b""))],
            together_with=(TogetherRef("m", b"s" * 32),) * 2,
        ),
        SectionPlan(
            FACE, [EntryPlan("a", BytesSource(b""))], together_with=(TogetherRef("m", b"s"),)
        ),
        SectionPlan(FACE, [EntryPlan("../a", BytesSource(b""))]),
        SectionPlan(FACE, [EntryPlan("a", BytesSource(b""), role="No")]),
        SectionPlan(FACE, [EntryPlan("a", BytesSource(b"")), EntryPlan("A", BytesSource(b""))]),
        SectionPlan(FACE, [EntryPlan("a", BytesSource(b"")), EntryPlan("a/b", BytesSource(b""))]),
        SectionPlan(FACE, [EntryPlan("a", BytesSource(b"x")), EntryPlan("a", BytesSource(b"x"))]),
        SectionPlan(FACE, [EntryPlan("a", BytesSource(b"x"), file_offset=1)]),
        SectionPlan(
            FACE, [EntryPlan("a", BytesSource(b"x")), EntryPlan("a", BytesSource(b"x"), 2)]
        ),
        SectionPlan(
            FACE,
            [EntryPlan("a", BytesSource(b"x")), EntryPlan("a", BytesSource(b"x"), 1, role="aux")],
        ),
        SectionPlan(
            EntitlementExpression(tuple(frozenset({f"e{n}"}) for n in range(65))),
            [EntryPlan("a", BytesSource(b""))],
        ),
        SectionPlan(
            EntitlementExpression((frozenset(f"e{n}" for n in range(17)),)),
            [EntryPlan("a", BytesSource(b""))],
        ),
    ],
)
def test_a_section_that_cannot_be_sealed_is_misuse(publisher: Any, section: SectionPlan) -> None:
    """Kinds, names, ranges, expressions outside the format: refused before a byte is written."""
    sink = BytesSink()
    with pytest.raises((Misuse, SourceNotSealable)):
        sealing(publisher, publisher.plan(section), sink=sink)
    assert sink.size_bytes == 0


class Huge:
    """A source that claims any size and is never read."""

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes

    def read_into(self, offset: int, target: memoryview) -> None:
        raise AssertionError("read although it cannot be sealed")


@pytest.mark.parametrize("size", [2**36 + 1, 2**63])
def test_a_section_over_the_block_limit_is_refused_unread(publisher: Any, size: int) -> None:
    """More than 2^32 AES blocks under one key are never written."""
    with pytest.raises(SourceNotSealable):
        sealing(publisher, publisher.plan(SectionPlan(FACE, [EntryPlan("a", Huge(size))])))


def test_too_many_chunks_for_the_format_are_refused_unread(publisher: Any) -> None:
    """Five full sections of the smallest chunks are more than the leaf table holds."""
    parts = [SectionPlan(FACE, [EntryPlan(f"{n}", Huge(2**36))]) for n in range(5)]
    with pytest.raises(SourceNotSealable):
        sealing(publisher, publisher.plan(*parts))


def test_a_source_that_changes_aborts_the_sealing(publisher: Any, content: Any) -> None:
    """Shorter, longer or rewritten while it is read: SourceChanged, and nothing to resume."""
    plain = content("a", CHUNK + 10)

    class Changing(BytesSource):
        after: Callable[[Changing], None]
        size_now = len(plain)

        @property
        def size_bytes(self) -> int:
            return self.size_now

        def read_into(self, offset: int, target: memoryview) -> None:
            self.after(self)
            super().read_into(offset, target)

        def check_unchanged(self) -> None:
            self.check(self)

    def nothing(source: Any) -> None:
        return None

    def cut(source: Any) -> None:
        source._view = memoryview(plain[:CHUNK])

    def grow(source: Any) -> None:
        source.size_now += 1

    def changed(source: Any) -> None:
        raise SourceChanged("the file's time changed")

    for after, check in ((cut, nothing), (grow, nothing), (nothing, changed)):
        source = Changing(plain)
        source.after, source.check = after, check  # type: ignore[attr-defined]
        with pytest.raises(SourceChanged):
            sealing(publisher, publisher.plan(SectionPlan(FACE, [EntryPlan("a", source)])))


def test_every_byte_of_a_source_is_read_once(publisher: Any, content: Any) -> None:
    """Digest and ciphertext are of the same bytes, whatever the source would say twice."""

    class Once(BytesSource):
        def __init__(self, data: bytes) -> None:
            super().__init__(data)
            self.ranges: list[tuple[int, int]] = []

        def read_into(self, offset: int, target: memoryview) -> None:
            self.ranges.append((offset, offset + target.nbytes))
            super().read_into(offset, target)

    source = Once(content("a", 3 * CHUNK + 1))
    sealing(publisher, publisher.plan(SectionPlan(FACE, [EntryPlan("a", source)])))
    assert source.ranges[0][0] == 0
    assert source.ranges[-1][1] == 3 * CHUNK + 1
    assert all(a[1] == b[0] for a, b in pairwise(source.ranges))


@pytest.mark.parametrize("answer", [b"", b"short", bytes(32), "text", bytearray(32)])
def test_a_random_source_that_repeats_or_falls_short_is_refused(
    publisher: Any, answer: Any
) -> None:
    """Equal keys for two sections would be the end of both."""
    with pytest.raises(Misuse):
        plan = publisher.plan(publisher.section({"a": b"x"}))
        sealing(publisher, plan, random=lambda size: answer)


def test_signing_keys_are_one_or_two_of_the_right_algorithms(publisher: Any) -> None:
    """None, two alike, or another algorithm: misuse. A faulty token: nothing leaves."""
    plan = publisher.plan(publisher.section({"a": b"x"}))
    wrong = ([], [publisher.ed25519] * 2, [SigningKey.generate("ES256")])
    for keys in wrong:
        with pytest.raises(Misuse):
            sealing(publisher, plan, publisher=keys)

    class Faulty:
        alg, kid, jwk = publisher.ed25519.alg, publisher.ed25519.kid, publisher.ed25519.jwk

        def sign(self, data: bytes) -> bytes:
            return bytes(64)

    sink = BytesSink()
    with pytest.raises(InternalError):
        sealing(publisher, plan, publisher=[Faulty()], sink=sink)
    with pytest.raises(ModelsealError):
        parse(sink)


def test_errors_of_the_operating_system_become_ours(publisher: Any) -> None:
    """A full disk or an unreadable file is Unavailable, with the cause kept."""

    class Full(BytesSink):
        def write(self, data: Any) -> None:
            raise OSError(28, "No space left on device")

    class Late(BytesSink):
        def write_at(self, offset: int, data: Any) -> None:
            raise OSError(5, "Input/output error")

    class Unreadable(BytesSource):
        def read_into(self, offset: int, target: memoryview) -> None:
            raise PermissionError(13, "Permission denied")

    plan = publisher.plan(publisher.section({"a": b"x"}))
    for sink in (Full(), Late()):
        with pytest.raises(StorageFailed) as failure:
            sealing(publisher, plan, sink=sink)
        assert isinstance(failure.value.__cause__, OSError)
    bad = publisher.plan(SectionPlan(FACE, [EntryPlan("a", Unreadable(b"x"))]))
    with pytest.raises(StorageFailed):
        sealing(publisher, bad)
    with pytest.raises(StorageFailed):
        parse(Unreadable(b"x" * 200))


def test_a_sink_that_is_not_empty_is_left_alone(publisher: Any) -> None:
    """Sealing never appends to something."""
    sink = BytesSink()
    sink.write(b"something")
    with pytest.raises(Misuse):
        sealing(publisher, publisher.plan(publisher.section({"a": b"x"})), sink=sink)
    assert sink.getvalue() == b"something"


def test_progress_ends_at_its_total_and_never_falls(publisher: Any, content: Any) -> None:
    """Plaintext read, as one rising count up to all of it."""
    seen: list[tuple[int, int]] = []
    plan = publisher.plan(publisher.section({"a": content("a", 5 * CHUNK), "b": b""}))
    sealing(publisher, plan, progress=lambda done, total: seen.append((done, total)))
    counts = [done for done, _ in seen]
    assert counts == sorted(counts)
    assert {total for _, total in seen} == {seen[-1][0]} == {5 * CHUNK}


def test_memory_stays_flat_whatever_the_size(publisher: Any) -> None:
    """Sealing 64 MiB takes a few chunks of memory."""

    class Zeros:
        size_bytes = 64 << 20

        def read_into(self, offset: int, target: memoryview) -> None:
            target[:] = bytes(target.nbytes)

    class Counted(BytesSink):
        written = 0

        def write(self, data: Any) -> None:
            self.written += memoryview(data).nbytes
            if len(self._data) < 1 << 20:
                super().write(data)

        @property
        def size_bytes(self) -> int:
            return self.written

        def read_into(self, offset: int, target: memoryview) -> None:
            if offset + target.nbytes <= len(self._data):
                super().read_into(offset, target)

    plan = publisher.plan(SectionPlan(FACE, [EntryPlan("zeros", Zeros())]))
    tracemalloc.start()
    try:
        sealing(publisher, plan, sink=Counted())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 << 20


@pytest.mark.parametrize("threads", [2, 3, 9])
def test_any_number_of_threads_seals_the_same_bytes(publisher: Any, threads: int) -> None:
    """Given the same random bytes; sizes around the chunk, several sections, gaps and all."""

    def made(workers: int) -> bytes:
        drawn = iter(range(1000))
        sink = BytesSink()
        sections = [
            publisher.section({"a": bytes(5 * CHUNK + 1), "b": b"x", "c": b""}, "one"),
            publisher.section({"d": b"y" * CHUNK, "e": os.urandom(0)}, "two"),
            publisher.section({"f": b"z" * 3}, "three"),
        ]
        result = seal(
            publisher.plan(*sections),
            sink,
            publisher=[publisher.ed25519],
            recovery=publisher.recovery.public_key(),
            random=lambda size: hashlib.shake_256(f"{next(drawn)}".encode()).digest(size),
            threads=workers,
        )
        header = parse(sink).header
        assert header == result.header
        return header.leaf_hash

    assert made(threads) == made(1)


def test_an_error_in_another_thread_leaves_the_sealing_where_it_would_have_been() -> None:
    """Raised when the result is taken, in order; threads are gone afterwards."""
    before = set(threading.enumerate())

    def work(number: int) -> int:
        if number == 3:
            raise ValueError("three")
        return number

    ahead: _threads.Ahead[int] = _threads.Ahead(2)
    try:
        for number in range(5):
            ahead.start(functools.partial(work, number))
        assert [ahead.result() for _ in range(3)] == [0, 1, 2]
        with pytest.raises(ValueError, match="three"):
            ahead.result()
        assert ahead.result() == 4
    finally:
        ahead.close()
    assert set(threading.enumerate()) <= before
