"""OpenVINO models over opened memory."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

from modelseal.errors import EgressRefused, ExtraMissing

_CACHES = ("CACHE_DIR",)
_MARK = "_modelseal"


class Source(Protocol):
    """What of a sealed model OpenVINO asks for while it reads it."""

    path: str | None
    graph: memoryview
    weights: AbstractContextManager[memoryview] | None


class Resolve(Protocol):
    """Model and weights as they were given -> the sealed source; None for what is not sealed."""

    def __call__(self, model: object, weights: object) -> AbstractContextManager[Source] | None:
        """The plaintext while the model is read."""
        ...


def runtime() -> Any:
    """The module ``openvino``; ``ExtraMissing`` when it is not installed."""
    try:
        import openvino
    except ImportError:
        raise ExtraMissing("openvino is not installed", extra="openvino") from None
    return openvino


def read(core: Any, plain: Any, resolve: Resolve, model: Any, weights: Any, config: Any) -> Any:
    """``plain`` (``Core.read_model``) over the plaintext; the weights in memory of OpenVINO's own.

    Raises ``EgressRefused`` when the core would cache compiled weights on a disk.
    """
    opening = resolve(model, weights)
    if opening is None:
        return plain(core, model, weights, config)
    with opening as source:
        _refuse_caches(core, config, source.path)
        found = _read(core, plain, source)
    setattr(found, _MARK, source.path or True)
    return found


def _read(core: Any, plain: Any, source: Source) -> Any:
    import numpy as np

    graph = bytes(source.graph)
    if source.weights is None:
        return plain(core, graph, None, None)
    ov = runtime()
    with source.weights as data:
        held = ov.Tensor(ov.Type.u8, ov.Shape([len(data)]))
        held.data[:] = np.frombuffer(data, np.uint8)
    return plain(core, graph, held, None)


def compile_read(
    core: Any, plain: Any, model: Any, device: Any, config: Any, more: Mapping[str, Any]
) -> Any:
    """``plain`` (``Core.compile_model``) of a model that was read.

    Raises ``EgressRefused`` when it was sealed and the core would cache compiled weights.
    """
    if hasattr(model, _MARK):
        _refuse_caches(core, config, None)
    return plain(core, model, device, config, **more)


def _refuse_caches(core: Any, config: Mapping[str, Any] | None, path: str | None) -> None:
    """Raises ``EgressRefused`` when compiled weights would be written to a cache folder."""
    for name in _CACHES:
        value = (config or {}).get(name)
        if not value:
            try:
                value = core.get_property(name)
            except Exception:  # noqa: BLE001 - OpenVINO raises for a property it does not know
                value = ""
        if value:
            raise EgressRefused(f"{name} would write compiled weights", what=name, path=path)
