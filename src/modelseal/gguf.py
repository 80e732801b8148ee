"""``modelseal.gguf``: GGUF files of sealed models, for llama-cpp-python.

    model = modelseal.gguf.Llama("models/tiny.gguf", n_ctx=2048)
    reader = modelseal.gguf.GGUFReader("models/tiny.gguf")

Both are subclasses of the plain ones with the same arguments and ``allow_plain``. The plaintext is
a file in memory (Linux only), which is gone when the last mapping of it is. They raise
``NotSealed`` for a plain file, ``InputMissing``, the refusals of the license,
``MemoryUnavailable``, ``ExtraMissing`` without ``llama-cpp-python`` or ``gguf``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gguf import GGUFReader as GGUFReader
    from llama_cpp import Llama as Llama

__all__ = ["GGUFReader", "Llama"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from modelseal.runtime.gguf import opening_class

    found = globals()[name] = opening_class(name)
    return found
