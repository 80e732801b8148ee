"""``modelseal.openvino``: OpenVINO models of sealed files."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

from modelseal.frameworks import openvino as adapter
from modelseal.runtime.content import opened
from modelseal.runtime.hook.passing import unhooked
from modelseal.runtime.loading import is_plain

ENDINGS = (".xml", ".onnx", ".tflite", ".pdmodel")


class _Source:
    def __init__(
        self,
        path: str | None,
        graph: memoryview,
        weights: AbstractContextManager[memoryview] | None,
    ) -> None:
        self.path, self.graph, self.weights = path, graph, weights


@contextlib.contextmanager
def source(model: object, weights: object) -> Iterator[_Source]:
    """The plaintext of a sealed model while it is read. IR has its weights in the same sealed
    model, in the sealed file that was named, or sealed beside it."""
    with opened(model, ENDINGS) as content:
        bin_ = None
        if content.name.lower().endswith(".xml"):
            bin_ = _named(weights) if weights else _data(content.partner(".bin"))
        yield _Source(content.path, content.data, bin_)


@contextlib.contextmanager
def _data(opening: AbstractContextManager[Any]) -> Iterator[memoryview]:
    with opening as content:
        yield content.data


def _named(weights: object) -> AbstractContextManager[memoryview]:
    return _data(opened(weights, (".bin",)))


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
        if not isinstance(model, adapter.runtime().Model):
            read = read_model(self, model, more.pop("weights", None), allow_plain=allow_plain)
        else:
            read = model
        return adapter.compile_read(self, plain_compile, read, device_name, config, more)

    members = {
        "__module__": "modelseal.openvino",
        "read_model": read_model,
        "compile_model": compile_model,
    }
    return type("Core", (base,), members)
