"""``modelseal.safetensors``: see there."""

from __future__ import annotations

import os
from typing import Any

from modelseal.errors import Misuse
from modelseal.frameworks.safetensors import TensorFile
from modelseal.runtime import default, report
from modelseal.runtime.loading import choose, is_plain, label, open_sealed
from modelseal.runtime.view import View

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
    with open_tensors(filename, framework, device, at_once=True) as tensors:
        return tensors.get_tensors()


def load(data: bytes, *, framework: str = "numpy", allow_plain: bool = False) -> dict[str, Any]:
    """Every tensor of sealed safetensors bytes; for programs that read the file themselves."""
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise Misuse("load takes bytes; load_file takes a path")
    if is_plain(data, allow_plain=allow_plain):
        held = memoryview(bytearray(data))
        file = TensorFile(lambda start, stop: held[start:stop], len(held), framework)
        return file.get_tensors()
    with open_tensors(data, framework, "cpu", at_once=True) as tensors:
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


def open_tensors(
    given: object, framework: str, device: Any, *, at_once: bool = False
) -> TensorFile:
    """The tensors of the sealed model at a path or in bytes; a refusal has been told.

    ``at_once`` is for a load of all of them right now; see ``view.open_view``.
    """
    path = label(given)
    view = open_sealed(given, at_once=at_once)
    try:
        with report.told(default.for_record, path):
            return _tensor_file(view, path, framework, device)
    except BaseException:
        view.close()
        raise


def _tensor_file(view: View, path: str | None, framework: str, device: Any) -> TensorFile:
    name = choose(view, ENDINGS)

    def read(start: int, stop: int) -> memoryview:
        with report.told(default.for_record, path):
            return view.private(name, start, stop)

    size = view.size(name)
    known = view.kept.get(name)
    if known is not None:  # an offloaded model opens one shard for every tensor
        view.may_open(name)
    file = TensorFile(read, size, framework, device, view.close, known)
    view.kept[name] = file.header
    return file


def _plain_open(
    filename: Any, framework: str, device: Any, *, get_all: bool = False, **plain_only: Any
) -> Any:
    from modelseal.frameworks.safetensors import plain_safe_open

    opened = plain_safe_open()(filename, framework, device, **plain_only)
    if not get_all:
        return opened
    with opened as tensors:
        return tensors.get_tensors()
