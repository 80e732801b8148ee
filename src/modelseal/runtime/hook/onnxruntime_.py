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
        _refuse_copy(given)
        return None
    from modelseal.runtime.onnx import SealedOnnx

    return SealedOnnx(given, plain_beside=True)


def _refuse_copy(given: object) -> None:
    """An edited copy of what a second reader got is no model; its reason is told."""
    if not isinstance(given, bytes):
        return
    from modelseal.frameworks.onnx.part import MARK

    if MARK in given[-_TAIL_BYTES:]:
        from modelseal.runtime import second

        second.refuse_copy("InferenceSession")
