"""``onnx.load`` under the hook: the whole graph with its weights is not handed out."""

from __future__ import annotations

import functools
from types import ModuleType
from typing import Any

from modelseal.runtime.hook.passing import is_marked, is_ours, marked, rebind

NAMES = ("load", "load_model", "load_from_string", "load_model_from_string")


def patch(module: ModuleType) -> None:
    """The loading functions refuse sealed models and load all others."""
    for name in NAMES:
        original = getattr(module, name, None)
        if original is None or is_marked(original):
            continue
        refusing = _refusing(name, original)
        setattr(module, name, refusing)
        rebind(original, refusing)


def _refusing(name: str, original: Any) -> Any:
    @functools.wraps(original)
    def load(f: Any, *args: Any, **kwargs: Any) -> Any:
        if is_ours(f):
            from modelseal.errors import EgressRefused
            from modelseal.runtime import default, report
            from modelseal.runtime.loading import label

            path = label(f)
            with report.told(default.for_record, path):
                raise EgressRefused(
                    f"onnx.{name} would hand out the whole model; a session opens it",
                    what=f"onnx.{name}",
                    path=path,
                )
        return original(f, *args, **kwargs)

    return marked(load)
