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

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnxruntime import InferenceSession as InferenceSession

__all__ = ["InferenceSession", "why_portable"]

if "onnxruntime" in sys.modules:  # options that are made from here on are known
    from modelseal.frameworks.onnx import options as _options

    _options.watch(getattr(sys.modules["onnxruntime"], "SessionOptions", None))


def why_portable(session: object) -> str | None:
    """None when ``session`` runs the graph that was optimised for this machine at sealing.

    Else the reason why it runs the portable model; empty when there is no such graph.
    """
    from modelseal.frameworks import onnx

    return onnx.why_portable(session)


def __getattr__(name: str) -> Any:
    if name != "InferenceSession":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from modelseal.runtime.onnx import session_class

    found = globals()[name] = session_class()
    return found
