"""Native loaders that take nothing but paths, under the hook: they get that of a file in memory.

Each is named here, for what reads such a path must keep no descriptor of it and hand none on; an
app recipe cannot name more (``docs/adr/0243``).
"""

from __future__ import annotations

import contextlib
import functools
import os
from types import ModuleType
from typing import Any

from modelseal.runtime.hook.known import EXPECTED
from modelseal.runtime.hook.passing import is_marked, is_ours, marked


def patch(module: ModuleType) -> None:
    """What ``known.EXPECTED`` names of ``module`` opens sealed files; the rest passes untouched."""
    for dotted in EXPECTED[module.__name__]:
        place, _, name = dotted.rpartition(".")
        owner: Any = getattr(module, place) if place else module
        plain = getattr(owner, name)
        if not is_marked(plain):
            setattr(owner, name, _loading(plain))


def _loading(plain: Any) -> Any:
    @functools.wraps(plain)
    def load(*args: Any, **kwargs: Any) -> Any:
        given = [each for each in (*args, *kwargs.values()) if isinstance(each, (str, os.PathLike))]
        ours = {each for each in given if is_ours(each)}
        if not ours:
            return plain(*args, **kwargs)
        from modelseal.runtime.content import file_in_memory

        with contextlib.ExitStack() as until:
            paths = {each: until.enter_context(file_in_memory(each)) for each in ours}

            def path(each: Any) -> Any:
                return (
                    paths[each] if isinstance(each, (str, os.PathLike)) and each in ours else each
                )

            named = {name: path(each) for name, each in kwargs.items()}
            return plain(*map(path, args), **named)

    return marked(load)
