"""``modelseal.openvino``: OpenVINO models of sealed files."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

from modelseal.frameworks import openvino as adapter
from modelseal.frameworks.onnx.skeleton import split
from modelseal.frameworks.onnx.wire import mentions_location
from modelseal.memory import wipe
from modelseal.runtime import cache
from modelseal.runtime.content import Content, opened
from modelseal.runtime.hook.passing import unhooked
from modelseal.runtime.loading import is_plain
from modelseal.runtime.onnx import note
from modelseal.runtime.opened import MemoryPath
from modelseal.runtime.view import View

_KIND = "openvino-compiled"
ENDINGS = (".xml", ".onnx", ".tflite", ".pdmodel")
_BY_PATH = (".tflite",)
"""What OpenVINO reads from files alone, by their ending."""


class _Source:
    place: str | None = None

    def __init__(
        self,
        path: str | None,
        graph: memoryview | bytearray,
        weights: AbstractContextManager[adapter.Weights] | None,
        went_in: tuple[View, list[str]] | None,
    ) -> None:
        self.path, self.graph = path, graph
        self.weights: AbstractContextManager[adapter.Weights] | None = weights
        self._went_in = went_in
        self.note = functools.partial(_note, path)

    def slot(self, folder: str, facts: bytes) -> cache.Slot | None:
        """None where weights lie outside the file, or in a sealed model of their own."""
        return cache.Slot(folder, _KIND, [self._went_in], facts) if self._went_in else None


def _note(path: str | None, what: str, is_kept: bool) -> None:
    note(what, path, "cache_encrypted" if is_kept else "cache_off")


@contextlib.contextmanager
def source(model: object, weights: object) -> Iterator[_Source]:
    """The plaintext of a sealed model while it is read. IR has its weights in the same sealed
    model, in the sealed file that was named, or sealed beside it."""
    with opened(model, ENDINGS) as content:
        went_in = None if weights else content.together(".bin")
        name = content.name.lower()
        if name.endswith(".xml"):
            bin_ = opened(weights, (".bin",)) if weights else content.partner(".bin")
            yield _Source(content.path, content.data, bin_, went_in)
        elif name.endswith(_BY_PATH):
            with MemoryPath(content.size_bytes, content.name, content.copy_to) as place:
                found = _Source(content.path, memoryview(b""), None, went_in)
                found.place = place
                yield found
        elif name.endswith(".onnx") and mentions_location(content.data, 0, len(content.data)):
            with contextlib.ExitStack() as stack:
                outside = functools.partial(_outside, stack, content)
                graph = split(content.data, "", outside, move=False)
                yield _Source(content.path, graph.model, None, None)
                wipe(graph.model)
        else:
            yield _Source(content.path, content.data, None, went_in)


def _outside(stack: contextlib.ExitStack, content: Content, location: str) -> memoryview:
    return stack.enter_context(content.beside(location)).data


@functools.cache
def core_class() -> Any:
    """``openvino.Core`` for sealed models; ``ExtraMissing`` without OpenVINO."""
    base = adapter.runtime().Core
    plain_read, plain_compile = unhooked(base.read_model), unhooked(base.compile_model)

    def read_model(
        self: Any, model: Any, weights: Any = None, config: Any = None, *, allow_plain: bool = False
    ) -> Any:
        def resolve(model: object, weights: object) -> Any:
            return None if is_plain(model, allow_plain=allow_plain) else source(model, weights)

        return adapter.read(self, plain_read, resolve, model, weights, config)

    def compile_model(
        self: Any,
        model: Any,
        device_name: Any = None,
        config: Any = None,
        *,
        allow_plain: bool = False,
        **more: Any,
    ) -> Any:
        if isinstance(model, adapter.runtime().Model):
            return adapter.compile_read(self, plain_compile, model, device_name, config, more)
        weights = more.pop("weights", None)
        if is_plain(model, allow_plain=allow_plain):
            read = plain_read(self, model, weights)
            return plain_compile(self, read, device_name, config, **more)
        plain = plain_read, plain_compile
        return adapter.compile_path(self, plain, source, model, weights, device_name, config, more)

    members = {
        "__module__": "modelseal.openvino",
        "read_model": read_model,
        "compile_model": compile_model,
    }
    return type("Core", (base,), members)
