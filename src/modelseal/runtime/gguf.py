"""``modelseal.gguf``: GGUF files of sealed models in memory."""

from __future__ import annotations

import functools
import re
from typing import Any

from modelseal.errors import Misuse
from modelseal.frameworks import gguf as adapter
from modelseal.runtime import default, report
from modelseal.runtime.hook.passing import unhooked
from modelseal.runtime.loading import choose, is_plain, label, open_sealed
from modelseal.runtime.memoryfile import MemoryFile

ENDINGS = (".gguf",)
_PART = re.compile(r".*-\d{5}-of-\d{5}\.gguf", re.IGNORECASE | re.DOTALL)


@functools.cache
def opening_class(name: str) -> Any:
    """``Llama`` or ``GGUFReader`` for sealed files; ``ExtraMissing`` without its package."""
    base = adapter.CLASSES[name]()
    init = unhooked(base.__init__)

    @functools.wraps(init)
    def __init__(self: Any, *args: Any, allow_plain: bool = False, **kwargs: Any) -> None:  # noqa: N807
        def resolve(given: object) -> MemoryFile | None:
            return None if is_plain(given, allow_plain=allow_plain) else memory_file(given)

        adapter.construct(self, init, resolve, args, kwargs)

    members = {
        "__module__": "modelseal.gguf",
        "__doc__": f"``{base.__module__}.{name}`` of a sealed GGUF file; same arguments.",
        "__init__": __init__,
    }
    return type(name, (base,), members)


def memory_file(given: object) -> MemoryFile:
    """The plaintext of the sealed GGUF file in memory; a refusal has been told.

    ``Misuse`` for one part of several: llama.cpp would look for the others by name.
    """
    path = label(given)
    view = open_sealed(given, at_once=True)
    try:
        with report.told(default.for_record, path):
            name = choose(view, ENDINGS)
            if _PART.fullmatch(name):
                raise Misuse("join the parts (llama-gguf-split --merge) before sealing", path=path)
            return MemoryFile.of(view, name)
    finally:
        view.close()
