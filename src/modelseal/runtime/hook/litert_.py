"""LiteRT's ``Interpreter`` under the hook."""

from __future__ import annotations

import functools
from contextlib import AbstractContextManager
from types import ModuleType
from typing import Any

from modelseal.frameworks import litert as adapter
from modelseal.runtime.hook.passing import is_marked, is_ours, marked


def patch(module: ModuleType) -> None:
    """Its ``__init__`` opens sealed models; everything else passes untouched."""
    base = module.Interpreter
    init = base.__init__
    if is_marked(init):
        return

    @functools.wraps(init)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        adapter.construct(self, init, _resolve, args, kwargs)

    base.__init__ = marked(__init__)


def _resolve(given: object) -> AbstractContextManager[memoryview] | None:
    if not is_ours(given):
        return None
    from modelseal.runtime.litert import plaintext

    return plaintext(given)
