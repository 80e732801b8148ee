"""``cv2.dnn``, and what of ``cv2`` takes models by their paths, under the hook."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import ModuleType
from typing import Any

from modelseal.frameworks.opencv import FACES, MODELS, READERS, TRACKERS
from modelseal.runtime.hook.passing import is_marked, is_ours, marked, rebind

_MODEL = ("model", "onnxFile", "buffer", "bufferModel")


def patch(module: ModuleType) -> None:
    """Its readers open sealed files; everything else passes untouched."""
    dnn = getattr(module, "dnn", None)
    for name in READERS:
        _replace(dnn, name, functools.partial(_reading, name))
    for name in MODELS:
        _replace(getattr(dnn, name, None), "__init__", _making)
    creators: list[tuple[str, Callable[[Any], Any]]] = [
        *((name, _creating) for name in FACES),
        *((name, functools.partial(_tracking, name)) for name in TRACKERS),
    ]
    for name, wrap in creators:
        _replace(module, f"{name}_create", wrap)
        _replace(getattr(module, name, None), "create", wrap, static=True)


def _replace(owner: Any, name: str, wrap: Callable[[Any], Any], *, static: bool = False) -> None:
    plain = getattr(owner, name, None)
    if plain is None or is_marked(plain):
        return
    wrapped = wrap(plain)
    setattr(owner, name, staticmethod(wrapped) if static else wrapped)
    rebind(plain, wrapped)


def _given(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, str]:
    """The model, and the name under which it stands in ``kwargs``, if it does."""
    if args:
        return args[0], ""
    named = next((name for name in _MODEL if name in kwargs), "")
    return kwargs.get(named), named


def _reading(name: str, plain: Any) -> Any:
    @functools.wraps(plain)
    def read(*args: Any, **kwargs: Any) -> Any:
        given, named = _given(args, kwargs)
        if not is_ours(given):
            return plain(*args, **kwargs)
        from modelseal.runtime.opencv import read_sealed

        kwargs.pop(named, None)
        return read_sealed(name, given, args[1:], kwargs)

    return marked(read)


def _making(plain: Any) -> Any:
    @functools.wraps(plain)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        given, named = _given(args, kwargs)
        if not is_ours(given):
            plain(self, *args, **kwargs)
            return
        from modelseal.runtime.opencv import read_sealed

        kwargs.pop(named, None)
        plain(self, read_sealed("readNet", given, args[1:], kwargs))

    return marked(__init__)


def _creating(plain: Any) -> Any:
    @functools.wraps(plain)
    def create(*args: Any, **kwargs: Any) -> Any:
        given, named = _given(args, kwargs)
        if not is_ours(given):
            return plain(*args, **kwargs)
        from modelseal.runtime.opencv import create_sealed

        kwargs.pop(named, None)
        return create_sealed(plain, given, args[1:], kwargs)

    return marked(create)


def _tracking(name: str, plain: Any) -> Any:
    @functools.wraps(plain)
    def create(*args: Any, **kwargs: Any) -> Any:
        parameters = args[0] if args else kwargs.get("parameters")
        paths = [getattr(parameters, each, None) for each in TRACKERS[name][0]]
        if not any(is_ours(each) for each in paths):
            return plain(*args, **kwargs)
        from modelseal.runtime.opencv import track_sealed

        return track_sealed(plain, name, parameters)

    return marked(create)
