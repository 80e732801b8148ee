"""``loads.py SHOP PATH UID KIND PROTECTION``: loads a sealed model and stops in the middle of it.

Says ``ready`` before it opens anything, ``loading`` while a thread has just opened a chunk in the
middle, ``held`` when the model is kept, ``gone`` when it is let go; goes on at every line of its
standard input.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import itertools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from tests.runtime.shop import ShopLicensee

import modelseal.litert
import modelseal.onnx
import modelseal.openvino
import modelseal.safetensors
import modelseal.torch
from modelseal.container._chunks import ChunkOpener
from modelseal.memory import Arena
from modelseal.runtime import default
from modelseal.types import MemoryProtection

MIDDLE = 20
"""So many of the model's 33 chunks are opened when it stops."""
ROWS = 37

shop, path, uid, kind, protection = sys.argv[1:]
NEEDS = {
    "pt": ["torch"], "torch.load": ["torch"], "openvino": ["openvino", "secrets"],
    "onnx": ["onnxruntime"], "litert": ["ai_edge_litert.interpreter"],
}  # fmt: skip
for name in NEEDS.get(kind, ["safetensors"]):
    importlib.import_module(name)  # the other user may not read where Python is installed
if int(uid) != os.getuid():
    os.setgroups([])
    os.setgid(int(uid))
    os.setuid(int(uid))
ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # dumpable, as every ordinary process is


def heard() -> str:
    """A line, without the lock of ``sys.stdin``: OpenVINO's telemetry forks, and waits for it."""
    line = b""
    while not line.endswith(b"\n") and (more := os.read(0, 4096)):
        line += more
    return line.decode()


def say(word: str) -> None:
    print(word, flush=True)
    heard()


def stop_in_the_middle() -> None:
    """The thread that opens that chunk waits right after it."""
    original, opened = ChunkOpener.open_into, itertools.count(1)

    def open_into(self: ChunkOpener, index: int, buffer: memoryview, target: memoryview) -> None:
        original(self, index, buffer, target)
        if self.layout.info.id and next(opened) == MIDDLE:
            say("loading")

    ChunkOpener.open_into = open_into  # type: ignore[method-assign]


def by_rows() -> Any:
    """All of it, in slices that begin and end in the middle of chunks."""
    with modelseal.safetensors.safe_open(path) as file:
        found = file.get_slice("w")
        starts = range(0, found.get_shape()[0], ROWS)
        return [found[start : start + ROWS] for start in starts]


def from_bytes() -> Any:
    """As ``safetensors.numpy.load`` does under the hook."""
    import safetensors._safetensors_rust as extension

    from modelseal.runtime.hook import safetensors_

    safetensors_.patch(extension)
    return [told["data"] for _, told in extension.deserialize(Path(path).read_bytes())]


def by_pieces() -> Any:
    """Into protected memory of the program's own."""
    with modelseal.open(path) as sealed:
        memory = Arena(sealed.size(), MemoryProtection(protection)).view
        reader, at = sealed.open(), 0
        while got := reader.readinto(memory[at : at + 70_001]):
            at += got
    return [memory]


def view() -> Any:
    with modelseal.open(path) as sealed:
        return [sealed.view()]


LOADS: dict[str, Callable[[], Any]] = {
    "numpy": lambda: modelseal.safetensors.load_file(path),
    "pt": lambda: modelseal.safetensors.load_file(path, framework="pt"),
    "by_rows": by_rows,
    "from_bytes": from_bytes,
    "by_pieces": by_pieces,
    "view": view,
    "torch.load": lambda: modelseal.torch.load(path),
    "openvino": lambda: modelseal.openvino.Core().compile_model(path, "CPU"),
    "onnx": lambda: modelseal.onnx.InferenceSession(path, providers=["CPUExecutionProvider"]),
    "litert": lambda: modelseal.litert.Interpreter(path),
}

control = bytes.fromhex(heard())
licensee = ShopLicensee(Path(shop))
default.use_licensee(licensee)
say("ready")
stop_in_the_middle()
kept = LOADS[kind]()
if kind == "openvino":  # every weight has a part in it
    kept(np.ones((1, 512), dtype=np.float32))
say(f"held {licensee.protections[-1]}")
del kept
gc.collect()
say("gone")
print(len(control), flush=True)
