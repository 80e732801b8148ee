"""Loading the graph that was optimised when the model was sealed, where it is valid.

Whatever does not fit leads to the portable model and is a reason, never an error: another build of
ONNX Runtime, another kind of processor, options for which the graph was not made, a known answer
that does not come. What the license or the bytes refuse stays an error.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import blake3

from modelseal import cbor
from modelseal.errors import InvalidBytes
from modelseal.memory import give_up, wipe

from . import answers, head, machine, options
from .head import Head, Piece

Create = Callable[[Any], None]
"""Makes the native session of a session object."""


class Source(Protocol):
    """What a sealed model holds beside the portable one."""

    def optimised(self) -> memoryview | None:
        """The head; None when the model was not optimised."""
        ...

    def gathered(self, pieces: Sequence[Piece], size_bytes: int, *, shared: bool) -> memoryview:
        """Memory of ``size_bytes`` in which every piece lies at its place; alive as long as the
        view. Read-only when it is ``shared`` with other sessions, else the caller's own."""
        ...

    def note_portable(self, reason: str) -> None:
        """``reason`` is recorded: why the optimised graph was not used."""
        ...

    def answered(self, mark: bytes) -> bool:
        """Whether the known answer came on this device before, under ``mark``."""
        ...

    def note_answer(self, mark: bytes) -> None:
        """``answered`` is true from now on."""
        ...


def create(
    ort: Any,
    session: Any,
    native: Create,
    source: Source,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> str | None:
    """Makes the native session of ``session`` over the optimised graph and returns None.

    Else the reason why that cannot be, an empty one when there is no such graph; ``session`` is as
    it was then.
    """
    view = source.optimised()
    if view is None:
        return ""
    told = bytes(view)
    try:
        found = head.decode(told)
    except InvalidBytes as error:
        return error.detail or error.code
    word = machine.differs(found.machine, machine.this(ort))
    if word is not None:
        return f"made for another {word}"
    theirs = session._sess_options
    reason = options.unfit(ort, theirs, args, kwargs)
    if reason is not None:
        return reason
    memory = source.gathered(found.pieces, found.size_bytes, shared=not found.erased)
    try:
        reason = _make(ort, session, native, found, memory) or _check(session, source, found, told)
    finally:
        # What programs ask for is what they gave, not what it was loaded with.
        session._sess_options = theirs if theirs is None else options.copy(ort, theirs)
    if reason is not None:
        session._sess = None
        session._sess_options = theirs
    return reason


def settings(ort: Any, given: Any, found: Head, memory: memoryview) -> Any:
    """The options under which the optimised graph is loaded over ``memory``."""
    made = options.copy(ort, given)
    made.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    made.add_session_config_entry(options.DIRECT, "1" if found.direct else "0")
    made.add_external_initializers_from_files_in_memory([head.LOCATION], [memory], [len(memory)])
    return made


def _make(ort: Any, session: Any, native: Create, found: Head, memory: memoryview) -> str | None:
    graph = bytearray(memory[found.graph_offset : found.graph_offset + found.graph_bytes])
    path = session._model_path
    session._sess_options = settings(ort, session._sess_options, found, memory)
    session._model_path, session._model_bytes = None, graph
    try:
        native(session)
    except Exception as error:  # noqa: BLE001 - whatever it is, the portable model may do better
        return f"not loaded: {type(error).__name__}"
    finally:
        session._model_path, session._model_bytes = path, None
        wipe(graph)
    if found.direct:
        erase(found, memory)
        keep(session._sess, memory)
    return None


def erase(found: Head, memory: memoryview) -> None:
    """What the session made forms of its own of takes no memory any more."""
    for place, size in found.erased:
        give_up(memory[place : place + size])


def keep(native: Any, memory: memoryview) -> None:
    """``memory`` lives at least as long as the native session, whoever else holds that."""
    end = weakref.finalize(native, _let_go, memory)
    end.atexit = False


def _let_go(memory: memoryview) -> None:
    """Nothing: the finalizer's hold on ``memory`` ends with this call."""


def _check(session: Any, source: Source, found: Head, told: bytes) -> str | None:
    mark = blake3.blake3(cbor.encode(["modelseal onnx answer", blake3.blake3(told).digest()]))
    if source.answered(mark.digest()):
        return None
    try:
        came = answers.answer(_Native(session), found.question)
    except Exception as error:  # noqa: BLE001 - whatever it is, the portable model may do better
        return f"no answer: {type(error).__name__}"
    if came not in found.answers:
        return "the known answer differs"
    source.note_answer(mark.digest())
    return None


class _Native:
    """A session as the runtime itself has it, whatever a subclass made of ``run``."""

    def __init__(self, session: Any) -> None:
        self._session = session._sess

    def get_outputs(self) -> Any:
        return self._session.outputs_meta

    def run(self, names: list[str], feeds: Mapping[str, Any]) -> Any:
        return self._session.run(names, feeds, None)
