"""Bytes -> arrays of numpy or torch, over the same memory."""

from __future__ import annotations

from typing import Any, Protocol

from modelseal.errors import ExtraMissing, Misuse

from .header import TensorInfo

_NUMPY = {
    "BOOL": "?", "U8": "u1", "I8": "i1", "U16": "<u2", "I16": "<i2", "F16": "<f2",
    "U32": "<u4", "I32": "<i4", "F32": "<f4", "U64": "<u8", "I64": "<i8", "F64": "<f8",
    "C64": "<c8",
}  # fmt: skip
# Names that a numpy extension (ml_dtypes) registers; without it numpy does not know them.
_EXTENDED = {
    "BF16": "bfloat16", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2",
    "F8_E8M0": "float8_e8m0fnu", "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
}  # fmt: skip
_TORCH = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "U16": "uint16", "I16": "int16",
    "F16": "float16", "BF16": "bfloat16", "U32": "uint32", "I32": "int32", "F32": "float32",
    "U64": "uint64", "I64": "int64", "F64": "float64", "C64": "complex64",
    "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2", "F8_E8M0": "float8_e8m0fnu",
    "F8_E4M3FNUZ": "float8_e4m3fnuz", "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "F4": "float4_e2m1fn_x2",
}  # fmt: skip
_TWO_IN_ONE = "F4"
"""torch has two such numbers in one element: its last dimension is half as long."""


class Maker(Protocol):
    """Makes one array over ``view``, whose first byte is the tensor's first."""

    def __call__(self, view: memoryview, info: TensorInfo) -> Any:
        """The array, sharing the memory of ``view`` and keeping it alive."""
        ...


def maker(framework: str, device: Any) -> Maker:
    """The maker for safetensors' framework names; ``Misuse`` for one that is not served."""
    if framework in ("np", "numpy"):
        return _numpy_maker()
    if framework in ("pt", "torch", "pytorch"):
        return _torch_maker(device)
    raise Misuse(f"framework {framework[:32]!r} is not served, choose numpy or pt")


def _numpy_maker() -> Maker:
    try:
        import numpy as np
    except ImportError:
        raise ExtraMissing("numpy is not installed", extra="safetensors") from None

    def make(view: memoryview, info: TensorInfo) -> Any:
        code = _NUMPY.get(info.dtype) or _EXTENDED.get(info.dtype)
        try:
            dtype = np.dtype(code) if code else None
        except TypeError:
            dtype = None
        if dtype is None:
            raise Misuse(f"numpy has no dtype for {info.dtype}; load it with framework='pt'")
        return np.frombuffer(view, dtype=dtype).reshape(info.shape)

    return make


def _torch_maker(device: Any) -> Maker:
    try:
        import torch
    except ImportError:
        raise ExtraMissing("torch is not installed", extra="torch") from None

    def make(view: memoryview, info: TensorInfo) -> Any:
        dtype = getattr(torch, _TORCH.get(info.dtype, ""), None)
        if dtype is None:
            raise Misuse(f"this torch has no dtype for {info.dtype}")
        shape = info.shape
        if info.dtype == _TWO_IN_ONE:
            if not shape or shape[-1] % 2:
                raise Misuse(f"torch has no tensor of {info.dtype} with an odd last dimension")
            shape = (*shape[:-1], shape[-1] // 2)
        if not len(view):  # torch.frombuffer refuses empty buffers
            return torch.empty(shape, dtype=dtype, device=device)
        tensor = torch.frombuffer(view, dtype=dtype).reshape(shape)
        on_cpu = device in (None, "cpu")
        return tensor if on_cpu else tensor.to(device)

    return make
