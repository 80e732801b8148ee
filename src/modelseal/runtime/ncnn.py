"""``modelseal.ncnn``: ncnn networks of sealed models."""

from __future__ import annotations

import functools
from contextlib import AbstractContextManager
from typing import Any

from modelseal.frameworks import ncnn as adapter
from modelseal.runtime.content import file_in_memory
from modelseal.runtime.hook.passing import unhooked
from modelseal.runtime.loading import is_plain

ENDINGS = {
    "load_param": (".param",),
    "load_param_bin": (".param.bin", ".bin"),
    "load_model": (".bin", ".weights"),
}


def memory_path(given: object, loader: str) -> AbstractContextManager[str]:
    """The path of the plaintext in memory while ncnn reads it; Linux only."""
    return file_in_memory(given, ENDINGS[loader])


@functools.cache
def net_class() -> Any:
    """``ncnn.Net`` for sealed models; ``ExtraMissing`` without ncnn."""
    base = adapter.runtime().Net

    def loader(name: str) -> Any:
        plain = unhooked(getattr(base, name))

        def load(self: Any, path: Any, *more: Any, allow_plain: bool = False) -> int:
            def resolve(given: object, loader: str) -> Any:
                if is_plain(given, allow_plain=allow_plain):
                    return None
                return memory_path(given, loader)

            return adapter.load(self, plain, name, resolve, path, *more)

        return load

    members = {name: loader(name) for name in adapter.LOADERS}
    return type("Net", (base,), {"__module__": "modelseal.ncnn", **members})
