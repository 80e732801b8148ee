"""LiteRT (TensorFlow Lite) interpreters over opened memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from modelseal.errors import ExtraMissing

Resolve = Callable[[object], AbstractContextManager[memoryview] | None]
"""A path or bytes -> the plaintext while an interpreter is made; None for what is not sealed."""


def runtime() -> Any:
    """The module with ``Interpreter``; ``ExtraMissing`` when LiteRT is not installed."""
    try:
        import ai_edge_litert.interpreter as module
    except ImportError:
        raise ExtraMissing("ai-edge-litert is not installed", extra="litert") from None
    return module


def construct(
    interpreter: Any,
    init: Any,
    resolve: Resolve,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> None:
    """``init`` (the plain ``__init__``) runs over the plaintext of what ``resolve`` resolves.

    The interpreter keeps a copy of its own for as long as it lives.
    """
    path, content = (*args, None, None)[:2]
    path = kwargs.get("model_path", path)
    content = kwargs.get("model_content", content)
    opening = resolve(content if path is None else path)
    if opening is None:
        init(interpreter, *args, **kwargs)
        return
    others = {k: v for k, v in kwargs.items() if k not in ("model_path", "model_content")}
    with opening as data:
        init(interpreter, None, bytes(data), *args[2:], **others)
