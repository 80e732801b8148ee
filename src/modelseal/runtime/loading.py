"""What every public loader begins with: telling sealed from plain, choosing the entry."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from modelseal.errors import InputMissing, InvalidBytes, Misuse, NotSealed
from modelseal.memory import harden_process
from modelseal.runtime import default, places, report
from modelseal.runtime.sniff import find, is_sealed_bytes, is_sealed_file
from modelseal.runtime.view import View, as_path, open_view

_hardened: list[object] = []


def label(given: object) -> str | None:
    """The path for messages, that of the sealed model; None for bytes."""
    if isinstance(given, (bytes, bytearray, memoryview)):
        return None
    try:
        path: str = os.fsdecode(os.fspath(given))  # type: ignore[call-overload]
    except (TypeError, ValueError):
        return None
    standing = places.at(path)
    return path if standing is None else f"{standing[0].path}/{standing[1]}"


def is_full(depth: str) -> bool:
    """Whether ``depth`` (``auto`` or ``full``) demands the hash of every chunk; ``Misuse``."""
    if depth not in ("auto", "full"):
        raise Misuse("the verification depth is auto or full")
    return depth == "full"


def open_sealed(given: object, *, full: bool = False, at_once: bool = False) -> View:
    """The view of the sealed model at a path, or of sealed bytes, with the licensee in use.

    ``at_once`` is for a load that reads right now what it reads; see ``view.open_view``.
    Raises ``NotSealed`` for a plain file, ``InputMissing`` when there is none; a refusal has been
    told (stderr, journal) before it leaves.
    """
    with report.told(default.for_record, label(given)):
        if not _hardened:
            _hardened.append(harden_process())
        full = full or default.demands_full()
        return open_view(given, default.current(), full=full, at_once=at_once)


def is_plain(given: object, *, allow_plain: bool) -> bool:
    """True when ``given`` is a plain file or plain bytes and ``allow_plain`` lets it pass.

    Without ``allow_plain`` a plain one raises ``NotSealed``, with or without it a missing one
    ``InputMissing``.
    """
    path = label(given)
    with report.told(default.for_record, path):
        if isinstance(given, (bytes, bytearray, memoryview)):
            sealed: bool | None = is_sealed_bytes(given)
        else:
            sealed = is_sealed_file(find(as_path(given))[0])
        if sealed:
            return False
        if path is not None and not Path(path).exists():
            raise InputMissing("no such file", path=path)
        if not allow_plain:
            raise NotSealed("a plain file where a sealed one is expected", path=path)
        return True


def choose(view: View, endings: Sequence[str]) -> str:
    """The entry that the path named, the only one, or the only one with one of ``endings``.

    Raises ``NotFound`` for a name that is not there, ``Misuse`` naming the candidates when there
    are several.
    """
    names = view.names()
    if view.inner is not None:
        view.size(view.inner)  # NotFound when it is not there
        return view.inner
    fitting = names if len(names) == 1 else [n for n in names if n.lower().endswith(tuple(endings))]
    if len(fitting) == 1:
        return fitting[0]
    said = ", ".join((fitting or names)[:8])
    raise Misuse(f"name one of the files inside, PATH/NAME: {said}"[:300], path=view.path)


def inside(folder: str, location: str) -> str:
    """``location`` as seen from ``folder``, with ``/``; ``InvalidBytes`` when it leads out."""
    parts = [] if not folder else folder.split("/")
    depth = len(parts)
    for part in location.replace("\\", "/").split("/"):
        if part in ("", "."):
            continue
        if part == ".." or ":" in part or "\0" in part:
            raise InvalidBytes("a name inside the model leads out of its folder")
        parts.append(part)
    if location.startswith(("/", "\\")) or len(parts) == depth:
        raise InvalidBytes("a name inside the model leads out of its folder")
    return "/".join(parts)
