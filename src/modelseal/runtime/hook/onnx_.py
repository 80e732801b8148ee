"""``onnx.load`` and ``onnx.save`` under the hook: the whole graph with its weights is not handed
out, parts only to whom an app recipe names, and nothing made of them is written."""

from __future__ import annotations

import functools
from types import ModuleType
from typing import Any

from modelseal.runtime.hook.passing import is_marked, is_ours, marked, named, rebind

LOADS = ("load", "load_model", "load_from_string", "load_model_from_string")
SAVES = ("save", "save_model")


def patch(module: ModuleType) -> None:
    """The loading functions hand out parts of sealed models at most; all others pass."""
    for names, wrap in ((LOADS, _loading), (SAVES, _saving)):
        for name in names:
            original = getattr(module, name, None)
            if original is None or is_marked(original):
                continue
            wrapped = marked(wrap(name, original, module))
            setattr(module, name, wrapped)
            rebind(original, wrapped)


def _loading(name: str, original: Any, module: ModuleType) -> Any:
    @functools.wraps(original)
    def load(*args: Any, **kwargs: Any) -> Any:
        given = named(args[0] if args else next(iter(kwargs.values()), None))
        if not is_ours(given):
            return original(*args, **kwargs)
        from modelseal.runtime import second, who

        model = module.ModelProto()
        model.ParseFromString(second.read(given, f"onnx.{name}", who.caller(2)))
        return model

    return load


def _saving(name: str, original: Any, module: ModuleType) -> Any:
    @functools.wraps(original)
    def save(*args: Any, **kwargs: Any) -> Any:
        given = args[0] if args else kwargs.get("proto", kwargs.get("model"))
        if _is_part(given):
            from modelseal.runtime import second

            second.refuse_copy(f"onnx.{name}")
        return original(*args, **kwargs)

    return save


def _is_part(given: Any) -> bool:
    from modelseal.frameworks.onnx.part import MARK

    if isinstance(given, (bytes, bytearray)):
        return MARK in given
    told = MARK.decode()
    return any(each.key == told for each in getattr(given, "metadata_props", ()))
