"""``modelseal.litert``: LiteRT interpreters of sealed models."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

from modelseal.frameworks import litert as adapter
from modelseal.runtime.content import opened
from modelseal.runtime.hook.passing import unhooked
from modelseal.runtime.loading import is_plain

ENDINGS = (".tflite", ".lite", ".litertlm")


@contextlib.contextmanager
def plaintext(given: object) -> Iterator[memoryview]:
    """The plaintext while an interpreter is made."""
    with opened(given, ENDINGS) as content:
        yield content.data


@functools.cache
def interpreter_class() -> Any:
    """``Interpreter`` for sealed models; ``ExtraMissing`` without LiteRT."""
    base = adapter.runtime().Interpreter
    init = unhooked(base.__init__)

    @functools.wraps(init)
    def __init__(self: Any, *args: Any, allow_plain: bool = False, **kwargs: Any) -> None:  # noqa: N807
        def resolve(given: object) -> Any:
            return None if is_plain(given, allow_plain=allow_plain) else plaintext(given)

        adapter.construct(self, init, resolve, args, kwargs)

    members = {
        "__module__": "modelseal.litert",
        "__doc__": "LiteRT's ``Interpreter`` of a sealed model; same arguments.",
        "__init__": __init__,
    }
    return type("Interpreter", (base,), members)
