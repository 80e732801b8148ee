"""``onnxruntime.InferenceSession`` under the hook."""

from __future__ import annotations

from types import ModuleType

from modelseal.frameworks import onnx as adapter
from modelseal.runtime.hook.passing import is_ours


def patch(module: ModuleType) -> None:
    """Its methods open sealed models; ``module`` is where the class is defined."""
    adapter.patch(module.InferenceSession, _resolve)


def _resolve(given: object) -> adapter.Model | None:
    if not is_ours(given):
        return None
    from modelseal.runtime.onnx import SealedOnnx

    return SealedOnnx(given, plain_beside=True)
