"""``open``, ``os.stat`` and what deletes files, where an app recipe has something to say.

Code that a recipe names finds the plaintext's bytes and length when it compares a sealed file;
nobody else does. The program cannot delete or overwrite sealed files that a recipe keeps. Until a
sealed file is met, no recipe is read: most programs have none.
"""

from __future__ import annotations

import builtins
import io
import os
import stat

from modelseal.runtime import who
from modelseal.runtime.hook import RUN_RECIPE
from modelseal.runtime.hook.passing import Wrapped, rebind
from modelseal.runtime.sniff import is_model_name, is_sealed_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from modelseal.runtime.keeping import Rules

_WRITES = frozenset("wax+")
_MIN_SEALED_BYTES = 2048
"""Prologue, header and signatures: no sealed file is shorter."""

_patched: list[bool] = []
_rules: list[Rules] = []
_read: set[str] = set()
"""Sealed files whose bytes the program has looked at: it may find them wrong, and delete them."""
_unanswered: set[tuple[str, tuple[str, str]]] = set()
_MAX_READ = 4096


def patch() -> None:
    """From now on files are opened, measured and deleted as the recipes say. Once."""
    if _patched:
        return
    _patched.append(True)
    opening = Opening(builtins.open)
    rebind(builtins.open, opening)
    builtins.open = io.open = opening
    for name, kind in (
        ("stat", Measuring),
        *((name, Removing) for name in ("remove", "unlink", "truncate")),
        *((name, Renaming) for name in ("rename", "replace")),
    ):
        setattr(os, name, kind(getattr(os, name)))
    if RUN_RECIPE in os.environ:
        _current()


def _current() -> Rules:
    """The rules of the recipes in force, read at the first need."""
    if not _rules:
        from modelseal.runtime.keeping import Rules
        from modelseal.runtime.recipes import force

        _rules.append(Rules(force.in_force()))
    return _rules[0]


def _is_sealed(path: str) -> bool:
    """Whether a sealed file lies at ``path``. Before the first one was met, only files that are
    called as models are (or have no ending, as in a cache of Hugging Face) are looked at: a
    program may open thousands of pictures."""
    if not _rules and not is_model_name(path) and "." in os.path.basename(path):  # noqa: PTH119
        return False
    return bool(is_sealed_file(path))


class Opening(Wrapped):
    """``open``."""

    def __call__(self, file: Any, mode: Any = "r", *args: Any, **kwargs: Any) -> Any:
        if isinstance(file, (str, bytes, os.PathLike)) and isinstance(mode, str):
            if not _WRITES.isdisjoint(mode):
                _keep(file, None)
            elif "b" in mode and _is_sealed(os.fsdecode(file)):
                reader = who.caller(2)
                path = os.fsdecode(file)
                _note_read(path)
                if _current().asks(reader[0], size=False):
                    found = _for_check(file, reader)
                    if found is not None:
                        return found
                _tell_read(path, reader)
        return self.__wrapped__(file, mode, *args, **kwargs)


class Measuring(Wrapped):
    """``os.stat``."""

    def __call__(self, path: Any, **kwargs: Any) -> os.stat_result:
        found: os.stat_result = self.__wrapped__(path, **kwargs)
        if not stat.S_ISREG(found.st_mode) or found.st_size < _MIN_SEALED_BYTES:
            return found
        if not isinstance(path, (str, bytes, os.PathLike)) or kwargs.get("dir_fd") is not None:
            return found
        if _rules or _is_sealed(os.fsdecode(path)):
            reader = who.caller(2)
            if _current().asks(reader[0], size=True):
                return _with_plain_size(path, found, reader)
        return found


class Removing(Wrapped):
    """``os.remove`` and its like."""

    def __call__(self, path: Any, *args: Any, **kwargs: Any) -> Any:
        _keep(path, kwargs.get("dir_fd"))
        return self.__wrapped__(path, *args, **kwargs)


class Renaming(Wrapped):
    """``os.rename`` and its like: neither away nor over."""

    def __call__(self, src: Any, dst: Any, *args: Any, **kwargs: Any) -> Any:
        _keep(src, kwargs.get("src_dir_fd"))
        _keep(dst, kwargs.get("dst_dir_fd"))
        return self.__wrapped__(src, dst, *args, **kwargs)


def _note_read(path: str) -> None:
    if len(_read) >= _MAX_READ:
        _read.clear()
    _read.add(os.path.realpath(path))


def _tell_read(path: str, reader: tuple[str, str]) -> None:
    """The run knows who read sealed bytes, for what it says when the program fails; once each."""
    from modelseal.runtime import report

    if (path, reader) not in _unanswered and reader[0] and len(_unanswered) < _MAX_READ:
        _unanswered.add((path, reader))
        report.append({"code": report.READ, "path": path, "by": ".".join(reader)})


def _keep(path: Any, folder: int | None) -> None:
    """``Kept`` when a recipe keeps the sealed file that the program would delete or overwrite.

    Without any, when the program has read its bytes before: what it compared is not what is inside.
    """
    if not isinstance(path, (str, bytes, os.PathLike)):
        return
    place = os.fsdecode(os.fspath(path))
    if folder is not None:
        place = os.path.join(f"/proc/self/fd/{folder}", place)  # noqa: PTH118
        place = os.path.join(os.path.realpath(os.path.dirname(place)), os.path.basename(place))  # noqa: PTH118, PTH119, PTH120
    if not is_sealed_file(place) or who.is_own(3):
        return
    module = who.caller(3)[0]
    recipe = _current().keeper(place, module)
    was_read = os.path.realpath(place) in _read
    if recipe is None and (not was_read or _current().releases(place, module)):
        return
    import errno

    from modelseal.runtime import default, report
    from modelseal.runtime.keeping import Kept

    error = Kept("deleting or overwriting is refused", path=place, recipe=recipe)
    error.errno, error.strerror, error.filename = errno.EACCES, "kept by modelseal", place
    report.tell(error, place, default.for_record())
    raise error


def _for_check(file: Any, reader: tuple[str, str]) -> Any:
    path = os.fsdecode(os.fspath(file))
    if not is_sealed_file(path) or not _current().answers(path, reader, size=False):
        return None
    from modelseal.runtime.checking import PlainForCheck

    return PlainForCheck(path, reader[0])


def _with_plain_size(path: Any, found: os.stat_result, reader: tuple[str, str]) -> os.stat_result:
    place = os.fsdecode(os.fspath(path))
    if not is_sealed_file(place) or not _current().answers(place, reader, size=True):
        return found
    from modelseal.runtime.checking import plain_size

    parts: Any = found.__reduce__()
    numbers, named = parts[1]
    changed = (*numbers[:6], plain_size(place), *numbers[7:])
    return os.stat_result(changed, named)
