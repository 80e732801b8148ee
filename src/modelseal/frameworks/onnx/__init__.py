"""ONNX Runtime sessions over opened memory.

``InferenceSession`` keeps the path it was made from to be made again (``set_providers``); a sealed
one keeps its ``Model`` instead, which opens the sealed file anew each time, so that no plaintext
stays behind. The two methods that matter are wrapped, never the class replaced: subclasses defined
before, names imported before and ``isinstance`` keep working.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

from modelseal.errors import EgressRefused, ExtraMissing, Misuse
from modelseal.memory import wipe

from . import egress
from .skeleton import split

__all__ = ["Model", "Opened", "Resolve", "make_class", "patch", "runtime"]

_MODEL = "_modelseal_model"
_numbers = itertools.count(1)


class Opened(Protocol):
    """A model's plaintext while its session is made."""

    @property
    def view(self) -> memoryview:
        """The whole ONNX file."""
        ...

    def external(self, location: str) -> memoryview:
        """The external data file that the model names by ``location``."""
        ...


class Model(Protocol):
    """A sealed ONNX model that can be opened again and again."""

    @property
    def path(self) -> str | None:
        """Where it lies; None when the sealed bytes were handed over."""
        ...

    def open(self) -> AbstractContextManager[Opened]:
        """The plaintext for as long as the context lasts."""
        ...

    def refused(self, error: EgressRefused) -> None:
        """``error`` has been told when this returns; it is raised then."""
        ...


Resolve = Callable[[object], Model | None]
"""What ``InferenceSession`` was given -> the sealed model; None lets it pass untouched."""


def runtime() -> Any:
    """The module ``onnxruntime``; ``ExtraMissing`` when it is not installed."""
    try:
        import onnxruntime
    except ImportError:
        raise ExtraMissing("onnxruntime is not installed", extra="onnx") from None
    return onnxruntime


def make_class(base: type, resolve: Callable[[object, bool], Model | None]) -> type:
    """A subclass of ``onnxruntime.InferenceSession`` that opens what ``resolve`` resolves.

    Its constructor takes one argument more, ``allow_plain``, which ``resolve`` gets.
    """
    _check(base)
    init, create = _plain(base, "__init__"), _plain(base, "_create_inference_session")

    def __init__(  # noqa: N807
        self: Any, path_or_bytes: Any, *args: Any, allow_plain: bool = False, **kwargs: Any
    ) -> None:
        model = resolve(path_or_bytes, allow_plain)
        _init(self, init, model, path_or_bytes, args, kwargs)

    def _create_inference_session(self: Any, *args: Any, **kwargs: Any) -> None:
        _create(self, create, args, kwargs)

    members = {
        "__module__": "modelseal.onnx",
        "__doc__": "``onnxruntime.InferenceSession`` of a sealed model; same arguments.",
        "__init__": functools.wraps(init)(__init__),
        "_create_inference_session": _create_inference_session,
        "__getstate__": _getstate,
    }
    return type("InferenceSession", (base,), members)


def patch(base: type, resolve: Resolve) -> None:
    """From now on ``base`` itself opens what ``resolve`` resolves; the rest passes untouched."""
    if hasattr(base.__dict__["__init__"], "__wrapped__"):
        return
    _check(base)
    init = base.__dict__["__init__"]
    create = base.__dict__["_create_inference_session"]

    @functools.wraps(init)
    def __init__(self: Any, path_or_bytes: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        _init(self, init, resolve(path_or_bytes), path_or_bytes, args, kwargs)

    @functools.wraps(create)
    def _create_inference_session(self: Any, *args: Any, **kwargs: Any) -> None:
        _create(self, create, args, kwargs)

    for name, method in (
        ("__init__", __init__),
        ("_create_inference_session", _create_inference_session),
        ("__getstate__", _getstate),
    ):
        setattr(base, name, method)


def _check(base: type) -> None:
    """Fails closed when the methods are not the ones this release knows."""
    try:
        first = list(inspect.signature(_plain(base, "__init__")).parameters)[1:2]
        inner = list(inspect.signature(_plain(base, "_create_inference_session")).parameters)[1:3]
    except (KeyError, TypeError, ValueError):
        first, inner = [], []
    if first != ["path_or_bytes"] or inner != ["providers", "provider_options"]:
        version = getattr(runtime(), "__version__", "?")
        raise Misuse(f"onnxruntime {version} is not one that this release can serve")


def _plain(base: type, name: str) -> Any:
    method = base.__dict__[name]
    return getattr(method, "__wrapped__", method)


def _init(
    session: Any,
    init: Any,
    model: Model | None,
    given: object,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> None:
    session.__dict__.pop(_MODEL, None)
    if model is None:
        init(session, given, *args, **kwargs)
        return
    session.__dict__[_MODEL] = model
    init(session, model.path or b"", *args, **kwargs)


def _create(session: Any, create: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    model: Model | None = session.__dict__.get(_MODEL)
    if model is None:
        create(session, *args, **kwargs)
        return
    options = session._sess_options
    try:
        egress.refuse(options, args, kwargs, model.path)
    except EgressRefused as error:
        model.refused(error)
        raise
    ort = runtime()
    _silence(ort)
    hand_over = getattr(ort.SessionOptions, "add_external_initializers_from_files_in_memory", None)
    token = f"modelseal-{os.getpid()}-{next(_numbers)}"
    with model.open() as opened:
        parts = split(opened.view, token, opened.external, move=hand_over is not None)
        if parts.files and hand_over is not None:
            # ONNX Runtime copies the weights; the default options are shared, so never those.
            options = ort.SessionOptions() if options is None else options
            names, views = list(parts.files), list(parts.files.values())
            hand_over(options, names, views, [len(view) for view in views])
            session._sess_options = options
        session._model_path, session._model_bytes = None, parts.model
        try:
            create(session, *args, **kwargs)
        finally:
            session._model_path, session._model_bytes = model.path, None
            wipe(parts.model)


@functools.cache
def _silence(ort: Any) -> None:
    """From the first sealed session on ONNX Runtime notes nothing of the process's graphs.

    Its telemetry (1.32 on Linux) queues graph names and error texts in a file below the home.
    """
    disable = getattr(ort, "disable_telemetry_events", None)
    if disable is not None:
        disable()


def _getstate(session: Any) -> Any:
    model: Model | None = session.__dict__.get(_MODEL)
    if model is not None:
        error = egress.refusal("pickle", model.path)
        model.refused(error)
        raise error
    return object.__getstate__(session)
