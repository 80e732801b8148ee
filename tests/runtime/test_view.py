"""The seam: what is verified, judged, decrypted, shared and dropped, and when."""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import threading
import time
from pathlib import Path

import pytest
from tests.runtime.shop import Shop, ShopLicensee

import modelseal
from modelseal import container
from modelseal.errors import (
    AccessDenied,
    ContainerDamaged,
    ContainerTruncated,
    InputMissing,
    InvalidBytes,
    KeyNotInLease,
    LicenseExpired,
    MemoryNotReached,
    Misuse,
    NotEntitled,
    NotFound,
    NotSealed,
    ReaderClosed,
    StorageFailed,
    TogetherMissing,
)
from modelseal.runtime import sharing, sniff
from modelseal.runtime.source import translate
from modelseal.runtime.view import open_view
from modelseal.types import MemoryProtection

TEXT = bytes(range(256)) * 1024


def test_the_magic_is_the_containers() -> None:
    assert sniff.MAGIC == container.MAGIC


def test_an_entry_is_decrypted_once_for_all_who_hold_it(shop: Shop, licensee: ShopLicensee) -> None:
    path, _ = shop.seal("m.bin", TEXT)
    before = sharing.live()
    views = [open_view(path, licensee) for _ in range(8)]
    barrier = threading.Barrier(8)
    addresses: list[int] = []

    def hold(view) -> None:
        import ctypes

        with view.shared("m.bin") as data:
            block = (ctypes.c_ubyte * 1).from_buffer_copy(data[:1])
            assert bytes(block) == TEXT[:1] and data.readonly
            addresses.append(id(data.obj))
            barrier.wait(30)

    threads = [threading.Thread(target=hold, args=(view,)) for view in views]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(set(addresses)) == 1
    assert len(licensee.protections) == 1  # one memory was filled
    sharing.forget()
    assert sharing.live() <= before


def test_the_front_is_read_once_per_file_identity(shop: Shop, licensee: ShopLicensee) -> None:
    path, _ = shop.seal("m.bin", TEXT)
    first, second = open_view(path, licensee), open_view(str(path), licensee)
    assert first._file is second._file
    assert [s for _, s in licensee.key_requests] == [(0, 1)]
    link = path.parent / "link.bin"
    link.symlink_to(path)
    assert open_view(link, licensee)._file is first._file


def test_a_replaced_file_is_another_identity(shop: Shop, licensee: ShopLicensee) -> None:
    path, _ = shop.seal("m.bin", TEXT)
    before = open_view(path, licensee)
    times = os.stat(path)
    shop.seal("n.bin", {"m.bin": TEXT[::-1]})
    (path.parent / "n.bin").replace(path)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    after = open_view(path, licensee)
    assert bytes(after.private("m.bin")) == TEXT[::-1]
    assert bytes(before.private("m.bin")) == TEXT


def test_bytes_that_change_after_the_front_was_read_are_refused(
    shop: Shop, licensee: ShopLicensee
) -> None:
    path, _result = shop.seal("m.bin", TEXT)
    view = open_view(path, licensee)
    times = os.stat(path)
    data = bytearray(path.read_bytes())
    data[-1000] ^= 1
    with path.open("r+b") as file:
        file.write(data)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(ContainerDamaged), view.shared("m.bin"):
        pass
    with pytest.raises(ContainerDamaged):
        view.private("m.bin")


def test_the_license_is_asked_at_every_load(shop: Shop, licensee: ShopLicensee) -> None:
    path, _ = shop.seal("m.bin", TEXT)
    view = open_view(path, licensee)
    with view.shared("m.bin"):
        shop.expired = True
        shop.save()
        with pytest.raises(LicenseExpired), view.shared("m.bin"):
            pass
        with pytest.raises(LicenseExpired):
            view.private("m.bin", 0, 1)


def test_keys_are_wiped_once_the_bytes_are_there(shop: Shop, licensee: ShopLicensee) -> None:
    path, _result = shop.seal("m.bin", TEXT)
    kept = open_view(path, licensee).private("m.bin")
    gc.collect()
    assert all(secret._arena.closed for secret in licensee.live_secrets)
    assert len(kept) == len(TEXT)


def test_only_the_granted_section_opens(shop: Shop, licensee: ShopLicensee) -> None:
    rights = {"a.bin": "face.swap", "b.bin": "face.restore"}
    path, _ = shop.seal("two.sealed", {"a.bin": b"a" * 10, "b.bin": b"b" * 10}, entitlement=rights)
    view = open_view(path, licensee)
    assert view.names() == ["a.bin", "b.bin"]
    assert bytes(view.private("a.bin")) == b"a" * 10
    with pytest.raises(NotEntitled):
        view.private("b.bin")
    shop.grant("face.restore")
    assert bytes(open_view(path, licensee).private("b.bin")) == b"b" * 10


def test_a_section_opens_only_beside_the_models_it_names(
    shop: Shop, licensee: ShopLicensee, tmp_path: Path
) -> None:
    guard, made = shop.seal("guard.onnx", b"guard", secret_for_together=True)
    assert made.together_secret is not None
    reference = [container.TogetherRef("guard", made.together_secret)]
    path, _ = shop.seal("swap.onnx", TEXT, together=reference)
    assert bytes(open_view(path, licensee).private("swap.onnx")) == TEXT
    away = guard.rename(tmp_path / "guard.onnx")
    with pytest.raises(TogetherMissing) as raised:
        open_view(path, licensee).private("swap.onnx")
    assert raised.value.params["model"] == "guard"
    (shop.folder / "guard.onnx").write_bytes(b"not sealed")
    with pytest.raises(TogetherMissing):
        open_view(path, licensee).private("swap.onnx")
    away.replace(guard)
    shop.grant("face.swap")
    assert bytes(open_view(path, licensee).private("swap.onnx")) == TEXT


def test_a_guard_that_is_not_licensed_refuses_with_its_reason(
    shop: Shop, licensee: ShopLicensee
) -> None:
    _, made = shop.seal("guard.onnx", b"guard", secret_for_together=True, entitlement="safety")
    assert made.together_secret is not None
    reference = [container.TogetherRef("guard", made.together_secret)]
    path, _ = shop.seal("swap.onnx", TEXT, together=reference)
    with pytest.raises(NotEntitled) as raised:
        open_view(path, licensee).private("swap.onnx")
    assert raised.value.params["entitlement"] == "safety"
    shop.grant("face.swap", "safety")
    assert bytes(open_view(path, licensee).private("swap.onnx")) == TEXT


def test_ranges_are_exact_and_checked(shop: Shop, licensee: ShopLicensee) -> None:
    path, _ = shop.seal("m.bin", TEXT)
    view = open_view(path, licensee)
    for start, stop in ((0, 0), (0, 1), (65535, 65537), (len(TEXT) - 1, len(TEXT)), (100, 200_000)):
        assert bytes(view.private("m.bin", start, stop)) == TEXT[start:stop]
    for start, stop in ((-1, 3), (3, 2), (0, len(TEXT) + 1)):
        with pytest.raises(Misuse):
            view.private("m.bin", start, stop)
    with pytest.raises(NotFound):
        view.private("other")


def test_a_closed_view_gives_nothing_more(shop: Shop, licensee: ShopLicensee) -> None:
    path, _ = shop.seal("m.bin", TEXT)
    view = open_view(path, licensee)
    kept = view.private("m.bin")
    view.close()
    with pytest.raises(ReaderClosed):
        view.names()
    assert bytes(kept) == TEXT


def test_paths_that_are_no_sealed_file(shop: Shop, licensee: ShopLicensee, tmp_path: Path) -> None:
    with pytest.raises(InputMissing):
        modelseal.open(tmp_path / "none")
    with pytest.raises(InputMissing):
        modelseal.open("nul\0name")
    with pytest.raises(InputMissing):
        modelseal.open(tmp_path / "none" / "deep" / "er")
    with pytest.raises(NotSealed):
        modelseal.open(tmp_path)
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(NotSealed):
        modelseal.open(tmp_path / "fifo")
    with pytest.raises(NotSealed):
        modelseal.open("/dev/zero")
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(NotSealed):
        modelseal.open(tmp_path / "empty")
    with pytest.raises(Misuse):
        modelseal.open(7)  # type: ignore[arg-type]


def test_truncation_and_a_missing_key_are_told_apart(shop: Shop, licensee: ShopLicensee) -> None:
    path, _result = shop.seal("m.bin", TEXT)
    (path.parent / "short.bin").write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ContainerTruncated):
        modelseal.open(path.parent / "short.bin")
    shop.keys.clear()
    shop.save()
    with pytest.raises(KeyNotInLease):
        modelseal.open(path)


def test_what_the_system_says_becomes_our_error() -> None:
    for number, kind in (
        (errno.EACCES, AccessDenied),
        (errno.ENOENT, InputMissing),
        (errno.ENOTDIR, InputMissing),
        (errno.EIO, StorageFailed),
    ):
        assert type(translate(OSError(number, "x"), "/p")) is kind


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_opens_for_itself(shop: Shop, licensee: ShopLicensee) -> None:
    path, _ = shop.seal("m.bin", TEXT)
    view = open_view(path, licensee)
    with view.shared("m.bin") as held:
        child = os.fork()
        if child == 0:
            found = bytes(open_view(path, licensee).private("m.bin"))
            os._exit(0 if found == TEXT == bytes(held) else 1)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        assert bytes(held) == TEXT


def test_what_the_plan_demands_holds_for_sections_that_ask_for_less(
    shop: Shop, licensee: ShopLicensee
) -> None:
    shop.memory = "secret"
    path, _ = shop.seal("m.bin", b"weights" * 10_000)
    assert bytes(open_view(path, licensee).private("m.bin")) == b"weights" * 10_000
    assert licensee.protections[-1] is MemoryProtection.SECRET


def test_parts_of_a_section_under_secret_are_opened_in_nothing_less(
    shop: Shop, licensee: ShopLicensee
) -> None:
    """A chunk of which only a part is wanted stands in secret memory too, whoever asks."""
    shop.memory = "secret"
    path, _ = shop.seal("m.bin", TEXT)
    view, target = open_view(path, licensee), bytearray(10)
    assert bytes(view.private("m.bin", 1, 4)) == TEXT[1:4]
    view.read_into("m.bin", 5, memoryview(target))
    assert target == TEXT[5:15]
    assert licensee.protections == [MemoryProtection.SECRET] * 4  # the bytes, the chunk; twice


def test_what_was_verified_is_remembered_without_descriptor_key_or_plaintext(
    shop: Shop, licensee: ShopLicensee, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = shop.seal("m.bin", b"weights" * 10_000)
    times = []
    verify = licensee.verify
    monkeypatch.setattr(licensee, "verify", lambda model: times.append(model) or verify(model))
    for _ in range(3):
        view = open_view(path, licensee, at_once=True)
        assert bytes(view.private("m.bin")) == b"weights" * 10_000
        source = view._file.source
        view.close()
        del view
        with pytest.raises(ReaderClosed):
            source.check_unchanged()
    assert len(times) == 1
    assert len(licensee.key_requests) == 3
    shop.expired = True
    shop.save()
    with pytest.raises(LicenseExpired):
        open_view(path, licensee)
    shop.expired = False
    shop.save()
    other = ShopLicensee(shop.folder)
    monkeypatch.setattr(other, "verify", verify)
    assert open_view(path, other)._file is not open_view(path, licensee)._file


def test_a_file_that_was_replaced_or_changed_is_verified_anew(
    shop: Shop, licensee: ShopLicensee
) -> None:
    path, _ = shop.seal("m.bin", b"weights" * 10_000)
    open_view(path, licensee).close()
    data = bytearray(path.read_bytes())
    data[200] ^= 1
    path.write_bytes(data)
    with pytest.raises(InvalidBytes):
        open_view(path, licensee)


def test_small_plaintext_is_decrypted_once_and_gone_some_seconds_after_its_last_use(
    shop: Shop, licensee: ShopLicensee, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = shop.seal("m.bin", b"weights" * 10_000)

    def load() -> None:
        view = open_view(path, licensee, at_once=True)
        with view.shared("m.bin") as data:
            assert bytes(data[:7]) == b"weights"
        view.close()

    monkeypatch.setattr(sharing, "KEPT_SECONDS", 3600.0)
    load()
    asked = len(licensee.key_requests)
    load()
    assert len(licensee.key_requests) == asked and sharing.live() == 1
    shop.granted = []
    shop.save()
    with pytest.raises(NotEntitled):
        load()
    assert sharing.live() == 1
    sharing.forget()
    monkeypatch.setattr(sharing, "KEPT_SECONDS", 0.3)
    shop.grant("face.swap")
    load()
    until = time.monotonic() + 60
    while sharing.live():
        assert time.monotonic() < until
        time.sleep(0.05)
    shop.memory = "secret"
    shop.save()
    with contextlib.suppress(MemoryNotReached):
        load()
    assert sharing.live() == 0
