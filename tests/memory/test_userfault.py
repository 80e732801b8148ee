"""Pages made with their content: what is copied is there, and nothing waits afterwards."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator

import pytest

from modelseal import userfault
from modelseal.memory import Arena
from modelseal.userfault import PAGE_BYTES, MissingPages

PAGES = 64
SOURCE = bytes(range(1, 251)) * (PAGES * PAGE_BYTES // 250 + 1)
_KEPT = ctypes.create_string_buffer(SOURCE)
_AT = ctypes.addressof(_KEPT)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: userfaultfd")


@pytest.fixture
def arena() -> Iterator[Arena]:
    with Arena(PAGES * PAGE_BYTES) as arena:
        yield arena


@pytest.fixture
def missing(arena: Arena) -> Iterator[MissingPages]:
    found = MissingPages.register(arena.address, arena.size_bytes)
    if found is None:
        pytest.skip("needs userfaultfd, which this system or a filter on it does not give")
    yield found
    found.close()


def test_copied_pages_hold_what_was_copied_and_the_others_come_as_zeros(
    arena: Arena, missing: MissingPages
) -> None:
    assert missing.copy(arena.address, _AT + 3, 5 * PAGE_BYTES)
    assert missing.copy(arena.address + 9 * PAGE_BYTES, _AT, PAGE_BYTES)
    missing.close()
    view = arena.view
    assert view[: 5 * PAGE_BYTES] == SOURCE[3 : 3 + 5 * PAGE_BYTES]
    assert view[9 * PAGE_BYTES : 10 * PAGE_BYTES] == SOURCE[:PAGE_BYTES]
    assert not any(view[5 * PAGE_BYTES : 9 * PAGE_BYTES]) and not any(view[10 * PAGE_BYTES :])


def test_a_page_that_is_there_already_is_told_and_kept(arena: Arena) -> None:
    arena.view[2 * PAGE_BYTES] = 7
    missing = MissingPages.register(arena.address, arena.size_bytes)
    if missing is None:
        pytest.skip("needs userfaultfd, which this system or a filter on it does not give")
    assert not missing.copy(arena.address, _AT, 4 * PAGE_BYTES)
    missing.close()
    missing.close()
    assert arena.view[2 * PAGE_BYTES] == 7


def test_the_kernels_own_accesses_fail_instead_of_waiting(
    arena: Arena, missing: MissingPages
) -> None:
    read, write = os.pipe()
    try:
        os.write(write, b"some bytes")
        with pytest.raises(OSError, match="Bad address"):
            os.readv(read, [arena.view[:10]])
        with open("/proc/self/mem", "rb", buffering=0) as memory, pytest.raises(OSError):
            os.pread(memory.fileno(), 1, arena.address)
        missing.close()
        assert os.readv(read, [arena.view[:10]]) == 10
    finally:
        os.close(read)
        os.close(write)


def test_closing_ends_it_although_a_forked_child_holds_the_descriptor(
    arena: Arena, missing: MissingPages
) -> None:
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.close(write)
        os.read(read, 1)
        os._exit(0)
    try:
        missing.close()
        arena.view[:] = bytes([5]) * arena.size_bytes  # would wait for ever
    finally:
        os.close(write)
        os.close(read)
        os.waitpid(child, 0)
    assert arena.view[-1] == 5


def test_an_object_that_is_forgotten_keeps_no_memory_waiting(arena: Arena) -> None:
    MissingPages.register(arena.address, arena.size_bytes)
    arena.view[0] = 1
    assert arena.view[0] == 1


def test_a_range_that_is_no_memory_is_not_registered() -> None:
    assert MissingPages.register(0, PAGE_BYTES) is None


def test_other_systems_and_processors_have_none(
    arena: Arena, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(userfault.platform, "machine", lambda: "sparc")
    assert MissingPages.register(arena.address, arena.size_bytes) is None
    monkeypatch.undo()
    monkeypatch.setattr(userfault.sys, "platform", "darwin")
    assert userfault._libc.__wrapped__() is None
