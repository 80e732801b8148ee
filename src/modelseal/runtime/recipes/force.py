"""Which recipes are in force in this process.

What ``recipes`` of ``modelseal.toml`` names: files beside it, or recipes that come with modelseal;
without it all of the latter. Always a ``modelseal.recipe.toml`` beside ``modelseal.toml`` or
beside the program.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from modelseal.errors import ModelsealError, RecipeInvalid
from modelseal.runtime.recipes import FILE_NAME, MAX_BYTES, Recipe, decode

_lock = threading.Lock()
_found: list[Recipe] | None = None


def shipped() -> dict[str, Recipe]:
    """The recipes that come with modelseal, by name."""
    files = sorted(Path(__file__).parent.glob("*.toml"))
    return {file.stem: decode(file.read_bytes(), str(file)) for file in files}


def load(path: Path) -> Recipe:
    """The recipe in the file at ``path``; ``RecipeInvalid``."""
    if not path.is_file():
        raise RecipeInvalid("there is no such file", path=str(path))
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise RecipeInvalid(f"cannot be read: {error.strerror}", path=str(path)) from None
    return decode(data, str(path))


def named(name: str, folder: Path) -> Recipe:
    """The recipe that ``modelseal.toml`` in ``folder`` means by ``name``; ``RecipeInvalid``."""
    if name.endswith(".toml"):
        return load(folder / name)
    known = shipped()
    if name not in known:
        raise RecipeInvalid(f"there is no recipe {name}; known: {', '.join(known)}"[:300])
    return known[name]


def in_force() -> list[Recipe]:
    """The recipes of this process, read once. What is wrong with one has been told."""
    global _found  # noqa: PLW0603
    with _lock:
        if _found is not None:
            return _found
    from modelseal.runtime import report

    found: list[Recipe] = []
    try:
        found.extend(_read())
    except ModelsealError as error:
        report.tell(error, None)
    with _lock:
        _found = found
    return found


def forget() -> None:
    """The recipes are read again at the next need."""
    global _found  # noqa: PLW0603
    with _lock:
        _found = None


def _read() -> Iterator[Recipe]:
    from modelseal.runtime import default

    config = default.app()
    folders = [] if config is None else [config.folder]
    main = getattr(sys.modules.get("__main__"), "__file__", None) or _script()
    if main:
        folders.append(Path(main).resolve().parent)
    for place in dict.fromkeys(folder / FILE_NAME for folder in folders):
        if place.is_file():
            yield load(place)
    if config is None or config.recipes is None:
        yield from shipped().values()
    else:
        for name in config.recipes:
            yield named(name, config.folder)


def _script() -> str | None:
    """The program's file before it runs, as in a ``sitecustomize``."""
    given = [each for each in sys.orig_argv[1:] if not each.startswith("-")]
    return given[0] if given and os.path.isfile(given[0]) else None  # noqa: PTH113


def _fresh_lock() -> None:
    global _lock  # noqa: PLW0603
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_fresh_lock)
