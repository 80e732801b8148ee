"""Which argument of a loader is ours, and names that were imported before.

Most files of a program are plain: what opens sealed ones is imported when the first one is met.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from typing import Any

from modelseal.runtime import places
from modelseal.runtime.hook import RUN_APP
from modelseal.runtime.sniff import find, is_sealed_bytes, is_sealed_file

observers: list[Callable[[object], None]] = []
"""Are told what a framework was given, while a program is observed."""


def is_ours(given: object) -> bool:
    """True for sealed bytes and the path of a sealed file or of an entry inside, else False.

    A plain file where ``modelseal.toml`` wants a sealed one raises ``NotSealed``, told before.
    """
    for observer in observers:
        observer(given)
    if isinstance(given, (bytes, bytearray, memoryview)):
        return is_sealed_bytes(given)
    if not isinstance(given, (str, os.PathLike)):
        return False
    path = os.fsdecode(os.fspath(given))
    standing = places.at(path)
    if standing is not None:
        folder, name = standing
        return folder.is_sealed(name)
    sealed = is_sealed_file(find(path)[0])
    if sealed is False and _may_be_demanded():
        from modelseal.errors import NotSealed
        from modelseal.runtime import default, report

        with report.told(default.for_record, path):
            if default.policy().demands(path):
                raise NotSealed("modelseal.toml wants this file sealed", path=path)
    return bool(sealed)


def named(given: object) -> object:
    """The path of a sealed file that was opened and not read yet, sealed bytes in memory, else
    ``given``: for loaders that take open files, too."""
    name = getattr(given, "name", None)
    try:
        if isinstance(name, str) and hasattr(given, "read") and given.tell() == 0:  # type: ignore[attr-defined]
            return name if is_sealed_file(name) else given
        if isinstance(given, io.BytesIO) and given.tell() == 0:
            return given.getvalue() if is_sealed_bytes(given.getbuffer()[:8]) else given
    except (OSError, ValueError):
        pass
    return given


def _may_be_demanded() -> bool:
    """False when no ``modelseal.toml`` can be in force, so that none needs to be read."""
    named = os.environ.get("MODELSEAL_APP") or os.environ.get(RUN_APP)
    if named or getattr(sys, "frozen", False):
        return True
    main = getattr(sys.modules.get("__main__"), "__file__", None)
    if not main:
        return False
    return os.path.lexists(os.path.join(os.path.dirname(os.path.realpath(main)), "modelseal.toml"))  # noqa: PTH118, PTH120


_PUBLIC = {"_io": "io", "posix": "os", "nt": "os"}
"""Where what the hook replaces is found by pickle."""


class Wrapped:
    """In place of a built-in function. An object, not a function: as a member of a class it binds
    to nothing, and it equals the original, which sets of the standard library hold."""

    def __init__(self, original: Any) -> None:
        self.__wrapped__ = original
        self.__name__ = original.__name__
        self.__qualname__ = original.__name__
        self.__module__ = _PUBLIC.get(original.__module__, original.__module__)
        self.__doc__ = original.__doc__

    def __eq__(self, other: object) -> bool:
        return self is other or other is self.__wrapped__

    def __hash__(self) -> int:
        return hash(self.__wrapped__)

    def __reduce__(self) -> str:
        return str(self.__name__)


def marked(method: Any) -> Any:
    """``method``, which has ``__wrapped__``, known from now on as one of the hook's."""
    method._modelseal = True
    return method


def is_marked(method: Any) -> bool:
    """Whether the hook has put ``method`` there already."""
    return hasattr(method, "_modelseal")


def unhooked(method: Any) -> Any:
    """The framework's own method, also where the hook has wrapped it."""
    return method.__wrapped__ if is_marked(method) else method


def rebind(old: object, new: object) -> None:
    """Every module-level name for ``old`` in the program names ``new`` from now on."""
    for module in list(sys.modules.values()):
        names: Any = getattr(module, "__dict__", None)
        if not isinstance(names, dict):
            continue
        for name, value in list(names.items()):
            if value is old:
                names[name] = new
