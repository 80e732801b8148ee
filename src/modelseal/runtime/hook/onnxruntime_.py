"""``onnxruntime.InferenceSession`` under the hook."""

from __future__ import annotations

import os
from types import ModuleType

from modelseal.frameworks import onnx as adapter
from modelseal.runtime.hook.passing import is_ours
from modelseal.runtime.sniff import is_cache_file

_TAIL_BYTES = 65536
"""Metadata stands at the end of a model."""


def patch(module: ModuleType) -> None:
    """Its methods open sealed models; ``module`` is where the class is defined."""
    adapter.patch(module.InferenceSession, _resolve)


def _resolve(given: object) -> adapter.Model | None:
    if not is_ours(given):
        if is_cache_file(given):
            from modelseal.runtime.cache.onnx import CachedOnnx

            return CachedOnnx(os.fsdecode(given))  # type: ignore[arg-type]
        return _of_part(given)
    from modelseal.runtime.onnx import SealedOnnx

    return SealedOnnx(given, plain_beside=True)


def _of_part(given: object) -> adapter.Model | None:
    """The sealed model that a part which a second reader got stands for, where a recipe says so;
    any other edited copy is no model, and its reason is told."""
    if not isinstance(given, bytes):
        return None
    from modelseal.frameworks.onnx.part import MARK

    if MARK in given[-_TAIL_BYTES:]:
        from modelseal.runtime import second

        return second.session_of(given)
    return None
