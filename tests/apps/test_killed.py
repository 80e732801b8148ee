"""A program is killed in the middle of a load: no byte of plaintext is on the disk."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from tests.runtime.shop import Shop

MARKER = b"<plaintext of weights: 64 bytes that nobody else would write..>\n"
MEGABYTES = 24
PROGRAM = """
import sys, time
import modelseal, numpy
loader, path = sys.argv[1:]
def load():
    if loader == "safetensors":
        return modelseal.safetensors.load_file(path)
    with modelseal.open(path) as sealed:
        with sealed.memory_path() as place, open(place, "rb") as file:
            return file.read()
load()
began = time.perf_counter(); kept = load(); took = time.perf_counter() - began
del kept
print(took, flush=True)
while True:
    print("begins", flush=True)
    kept = load()
    print("ends", flush=True)
    del kept
"""
NEEDS_MOUNT = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0 or shutil.which("mkfs.ext4") is None,
    reason="makes a file system of its own: run as root with e2fsprogs",
)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """A file system of its own and the file that is its disk."""
    image, place = tmp_path / "disk.img", tmp_path / "disk"
    with image.open("wb") as file:
        file.truncate(192 << 20)
    place.mkdir()
    subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
    if subprocess.run(["mount", "-o", "loop", image, place], check=False).returncode:
        pytest.skip("mounts a file system of its own: needs a loop device and the right to")
    yield place, image
    if place.is_mount():
        subprocess.run(["umount", place], check=True)


def marked() -> bytes:
    data = np.frombuffer(MARKER * (MEGABYTES * (1 << 20) // 64 // 4), dtype=np.uint8)
    return safetensors.numpy.save({f"w{n}": data for n in range(4)})


def kill_in_the_middle(
    sealed: Path, loader: str, fraction: float, environment: dict[str, str], cwd: Path
) -> bool:
    """Whether the program was in the middle of a load when it was killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, loader, str(sealed)],
        stdout=subprocess.PIPE, env=environment, cwd=cwd, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        took = float(process.stdout.readline())
        assert process.stdout.readline() == "begins\n"
        time.sleep(took * fraction)
    finally:
        process.send_signal(signal.SIGKILL)
        said = process.communicate(timeout=300)[0].split()
    assert process.returncode == -signal.SIGKILL
    return not said or said[-1] == "begins"


def found_on(image: Path, wanted: bytes) -> bool:
    """Whether the raw disk holds ``wanted``, in files, in what was deleted, in the journal."""
    with image.open("rb") as file:
        before = b""
        while piece := file.read(1 << 22):
            if wanted in before + piece:
                return True
            before = piece[-len(wanted) :]
    return False


def search_after_kills(
    shop: Shop, environment: dict[str, str], disk: tuple[Path, Path], fractions: list[float]
) -> int:
    """How many of the kills hit a load; nothing of any is on the disk afterwards."""
    place, image = disk
    sealed, _ = shop.seal("weights.safetensors", marked())
    for name in ("tmp", "home", "work"):
        (place / name).mkdir()
    on_disk = shutil.copy(sealed, place / "weights.safetensors")
    environment = environment | {
        "TMPDIR": str(place / "tmp"), "HOME": str(place / "home"),
        "XDG_CACHE_HOME": str(place / "home"), "XDG_DATA_HOME": str(place / "home"),
    }  # fmt: skip
    hits = sum(
        kill_in_the_middle(Path(on_disk), loader, fraction, environment, place / "work")
        for fraction in fractions
        for loader in ("safetensors", "path")
    )
    subprocess.run(["umount", place], check=True)
    assert found_on(image, b"\x89MSL1\r\n\x1a"), "the sealed file is there"
    for start in (0, 17, 48):
        assert not found_on(image, MARKER[start : start + 16])
    return hits


@NEEDS_MOUNT
def test_a_program_killed_in_the_middle_of_a_load_leaves_nothing_on_the_disk(
    shop: Shop, environment: dict[str, str], disk: tuple[Path, Path]
) -> None:
    assert search_after_kills(shop, environment, disk, [0.5]) >= 1


@NEEDS_MOUNT
@pytest.mark.soak
def test_a_program_killed_at_any_time_of_a_load_leaves_nothing_on_the_disk(
    shop: Shop, environment: dict[str, str], disk: tuple[Path, Path]
) -> None:
    fractions = [step / 20 for step in range(20)]
    assert search_after_kills(shop, environment, disk, fractions) >= 20


@NEEDS_MOUNT
def test_the_search_of_the_disk_finds_what_was_deleted(disk: tuple[Path, Path]) -> None:
    place, image = disk
    leaked = place / "leaked"
    with leaked.open("wb") as file:
        file.write(MARKER * 4096)
        os.fsync(file.fileno())
    leaked.unlink()
    subprocess.run(["umount", place], check=True)
    assert found_on(image, MARKER[17:33])
