"""Large ONNX models are streamed: the plain outputs, the plain memory, nothing left behind."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from tests import onnx_graphs, onnx_models
from tests.runtime.shop import Shop, ShopLicensee

import modelseal
from modelseal.container._chunks import ChunkOpener
from modelseal.errors import ContainerDamaged, MemoryNotReached
from modelseal.frameworks.onnx import streamed
from modelseal.memory import Arena
from modelseal.runtime import onnx as loading
from modelseal.runtime import streaming
from modelseal.runtime.streaming import Layout, Stream

CPU = ["CPUExecutionProvider"]
ROOT = Path(__file__).resolve().parents[2]
RING_BYTES = Layout(0).ring_bytes
SIZE = 10 * streaming.PIECE_BYTES + 12345
pytestmark = pytest.mark.skipif(not streaming.is_possible(), reason="needs Linux: paths of pipes")


@pytest.fixture(autouse=True)
def _every_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streamed, "FROM_BYTES", 0)
    monkeypatch.setattr(loading, "_answered", set())


@pytest.fixture
def streams(monkeypatch: pytest.MonkeyPatch) -> list[Stream]:
    """The streams that are entered from now on."""
    found: list[Stream] = []
    enter = Stream.__enter__
    monkeypatch.setattr(Stream, "__enter__", lambda s: (found.append(s), enter(s))[1])
    return found


def large() -> bytes:
    """A model of several pieces, so that the ring is used again."""
    return onnx_graphs.wide_products(SIZE)


def no_thread_is_left() -> bool:
    return not any(t.name == "modelseal-stream" for t in threading.enumerate())


def test_a_streamed_model_gives_the_plain_outputs_bit_for_bit(
    shop: Shop, licensee: ShopLicensee, streams: list[Stream]
) -> None:
    path, _ = shop.seal("m.onnx", large())
    sealed = modelseal.onnx.InferenceSession(str(path), providers=CPU)
    assert len(streams) == 1 and no_thread_is_left()
    plain = ort.InferenceSession(large(), providers=CPU)
    feeds = onnx_models.feeds(plain)
    for one, other in zip(plain.run(None, feeds), sealed.run(None, feeds), strict=True):
        assert np.array_equal(one, other)


def test_what_is_not_one_file_is_served_in_the_usual_way(
    shop: Shop, licensee: ShopLicensee, streams: list[Stream]
) -> None:
    model, data = onnx_models.with_external_data("w.bin")
    path, _ = shop.seal("folder", {"m.onnx": model, "w.bin": data})
    session = modelseal.onnx.InferenceSession(str(path), providers=CPU)
    assert session.run(None, onnx_models.feeds(session)) and streams == []


def test_what_onnx_runtime_refuses_is_tried_as_a_stream_once(
    shop: Shop, licensee: ShopLicensee, streams: list[Stream]
) -> None:
    path, _ = shop.seal("m.onnx", b"\x0a\x03bad" * (SIZE // 5))
    for _ in range(2):
        with pytest.raises(Exception, match=r"(?i)protobuf|graph|fail"):
            modelseal.onnx.InferenceSession(str(path), providers=CPU)
    assert len(streams) == 1 and no_thread_is_left()


def test_damage_behind_what_was_read_already_is_a_refusal(
    shop: Shop, licensee: ShopLicensee
) -> None:
    path, _ = shop.seal("m.onnx", large())
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.write_bytes(data)
    with pytest.raises(ContainerDamaged):
        modelseal.onnx.InferenceSession(str(path), providers=CPU)
    assert no_thread_is_left()


def made(data: bytes, phase: int = 0) -> tuple[Stream, Arena]:
    def fill(at: int, target: memoryview) -> None:
        target[:] = data[at : at + target.nbytes]

    layout = Layout(len(data), phase=phase)
    ring = Arena(layout.ring_bytes)
    return Stream(layout, fill, ring), ring


@pytest.mark.parametrize("copied", [False, True], ids=["lent", "copied"])
@pytest.mark.parametrize("phase", [0, 64, streaming.PIECE_BYTES - 1])
@pytest.mark.parametrize("size", [0, 1, RING_BYTES, SIZE, 3 * RING_BYTES])
def test_the_reader_finds_every_byte_in_order(
    size: int, phase: int, copied: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if copied:
        monkeypatch.setattr(streaming, "_libc", lambda: None)
    data = np.random.default_rng(size).bytes(size)
    stream, ring = made(data, phase)
    assert data.startswith(stream.beginning) and stream.beginning.nbytes >= min(size, 1 << 19)
    with stream as path:
        assert Path(path).read_bytes() == data
    assert ring.closed and no_thread_is_left()


def test_a_pipe_that_stays_small_serves_every_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the user may have no large pipe."""
    monkeypatch.setattr(streaming, "_SET_PIPE_SIZE", -1)
    data = np.random.default_rng(1).bytes(SIZE)
    stream, ring = made(data)
    with stream as path:
        assert Path(path).read_bytes() == data
    assert ring.closed and no_thread_is_left()


def test_a_file_that_begins_inside_a_chunk_has_no_chunk_decrypted_twice(
    shop: Shop, licensee: ShopLicensee, streams: list[Stream], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file lies behind another one in its section."""
    path, _ = shop.seal("folder", {"a.txt": b"x" * 100, "m.onnx": large()}, chunk_bytes=65536)
    opened: list[int] = []
    open_into = ChunkOpener.open_into

    def counted(opener: ChunkOpener, index: int, *more: Any) -> None:
        opened.append(index)
        open_into(opener, index, *more)

    monkeypatch.setattr(ChunkOpener, "open_into", counted)
    assert modelseal.onnx.InferenceSession(str(path), providers=CPU)
    assert len(streams) == 1
    assert len(opened) <= len(set(opened)) + 2  # the index, and the first chunk of another section


def test_a_reader_that_stops_early_leaves_nothing_behind() -> None:
    stream, ring = made(bytes(3 * RING_BYTES))
    before = len(os.listdir("/proc/self/fd"))
    with stream as path, open(path, "rb") as file:
        assert file.read(10) == bytes(10)
    assert ring.closed and no_thread_is_left()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_reader_that_leaves_a_full_pipe_is_told_of_no_error() -> None:
    """The writer waits for room; that the reader has gone is no failure of the writer's."""
    stream, ring = made(bytes(3 * RING_BYTES))
    with stream as path:
        pipe = int(Path(path).name)
        full, unread = fcntl.fcntl(pipe, streaming._GET_PIPE_SIZE), 0
        while unread < full:  # until the writer waits
            unread = int.from_bytes(fcntl.ioctl(pipe, streaming._UNREAD, bytes(4)), sys.byteorder)
        stream._stop.set()  # as leaving does; nothing is read before the writer has noticed
        stream._writer.join(60)
    assert ring.closed and no_thread_is_left()


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_does_not_keep_the_reader_waiting() -> None:
    stream, _ring = made(bytes(SIZE))
    hold, let_go = os.pipe()
    with stream as path:
        child = os.fork()
        if child == 0:
            os.close(let_go)
            os.read(hold, 1)  # lives until the parent has read everything
            os._exit(0)
        os.close(hold)
        try:
            assert len(Path(path).read_bytes()) == SIZE
        finally:
            os.close(let_go)
            os.waitpid(child, 0)


def test_under_secret_nothing_is_streamed(
    shop: Shop, licensee: ShopLicensee, streams: list[Stream]
) -> None:
    shop.memory = "secret"
    shop.save()
    path, _ = shop.seal("m.onnx", onnx_models.convolutions())
    with contextlib.suppress(MemoryNotReached):  # some systems have no such memory
        modelseal.onnx.InferenceSession(str(path), providers=CPU)
    assert streams == []


PROGRAM = """\
import sys
from pathlib import Path
import onnxruntime, modelseal.onnx
from tests.runtime.shop import use_from_environment
use_from_environment()
kind, small, large = sys.argv[1:]
made = onnxruntime if kind == "plain" else modelseal.onnx
def load(path):
    return made.InferenceSession(path, providers=["CPUExecutionProvider"])
def resident(field):
    told = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in told if line.startswith(field))
load(small)  # modules, keys
Path("/proc/self/clear_refs").write_text("5")  # the peak starts from here
before = resident("VmRSS")
kept = load(large)
print(resident("VmHWM") - before, resident("VmRSS") - before)
"""


def test_a_streamed_load_takes_the_memory_of_the_plain_one(shop: Shop, tmp_path: Path) -> None:
    """And 16 MiB: the ring, and what differs from run to run."""
    large = onnx_graphs.wide_products(64 << 20)
    (tmp_path / "small.onnx").write_bytes(onnx_models.convolutions())
    (tmp_path / "large.onnx").write_bytes(large)
    plain, _ = memory_of(shop, "plain", [tmp_path / "small.onnx", tmp_path / "large.onnx"])
    sealed, _ = memory_of(shop, "sealed", sealed_pair(shop, large))
    assert sealed <= plain + (16 << 20)


def test_weights_that_onnx_runtime_gave_back_after_a_load_are_the_systems_again(shop: Shop) -> None:
    """Convolutions are repacked: without that their weights stay twice, once in free heap."""
    large = onnx_graphs.many_convolutions(64 << 20)
    _, stays = memory_of(shop, "sealed", sealed_pair(shop, large))
    assert stays <= len(large) * 1.05 + (8 << 20)


def sealed_pair(shop: Shop, large: bytes) -> list[Path]:
    files = {"small.onnx": onnx_models.convolutions(), "large.onnx": large}
    return [shop.seal(name, data, chunk_bytes=262144)[0] for name, data in files.items()]


def memory_of(shop: Shop, kind: str, paths: list[Path]) -> tuple[int, int]:
    """Bytes at the peak of the second load and after it, beyond those after the first."""
    env = {**os.environ, "SHOP": str(shop.folder), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", PROGRAM, kind, *map(str, paths)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    peak, stays = map(int, done.stdout.split())
    return peak, stays
