"""``ncnn.Net`` under the hook."""

from __future__ import annotations

import functools
from contextlib import AbstractContextManager
from types import ModuleType
from typing import Any

from modelseal.frameworks import ncnn as adapter
from modelseal.runtime.hook.passing import is_marked, is_ours, marked


def patch(module: ModuleType) -> None:
    """Its loaders open sealed files; everything else passes untouched."""
    for name in adapter.LOADERS:
        plain = getattr(module.Net, name)
        if not is_marked(plain):
            setattr(module.Net, name, _loader(name, plain))


def _loader(name: str, plain: Any) -> Any:
    @functools.wraps(plain)
    def load(self: Any, *args: Any, **kwargs: Any) -> int:
        if len(args) == 1 and not kwargs:
            return adapter.load(self, plain, name, _resolve, args[0])
        for argument in ("protopath", "modelpath"):
            if argument in kwargs and not args and len(kwargs) == 1:
                return adapter.load(self, plain, name, _resolve, kwargs[argument])
        return plain(self, *args, **kwargs)  # type: ignore[no-any-return]

    return marked(load)


def _resolve(given: object, loader: str) -> AbstractContextManager[str] | None:
    if not is_ours(given):
        return None
    from modelseal.runtime.ncnn import memory_path

    return memory_path(given, loader)
