"""GGUF over files in memory: llama-cpp-python and the ``gguf`` package take nothing but a path."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, Protocol

from modelseal.errors import ExtraMissing

PATHS = ("model_path", "path", "lora_path", "lora_base")
"""Arguments that name GGUF files; the first positional one is the model."""


class PathFile(Protocol):
    """A file that is there until it is closed."""

    @property
    def path(self) -> str:
        """Where this process finds it."""
        ...

    def close(self) -> None:
        """The path leads nowhere; what is mapped stays mapped."""
        ...


Resolve = Callable[[object], PathFile | None]
"""The plaintext of a sealed file; None for one that is passed on as it is."""


def llama() -> Any:
    """The class ``llama_cpp.Llama``; ``ExtraMissing`` without llama-cpp-python."""
    try:
        import llama_cpp
    except ImportError:
        raise ExtraMissing("llama-cpp-python is not installed", extra="gguf") from None
    return llama_cpp.Llama


def reader() -> Any:
    """The class ``gguf.GGUFReader``; ``ExtraMissing`` without the package ``gguf``."""
    try:
        import gguf
    except ImportError:
        raise ExtraMissing("gguf is not installed", extra="gguf") from None
    return gguf.GGUFReader


CLASSES = {"Llama": llama, "GGUFReader": reader}


def construct(
    self: Any, init: Any, resolve: Resolve, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    """``init(self, ...)`` with every sealed file replaced by one in memory.

    The files are let go of afterwards: by then they are mapped or read, and live as long as that.
    The attributes that keep their paths name the sealed files, so that a pickled or copied model
    opens by itself again.
    """
    with contextlib.ExitStack() as stack:
        named = {name: kwargs[name] for name in PATHS if kwargs.get(name) is not None}
        for name, given in named.items():
            kwargs[name] = _place(stack, resolve, given)
        if args:
            named["model_path"], args = args[0], (_place(stack, resolve, args[0]), *args[1:])
        init(self, *args, **kwargs)
    for name, given in named.items():
        if isinstance(getattr(self, name, None), str):
            setattr(self, name, given)


def _place(stack: contextlib.ExitStack, resolve: Resolve, given: object) -> object:
    found = resolve(given)
    if found is None:
        return given
    stack.callback(found.close)
    return found.path
