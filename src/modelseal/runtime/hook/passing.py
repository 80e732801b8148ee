"""Which argument of a loader is ours, and names that were imported before.

Most files of a program are plain: what opens sealed ones is imported when the first one is met.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from modelseal.runtime.hook import RUN_APP
from modelseal.runtime.sniff import find, is_sealed_bytes, is_sealed_file


def is_ours(given: object) -> bool:
    """True for sealed bytes and the path of a sealed file or of an entry inside, else False.

    A plain file where ``modelseal.toml`` wants a sealed one raises ``NotSealed``, told before.
    """
    if isinstance(given, (bytes, bytearray, memoryview)):
        return is_sealed_bytes(given)
    if not isinstance(given, (str, os.PathLike)):
        return False
    path = os.fsdecode(os.fspath(given))
    sealed = is_sealed_file(find(path)[0])
    if sealed is False and _may_be_demanded():
        from modelseal.errors import NotSealed
        from modelseal.runtime import default, report

        with report.told(default.for_record, path):
            if default.policy().demands(path):
                raise NotSealed("modelseal.toml wants this file sealed", path=path)
    return bool(sealed)


def _may_be_demanded() -> bool:
    """False when no ``modelseal.toml`` can be in force, so that none needs to be read."""
    named = os.environ.get("MODELSEAL_APP") or os.environ.get(RUN_APP)
    if named or getattr(sys, "frozen", False):
        return True
    main = getattr(sys.modules.get("__main__"), "__file__", None)
    if not main:
        return False
    return os.path.lexists(os.path.join(os.path.dirname(os.path.realpath(main)), "modelseal.toml"))  # noqa: PTH118, PTH120


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
