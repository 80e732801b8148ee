"""``modelseal.onnx``: ONNX Runtime for sealed models.

    session = modelseal.onnx.InferenceSession("swap.onnx")

``InferenceSession`` is a subclass of ``onnxruntime.InferenceSession`` with the same arguments and
one more: ``allow_plain`` lets a plain file pass, which is refused (``NotSealed``) otherwise. The
plaintext is in memory only, and only until ONNX Runtime has its copy; external data is found
inside the sealed model or, sealed, beside it. ``set_providers`` opens the sealed model again.

Raises, beside what ONNX Runtime raises: ``InputMissing``, ``NotSealed``, the refusals of the
license, ``ContainerDamaged`` and its kin, ``EgressRefused`` for options that would write the
weights or the graph to a disk and for pickling, ``ExtraMissing`` without ``onnxruntime``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnxruntime import InferenceSession as InferenceSession

__all__ = ["InferenceSession"]


def __getattr__(name: str) -> Any:
    if name != "InferenceSession":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from modelseal.runtime.onnx import session_class

    found = globals()[name] = session_class()
    return found
