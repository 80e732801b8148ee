"""``openvino.Core`` under the hook."""

from __future__ import annotations

import functools
from contextlib import AbstractContextManager
from types import ModuleType
from typing import Any

from modelseal.frameworks import openvino as adapter
from modelseal.runtime.hook.passing import is_marked, is_ours, marked


def patch(module: ModuleType) -> None:
    """``read_model`` and ``compile_model`` open sealed models; the rest passes untouched."""
    core = module.Core
    if is_marked(core.read_model):
        return
    plain_read, plain_compile = core.read_model, core.compile_model

    @functools.wraps(plain_read)
    def read_model(self: Any, model: Any, weights: Any = None, config: Any = None) -> Any:
        return adapter.read(self, plain_read, _resolve, model, weights, config)

    @functools.wraps(plain_compile)
    def compile_model(
        self: Any, model: Any, device_name: Any = None, config: Any = None, **more: Any
    ) -> Any:
        if is_ours(model):
            plain, weights = (plain_read, plain_compile), more.pop("weights", None)
            return adapter.compile_path(
                self, plain, _resolve, model, weights, device_name, config, more
            )
        return adapter.compile_read(self, plain_compile, model, device_name, config, more)

    core.read_model, core.compile_model = marked(read_model), marked(compile_model)


def _resolve(model: object, weights: object) -> AbstractContextManager[adapter.Source] | None:
    if not is_ours(model):
        return None
    from modelseal.runtime.openvino import source

    return source(model, weights)
