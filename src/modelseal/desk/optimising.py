"""The optimised form of an ONNX model as what sealing adds beside it.

Normative: ``docs/spec/optimised-onnx.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from modelseal.container import BytesSource, EntryPlan, SealPlan
from modelseal.desk.inputs import Item
from modelseal.frameworks.onnx import head


def entries(item: Item, items: Iterable[Item], random: Callable[[int], bytes]) -> list[EntryPlan]:
    """Head and body for the model ``item``; its external data is looked for among ``items``.

    Raises ``NotOptimisable`` with the reason, ``ExtraMissing`` without ``onnxruntime``.
    """
    from modelseal.frameworks.onnx import optimising

    beside = {i.name: i.path for i in items if i.demand == item.demand and i is not item}
    made = optimising.optimise(item.path, item.name, beside, random)
    return [
        EntryPlan(item.name + head.ENDING, BytesSource(made.head), role=head.ROLE),
        EntryPlan(item.name + head.BODY_ENDING, BytesSource(made.body), role=head.BODY_ROLE),
    ]


def names(plan: SealPlan) -> list[str]:
    """The models of ``plan`` that have an optimised form beside them."""
    added = [e.name for s in plan.sections for e in s.entries if e.role == head.ROLE]
    return [name.removesuffix(head.ENDING) for name in added]
