from __future__ import annotations

import io
import json
import os
import pickle
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.runtime.shop import Shop, ShopLicensee

import modelseal
from modelseal.errors import ContainerDamaged, Misuse, NotFound, NotSealed, ReaderClosed

TEXT = bytes(range(251)) * 900


def test_a_sealed_folder_reads_like_a_folder(shop: Shop, licensee: ShopLicensee) -> None:
    files = {"config.json": b'{"a": 1}', "sub/weights.bin": TEXT, "empty": b""}
    path, _ = shop.seal("bundle.sealed", files)
    with modelseal.open(path) as sealed:
        assert sorted(sealed.names()) == sorted(files)
        for name, data in files.items():
            assert sealed.read(name) == data and sealed.size(name) == len(data)
        assert json.load(io.TextIOWrapper(sealed.open("config.json")))["a"] == 1
        with pytest.raises(NotFound):
            sealed.read("nope")
        with pytest.raises(Misuse):
            sealed.read()
        with pytest.raises(Misuse):
            sealed.read(b"config.json")  # type: ignore[arg-type]
    with pytest.raises(ReaderClosed):
        sealed.read("config.json")
    with pytest.raises(TypeError):
        pickle.dumps(sealed)


def test_a_path_may_go_on_inside(shop: Shop, licensee: ShopLicensee) -> None:
    path, _ = shop.seal("bundle.sealed", {"a.txt": b"a", "sub/b.txt": b"b"})
    assert modelseal.open(path / "sub/b.txt").read() == b"b"
    with pytest.raises(NotFound):
        modelseal.open(path / "sub/c.txt").read()


@given(st.data())
@settings(max_examples=30, deadline=None)
def test_reading_anyhow_is_reading_the_original(data) -> None:
    reader, plain = CACHE["sealed"].open("m.bin"), io.BytesIO(TEXT)
    for _ in range(8):
        move = data.draw(st.sampled_from(["read", "seek", "end"]))
        if move == "read":
            size = data.draw(st.integers(0, 70_000))
            assert reader.read(size) == plain.read(size)
        elif move == "seek":
            to = data.draw(st.integers(0, len(TEXT) + 10))
            assert reader.seek(to) == plain.seek(to)
        else:
            back = data.draw(st.integers(-len(TEXT), 0))
            assert reader.seek(back, os.SEEK_END) == plain.seek(back, os.SEEK_END)
        assert reader.tell() == plain.tell()
    assert reader.read() == plain.read()


CACHE: dict = {}


@pytest.fixture(autouse=True)
def _sealed(shop: Shop, licensee: ShopLicensee):
    path, _ = shop.seal("m.bin", TEXT)
    with modelseal.open(path) as CACHE["sealed"]:
        yield


def test_ranges_stop_at_the_end() -> None:
    sealed = CACHE["sealed"]
    assert sealed.read(offset=10, size_bytes=5) == TEXT[10:15]
    assert sealed.read(offset=len(TEXT) - 2, size_bytes=100) == TEXT[-2:]
    assert sealed.read(offset=len(TEXT) + 5) == b""
    with pytest.raises(Misuse):
        sealed.read(offset=-1)
    with pytest.raises(Misuse):
        sealed.open().seek(-1)


def test_libraries_that_take_a_file_object_work(shop: Shop) -> None:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("inner.txt", "hello")
    path, _ = shop.seal("a.zip", made.getvalue())
    with modelseal.open(path) as sealed, zipfile.ZipFile(sealed.open()) as archive:
        assert archive.read("inner.txt") == b"hello"


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="needs memfd_create (Linux)")
def test_a_memory_path_reads_the_file_and_ends_with_its_context() -> None:
    with CACHE["sealed"].memory_path() as path:
        with open(path, "rb") as file:
            assert file.read() == TEXT
        assert os.path.basename(path) == "m.bin"  # loaders look at the ending
        assert os.readlink(os.readlink(path)).startswith("/memfd:m.bin")
        assert os.stat(os.path.dirname(path)).st_mode & 0o777 == 0o700
    assert not os.path.exists(os.path.dirname(path))


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="needs memfd_create (Linux)")
def test_a_memory_path_has_a_number_where_no_link_can_be_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/nowhere")
    with CACHE["sealed"].memory_path() as path, open(path, "rb") as file:
        assert path.startswith("/proc/") and file.read() == TEXT


def test_a_plain_file_is_refused(tmp_path) -> None:
    (tmp_path / "plain").write_bytes(TEXT)
    with pytest.raises(NotSealed):
        modelseal.open(tmp_path / "plain")


def test_bytes_are_read_straight_into_memory_of_the_callers(
    shop: Shop, licensee: ShopLicensee
) -> None:
    """Whole, in part and by the file object; zero when a chunk is damaged; bounds are checked."""
    data = os.urandom(3 * 65536 + 5)
    path, _ = shop.seal("m.bin", data)
    with modelseal.open(path) as sealed, sealed.open() as file:
        for low, high in ((0, len(data)), (65530, 65540), (7, 7)):
            target = bytearray(high - low)
            sealed.read_into("m.bin", low, memoryview(target))
            assert target == data[low:high]
        for low, size in ((-1, 1), (0, len(data) + 1), (len(data), 1)):
            with pytest.raises(Misuse):
                sealed.read_into("m.bin", low, memoryview(bytearray(size)))
        file.seek(65000)
        target = bytearray(140000)
        assert file.readinto(target) == len(data) - 65000
        assert target == data[65000:].ljust(140000, b"\0")
    broken = bytearray(path.read_bytes())
    broken[-3] ^= 1
    path.write_bytes(broken)
    target = bytearray(b"x" * len(data))
    with modelseal.open(path) as sealed, pytest.raises(ContainerDamaged):
        sealed.read_into(None, 0, memoryview(target))
    assert target == bytes(len(data))
