"""For which machines an optimised graph is valid: what ONNX Runtime chose it by."""

from __future__ import annotations

import functools
import platform
import sys
from pathlib import Path
from typing import Any

# Instruction sets by which ONNX Runtime chooses layouts and kernels (x86-64, then AArch64).
_FEATURES = frozenset({
    "avx", "avx2", "fma", "f16c", "avx_vnni", "avx_vnni_int8", "avx512f", "avx512bw", "avx512dq",
    "avx512vl", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_int8", "amx_bf16",
    "asimd", "asimdhp", "asimddp", "asimdfhm", "fphp", "i8mm", "bf16", "sve", "sve2", "svei8mm",
    "svebf16", "sme", "sme2",
})  # fmt: skip
_CPUINFO = "/proc/cpuinfo"


def this(ort: Any) -> dict[str, str] | None:
    """This process's machine in the words of ``differs``; None where processors do not tell.

    Two machines of equal words run the same kernels of the same build over the same graph.
    """
    features = _features(_CPUINFO)
    if features is None:
        return None
    return {
        "onnxruntime": str(ort.__version__),
        "build": str(ort.get_build_info()),
        "system": sys.platform,
        "machine": platform.machine().lower(),
        "processor": features,
    }


def differs(made_on: dict[str, str], here: dict[str, str] | None) -> str | None:
    """The word in which a graph's machine is not this one; None when it is."""
    if here is None:
        return "processor"
    for word in sorted(made_on.keys() | here.keys()):
        if made_on.get(word) != here.get(word):
            return word
    return None


@functools.cache
def _features(place: str) -> str | None:
    """The known features that every processor of the list has, sorted."""
    found: set[str] | None = None
    try:
        with Path(place).open(encoding="ascii", errors="replace") as file:
            for line in file:
                word, _, told = line.partition(":")
                if word.strip() in ("flags", "Features"):
                    mine = _FEATURES.intersection(told.split())
                    found = set(mine) if found is None else found & mine
    except OSError:
        return None
    return None if found is None else " ".join(sorted(found))
