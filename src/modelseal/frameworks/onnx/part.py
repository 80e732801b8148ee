"""A part of an ONNX model for code that reads it a second time: what a recipe names, no more.

Inputs and outputs, which every session tells, the named initializers, the names of the first
nodes; no operators, no edges, no other weight. Where the reader makes a session of what it read,
one operator stands for the whole graph, under its name, and ``reshaped`` tells what it changed.
Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

from modelseal.errors import EgressRefused, InvalidBytes

from . import wire
from .wire import Field

MARK = b"modelseal.part"
"""A metadata property of every part, by which an edited copy is known."""
_IR_VERSION, _OPSETS, _METADATA = 1, 8, 14
_NODE_INPUT, _NODE_OUTPUT, _NODE_NAME, _NODE_OP_TYPE, _NODE_DOMAIN = 1, 2, 3, 4, 7
_ASIDE = (wire.GRAPH_INPUT, wire.GRAPH_OUTPUT)
DOMAIN, OPERATOR = b"modelseal", b"Sealed"
"""The operator that stands for a whole sealed graph; no runtime has it."""

Open = Callable[[str], memoryview]
Shapes = Mapping[tuple[int, str], bytes]
"""Field number and name of an input or output of the graph -> the field that describes it."""


@dataclass(frozen=True, slots=True)
class Selection:
    """``initializers`` by name or place (negative: from the end), and how many node names.

    With ``session`` one operator stands for the graph, so that the part is a sound model.
    """

    initializers: Collection[str | int] = ()
    node_names: int = 0
    session: bool = False


def part(
    model: memoryview, selection: Selection, open_external: Open, mark: bytes = b"1"
) -> bytearray:
    """The part as a model's bytes; whoever gets it wipes it. ``mark`` is what ``MARK`` says.

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
    if selection.session:
        opset = _text(1, DOMAIN) + wire.encode_varint(2 << 3) + b"\x01"
        out += wire.head(_OPSETS, len(opset)) + opset
    said = _text(1, MARK) + _text(2, mark)
    return out + wire.head(_METADATA, len(said)) + said


def mark_of(given: bytes) -> bytes:
    """What ``MARK`` says in the part ``given``; nothing where it is no part."""
    view = memoryview(given)
    for field in wire.fields(view, 0, len(view)):
        if field.number == _METADATA and field.wire_type == wire.LENGTH:
            told = {
                each.number: bytes(view[each.value_begin : each.end])
                for each in wire.fields(view, field.value_begin, field.end)
            }
            if told.get(1) == MARK:
                return told.get(2, b"")
    return b""


def reshaped(handed: bytes, given: bytes) -> Shapes | None:
    """The inputs and outputs of ``given``, an edited copy of the part ``handed``.

    None when more differs than what describes them: names, order and number are the same.
    Raises ``InvalidBytes`` for what is no ONNX model.
    """
    before, after = _aside(handed), _aside(given)
    if before[0] != after[0] or list(before[1]) != list(after[1]):
        return None
    return after[1]


def _aside(data: bytes) -> tuple[list[bytes], dict[tuple[int, str], bytes]]:
    """Everything but inputs and outputs, in a fixed order; and these."""
    view = memoryview(data)
    rest, shapes = [], {}
    for field in wire.fields(view, 0, len(view)):
        if field.number != wire.MODEL_GRAPH or field.wire_type != wire.LENGTH:
            rest.append(bytes(view[field.begin : field.end]))
            continue
        for each in wire.fields(view, field.value_begin, field.end):
            told = bytes(view[each.begin : each.end])
            if each.number in _ASIDE:
                shapes[each.number, _name(view, each, wire.VALUE_NAME)] = told
            else:
                rest.append(b"graph" + told)
    return sorted(rest), dict(sorted(shapes.items(), key=lambda pair: pair[0][0]))


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
    values = list(_values(model, fields, set(names)))
    for field in values:
        out += model[field.begin : field.end]
    if selection.session:
        for field in fields:
            if field.number == wire.GRAPH_NAME:
                out += model[field.begin : field.end]
        node = _stand_in(model, values)
        out += wire.head(wire.GRAPH_NODE, len(node)) + node
    return out


def _values(model: memoryview, fields: list[Field], weights: set[str]) -> Iterator[Field]:
    """The graph's outputs, and its inputs less those that are weights."""
    for field in fields:
        if field.number == wire.GRAPH_OUTPUT or (
            field.number == wire.GRAPH_INPUT and _name(model, field, wire.VALUE_NAME) not in weights
        ):
            yield field


def _stand_in(model: memoryview, values: list[Field]) -> bytes:
    """The one node that makes all outputs of all inputs."""
    ends = {wire.GRAPH_INPUT: bytearray(), wire.GRAPH_OUTPUT: bytearray()}
    places = {wire.GRAPH_INPUT: _NODE_INPUT, wire.GRAPH_OUTPUT: _NODE_OUTPUT}
    for field in values:
        if field.number in ends:
            name = _name(model, field, wire.VALUE_NAME).encode()
            ends[field.number] += _text(places[field.number], name)
    return b"".join((*ends.values(), _text(_NODE_OP_TYPE, OPERATOR), _text(_NODE_DOMAIN, DOMAIN)))


def _text(number: int, told: bytes) -> bytes:
    return wire.head(number, len(told)) + told


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
