"""The graph skeleton of an ONNX model: the model without its large weights.

ONNX Runtime gets the skeleton as bytes and the weights as *files in memory*, which are the opened
bytes themselves: no second copy of the whole model, and external data works without a folder.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from modelseal.errors import InvalidBytes

from . import wire

INLINE_BYTES = 4096
"""Initializers up to this size stay in the skeleton."""
WHOLE_BYTES = 1 << 20
"""Models up to this size stay whole: taking the weights out costs more than a copy of them."""
SKELETON_MAX_BYTES = (1 << 31) - 1
"""A protobuf message is shorter than 2 GiB."""
ORT_FORMAT = b"ORTM"
"""Bytes 4 to 8 of a model in ONNX Runtime's own format (``.ort``), which is handed over whole."""
_MAX_DEPTH = 64
_IS_EXTERNAL = wire.encode_varint(wire.TENSOR_DATA_LOCATION << 3 | wire.VARINT) + b"\x01"

Open = Callable[[str], memoryview]
"""Opens a file of external data by the location that the model gives."""


class Weight(NamedTuple):
    """A large weight: its name, where it lies (no location: in the model itself), its bytes."""

    name: str
    location: str | None
    offset: int
    data: memoryview


Place = Callable[[Weight], tuple[str, int]]
"""The file, and the offset in it, at which the skeleton names a weight."""


@dataclass
class Skeleton:
    """``model`` names the weights by ``token`` and a number; ``files`` are their bytes.

    Whoever hands ``model`` over wipes it afterwards.
    """

    token: str
    open_external: Open
    place: Place | None = None
    shapes: Mapping[tuple[int, str], bytes] = field(default_factory=dict)
    model: bytearray = field(default_factory=bytearray)
    files: dict[str, memoryview] = field(default_factory=dict)
    _names: dict[str, str] = field(default_factory=dict)

    def name_of(self, location: str) -> str:
        """The name under which the external file at ``location`` is handed over."""
        if location not in self._names:
            name = f"{self.token}.{len(self._names) + 1}"
            self.files[name] = self.open_external(location)
            self._names[location] = name
        return self._names[location]

    def bytes_of(self, location: str, offset: int, length: int | None) -> memoryview:
        """Part of the external file at ``location``."""
        data = self.files[self.name_of(location)]
        end = len(data) if length is None else offset + length
        if not 0 <= offset <= end <= len(data):
            raise InvalidBytes("external data lies outside its file")
        return data[offset:end]


def split(
    model: memoryview,
    token: str,
    open_external: Open,
    *,
    move: bool = True,
    whole_bytes: int | None = None,
    place: Place | None = None,
    shapes: Mapping[tuple[int, str], bytes] | None = None,
) -> Skeleton:
    """The skeleton of ``model``; external files are opened by ``open_external`` once each.

    ``token`` is a name no other session uses. Without ``move`` all weights are drawn into the
    skeleton, for a runtime that takes no files in memory. A model of up to ``whole_bytes``
    (default: ``WHOLE_BYTES``) without external data is its own skeleton. ``place`` is asked, in
    the model's order, where each large weight is to be named instead. ``shapes`` (see
    ``part``) stand in place of what describes inputs and outputs. Raises ``InvalidBytes`` for what
    is no ONNX model or names external data outside its file.
    """
    found = Skeleton(token, open_external, place, shapes or {})
    if bytes(model[4:8]) == ORT_FORMAT:
        found.model = bytearray(model)
        return found
    limit = WHOLE_BYTES if whole_bytes is None else whole_bytes
    if not shapes and len(model) <= limit and not wire.mentions_location(model, 0, len(model)):
        for _ in wire.fields(model, 0, len(model)):  # InvalidBytes for what is no such message
            pass
        found.model = bytearray(model)
        return found
    rewriter = _Rewriter(model, found, move)
    pieces = rewriter.message(0, len(model), rewriter.model_field, 0)
    if rewriter.moved:
        found.files[token] = model
    size = sum(len(piece) for piece in pieces)
    if size > SKELETON_MAX_BYTES:
        raise InvalidBytes("the graph without its large weights is still over 2 GiB")
    found.model = bytearray().join(pieces)
    return found


_Pieces = list[bytes | memoryview]
_Handler = Callable[[wire.Field, int], _Pieces | None]


class _Rewriter:
    """Copies a message field by field; handlers give the pieces of the fields that change."""

    def __init__(self, view: memoryview, skeleton: Skeleton, move: bool) -> None:
        self.view = view
        self.skeleton = skeleton
        self.move = move
        self.moved = False

    def message(self, begin: int, end: int, handle: _Handler, depth: int) -> _Pieces:
        """The pieces of a message; runs of unchanged fields stay one piece."""
        if depth > _MAX_DEPTH:
            raise InvalidBytes("an ONNX graph nested too deeply")
        pieces: _Pieces = []
        kept = begin
        for item in wire.fields(self.view, begin, end):
            changed = handle(item, depth) if item.wire_type == wire.LENGTH else None
            if changed is not None:
                pieces += [self.view[kept : item.begin], *changed]
                kept = item.end
        pieces.append(self.view[kept:end])
        return pieces

    def model_field(self, item: wire.Field, depth: int) -> _Pieces | None:
        if item.number == wire.MODEL_GRAPH:
            return self._nested(item, self._main_field, depth)
        if item.number == wire.MODEL_FUNCTION and self._may_change(item):
            return self._nested(item, self._function_field, depth)
        return None

    def _main_field(self, item: wire.Field, depth: int) -> _Pieces | None:
        if item.number in (wire.GRAPH_INPUT, wire.GRAPH_OUTPUT) and self.skeleton.shapes:
            return self._shape(item)
        return self._graph_field(top=self.move)(item, depth)

    def _shape(self, item: wire.Field) -> _Pieces | None:
        for part in wire.fields(self.view, item.value_begin, item.end):
            if part.number == wire.VALUE_NAME and part.wire_type == wire.LENGTH:
                told = self.skeleton.shapes.get((item.number, wire.text(self.view, part)))
                return None if told is None else [told]
        return None

    def _function_field(self, item: wire.Field, depth: int) -> _Pieces | None:
        if item.number != wire.FUNCTION_NODE or not self._may_change(item):
            return None
        return self._nested(item, self._node_field, depth)

    def _graph_field(self, *, top: bool) -> _Handler:
        def handle(item: wire.Field, depth: int) -> _Pieces | None:
            if item.number == wire.GRAPH_INITIALIZER:
                return self._tensor(item, depth, top=top)
            if item.number == wire.GRAPH_NODE and self._may_change(item):
                return self._nested(item, self._node_field, depth)
            if item.number == wire.GRAPH_SPARSE and self._may_change(item):
                return self._nested(item, self._sparse_field, depth)
            return None

        return handle

    def _node_field(self, item: wire.Field, depth: int) -> _Pieces | None:
        if item.number != wire.NODE_ATTRIBUTE or not self._may_change(item):
            return None
        return self._nested(item, self._attribute_field, depth)

    def _attribute_field(self, item: wire.Field, depth: int) -> _Pieces | None:
        if item.number in wire.ATTRIBUTE_TENSORS:
            return self._tensor(item, depth, top=False)
        if item.number in wire.ATTRIBUTE_GRAPHS:
            return self._nested(item, self._graph_field(top=False), depth)
        return None

    def _sparse_field(self, item: wire.Field, depth: int) -> _Pieces | None:
        return self._tensor(item, depth, top=False) if item.number in (1, 2) else None

    def _may_change(self, item: wire.Field) -> bool:
        return wire.mentions_location(self.view, item.value_begin, item.end)

    def _nested(self, item: wire.Field, handle: _Handler, depth: int) -> _Pieces:
        pieces = self.message(item.value_begin, item.end, handle, depth + 1)
        return [wire.head(item.number, sum(map(len, pieces))), *pieces]

    def _tensor(self, item: wire.Field, depth: int, *, top: bool) -> _Pieces | None:
        """Large raw data moves out; external data is renamed (``top``) or drawn in."""
        if item.end - item.value_begin <= INLINE_BYTES and not self._may_change(item):
            return None
        raw: wire.Field | None = None
        name = ""
        external: dict[str, str] = {}
        changed: list[wire.Field] = []
        for part in wire.fields(self.view, item.value_begin, item.end):
            if part.number == wire.TENSOR_RAW_DATA and part.wire_type == wire.LENGTH:
                raw = part
                changed.append(part)
            elif part.number == wire.TENSOR_EXTERNAL_DATA and part.wire_type == wire.LENGTH:
                external.update(self._external(part))
                changed.append(part)
            elif part.number == wire.TENSOR_DATA_LOCATION:
                changed.append(part)
            elif part.number == wire.TENSOR_NAME and self.skeleton.place is not None:
                name = wire.text(self.view, part)
        if "location" in external:
            data = self._external_data(name, external, top=top)
        elif top and raw is not None and raw.end - raw.value_begin > INLINE_BYTES:
            data = [self._moved(name, raw)]
        else:
            return None
        pieces = [*self._without(item, changed), *data]
        return [wire.head(item.number, sum(map(len, pieces))), *pieces]

    def _moved(self, name: str, raw: wire.Field) -> bytes:
        """The reference to raw data that stays where it is, in the model."""
        if self.skeleton.place is not None:
            data = self.view[raw.value_begin : raw.end]
            where = self.skeleton.place(Weight(name, None, raw.value_begin, data))
            return _reference(*where, len(data))
        self.moved = True
        return _reference(self.skeleton.token, raw.value_begin, raw.end - raw.value_begin)

    def _without(self, item: wire.Field, parts: list[wire.Field]) -> _Pieces:
        """The value of ``item`` but for ``parts``."""
        kept, pieces = item.value_begin, _Pieces()
        for part in parts:
            if part.begin > kept:
                pieces.append(self.view[kept : part.begin])
            kept = part.end
        if item.end > kept:
            pieces.append(self.view[kept : item.end])
        return pieces

    def _external(self, part: wire.Field) -> dict[str, str]:
        """One key and value of ``external_data``."""
        texts = {wire.ENTRY_KEY: "", wire.ENTRY_VALUE: ""}
        for item in wire.fields(self.view, part.value_begin, part.end):
            if item.number in texts and item.wire_type == wire.LENGTH:
                texts[item.number] = wire.text(self.view, item)
        return {texts[wire.ENTRY_KEY]: texts[wire.ENTRY_VALUE]}

    def _external_data(self, name: str, external: dict[str, str], *, top: bool) -> _Pieces:
        offset = _number(external.get("offset"), 0)
        length = _number(external.get("length"), None)
        location = external["location"]
        part = self.skeleton.bytes_of(location, offset or 0, length)
        if top and self.skeleton.place is not None:
            weight = Weight(name, location, offset or 0, part)
            return [_reference(*self.skeleton.place(weight), len(part))]
        if top:
            return [_reference(self.skeleton.name_of(location), offset or 0, len(part))]
        return [wire.head(wire.TENSOR_RAW_DATA, len(part)), part]


def _reference(name: str, offset: int, length: int) -> bytes:
    """The fields that say: the data is ``length`` bytes at ``offset`` of the file ``name``."""
    return (
        _location(name)
        + wire.external_entry("offset", str(offset))
        + wire.external_entry("length", str(length))
        + _IS_EXTERNAL
    )


@functools.lru_cache(maxsize=16)
def _location(name: str) -> bytes:
    return wire.external_entry("location", name)


def _number(told: str | None, default: int | None) -> int | None:
    if not told:
        return default
    if not (told.isascii() and told.isdigit() and len(told) < 20):
        raise InvalidBytes("offset and length of external data are whole numbers")
    return int(told)
