"""A part of an ONNX model for code that reads it a second time: what a recipe names, no more.

Inputs and outputs, which every session tells, the named initializers, the names of the first
nodes; no operators, no edges, no other weight. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from modelseal.errors import EgressRefused, InvalidBytes

from . import wire
from .wire import Field

MARK = b"modelseal.part"
"""A metadata property of every part, by which an edited copy is known."""
_IR_VERSION, _OPSETS, _METADATA = 1, 8, 14
_INPUT, _OUTPUT = 11, 12
_NODE_NAME, _VALUE_NAME = 3, 1

Open = Callable[[str], memoryview]


@dataclass(frozen=True, slots=True)
class Selection:
    """``initializers`` by name or place (negative: from the end), and how many node names."""

    initializers: Collection[str | int] = ()
    node_names: int = 0


def part(model: memoryview, selection: Selection, open_external: Open) -> bytearray:
    """The part as a model's bytes; whoever gets it wipes it.

    Places keep their meaning: before one that counts from the start stand empty initializers.
    Raises ``InvalidBytes`` for what is no ONNX model, ``EgressRefused`` for a selection of all.
    """
    out = bytearray()
    for field in wire.fields(model, 0, len(model)):
        if field.number == wire.MODEL_GRAPH and field.wire_type == wire.LENGTH:
            graph = _graph(model, field, selection, open_external)
            out += wire.head(wire.MODEL_GRAPH, len(graph)) + graph
        elif field.number in (_IR_VERSION, _OPSETS):
            out += model[field.begin : field.end]
    said = wire.head(1, len(MARK)) + MARK + wire.head(2, 1) + b"1"
    return out + wire.head(_METADATA, len(said)) + said


def _graph(model: memoryview, whole: Field, selection: Selection, open_: Open) -> bytearray:
    fields = list(wire.fields(model, whole.value_begin, whole.end))
    tensors = [field for field in fields if field.number == wire.GRAPH_INITIALIZER]
    names = [_name(model, field, wire.TENSOR_NAME) for field in tensors]
    chosen = _chosen(names, selection.initializers)
    if len(chosen) == len(tensors) > 1:
        raise EgressRefused("an app recipe never hands out all initializers", what="onnx.load")
    nodes = [field for field in fields if field.number == wire.GRAPH_NODE]
    out = bytearray()
    for field in nodes[: selection.node_names]:
        told = _name(model, field, _NODE_NAME).encode()
        node = wire.head(_NODE_NAME, len(told)) + told
        out += wire.head(wire.GRAPH_NODE, len(node)) + node
    counted = any(type(each) is int and each >= 0 for each in selection.initializers)
    for place, field in enumerate(tensors):
        if place in chosen:
            tensor = _tensor(model, field, open_)
            out += wire.head(wire.GRAPH_INITIALIZER, len(tensor)) + tensor
        elif counted:
            out += wire.head(wire.GRAPH_INITIALIZER, 0)
    weights = set(names)
    for field in fields:
        if field.number == _OUTPUT or (
            field.number == _INPUT and _name(model, field, _VALUE_NAME) not in weights
        ):
            out += model[field.begin : field.end]
    return out


def _chosen(names: list[str], wanted: Collection[str | int]) -> set[int]:
    found = set()
    for each in wanted:
        if isinstance(each, str):
            found |= {place for place, name in enumerate(names) if name == each}
        elif -len(names) <= each < len(names):
            found.add(each % len(names))
    return found


def _tensor(model: memoryview, whole: Field, open_: Open) -> bytearray:
    """The tensor with its data inside, also where that lay in a file of its own."""
    out, told = bytearray(), {}
    for field in wire.fields(model, whole.value_begin, whole.end):
        if field.number == wire.TENSOR_EXTERNAL_DATA:
            pair = {
                part.number: wire.text(model, part)
                for part in wire.fields(model, field.value_begin, field.end)
            }
            told[pair.get(wire.ENTRY_KEY, "")] = pair.get(wire.ENTRY_VALUE, "")
        elif field.number != wire.TENSOR_DATA_LOCATION:
            out += model[field.begin : field.end]
    if "location" in told:
        data = open_(told["location"])
        try:
            start = int(told.get("offset") or 0)
            stop = start + int(told["length"]) if told.get("length") else len(data)
        except ValueError:
            raise InvalidBytes("not an ONNX model: external data at no number") from None
        if not 0 <= start <= stop <= len(data):
            raise InvalidBytes("external data lies outside its file")
        out += wire.head(wire.TENSOR_RAW_DATA, stop - start) + data[start:stop]
    return out


def _name(model: memoryview, whole: Field, number: int) -> str:
    for field in wire.fields(model, whole.value_begin, whole.end):
        if field.number == number and field.wire_type == wire.LENGTH:
            return wire.text(model, field)
    return ""
