"""The safetensors header, read strictly: 8 bytes length, JSON, then the tensors without gaps.

Source: the format section of the safetensors README and ``tensor.rs`` (one reason per refusal,
a cap on the header, no holes, no overlaps). Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Annotated, NamedTuple

import msgspec

from modelseal.errors import InvalidBytes

MAX_HEADER_BYTES = 100_000_000
PREFIX_BYTES = 8
_MAX_RANK = 64
_MAX_SIZE = 1 << 63
_Size = Annotated[int, msgspec.Meta(ge=0, le=_MAX_SIZE - 1)]

BITS = {
    "BOOL": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "U8": 8, "I8": 8,
    "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32,
    "C64": 64, "F64": 64, "I64": 64, "U64": 64,
}  # fmt: skip


class _Entry(msgspec.Struct, forbid_unknown_fields=True):
    dtype: str
    shape: list[_Size]
    data_offsets: tuple[_Size, _Size]


class TensorInfo(NamedTuple):
    """One tensor: its dtype code, shape, and the bytes ``begin`` to ``end`` of the file."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Header:
    """``tensors`` in the order of the file; ``data_begin`` is where the first one starts."""

    tensors: dict[str, TensorInfo]
    metadata: dict[str, str] | None
    data_begin: int


def header_bytes(prefix: bytes | memoryview, size_bytes: int) -> int:
    """The length of the JSON header told by the first 8 bytes of a file of ``size_bytes``."""
    if len(prefix) < PREFIX_BYTES:
        raise InvalidBytes("a safetensors file has at least 8 bytes")
    length = int.from_bytes(prefix[:PREFIX_BYTES], "little")
    if length > MAX_HEADER_BYTES:
        raise InvalidBytes("the safetensors header is longer than 100 MB")
    if PREFIX_BYTES + length > size_bytes:
        raise InvalidBytes("the safetensors header runs past the end of the file")
    return length


def parse(header: bytes | memoryview, size_bytes: int) -> Header:
    """The header whose JSON is ``header``, in a file of ``size_bytes``; ``InvalidBytes`` else."""
    if bytes(header[:1]) != b"{":
        raise InvalidBytes("a safetensors header starts with {")
    try:
        raw = msgspec.json.decode(header, type=dict[str, msgspec.Raw])
        told = raw.pop("__metadata__", None)
        metadata = None if told is None else msgspec.json.decode(told, type=dict[str, str])
        entries = {name: msgspec.json.decode(r, type=_Entry) for name, r in raw.items()}
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise InvalidBytes("the safetensors header is not the JSON of the format") from None
    begin = PREFIX_BYTES + len(header)
    return Header(_place(entries, begin, size_bytes), metadata, begin)


def _place(entries: dict[str, _Entry], base: int, size_bytes: int) -> dict[str, TensorInfo]:
    """The tensors in order of offset, each starting where the one before it ended."""
    at, tensors = 0, {}
    for name, entry in sorted(entries.items(), key=lambda item: item[1].data_offsets):
        begin, end = entry.data_offsets
        if begin != at or end < begin:
            raise InvalidBytes("safetensors tensors overlap or leave a gap")
        if end - begin != _byte_length(entry):
            raise InvalidBytes("a safetensors tensor is not as long as its shape says")
        tensors[name] = TensorInfo(entry.dtype, tuple(entry.shape), base + begin, base + end)
        at = end
    if base + at != size_bytes:
        raise InvalidBytes("the safetensors tensors do not end with the file")
    return tensors


def _byte_length(entry: _Entry) -> int:
    bits = BITS.get(entry.dtype)
    if bits is None:
        raise InvalidBytes("a safetensors dtype that this release does not know")
    if len(entry.shape) > _MAX_RANK:
        raise InvalidBytes("a safetensors shape beyond any tensor")
    total = prod(entry.shape) * bits
    if total >= _MAX_SIZE or total % 8:
        raise InvalidBytes("a safetensors tensor of an impossible size")
    return total // 8
