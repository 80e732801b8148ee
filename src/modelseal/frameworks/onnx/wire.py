"""Walking an ONNX model in protobuf wire form, without building it. Pure.

Only what moves weights is known: which byte ranges are initializers and where external data is
named. Field numbers are those of ``onnx.proto`` (ModelProto, GraphProto, NodeProto,
AttributeProto, TensorProto, StringStringEntryProto), the wire form that of the protobuf encoding
page. Anything that does not parse is ``InvalidBytes``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from modelseal.errors import InvalidBytes

MODEL_GRAPH, MODEL_FUNCTION = 7, 25
FUNCTION_NODE = 7
GRAPH_NODE, GRAPH_NAME, GRAPH_INITIALIZER, GRAPH_SPARSE = 1, 2, 5, 15
GRAPH_INPUT, GRAPH_OUTPUT, VALUE_NAME = 11, 12, 1
NODE_INPUT, NODE_OP_TYPE, NODE_ATTRIBUTE = 1, 4, 5
ATTRIBUTE_TENSORS, ATTRIBUTE_GRAPHS = (5, 10), (6, 11)
TENSOR_NAME, TENSOR_RAW_DATA, TENSOR_EXTERNAL_DATA, TENSOR_DATA_LOCATION = 8, 9, 13, 14
ENTRY_KEY, ENTRY_VALUE = 1, 2
VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
_LOCATION = re.compile(rb"location")
_MAX_TEXT_BYTES = 4096
_SHORT = [bytes([value]) for value in range(128)]


class Field(NamedTuple):
    """One field: its number, wire type, where it begins (tag included) and its value's bytes."""

    number: int
    wire_type: int
    begin: int
    value_begin: int
    end: int


def fields(view: memoryview, begin: int, end: int) -> Iterator[Field]:
    """The fields of the message in ``view[begin:end]``, in order."""
    at = begin
    while at < end:
        tag, value = view[at], at + 1
        if tag > 0x7F:  # most numbers have one byte; a call for each would double the time
            tag, value = varint(view, at, end)
        wire_type = tag & 7
        if wire_type == LENGTH:
            if value < end and view[value] < 0x80:
                size, value = view[value], value + 1
            else:
                size, value = varint(view, value, end)
            stop = value + size
        elif wire_type == VARINT:
            _, stop = varint(view, value, end)
        elif wire_type in (FIXED32, FIXED64):
            stop = value + (4 if wire_type == FIXED32 else 8)
        else:
            raise InvalidBytes("not an ONNX model: unknown protobuf wire type")
        if stop > end or tag < 8:
            raise InvalidBytes("not an ONNX model: a protobuf field runs past its message")
        yield Field(tag >> 3, wire_type, at, value, stop)
        at = stop


def varint(view: memoryview, at: int, end: int) -> tuple[int, int]:
    """The number that starts at ``at`` and where it stops."""
    result = shift = 0
    while at < end and shift < 64:
        byte = view[at]
        at += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, at
        shift += 7
    raise InvalidBytes("not an ONNX model: a protobuf number does not end")


def encode_varint(value: int) -> bytes:
    """``value`` as protobuf writes it."""
    if value <= 0x7F:
        return _SHORT[value]
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def head(number: int, size_bytes: int) -> bytes:
    """Tag and length of a length-delimited field."""
    return encode_varint(number << 3 | LENGTH) + encode_varint(size_bytes)


def external_entry(key: str, value: str) -> bytes:
    """One ``external_data`` entry of a tensor."""
    told, said = key.encode(), value.encode()
    if len(told) + len(said) < 120:  # every length has one byte
        sizes = 4 + len(told) + len(said), len(told), len(said)
        return b"j%c\n%c%b\x12%c%b" % (sizes[0], sizes[1], told, sizes[2], said)
    entry = head(ENTRY_KEY, len(told)) + told + head(ENTRY_VALUE, len(said)) + said
    return head(TENSOR_EXTERNAL_DATA, len(entry)) + entry


def text(view: memoryview, field: Field) -> str:
    """The field's value as text."""
    if field.end - field.value_begin > _MAX_TEXT_BYTES:
        raise InvalidBytes("not an ONNX model: a text of external data is too long")
    try:
        return bytes(view[field.value_begin : field.end]).decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidBytes("not an ONNX model: a text that is not UTF-8") from None


def mentions_location(view: memoryview, begin: int, end: int) -> bool:
    """False when nothing in the range can name external data: a quick look before a walk."""
    return _LOCATION.search(view[begin:end]) is not None
