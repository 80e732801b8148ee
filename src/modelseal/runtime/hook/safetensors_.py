"""``safetensors.safe_open``, ``deserialize`` and the writers under the hook.

Every reader of safetensors, numpy, torch, transformers and diffusers included, goes through these
two names of the extension module. Its class cannot be patched or derived from, so the names are
replaced before anybody imports them, and by identity afterwards.
"""

from __future__ import annotations

import functools
from types import ModuleType
from typing import Any

from modelseal.runtime.hook.passing import is_ours, rebind


def patch(module: ModuleType) -> None:
    """The readers open sealed files, plain ones go to the originals; the writers refuse weights
    that were opened."""
    if getattr(module.safe_open, "_modelseal", False):
        return
    for old, new in (
        (module.safe_open, _safe_open(module.safe_open)),
        (module.deserialize, _deserialize(module.deserialize)),
    ):
        setattr(module, old.__name__, new)
        rebind(old, new)
    for name in ("serialize", "serialize_file"):
        original = getattr(module, name)
        setattr(module, name, _serialize(original))
        rebind(original, getattr(module, name))


def _safe_open(original: Any) -> Any:
    class Meta(type):
        def __instancecheck__(cls, instance: object) -> bool:
            from modelseal.frameworks.safetensors import TensorFile

            return isinstance(instance, (original, TensorFile))

        def __call__(cls, filename: Any, framework: str, device: Any = "cpu", **kwargs: Any) -> Any:
            if is_ours(filename):
                from modelseal.runtime.safetensors import open_tensors

                return open_tensors(filename, framework, device)
            return original(filename, framework, device, **kwargs)

    class safe_open(metaclass=Meta):  # noqa: N801 - the name it stands in for
        __doc__ = original.__doc__
        _modelseal = True

    safe_open.__module__ = original.__module__
    return safe_open


def _deserialize(original: Any) -> Any:
    def deserialize(data: Any) -> Any:
        if not is_ours(data) or not isinstance(data, (bytes, bytearray)):
            return original(data)
        from modelseal.runtime.safetensors import open_tensors

        with open_tensors(data, "numpy", "cpu", at_once=True) as tensors:
            return tensors.raw()

    deserialize.__doc__ = original.__doc__
    return deserialize


def _serialize(original: Any) -> Any:
    @functools.wraps(original)
    def serialize(tensor_dict: Any, *args: Any, **kwargs: Any) -> Any:
        from modelseal.runtime import egress

        for tensor in tensor_dict.values() if hasattr(tensor_dict, "values") else ():
            opened, path = egress.at(getattr(tensor, "data_ptr", 0))
            if opened:
                egress.refuse(f"safetensors.{original.__name__}", path)
        return original(tensor_dict, *args, **kwargs)

    return serialize
