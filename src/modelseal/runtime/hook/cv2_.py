"""``cv2.dnn`` under the hook."""

from __future__ import annotations

import functools
from types import ModuleType
from typing import Any

from modelseal.frameworks.opencv import READERS
from modelseal.runtime.hook.passing import is_marked, is_ours, marked, rebind

_MODEL = ("model", "onnxFile", "buffer", "bufferModel")


def patch(module: ModuleType) -> None:
    """Its readers open sealed files; everything else passes untouched."""
    dnn = getattr(module, "dnn", None)
    for name in READERS:
        plain = getattr(dnn, name, None)
        if plain is None or is_marked(plain):
            continue
        reading = _reading(name, plain)
        setattr(dnn, name, reading)
        rebind(plain, reading)


def _reading(name: str, plain: Any) -> Any:
    @functools.wraps(plain)
    def read(*args: Any, **kwargs: Any) -> Any:
        named = next((n for n in _MODEL if n in kwargs), None) if not args else None
        given = args[0] if args else kwargs.get(named or "")
        if not is_ours(given):
            return plain(*args, **kwargs)
        from modelseal.runtime.opencv import read_sealed

        kwargs.pop(named or "", None)
        return read_sealed(name, given, args[1:], kwargs)

    return marked(read)
