"""OpenVINO models over opened memory."""

from __future__ import annotations

import io
import platform
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

from modelseal.errors import ExtraMissing

_CACHE = "CACHE_DIR"
_MARK = "_modelseal"


class Slot(Protocol):
    """A place for compiled weights that nobody reads without the right to the model."""

    def load(self) -> memoryview | None:
        """What ``store`` was given for the same model and facts; None without it."""
        ...

    def store(self, plain: bytes) -> bool:
        """Whether it was stored."""
        ...


class Weights(Protocol):
    """A file of weights that is not decrypted yet."""

    @property
    def size_bytes(self) -> int:
        """Its length."""
        ...

    def copy_to(self, target: memoryview) -> None:
        """``target``, of that length, holds it."""
        ...


class Source(Protocol):
    """What of a sealed model OpenVINO asks for while it reads it."""

    path: str | None
    place: str | None
    """A path to read it from, where OpenVINO takes no bytes of that format."""
    graph: memoryview | bytearray
    weights: AbstractContextManager[Weights] | None

    def slot(self, folder: str, facts: bytes) -> Slot | None:
        """The place in ``folder`` for what is compiled under ``facts``; None where there can be
        none."""
        ...

    @property
    def note(self) -> Callable[[str, bool], None]:
        """Called with ``CACHE_DIR``, puts on record that it was encrypted (True) or left out;
        holds nothing of the plaintext."""
        ...


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
    """``plain`` (``Core.read_model``) over the plaintext; weights in memory of OpenVINO's own."""
    opening = resolve(model, weights)
    if opening is None:
        return plain(core, model, weights, config)
    with opening as source:
        found = _read(core, plain, source)
        setattr(found, _MARK, source.note)
    return found


def compile_path(
    core: Any,
    plain: tuple[Any, Any],
    resolve: Resolve,
    model: Any,
    weights: Any,
    device: Any,
    config: Any,
    more: Mapping[str, Any],
) -> Any:
    """A sealed model read and compiled in one; ``plain`` are ``read_model`` and ``compile_model``.

    With a cache folder, what was compiled is kept there encrypted, and imported the next time.
    None when ``resolve`` finds nothing sealed.
    """
    opening = resolve(model, weights)
    if opening is None:
        return None
    folder = _folder(core, config)
    mine = _without(config, folder)
    with opening as source:
        slot = source.slot(folder, _facts(core, device, mine)) if folder and not more else None
        found = None if slot is None else _imported(core, slot, device, mine)
        if found is None:
            found = plain[1](core, _read(core, plain[0], source), device, mine, **more)
            is_kept = slot is not None and _stored(found, slot)
            if folder:
                source.note(_CACHE, is_kept)
    return found


def compile_read(
    core: Any, plain: Any, model: Any, device: Any, config: Any, more: Mapping[str, Any]
) -> Any:
    """``plain`` (``Core.compile_model``) of a model that was read.

    When it was sealed, nothing is cached: the program may have changed it since, and nobody could
    tell for which model a cached one stands.
    """
    folder = _folder(core, config) if hasattr(model, _MARK) else ""
    if folder:
        getattr(model, _MARK)(_CACHE, False)
        config = _without(config, folder)
    return plain(core, model, device, config, **more)


def _read(core: Any, plain: Any, source: Source) -> Any:
    if source.place is not None:
        return plain(core, source.place, None, None)
    graph = bytes(source.graph)
    if source.weights is None:
        return plain(core, graph, None, None)
    ov = runtime()
    with source.weights as weights:
        held = ov.Tensor(ov.Type.u8, ov.Shape([weights.size_bytes]))
        weights.copy_to(memoryview(held.data))
    return plain(core, graph, held, None)


def _folder(core: Any, config: Mapping[str, Any] | None) -> str:
    """Where OpenVINO was told to keep compiled weights; empty for nowhere."""
    value = next((v for k, v in (config or {}).items() if str(k) == _CACHE), None)
    if value is None:
        try:
            value = core.get_property(_CACHE)
        except Exception:  # noqa: BLE001 - OpenVINO raises for a property it does not know
            value = ""
    return str(value or "")


def _without(config: Mapping[str, Any] | None, folder: str) -> Any:
    """The same configuration without a cache; the empty text overrides what the core was told."""
    if not folder:
        return config
    return {**{k: v for k, v in (config or {}).items() if str(k) != _CACHE}, _CACHE: ""}


def _facts(core: Any, device: Any, config: Mapping[str, Any] | None) -> bytes:
    """What compiled weights depend on beside the model."""
    told = [runtime().__version__, platform.machine(), str(device)]
    for name in (str(device or "CPU").partition(":")[0],):
        try:
            told += [str(core.get_property(name, "FULL_DEVICE_NAME"))]
            told += [str(core.get_property(name, "OPTIMIZATION_CAPABILITIES"))]
        except Exception:  # noqa: BLE001 - a device that tells no name
            told.append("?")
    told += sorted(f"{key}={value}" for key, value in (config or {}).items())
    return "\0".join(told).encode()


def _imported(core: Any, slot: Slot, device: Any, config: Any) -> Any:
    data = slot.load()
    if data is None or not device:
        return None
    try:
        return core.import_model(io.BytesIO(data), device, config)
    except Exception:  # noqa: BLE001 - of another release, or a device that cannot
        return None


def _stored(compiled: Any, slot: Slot) -> bool:
    try:
        told = compiled.export_model()
    except Exception:  # noqa: BLE001 - a device that exports nothing
        return False
    return slot.store(told if isinstance(told, bytes) else told.getvalue())
