"""Every way to load that is measured, by name.

``reader(name)`` imports all that a load of that kind needs and nothing else, so that no import
falls into the time that is measured; what it gives returns what has to stay alive.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

Read = Callable[[str], object]
CPU = ["CPUExecutionProvider"]
_PART_BYTES = 1 << 18


def reader(name: str) -> Read:
    """The reader of that name."""
    return _READERS[name]()


def _safetensors_plain() -> Read:
    import safetensors.numpy

    return safetensors.numpy.load_file


def _safetensors_sealed() -> Read:
    import numpy  # noqa: F401 - before the clock starts

    import modelseal.safetensors

    return modelseal.safetensors.load_file


def _safetensors_naive() -> Read:
    """The whole file read, decrypted by one call and handed over: the usual first attempt."""
    import safetensors.numpy
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    def read(path: str) -> object:
        data = Path(path).read_bytes()
        return safetensors.numpy.load(AESGCM(bytes(32)).decrypt(data[:12], data[12:], None))

    return read


def _one_tensor_plain() -> Read:
    import safetensors.numpy

    return lambda path: _one_tensor(safetensors.safe_open(path, "numpy"))


def _one_tensor_sealed() -> Read:
    import numpy  # noqa: F401

    import modelseal.safetensors

    return lambda path: _one_tensor(modelseal.safetensors.safe_open(path))


def _one_tensor(opened: Any) -> object:
    with opened as tensors:
        return tensors.get_tensor(next(iter(tensors.keys())))


def _opening_sealed() -> Read:
    """Signatures, leaf table, key, commitment and index."""
    import modelseal

    return modelseal.open


def _torch_plain(*, mmap: bool, touch: bool = False) -> Callable[[], Read]:
    def make() -> Read:
        import torch

        def read(path: str) -> object:
            state = torch.load(path, mmap=mmap, weights_only=True)
            if touch:
                for tensor in state.values():
                    tensor.flatten()[::1024].sum()  # one number of each page
            return state

        return read

    return make


def _torch_sealed() -> Read:
    import torch  # noqa: F401

    import modelseal.safetensors

    return lambda path: modelseal.safetensors.load_file(path, framework="pt")


def _torch_sealed_pickle() -> Read:
    import torch  # noqa: F401

    import modelseal.torch

    return modelseal.torch.load


def _into_arena() -> Read:
    """The plain bytes read the fastest way into the memory that a sealed load fills."""
    from modelseal.memory import Arena
    from modelseal.runtime.pages import Pages

    def read(path: str) -> object:
        with Path(path).open("rb", buffering=0) as file:
            arena = Arena(os.fstat(file.fileno()).st_size)
            with Pages(arena)(arena.view, _PART_BYTES) as run:
                for start in range(0, arena.size_bytes, _PART_BYTES):
                    part = arena.view[start : start + _PART_BYTES]
                    os.preadv(file.fileno(), [run.place(part)], start)
                    run.placed(part)
        return arena.view

    return read


def _arena_alone() -> Read:
    """The memory that a sealed load fills, and nothing written into it."""
    from modelseal.memory import Arena
    from modelseal.runtime.pages import Pages

    def read(path: str) -> object:
        arena = Arena(Path(path).stat().st_size)
        with Pages(arena)(arena.view, _PART_BYTES) as run:
            for start in range(0, arena.size_bytes, _PART_BYTES):
                part = arena.view[start : start + _PART_BYTES]
                run.place(part)
                run.placed(part)
        return arena.view

    return read


def _mapped() -> Read:
    import numpy as np

    def read(path: str) -> object:
        mapped = np.memmap(path, dtype=np.uint8, mode="r")
        return mapped, int(mapped[::4096].sum(dtype=np.uint64))

    return read


def _onnx_plain() -> Read:
    import onnxruntime

    return lambda path: onnxruntime.InferenceSession(path, _options(), providers=CPU)


def _onnx_sealed() -> Read:
    import onnxruntime  # noqa: F401

    import modelseal.onnx

    return lambda path: modelseal.onnx.InferenceSession(path, _options(), providers=CPU)


def _options() -> Any:
    import onnxruntime

    chosen = onnxruntime.SessionOptions()
    chosen.intra_op_num_threads = 1
    return chosen


_READERS: dict[str, Callable[[], Read]] = {
    "safetensors plain": _safetensors_plain,
    "safetensors sealed": _safetensors_sealed,
    "safetensors naive AES-GCM": _safetensors_naive,
    "one tensor plain": _one_tensor_plain,
    "one tensor sealed": _one_tensor_sealed,
    "opening sealed": _opening_sealed,
    "torch plain": _torch_plain(mmap=False),
    "torch mapped": _torch_plain(mmap=True),
    "torch mapped, every page touched": _torch_plain(mmap=True, touch=True),
    "torch sealed": _torch_sealed,
    "torch sealed pickle": _torch_sealed_pickle,
    "bytes into an arena": _into_arena,
    "an arena alone": _arena_alone,
    "bytes mapped, every page touched": _mapped,
    "ONNX plain": _onnx_plain,
    "ONNX sealed": _onnx_sealed,
}
