"""``torch.load`` under the hook."""

from __future__ import annotations

import functools
from types import ModuleType
from typing import Any

from modelseal.runtime.hook.passing import is_marked, is_ours, marked, rebind


def patch(module: ModuleType) -> None:
    """``torch.load`` opens sealed files; ``weights_only`` stays True unless told otherwise."""
    original = module.load
    if is_marked(original):
        return

    @functools.wraps(original)
    def load(f: Any, *args: Any, **kwargs: Any) -> Any:
        if is_ours(f):
            from modelseal.runtime.torch import load_sealed

            return load_sealed(f, original, args, kwargs)
        return original(f, *args, **kwargs)

    module.load = marked(load)  # type: ignore[attr-defined]
    rebind(original, load)
