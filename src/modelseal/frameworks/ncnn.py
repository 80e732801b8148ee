"""ncnn networks over opened memory."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from modelseal.errors import ExtraMissing

LOADERS = ("load_param", "load_param_bin", "load_model")
Resolve = Callable[[object, str], AbstractContextManager[str] | None]
"""A path and the loader's name -> the path of a file in memory while it is read; None: not sealed.

ncnn's Python module takes no bytes for weights, and copies what it reads.
"""


def runtime() -> Any:
    """The module ``ncnn``; ``ExtraMissing`` when it is not installed."""
    try:
        import ncnn
    except ImportError:
        raise ExtraMissing("ncnn is not installed", extra="ncnn") from None
    return ncnn


def load(
    net: Any, plain: Callable[..., int], loader: str, resolve: Resolve, given: object, *more: Any
) -> int:
    """``plain`` (the loader ``loader`` of ncnn) over the plaintext; 0 when ncnn could read it."""
    opening = resolve(given, loader)
    if opening is None:
        return plain(net, given, *more)
    with opening as path:
        return plain(net, path, *more)
