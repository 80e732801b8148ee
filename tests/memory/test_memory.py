"""Arenas and secrets: protected as far as reached, alive as long as viewed, wiped at the end."""

from __future__ import annotations

import copy
import ctypes
import gc
import os
import pickle
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelseal import memory, wiping
from modelseal.errors import MemoryUnavailable, Misuse, ReaderClosed
from modelseal.memory import Arena, SecretBytes, wipe
from modelseal.types import MemoryProtection

LINUX = sys.platform == "linux"
PROTECTIONS = list(MemoryProtection)
PLATFORMS = ["linux", "darwin", "win32", "other"]


def flags(address: int) -> set[str]:
    """The kernel's flags of the mapping at ``address`` (proc(5), VmFlags)."""
    inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        found = re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line)
        if found:
            inside = int(found[1], 16) <= address < int(found[2], 16)
        elif inside and line.startswith("VmFlags:"):
            return set(line.split()[1:])
    return set()


def is_mapped(address: int) -> bool:
    return bool(flags(address))


def in_process(program: str, *options: str) -> str:
    """What ``program`` prints; a crash shows in the exit code."""
    done = subprocess.run(
        [sys.executable, *options, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, (done.returncode, done.stderr)
    return done.stdout.strip()


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("protection", PROTECTIONS)
@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 3 * 1024 * 1024 + 1])
def test_an_arena_is_zeroed_aligned_writable_memory_of_its_size(
    size: int, protection: MemoryProtection, platform: str
) -> None:
    with Arena(size, protection, platform=platform) as arena:
        view = arena.view
        assert (len(view), view.format, view.readonly) == (size, "B", False)
        assert arena.address % memory.ALIGNMENT_BYTES == 0
        assert bytes(view) == bytes(size)
        view[:] = b"\xa5" * size
        assert bytes(arena.view) == b"\xa5" * size
        assert PROTECTIONS.index(arena.reached) <= PROTECTIONS.index(protection)
        assert str(size) in repr(arena)


@pytest.mark.skipif(not LINUX, reason="reads the kernel's flags")
def test_on_linux_locked_memory_is_out_of_dumps_and_swap() -> None:
    arena = Arena(8192, MemoryProtection.LOCKED)
    assert arena.reached == MemoryProtection.LOCKED
    assert "dd" in flags(arena.address)
    assert ("lo" in flags(arena.address)) == arena.swap_safe
    plain = Arena(8192, MemoryProtection.NONE)
    assert not flags(plain.address) & {"dd", "lo"} and not plain.swap_safe


@pytest.mark.skipif(not LINUX, reason="reads the kernel's flags")
def test_a_secret_arena_has_no_descriptor_and_no_readable_mapping() -> None:
    before = set(os.listdir("/proc/self/fd"))
    arena = Arena(8192, MemoryProtection.SECRET)
    assert set(os.listdir("/proc/self/fd")) == before
    arena.view[:4] = b"\x11\x22\x33\x44"
    if arena.reached == MemoryProtection.SECRET:
        assert arena.swap_safe
        with pytest.raises(OSError), open("/proc/self/mem", "rb") as raw:
            raw.seek(arena.address)
            raw.read(4)
    else:
        assert arena.reached == MemoryProtection.LOCKED


@pytest.mark.skipif(not LINUX, reason="huge pages")
def test_large_arenas_start_on_a_huge_page() -> None:
    arena = Arena(5 * 1024 * 1024)
    assert arena.address % memory.HUGE_PAGE_BYTES == 0
    assert "hg" in flags(arena.address) or not Path("/sys/kernel/mm/transparent_hugepage").exists()


def test_populating_keeps_the_content_and_says_whether_it_was_done() -> None:
    arena = Arena(3 * 1024 * 1024)
    arena.view[100] = 7
    first = arena.populate(0, 4096)
    assert arena.populate() == first
    assert arena.populate(100, 0) is False
    assert arena.view[100] == 7
    for wrong in ((-1, 1), (0, -1), (0, 4 * 1024 * 1024)):
        with pytest.raises(Misuse):
            arena.populate(*wrong)
    assert Arena(100, platform="other").populate() is False


@pytest.mark.parametrize("platform", PLATFORMS)
def test_views_outlive_their_arena_unharmed(platform: str) -> None:
    arena = Arena(1000, platform=platform)
    arena.view[:5] = b"hello"
    view = arena.view
    part = view[1:3]
    array = np.frombuffer(arena.view, dtype=np.uint8)
    arena.close()
    del arena, view
    gc.collect()
    assert bytes(part) == b"el" and bytes(array[:5]) == b"hello"


@pytest.mark.skipif(not LINUX, reason="reads the kernel's mappings")
@pytest.mark.parametrize("protection", PROTECTIONS)
def test_memory_is_given_back_when_the_last_view_goes(protection: MemoryProtection) -> None:
    arena = Arena(16 * 1024 * 1024 - 1, protection)
    address, view = arena.address, arena.view[10:20]
    arena.close()
    assert is_mapped(address)
    view.release()
    assert is_mapped(address) is False


@pytest.mark.parametrize("platform", PLATFORMS)
def test_memory_is_wiped_before_it_is_given_back(
    platform: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stands in the pages is looked at the moment before they go."""
    seen: list[bytes] = []
    real = memory._map

    def watched(size: int, wanted: MemoryProtection, on: str) -> memory._Pages:
        pages = real(size, wanted, on)

        def give_back() -> None:
            seen.append(ctypes.string_at(pages.address, size))
            pages.give_back()

        return memory._Pages(
            pages.address, pages.protection, pages.swap_safe, give_back, pages.libc
        )

    monkeypatch.setattr(memory, "_map", watched)
    secret = SecretBytes(b"k" * 32, platform=platform)
    view = secret.view
    secret.close()
    assert seen == [] and bytes(view) == b"k" * 32
    view.release()
    assert seen == [bytes(32)]


def test_a_closed_arena_raises_and_closing_twice_changes_nothing() -> None:
    arena = Arena(10)
    arena.close()
    arena.close()
    assert arena.closed
    for use in (lambda: arena.view, lambda: arena.address, arena.populate):
        with pytest.raises(ReaderClosed):
            use()


@pytest.mark.parametrize("size", [-1, 2**47, True])
def test_a_size_outside_the_bounds_is_refused(size: int) -> None:
    with pytest.raises(Misuse):
        Arena(size)


def test_memory_that_does_not_exist_is_our_own_error() -> None:
    with pytest.raises(MemoryUnavailable):
        Arena(2**46)


def test_neither_arenas_nor_secrets_can_be_copied_or_pickled() -> None:
    for holder in (Arena(10), SecretBytes(b"k")):
        for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError):
                attempt(holder)


@given(st.binary(max_size=200))
def test_a_secret_gives_back_its_bytes_and_never_shows_them(data: bytes) -> None:
    secret = SecretBytes(data)
    assert secret.reveal() == bytes(secret.view) == data
    assert len(secret) == len(data) and secret.view.readonly
    assert secret == SecretBytes(data) and secret != SecretBytes(data + b"x")
    assert secret != data
    if len(data) > 3:
        assert repr(data)[2:-1] not in repr(secret)
    secret.close()
    with pytest.raises(ReaderClosed):
        secret.reveal()


def test_taking_a_secret_wipes_where_it_came_from() -> None:
    source = bytearray(b"0123456789abcdef")
    with SecretBytes.take(source) as secret:
        assert source == bytearray(16)
        assert secret.reveal() == b"0123456789abcdef"


def test_wiping_zeroes_a_buffer_or_a_part_of_it_and_refuses_read_only_memory() -> None:
    source = bytearray(b"abcdef")
    wipe(memoryview(source)[2:4])
    assert source == b"ab\x00\x00ef"
    wipe(source)
    wipe(bytearray())
    assert source == bytes(6)
    with pytest.raises(Misuse):
        wipe(memoryview(b"abc"))


def test_keys_are_taken_by_the_cryptographic_library_without_a_copy() -> None:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    with SecretBytes(bytes(range(32))) as key:
        cipher = AESGCM(key.view)  # type: ignore[arg-type]
        plain = AESGCM(bytes(range(32)))
        assert cipher.encrypt(bytes(12), b"x", None) == plain.encrypt(bytes(12), b"x", None)


@pytest.mark.skipif(not LINUX, reason="resource limits")
def test_beyond_the_lock_limit_it_falls_back_and_says_so() -> None:
    """As an ordinary user with 64 KiB of lockable memory."""
    out = in_process("""
        import os, resource
        from modelseal.memory import Arena
        from modelseal.types import MemoryProtection
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (65536, 65536))
        if os.geteuid() == 0:
            os.setgroups([]); os.setgid(65534); os.setuid(65534)
        small, big = Arena(4096), Arena(1 << 20)
        print(small.reached, small.swap_safe, big.reached, big.swap_safe)
        secret = Arena(1 << 20, MemoryProtection.SECRET)
        print(secret.reached, secret.swap_safe)
        big.view[:] = bytes(1 << 20)
    """)
    assert out.splitlines() == ["locked True locked False", "locked False"]


@pytest.mark.skipif(not LINUX, reason="resource limits")
def test_weights_leave_room_for_keys_to_be_locked() -> None:
    """As an ordinary user with 8 MiB of lockable memory, however many weights came before."""
    out = in_process("""
        import os, resource
        from modelseal.memory import Arena, SecretBytes
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (8 << 20, 8 << 20))
        if os.geteuid() == 0:
            os.setgroups([]); os.setgid(65534); os.setuid(65534)
        weights = [Arena(2 << 20) for _ in range(6)]
        keys = [SecretBytes(bytes(32)) for _ in range(64)]
        print(sum(arena.swap_safe for arena in weights), all(key.swap_safe for key in keys))
    """)
    assert out == "3 True"


@pytest.mark.skipif(not LINUX, reason="native code under the development mode")
def test_views_that_outlive_everything_are_used_under_the_development_mode() -> None:
    """Slices, arrays and bytes over closed arenas, from threads, through collections: no crash."""
    out = in_process(
        """
        import gc, threading
        import numpy
        from modelseal.memory import Arena
        def use(number):
            for size in (1, 4096, 1 << 21, (1 << 21) + 5):
                arena = Arena(size, ("none", "locked", "secret")[number % 3])
                arena.view[0] = number
                kept = [arena.view[:1], numpy.frombuffer(arena.view, dtype=numpy.uint8)]
                kept.append(kept[1][:1].reshape(1, 1))
                arena.close(); del arena; gc.collect()
                assert [int(kept[0][0]), int(kept[1][0]), int(kept[2][0, 0])] == [number] * 3
                kept.pop(1)
                assert int(kept[1][0, 0]) == number
        threads = [threading.Thread(target=use, args=(n,)) for n in range(6)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        print("end")
        """,
        "-X", "dev",
    )  # fmt: skip
    assert out == "end"


@pytest.mark.skipif(not LINUX, reason="fork")
def test_a_forked_child_reads_its_views_and_spoils_nothing_of_its_parent() -> None:
    out = in_process("""
        import gc, os, warnings
        from modelseal.memory import Arena, SecretBytes
        from modelseal.types import MemoryProtection
        kept = [Arena(100, p) for p in MemoryProtection]
        for arena in kept:
            arena.view[:5] = b"hello"
        child = os.fork()
        if child == 0:
            ok = all(bytes(a.view[:5]) == b"hello" for a in kept)
            for arena in kept:
                arena.close()
            gc.collect()
            os._exit(0 if ok else 1)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        print(all(bytes(a.view[:5]) == b"hello" for a in kept))
    """)
    assert out.splitlines() == ["0", "True"]


def test_a_process_ends_quietly_with_views_alive() -> None:
    out = in_process("""
        import numpy, threading, time
        from modelseal.memory import Arena, SecretBytes
        arena = Arena(1 << 20)
        array = numpy.frombuffer(arena.view, dtype=numpy.uint8)
        def reads():
            while True:
                array.sum()
        threading.Thread(target=reads, daemon=True).start()
        secret = SecretBytes(b"k" * 32)
        view = secret.view
        time.sleep(0.05)
        print("end")
    """)
    assert out == "end"


@pytest.mark.skipif(not LINUX, reason="prctl")
def test_a_hardened_process_leaves_no_core_and_is_not_dumpable() -> None:
    out = in_process("""
        import ctypes, resource
        from modelseal.memory import harden_process
        first, second = harden_process(), harden_process()
        print(first.complete, first == second)
        print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), resource.getrlimit(resource.RLIMIT_CORE)[0])
    """)
    assert out.splitlines() == ["True True", "0 0"]


@pytest.mark.skipif(not LINUX, reason="looks into another process")
def test_a_core_of_a_hardened_process_is_not_written(tmp_path: Path) -> None:
    program = """
        import os, signal, sys
        from modelseal.memory import harden_process
        harden_process()
        os.kill(os.getpid(), signal.SIGABRT)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        cwd=tmp_path, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == -6
    assert list(tmp_path.iterdir()) == []


def test_other_platforms_record_what_they_did_not_reach() -> None:
    for platform in ("darwin", "win32"):
        arena = Arena(100, MemoryProtection.SECRET, platform=platform)
        assert arena.reached != MemoryProtection.SECRET
        assert memory.harden_process(platform="win32").complete is False


@pytest.mark.skipif(not LINUX, reason="replaces the C library")
@pytest.mark.parametrize(
    "missing", [{"mlock2"}, {"mlock2", "mlock"}, {"syscall"}, {"madvise"}, {"mmap"}, {"prctl"}]
)
def test_every_missing_call_is_a_fall_back(
    missing: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = memory._libc()

    class Poor:
        def __getattr__(self, name: str) -> object:
            if name in missing:
                raise AttributeError(name)
            return getattr(real, name)

    monkeypatch.setattr(memory, "_libc", lambda: Poor())
    for protection in PROTECTIONS:
        with Arena(5000, protection) as arena:
            arena.view[:] = b"x" * 5000
            arena.populate()
            if missing >= {"mlock", "mlock2"} and protection == MemoryProtection.LOCKED:
                assert not arena.swap_safe
    if "prctl" in missing:
        assert not memory.harden_process().not_dumpable


def test_bytes_that_nobody_uses_any_more_hold_zeros():
    secret = os.urandom(32)
    same = bytes(bytearray(secret))
    wiping.wipe_bytes(secret)
    assert secret == bytes(32) or sys.implementation.name != "cpython"
    assert same != bytes(32)
    short = b"x"
    wiping.wipe_bytes(short)
    assert short == b"x"
