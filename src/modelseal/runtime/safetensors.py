"""``modelseal.safetensors``: see there."""

from __future__ import annotations

import os
from typing import Any

from modelseal.errors import Misuse
from modelseal.frameworks.safetensors import TensorFile
from modelseal.runtime import default, report
from modelseal.runtime.loading import choose, is_plain, label, open_sealed

ENDINGS = (".safetensors",)


def load_file(
    filename: str | os.PathLike[str],
    device: Any = "cpu",
    *,
    framework: str = "numpy",
    allow_plain: bool = False,
) -> dict[str, Any]:
    """Every tensor of the sealed safetensors file at ``filename``, all over one arena.

    ``framework`` is ``numpy`` or ``pt``; ``device`` is torch's, where to move the tensors.
    """
    if is_plain(filename, allow_plain=allow_plain):
        return _plain_open(filename, framework, device, get_all=True)  # type: ignore[no-any-return]
    with open_tensors(filename, framework, device) as tensors:
        return tensors.get_tensors()


def load(data: bytes, *, framework: str = "numpy", allow_plain: bool = False) -> dict[str, Any]:
    """Every tensor of sealed safetensors bytes; for programs that read the file themselves."""
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise Misuse("load takes bytes; load_file takes a path")
    if is_plain(data, allow_plain=allow_plain):
        held = memoryview(bytearray(data))
        file = TensorFile(lambda start, stop: held[start:stop], len(held), framework)
        return file.get_tensors()
    with open_tensors(data, framework, "cpu") as tensors:
        return tensors.get_tensors()


def safe_open(
    filename: str | os.PathLike[str],
    framework: str = "numpy",
    device: Any = "cpu",
    *,
    allow_plain: bool = False,
    **plain_only: Any,
) -> Any:
    """The sealed safetensors file opened lazily: what ``safetensors.safe_open`` gives.

    Further arguments of ``safetensors.safe_open`` (``backend``) say how a plain file is read and
    mean nothing for a sealed one.
    """
    if is_plain(filename, allow_plain=allow_plain):
        return _plain_open(filename, framework, device, **plain_only)
    return open_tensors(filename, framework, device)


def open_tensors(given: object, framework: str, device: Any) -> TensorFile:
    """The tensors of the sealed model at a path or in bytes; a refusal has been told."""
    path = label(given)
    view = open_sealed(given)

    with report.told(default.for_record, path):
        name = choose(view, ENDINGS)

        def read(start: int, stop: int) -> memoryview:
            with report.told(default.for_record, path):
                return view.private(name, start, stop)

        return TensorFile(read, view.size(name), framework, device, view.close)


def _plain_open(
    filename: Any, framework: str, device: Any, *, get_all: bool = False, **plain_only: Any
) -> Any:
    from modelseal.frameworks.safetensors import plain_safe_open

    opened = plain_safe_open()(filename, framework, device, **plain_only)
    if not get_all:
        return opened
    with opened as tensors:
        return tensors.get_tensors()
