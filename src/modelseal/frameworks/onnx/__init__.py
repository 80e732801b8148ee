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
import mmap
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from types import SimpleNamespace
from typing import Any, Protocol

from modelseal.errors import EgressRefused, ExtraMissing, Misuse
from modelseal.memory import wipe

from . import egress, optimised, streamed
from . import options as session_options
from .part import Shapes
from .skeleton import split

__all__ = [
    "INFERENCES",
    "Model",
    "Opened",
    "Resolve",
    "Shapes",
    "make_class",
    "patch",
    "release",
    "runtime",
    "why_portable",
]

INFERENCES = (
    "run",
    "run_async",
    "run_with_iobinding",
    "run_with_ort_values",
    "run_with_ortvaluevector",
)
"""What of a session runs its model."""
_ARGUMENTS = ("_inputs_meta", "_outputs_meta", "_overridable_initializers")
_MODEL = "_modelseal_model"
_WHY = "_modelseal_portable"
_numbers = itertools.count(1)


class Opened(optimised.Source, streamed.Source, Protocol):
    """A model's plaintext while its session is made."""

    @property
    def view(self) -> memoryview:
        """The whole ONNX file."""
        ...

    @property
    def shapes(self) -> Shapes | None:
        """What describes inputs and outputs instead; None: as the file has it."""
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

    def made(self, session: Any) -> None:
        """``session`` was made of it."""
        ...

    def off(self, what: str) -> None:
        """``what`` was left out of the session, which would have written by it; noted."""
        ...

    def redirected(self, opened: Any, what: str, place: str, data: memoryview) -> None:
        """``data``, which ONNX Runtime would have written to ``place``, is kept there encrypted."""
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
    session_options.watch(_options_class(base))
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
    session_options.watch(_options_class(base))
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


def _options_class(base: type) -> Any:
    """The class ``SessionOptions`` as the module of ``base`` has it, which may still be loading."""
    native = getattr(sys.modules.get(base.__module__), "C", None)
    return getattr(native, "SessionOptions", None)


def _plain(base: type, name: str) -> Any:
    method = base.__dict__[name]
    return getattr(method, "__wrapped__", method)


def release(session: Any) -> None:
    """The native session and its weights go as soon as no inference of it runs.

    What describes inputs and outputs holds it, too, so copies take its place.
    """
    session._sess = None
    for name in _ARGUMENTS:
        found = session.__dict__.get(name) or []
        session.__dict__[name] = [_copy(item) for item in found]
    session.__dict__["_model_meta"] = _copy(session.__dict__.get("_model_meta"))


def _copy(described: object) -> SimpleNamespace:
    names = [name for name in dir(described) if not name.startswith("_")]
    return SimpleNamespace(**{name: getattr(described, name) for name in names})


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
    model.made(session)


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
    args, kwargs, off = egress.without_caches(args, kwargs)
    for what in off:
        model.off(what)
    ort = runtime()
    silence(ort)
    if options is not None and options.optimized_model_filepath:
        _create_redirected(session, create, model, args, kwargs)
        return
    hand_over = getattr(ort.SessionOptions, "add_external_initializers_from_files_in_memory", None)
    token, given = f"modelseal-{os.getpid()}-{next(_numbers)}", (args, kwargs)
    with model.open() as opened:
        if opened.shapes is None and _create_as_sealed(ort, session, create, model, opened, *given):
            return
        parts = split(
            opened.view,
            token,
            opened.external,
            move=hand_over is not None,
            shapes=opened.shapes,
        )
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


def _create_as_sealed(
    ort: Any,
    session: Any,
    create: Any,
    model: Model,
    opened: Any,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> bool:
    """Whether the session is made of the file as it is: of its optimised form, or streamed."""
    native = functools.partial(_native, create=create, args=args, kwargs=kwargs)
    reason = optimised.create(ort, session, native, opened, args, kwargs)
    session.__dict__[_WHY] = reason
    if reason is None:
        session._model_path, session._model_bytes = model.path, None
        return True
    if reason:
        opened.note_portable(reason)
    return streamed.create(ort, session, native, opened)


def _create_redirected(
    session: Any, create: Any, model: Model, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> None:
    """The optimised model is written to memory, whole, and from there where ``model`` keeps it."""
    ort, options = runtime(), session._sess_options
    file = os.memfd_create("optimised") if hasattr(os, "memfd_create") else -1
    try:
        mine = None
        if file >= 0:
            mine = session_options.redirected(ort, options, f"/proc/self/fd/{file}")
        if mine is None:
            error = egress.refusal("optimized_model_filepath", model.path)
            model.refused(error)
            raise error
        with model.open() as opened:
            token = f"modelseal-{os.getpid()}-{next(_numbers)}"
            parts = split(opened.view, token, opened.external, move=False, shapes=opened.shapes)
            session._sess_options = mine
            session._model_path, session._model_bytes = None, parts.model
            session.__dict__[_WHY] = "optimized_model_filepath"
            try:
                create(session, *args, **kwargs)
            finally:
                session._sess_options = options
                session._model_path, session._model_bytes = model.path, None
                wipe(parts.model)
            _keep(file, opened, model, options.optimized_model_filepath)
    finally:
        if file >= 0:
            os.close(file)


def _keep(file: int, opened: Any, model: Model, place: str) -> None:
    size = os.fstat(file).st_size
    if size:
        with mmap.mmap(file, size) as mapped, memoryview(mapped) as data:
            model.redirected(opened, "optimized_model_filepath", place, data)
            data[:] = bytes(size)


def _native(session: Any, *, create: Any, args: tuple[Any, ...], kwargs: Any) -> None:
    create(session, *args, **kwargs)


def why_portable(session: Any) -> str | None:
    """None when the graph optimised at sealing was loaded; else why not, empty without one."""
    reason: str | None = session.__dict__.get(_WHY, "")
    return reason


@functools.cache
def silence(ort: Any) -> None:
    """From now on ONNX Runtime notes nothing of the process's graphs.

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
