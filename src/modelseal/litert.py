"""``modelseal.litert``: LiteRT (TensorFlow Lite) for sealed models.

    interpreter = modelseal.litert.Interpreter("mesh.tflite")

``Interpreter`` is a subclass of ``ai_edge_litert.interpreter.Interpreter`` with the same arguments
and one more: ``allow_plain``. Raises, beside what LiteRT raises: ``InputMissing``, ``NotSealed``
for a plain file, the refusals of the license, ``ContainerDamaged`` and its kin, ``ExtraMissing``
without ``ai-edge-litert``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ai_edge_litert.interpreter import Interpreter as Interpreter

__all__ = ["Interpreter"]


def __getattr__(name: str) -> Any:
    if name != "Interpreter":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from modelseal.runtime.litert import interpreter_class

    found = globals()[name] = interpreter_class()
    return found
