"""``llama_cpp.Llama`` and ``gguf.GGUFReader`` under the hook."""

from __future__ import annotations

import functools
from types import ModuleType
from typing import Any

from modelseal.frameworks import gguf as adapter
from modelseal.runtime.hook.passing import is_marked, is_ours, marked

_CLASSES = {"llama_cpp.llama": "Llama", "gguf.gguf_reader": "GGUFReader"}


def patch(module: ModuleType) -> None:
    """Its ``__init__`` opens sealed files; everything else passes untouched."""
    base = getattr(module, _CLASSES[module.__name__])
    init = base.__init__
    if is_marked(init):
        return

    @functools.wraps(init)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        adapter.construct(self, init, _resolve, args, kwargs)

    base.__init__ = marked(__init__)


def _resolve(given: object) -> adapter.PathFile | None:
    if not is_ours(given):
        return None
    from modelseal.runtime.gguf import memory_file

    return memory_file(given)
