"""Telling sealed from plain without importing the container: under the hook most are plain."""

from __future__ import annotations

import os
import stat

from modelseal.runtime import places

MAGIC = bytes.fromhex("894d534c310d0a1a")
"""``container.MAGIC``; a test holds the two together."""

CACHE_MAGIC = bytes.fromhex("894d5343310d0a1a")
"""``cache.form.MAGIC``."""
MODEL_ENDINGS = frozenset({
    ".onnx", ".ort", ".safetensors", ".sft", ".pt", ".pth", ".ckpt", ".bin", ".gguf", ".tflite",
    ".param", ".xml", ".pb", ".caffemodel", ".t7", ".jit", ".torchscript", ".engine", ".npz",
    ".sealed", ".h5", ".keras", ".pdmodel", ".pdiparams", ".mlmodel", ".data", ".th", ".npy",
    ".lite", ".litertlm", ".ftz", ".pkl", ".task", ".model",
})  # fmt: skip
"""How model files are called: a hint, by which files are passed over that are none."""
_stat = os.stat  # the hook's own asks here


def is_model_name(path: str) -> bool:
    """Whether a file of that name may be a model."""
    return os.path.splitext(path)[1].lower() in MODEL_ENDINGS  # noqa: PTH122 - asked at every open


def is_sealed_bytes(data: object) -> bool:
    """True when ``data`` is a bytes-like object that begins with the magic."""
    if not isinstance(data, (bytes, bytearray, memoryview)):
        return False
    return bytes(memoryview(data)[: len(MAGIC)].tobytes()) == MAGIC


def is_sealed_file(path: str) -> bool | None:
    """Whether the regular file at ``path`` begins with the magic; None when there is none.

    A FIFO or a device is not touched, and what may not be read is nobody's sealed file.
    """
    start = _start(path)
    return None if start is None else start == MAGIC


def is_cache_file(path: object) -> bool:
    """Whether there is an encrypted cache at ``path``."""
    return isinstance(path, (str, os.PathLike)) and _start(os.fsdecode(path)) == CACHE_MAGIC


def _start(path: str) -> bytes | None:
    try:
        if not stat.S_ISREG(_stat(path).st_mode):
            return None
        file = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0))
        try:
            return os.read(file, len(MAGIC))
        finally:
            os.close(file)
    except (OSError, ValueError):
        return None


def find(path: str) -> tuple[str, str | None]:
    """The sealed file that ``path`` means and the name inside it, if it goes on inside.

    ``bundle.sealed/config.json`` means the entry ``config.json`` of ``bundle.sealed``; a file of
    a folder that stands in for a sealed one means that entry.
    """
    standing = places.at(path)
    if standing is not None:
        folder, name = standing
        return folder.path, name
    inner: list[str] = []
    place = path
    while not os.path.lexists(place):
        place, name = os.path.split(place)
        if not name or not place:
            return path, None
        inner.insert(0, name)
    if inner and is_sealed_file(place):
        return place, "/".join(inner)
    return path, None
