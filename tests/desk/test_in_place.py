"""Sealing in place and back: the same name, permissions and CRC-32, and never anything between."""

from __future__ import annotations

import os
import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelseal import container
from modelseal.desk import inplace, opening, sealing
from modelseal.errors import (
    ContainerDamaged,
    DiskFull,
    InputMissing,
    Misuse,
    NotSealed,
    OutputExists,
    SourceChanged,
    SourceNotSealable,
)

RIGHT = ["face.swap"]


def crc(path: Path) -> int:
    return zlib.crc32(path.read_bytes())


@pytest.mark.parametrize("size", [0, 1, 3, 262_143, 262_144, 262_145, 9_000_000])
def test_the_sealed_file_has_the_name_the_permissions_and_the_checksum(
    shop, model_file, size, now
) -> None:
    path = model_file(size=size)
    path.chmod(0o640)
    plain = path.read_bytes()
    (made,) = inplace.seal_in_place(shop, [path], entitlements=RIGHT, now=now)
    assert made.path == str(path)
    assert (crc(path), path.stat().st_mode & 0o777) == (zlib.crc32(plain), 0o640)
    assert path.read_bytes().startswith(container.MAGIC)
    with opening.opened(shop, path) as model:
        assert model.has_crc_trailer and model.file_bytes == path.stat().st_size - 4
    (back,) = inplace.restore(shop, path, now=now)
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (plain, 0o640)
    assert back.size_bytes == size
    assert list(path.parent.glob(".*")) == []


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=5000))
def test_sealing_in_place_and_restoring_undo_each_other(shop, tmp_path, now, data) -> None:
    path = tmp_path / "any.bin"
    path.write_bytes(data)
    inplace.seal_in_place(shop, [path], entitlements=RIGHT, now=now)
    assert crc(path) == zlib.crc32(data)
    inplace.restore(shop, path, now=now)
    assert path.read_bytes() == data


def test_a_file_that_changes_meanwhile_stays_as_it_is(shop, model_file, now) -> None:
    path = model_file()

    def touched(done: int, total: int, name: str) -> None:
        if done == total:
            path.write_bytes(b"newer than what was sealed")

    with pytest.raises(SourceChanged):
        inplace.seal_in_place(shop, [path], entitlements=RIGHT, now=now, progress=touched)
    assert path.read_bytes() == b"newer than what was sealed"
    assert list(path.parent.glob(".*")) == []


def test_a_full_disk_leaves_the_plain_file(shop, model_file, small_disk, now) -> None:
    path = model_file(size=500_000)
    plain = path.read_bytes()
    with small_disk(300_000), pytest.raises(DiskFull):
        inplace.seal_in_place(shop, [path], entitlements=RIGHT, now=now)
    assert path.read_bytes() == plain
    inplace.seal_in_place(shop, [path], entitlements=RIGHT, now=now)
    sealed = path.read_bytes()
    with small_disk(300_000), pytest.raises(DiskFull):
        inplace.restore(shop, path, now=now)
    assert path.read_bytes() == sealed
    assert list(path.parent.glob(".*")) == []


def test_a_damaged_file_is_not_restored_and_stays(shop, model_file, now) -> None:
    path = model_file()
    inplace.seal_in_place(shop, [path], entitlements=RIGHT, now=now)
    bent = bytearray(path.read_bytes())
    bent[-30] ^= 1
    path.write_bytes(bent)
    with pytest.raises(ContainerDamaged):
        inplace.restore(shop, path, now=now)
    assert path.read_bytes() == bent


def test_what_is_no_plain_regular_file_is_refused(shop, model_file, tmp_path, now) -> None:
    path = model_file()
    link = tmp_path / "link.onnx"
    link.symlink_to(path)
    os.mkfifo(tmp_path / "pipe")
    for odd in (link, tmp_path, tmp_path / "pipe"):
        with pytest.raises(SourceNotSealable):
            inplace.seal_in_place(shop, [odd], entitlements=RIGHT, now=now)
    with pytest.raises(InputMissing):
        inplace.seal_in_place(shop, [tmp_path / "none"], entitlements=RIGHT, now=now)
    with pytest.raises(Misuse):
        inplace.seal_in_place(shop, [path], entitlements=[], now=now)
    with pytest.raises(NotSealed):
        inplace.restore(shop, path, now=now)
    inplace.seal_in_place(shop, [path], entitlements=RIGHT, now=now)
    with pytest.raises(SourceNotSealable):
        inplace.seal_in_place(shop, [path], entitlements=RIGHT, now=now)


def test_a_folder_is_restored_into_a_new_one(shop, tmp_path, now) -> None:
    folder = tmp_path / "bundle"
    (folder / "net").mkdir(parents=True)
    files = {"config.json": b"{}", "net/model.onnx": os.urandom(70_000), "net/empty": b""}
    for name, data in files.items():
        (folder / name).write_bytes(data)
    sealed = tmp_path / "bundle.sealed"
    sealing.seal_paths(shop, [folder], sealed, entitlements=RIGHT, now=now)
    with pytest.raises(Misuse):
        inplace.restore(shop, sealed, now=now)
    out = tmp_path / "out"
    out.mkdir()
    inplace.restore(shop, sealed, out, now=now)
    assert {n: (out / n).read_bytes() for n in files} == files
    with pytest.raises(OutputExists):
        inplace.restore(shop, sealed, out, now=now)
