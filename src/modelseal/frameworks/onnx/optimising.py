"""Optimising an ONNX model when it is sealed, for machines like this one.

ONNX Runtime optimises it as it would for a program, in memory; nothing made of the model touches a
disk. Weights that the portable model holds bit for bit are not stored twice. What
comes out was loaded and asked before it leaves, beside a session of the portable model.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from modelseal.errors import ModelsealError, NotOptimisable

from . import head, layout, machine, options, runtime, silence
from .answers import SEED_BYTES, Question
from .asking import Asked, plain_options
from .head import BODY_ENDING, Head
from .layout import Known, Layout

_MOST_TWICE = 0.1


class Form(Enum):
    """How a session uses the weights, best first."""

    ERASED = 1
    """In place; what kernels repack is erased. Not with branches, which an answer may not reach."""
    KEPT = 2
    """In place, and what is repacked is held twice: little enough."""
    COPIED = 3


@dataclass(frozen=True, slots=True)
class Optimised:
    """What lies beside the portable model: the head and the body with graph and own weights."""

    head: bytes
    body: memoryview


def optimise(
    path: Path, name: str, beside: Mapping[str, Path], random: Callable[[int], bytes]
) -> Optimised:
    """The optimised form of the model at ``path``, which is sealed as ``name``.

    ``beside`` are the files sealed for the same right, by name. Raises ``NotOptimisable`` with the
    reason when the model cannot be optimised or its answers would differ, ``ExtraMissing``
    without ``onnxruntime``.
    """
    ort = runtime()
    here = machine.this(ort)
    if here is None:
        raise NotOptimisable("this system does not tell its kind of processor", path=str(path))
    silence(ort)
    options.watch(ort.SessionOptions)
    try:
        making = _Making(ort, path, {**beside, name: path}, here, _through_runtime(ort, path))
        known, seed = layout.known(path, name, beside), random(SEED_BYTES)
        for form in Form:
            found = making.form(form, known, name, seed)
            if found is not None:
                return found
    except (ModelsealError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - the runtime's own errors, whatever they are
        raise NotOptimisable(str(error)[:160] or type(error).__name__, path=str(path)) from None
    raise NotOptimisable("its answers differ from the portable model's", path=str(path))


class _Making:
    """One model on its way: what ONNX Runtime made of it, laid out and asked."""

    def __init__(
        self,
        ort: Any,
        path: Path,
        files: Mapping[str, Path],
        here: dict[str, str],
        graph: memoryview,
    ) -> None:
        self._ort, self._path, self._files, self._here = ort, path, files, here
        self._graph = graph
        self._repacked = layout.repacked(graph)
        self._branches = layout.has_branches(graph)

    def form(self, form: Form, known: Known, name: str, seed: bytes) -> Optimised | None:
        """The model in that form; None if it is not the equal of the portable one."""
        direct = form is not Form.COPIED
        laid = Layout(known, self._repacked, direct=direct)
        body = laid.lay(self._graph, name + BODY_ENDING)
        erased = sum(size for _, size in laid.erased)
        if form is Form.ERASED and self._branches:
            return None
        if form is Form.KEPT:
            if erased > laid.kept_bytes * _MOST_TWICE:
                return None
            laid.erased = ()
        made = Head(self._here, laid.size_bytes, *laid.graph, laid.pieces, direct, laid.erased,
                    Question(b"", 1, ()), ())  # fmt: skip

        def gather() -> memoryview:
            memory = memoryview(mmap.mmap(-1, made.size_bytes))
            for piece in made.pieces:
                whole = self._files.get(piece.name)
                data = body if whole is None else layout.file(whole)
                part = data[piece.offset :][: piece.size_bytes]
                memory[piece.place :][: piece.size_bytes] = part
            return memory

        asked = Asked(self._ort, self._path, made, gather)
        complete = asked.complete(seed, keeps=laid.kept_bytes > 0)
        return None if complete is None else Optimised(head.encode(complete), body)


def _through_runtime(ort: Any, path: Path) -> memoryview:
    """What ONNX Runtime makes of the model for a program, weights included."""
    compiler = getattr(ort, "ModelCompiler", None)
    if compiler is None or not hasattr(
        ort.SessionOptions, "add_external_initializers_from_files_in_memory"
    ):
        raise NotOptimisable(f"onnxruntime {ort.__version__} is too old for it", path=str(path))
    level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    made = compiler(plain_options(ort), str(path), graph_optimization_level=level)
    return memoryview(made.compile_to_bytes())
