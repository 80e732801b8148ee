"""``modelseal.openvino``: OpenVINO for sealed models.

    core = modelseal.openvino.Core()
    compiled = core.compile_model(core.read_model("net.xml"), "CPU")

``Core`` is a subclass of ``openvino.Core``; ``read_model`` and ``compile_model`` take the path of
a sealed IR (its weights in the same sealed model, or sealed beside it), ONNX or TFLite file, and
``allow_plain``. Raises, beside what OpenVINO raises: ``InputMissing``, ``NotSealed`` for a plain
file, the refusals of the license, ``ContainerDamaged`` and its kin, ``EgressRefused`` when a
cache folder for compiled models is set, ``ExtraMissing`` without ``openvino``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openvino import Core as Core

__all__ = ["Core"]


def __getattr__(name: str) -> Any:
    if name != "Core":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from modelseal.runtime.openvino import core_class

    found = globals()[name] = core_class()
    return found
