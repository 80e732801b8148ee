"""``modelseal.torch``: see there."""

from __future__ import annotations

import io
import os
from typing import Any, BinaryIO, cast

from modelseal.frameworks import torch as adapter
from modelseal.runtime import default, egress, report
from modelseal.runtime.hook.passing import unhooked
from modelseal.runtime.loading import choose, is_plain, label, open_sealed
from modelseal.runtime.opened import SealedFile

ENDINGS = (".pt", ".pth", ".ckpt", ".bin")


def load(
    f: str | os.PathLike[str] | bytes, *args: Any, allow_plain: bool = False, **kwargs: Any
) -> Any:
    """What ``torch.load`` gives for the sealed file at ``f``; same arguments.

    ``weights_only`` is True unless told otherwise. Raises ``NotSealed`` for a plain file unless
    ``allow_plain``, ``InputMissing``, the refusals of the license, ``ExtraMissing``.
    """
    plain = unhooked(adapter.runtime().load)
    kwargs = {"weights_only": True, **kwargs}
    if is_plain(f, allow_plain=allow_plain):
        given = io.BytesIO(f) if isinstance(f, (bytes, bytearray, memoryview)) else f
        return plain(given, *args, **kwargs)
    return load_sealed(f, plain, args, kwargs)


def load_sealed(given: object, load: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """``load`` (the plain ``torch.load``) over the sealed file, with the caller's arguments as they
    are: what a program says about code in its pickles is between it and its torch."""
    path = label(given)
    view = open_sealed(given, at_once=True)
    with SealedFile(view, path) as sealed, report.told(default.for_record, path):
        reader = sealed.open(choose(view, ENDINGS))
        buffered = cast("io.BufferedReader", io.BufferedReader(reader, 1 << 20))
        found = adapter.load(buffered, load, args, kwargs)
        egress.note_result(found, path)
        return found


def load_script(
    f: str | os.PathLike[str] | bytes, *args: Any, allow_plain: bool = False, **kwargs: Any
) -> Any:
    """What ``torch.jit.load`` gives for the sealed TorchScript file at ``f``; same arguments.

    A TorchScript file is a program: its code runs when the module is called. Linux only; raises
    as ``load`` does, ``MemoryUnavailable`` elsewhere.
    """
    plain = unhooked(adapter.runtime().jit.load)
    if is_plain(f, allow_plain=allow_plain):
        given = io.BytesIO(f) if isinstance(f, (bytes, bytearray, memoryview)) else f
        return plain(given, *args, **kwargs)
    return load_sealed_script(f, plain, args, kwargs)


def load_sealed_script(
    given: object, load: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """``load`` (the plain ``torch.jit.load``) over the sealed file."""
    path = label(given)
    view = open_sealed(given, at_once=True)
    with SealedFile(view, path) as sealed:
        with report.told(default.for_record, path):
            name = choose(view, ENDINGS)
        with sealed.memory_path(name) as place:
            found = adapter.load_script(place, load, args, kwargs)
        egress.note_result(found, path)
        return found


def package_reader(given: object) -> tuple[BinaryIO, SealedFile]:
    """A file object over the sealed torch package, and what to close when it is not read any more;
    each part is decrypted when it is read."""
    path = label(given)
    sealed = SealedFile(open_sealed(given), path)
    try:
        with report.told(default.for_record, path):
            return cast("BinaryIO", io.BufferedReader(sealed.open())), sealed
    except BaseException:
        sealed.close()
        raise
