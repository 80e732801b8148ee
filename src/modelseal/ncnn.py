"""``modelseal.ncnn``: ncnn for sealed models.

    net = modelseal.ncnn.Net()
    net.load_param("swap.param")
    net.load_model("swap.bin")

``Net`` is a subclass of ``ncnn.Net``; its loaders take the path of a sealed file, or of a sealed
model that holds both files of the pair, and ``allow_plain``. Raises ``InputMissing``,
``NotSealed`` for a plain file, the refusals of the license, ``ContainerDamaged`` and its kin,
``MemoryUnavailable`` where there are no files in memory (only Linux has them), ``ExtraMissing``
without ``ncnn``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ncnn import Net as Net

__all__ = ["Net"]


def __getattr__(name: str) -> Any:
    if name != "Net":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from modelseal.runtime.ncnn import net_class

    found = globals()[name] = net_class()
    return found
