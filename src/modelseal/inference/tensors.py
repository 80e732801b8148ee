"""Tensors as the Open Inference Protocol (KServe v2) writes them: JSON, and its binary extension.

A message is one JSON document; tensors that are binary follow it in their order, little-endian and
row by row, and the header ``Inference-Header-Content-Length`` says where the JSON ends. ``request``
and ``read_request`` undo each other, ``response`` and ``read_response`` likewise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from modelseal.errors import ExtraMissing, Misuse

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array: TypeAlias = NDArray[Any]

LENGTH_HEADER = "Inference-Header-Content-Length"
BINARY = "application/octet-stream"
JSON = "application/json"
MAX_TENSORS = 256
MAX_RANK = 16
MAX_DEPTH = 64
MAX_STRING_BYTES = 1 << 20
MAX_JSON_BYTES = 16 << 20
_NUMBERS = {
    "BOOL": "?", "UINT8": "u1", "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8",
    "INT8": "i1", "INT16": "<i2", "INT32": "<i4", "INT64": "<i8",
    "FP16": "<f2", "FP32": "<f4", "FP64": "<f8",
}  # fmt: skip
BYTES = "BYTES"
_PLAIN = bytes(set(range(256)) - set(b"[]{}"))


class _Tensor(msgspec.Struct):
    name: str
    shape: list[int]
    datatype: str
    data: msgspec.Raw = msgspec.Raw()
    parameters: dict[str, Any] = {}


class _Asked(msgspec.Struct):
    name: str
    parameters: dict[str, Any] = {}


class _Request(msgspec.Struct):
    inputs: list[_Tensor]
    id: str | None = None
    outputs: list[_Asked] = []
    parameters: dict[str, Any] = {}


class _Response(msgspec.Struct):
    model_name: str
    outputs: list[_Tensor]
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked: tensors by name, the outputs wanted (none: all) and which of them binary."""

    inputs: Mapping[str, Array]
    outputs: tuple[str, ...] = ()
    binary: frozenset[str] | bool = False
    id: str | None = None

    def is_binary(self, name: str) -> bool:
        """Whether the output ``name`` is wanted in binary."""
        return self.binary if isinstance(self.binary, bool) else name in self.binary


@dataclass(slots=True)
class Message:
    """A body and its headers."""

    body: bytes = field(repr=False)
    headers: dict[str, str]


def datatype(array: Array) -> str:
    """The protocol's name for the type of ``array``; ``Misuse`` for one that it has none for."""
    kind = array.dtype
    if kind.kind in "OSU":
        return BYTES
    for name, code in _NUMBERS.items():
        if kind.newbyteorder("<") == _numpy().dtype(code):
            return name
    raise Misuse(f"a tensor of the type {kind} cannot be sent")


def numpy_type(name: str) -> Any:
    """The dtype of the protocol's type ``name``; ``Misuse`` for one that it does not have."""
    if name == BYTES:
        return _numpy().dtype(object)
    if name not in _NUMBERS:
        raise Misuse(f"{name[:16]} is no type that is served")
    return _numpy().dtype(_NUMBERS[name])


def request(inputs: Mapping[str, Array], outputs: Sequence[str] = ()) -> Message:
    """The message that asks with ``inputs``, everything binary, for ``outputs`` (none: all)."""
    tensors, blobs = _packed(inputs, lambda _name: True)
    head: dict[str, Any] = {"inputs": tensors, "parameters": {"binary_data_output": True}}
    if outputs:
        head["outputs"] = [{"name": n, "parameters": {"binary_data": True}} for n in outputs]
    return _message(head, blobs)


def read_request(body: bytes, header_length: str | None) -> Request:
    """What the message asks; ``Misuse`` says what is wrong with it."""
    head, rest = _split(body, header_length)
    found: _Request = _decode(head, _Request)
    every = bool(found.parameters.get("binary_data_output", False))
    binary = frozenset(
        one.name for one in found.outputs if one.parameters.get("binary_data", every) is True
    )
    names = tuple(one.name for one in found.outputs)
    if len(set(names)) != len(names) or len(names) > MAX_TENSORS:
        raise Misuse("an output is asked for twice, or there are too many")
    inputs = _unpacked(found.inputs, rest)
    return Request(inputs, names, binary if names else every, found.id)


def response(model: str, outputs: Mapping[str, Array], asked: Request) -> Message:
    """The answer to ``asked``."""
    tensors, blobs = _packed(outputs, asked.is_binary)
    head: dict[str, Any] = {"model_name": model, "model_version": "1", "outputs": tensors}
    if asked.id is not None:
        head["id"] = asked.id
    return _message(head, blobs)


def read_response(body: bytes, header_length: str | None) -> dict[str, Array]:
    """The tensors of an answer; ``Misuse`` says what is wrong with it."""
    head, rest = _split(body, header_length)
    found: _Response = _decode(head, _Response)
    return _unpacked(found.outputs, rest)


def _message(head: dict[str, Any], blobs: list[bytes]) -> Message:
    text = msgspec.json.encode(head)
    if not blobs:
        return Message(text, {"Content-Type": JSON})
    return Message(
        b"".join([text, *blobs]), {"Content-Type": BINARY, LENGTH_HEADER: str(len(text))}
    )


def _split(body: bytes, header_length: str | None) -> tuple[bytes, memoryview]:
    if header_length is None:
        return body, memoryview(b"")
    if not header_length.isascii() or not header_length.isdecimal() or len(header_length) > 12:
        raise Misuse(f"{LENGTH_HEADER} is a number of bytes")
    length = int(header_length)
    if length > len(body):
        raise Misuse(f"{LENGTH_HEADER} is longer than the body")
    return body[:length], memoryview(body)[length:]


def _decode(head: bytes, kind: Any) -> Any:
    if len(head) > MAX_JSON_BYTES:
        raise Misuse("so much is sent in binary", limit=MAX_JSON_BYTES)
    depth = 0
    for byte in head.translate(None, _PLAIN):
        depth += 1 if byte in b"[{" else -1
        if depth > MAX_DEPTH:
            raise Misuse("the body is nested too deep", limit=MAX_DEPTH)
    try:
        return msgspec.json.decode(head, type=kind)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise Misuse(f"the body is not acceptable: {error}"[:300]) from None


def _packed(arrays: Mapping[str, Array], binary: Any) -> tuple[list[dict[str, Any]], list[bytes]]:
    tensors, blobs = [], []
    for name, array in arrays.items():
        kind = datatype(array)
        tensor: dict[str, Any] = {"name": name, "shape": list(array.shape), "datatype": kind}
        if binary(name):
            blob = _strings(array) if kind == BYTES else array.astype(_NUMBERS[kind]).tobytes()
            tensor["parameters"] = {"binary_data_size": len(blob)}
            blobs.append(blob)
        else:
            tensor["data"] = _as_json(name, array, kind)
        tensors.append(tensor)
    return tensors, blobs


def _as_json(name: str, array: Array, kind: str) -> list[Any]:
    if kind.startswith("FP") and not _numpy().isfinite(array).all():
        raise Misuse(f"{name} holds values that JSON has no words for: ask for binary_data")
    flat = array.reshape(-1)
    return [_plain(one) for one in flat] if kind == BYTES else list(flat.tolist())


def _plain(one: Any) -> str:
    return one.decode("utf-8", "replace") if isinstance(one, bytes) else str(one)


def _strings(array: Array) -> bytes:
    parts = []
    for one in array.reshape(-1):
        raw = one if isinstance(one, bytes) else str(one).encode("utf-8")
        parts.append(len(raw).to_bytes(4, "little") + raw)
    return b"".join(parts)


def _unpacked(tensors: list[_Tensor], rest: memoryview) -> dict[str, Array]:
    if not 1 <= len(tensors) <= MAX_TENSORS:
        raise Misuse(f"a message has 1 to {MAX_TENSORS} tensors")
    found: dict[str, Array] = {}
    for tensor in tensors:
        if tensor.name in found:
            raise Misuse("a tensor is named twice", tensor=tensor.name[:64])
        size = tensor.parameters.get("binary_data_size")
        if size is None:
            found[tensor.name] = _from_json(tensor)
            continue
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= len(rest):
            raise Misuse("a tensor is longer than what was sent", tensor=tensor.name[:64])
        if len(tensor.data):
            raise Misuse("a tensor is both JSON and binary", tensor=tensor.name[:64])
        found[tensor.name] = _from_binary(tensor, rest[:size])
        rest = rest[size:]
    if len(rest):
        raise Misuse("bytes follow that belong to no tensor")
    return found


def _count(tensor: _Tensor) -> int:
    if len(tensor.shape) > MAX_RANK or any(not 0 <= size < 1 << 40 for size in tensor.shape):
        raise Misuse("a shape that no tensor has", tensor=tensor.name[:64])
    if tensor.datatype != BYTES and tensor.datatype not in _NUMBERS:
        raise Misuse(f"{tensor.datatype[:16]} is no type that is served", tensor=tensor.name[:64])
    return math.prod(tensor.shape)


def _from_binary(tensor: _Tensor, data: memoryview) -> Array:
    np = _numpy()
    count = _count(tensor)
    if tensor.datatype == BYTES:
        return _read_strings(tensor, data, count)
    kind = np.dtype(_NUMBERS[tensor.datatype])
    if len(data) != count * kind.itemsize:
        raise Misuse("a tensor's shape and length differ", tensor=tensor.name[:64])
    found = np.frombuffer(data, kind)
    if kind.kind == "b" and (found.view("u1") > 1).any():
        raise Misuse("a truth value is 0 or 1", tensor=tensor.name[:64])
    shaped: Array = found.reshape(tensor.shape)
    return shaped


def _read_strings(tensor: _Tensor, data: memoryview, count: int) -> Array:
    found: list[str] = []
    at = 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "little")
        at += 4
        if size > MAX_STRING_BYTES or at + size > len(data) or len(found) >= count:
            raise Misuse("a tensor's shape and length differ", tensor=tensor.name[:64])
        found.append(_utf8(tensor, bytes(data[at : at + size])))
        at += size
    if len(found) != count:
        raise Misuse("a tensor's shape and length differ", tensor=tensor.name[:64])
    shaped: Array = _numpy().array(found, dtype=object).reshape(tensor.shape)
    return shaped


def _utf8(tensor: _Tensor, raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeError:
        raise Misuse("text is UTF-8", tensor=tensor.name[:64]) from None


def _from_json(tensor: _Tensor) -> Array:
    np = _numpy()
    count = _count(tensor)
    try:
        values = _flat(msgspec.json.decode(tensor.data))
    except (msgspec.MsgspecError, RecursionError):
        raise Misuse("a tensor without its data", tensor=tensor.name[:64]) from None
    if len(values) != count:
        raise Misuse("a tensor's shape and length differ", tensor=tensor.name[:64])
    wanted = _JSON_TYPES[tensor.datatype[0] if tensor.datatype != BYTES else "S"]
    if not all(type(value) in wanted for value in values):
        raise Misuse(f"data that is not {tensor.datatype}", tensor=tensor.name[:64])
    try:
        kind = object if tensor.datatype == BYTES else _NUMBERS[tensor.datatype]
        with np.errstate(over="ignore"):
            shaped: Array = np.array(values, dtype=kind).reshape(tensor.shape)
            return shaped
    except (OverflowError, ValueError, TypeError):
        raise Misuse(f"data that is not {tensor.datatype}", tensor=tensor.name[:64]) from None


_JSON_TYPES = {"B": (bool,), "U": (int,), "I": (int,), "F": (int, float), "S": (str,)}


def _flat(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise msgspec.ValidationError
    flat: list[Any] = []
    pending = [iter(value)]
    while pending:
        for one in pending[-1]:
            if isinstance(one, list):
                pending.append(iter(one))
                break
            flat.append(one)
        else:
            pending.pop()
    return flat


def _numpy() -> Any:
    try:
        import numpy
    except ImportError:
        raise ExtraMissing("numpy is not installed", extra="serve") from None
    return numpy
