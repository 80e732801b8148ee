"""``modelseal.onnx``: ONNX Runtime sessions of sealed models."""

from __future__ import annotations

import contextlib
import functools
import os
import posixpath
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from modelseal.errors import ModelsealError, NotSealed
from modelseal.frameworks import onnx as adapter
from modelseal.frameworks.onnx import head
from modelseal.runtime import default, ending, heap, parallel, report
from modelseal.runtime.loading import choose, inside, is_plain, label, open_sealed
from modelseal.runtime.sniff import is_cache_file, is_sealed_file
from modelseal.runtime.streaming import Stream
from modelseal.runtime.view import View

ENDINGS = (".onnx", ".ort")
_answered: set[bytes] = set()
_noted: set[tuple[str | None, str]] = set()


class SealedOnnx:
    """See ``frameworks.onnx.Model``: opened anew each time a session is made."""

    def __init__(
        self, given: object, *, plain_beside: bool, shapes: adapter.Shapes | None = None
    ) -> None:
        path = label(given)
        self._shapes = shapes
        self.path = None if path is None else str(Path(path).absolute())
        self._given = given if path is None else self.path
        self._plain_beside = plain_beside
        self._watch: ending.Watch | None = None

    @contextlib.contextmanager
    def open(self) -> Iterator[Opened]:
        """The plaintext while the session is made; a refusal has been told before it leaves."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(parallel.loading())
            view = open_sealed(self._given, at_once=True)
            stack.callback(view.close)
            with report.told(default.for_record, self.path):
                name = choose(view, ENDINGS)
                self._watch = view.watch(name)
                opened = Opened(view, name, stack)
                opened.plain_beside, opened.shapes = self._plain_beside, self._shapes
            try:
                yield opened
            except ModelsealError as error:
                self.refused(error)
                raise
            size = opened.size_bytes
        if size >= heap.WORTH_BYTES:
            heap.trim()

    def made(self, session: Any) -> None:
        """``session`` stops with the license where the plan says so."""
        if self._watch is not None:
            ending.bind(session, self._watch, adapter.INFERENCES, adapter.release, self.path)

    def off(self, what: str) -> None:
        """The device's journal says what was left out."""
        note(what, self.path)

    def redirected(self, opened: Opened, what: str, place: str, data: memoryview) -> None:
        """``place`` holds ``data`` under keys of what went in; where that cannot be, nothing."""
        from modelseal.runtime import cache
        from modelseal.runtime.cache import onnx as cached

        try:
            cache.store(place, cached.KIND, [opened.source()], data)
        except (OSError, ModelsealError) as error:
            note(f"{what}: {type(error).__name__}", self.path)
        else:
            note(what, self.path, kind="cache_encrypted")

    def refused(self, error: ModelsealError) -> None:
        """``error`` is on stderr and in the journal."""
        report.tell(error, self.path, default.for_record())


def note(what: str, path: str | None, kind: str = "cache_off") -> None:
    """The device's journal says that ``what`` was left out, or encrypted, and of which model."""
    licensee = default.for_record()
    if licensee is not None:
        licensee.note(kind, what, path)


class Opened:
    plain_beside = False
    shapes: adapter.Shapes | None = None

    def __init__(self, view: View, name: str, stack: contextlib.ExitStack) -> None:
        self._sealed, self._name, self._stack = view, name, stack
        self._taken: list[str] = []
        self._others = False

    @functools.cached_property
    def view(self) -> memoryview:
        """The whole ONNX file."""
        return self._stack.enter_context(self._sealed.shared(self._name))

    @property
    def size_bytes(self) -> int:
        """See ``frameworks.onnx.streamed.Source``."""
        return self._sealed.size(self._name)

    def streamed(self) -> Stream | None:
        """See ``frameworks.onnx.streamed.Source``."""
        if self._mark(self._unstreamed) in _answered:
            return None
        return self._sealed.stream(self._name)

    def note_unstreamed(self) -> None:
        """See ``frameworks.onnx.streamed.Source``."""
        _answered.add(self._mark(self._unstreamed))

    @property
    def _unstreamed(self) -> bytes:
        return b"unstreamed " + self._name.encode()

    def optimised(self) -> memoryview | None:
        """See ``frameworks.onnx.optimised.Source``."""
        name = self._name + head.ENDING
        return self._sealed.private(name) if self._sealed.added(name, head.ROLE) else None

    def gathered(
        self, pieces: Sequence[head.Piece], size_bytes: int, *, shared: bool
    ) -> memoryview:
        """See ``frameworks.onnx.optimised.Source``."""
        found = [(p.name, p.offset, p.size_bytes, p.place) for p in pieces]
        key = self._name + head.ENDING if shared else None
        return self._sealed.gathered(key, found, size_bytes)

    def answered(self, mark: bytes) -> bool:
        """See ``frameworks.onnx.optimised.Source``; what was seen in this process counts, too."""
        key = self._mark(mark)
        if key not in _answered and self._sealed.is_marked(mark):  # the device unlocks its key
            _answered.add(key)
        return key in _answered

    def note_answer(self, mark: bytes) -> None:
        """See ``frameworks.onnx.optimised.Source``."""
        _answered.add(self._mark(mark))
        self._sealed.mark(mark)

    def note_portable(self, reason: str) -> None:
        """The device's journal says why the optimised graph was not used; once per process."""
        if (self._sealed.path, reason) not in _noted:
            _noted.add((self._sealed.path, reason))
            self._sealed.note("onnx_portable", reason)

    def _mark(self, mark: bytes) -> bytes:
        return self._sealed.model.leaf_hash + mark

    def source(self) -> tuple[View, list[str]]:
        """The sealed model and the files of it that went in."""
        if self._others:
            raise NotSealed("external data lay in a file of its own", path=self._sealed.path)
        return self._sealed, sorted({self._name, *self._taken})

    def external(self, location: str) -> memoryview:
        """External data: inside the same sealed model, else a file beside it."""
        name = inside(posixpath.dirname(self._name), location)
        if name in self._sealed.names():
            self._taken.append(name)
            return self._stack.enter_context(self._sealed.shared(name))
        if self._sealed.path is None or self._sealed.inner is not None:
            raise NotSealed("external data of the model is not in the sealed model", path=location)
        self._others = True
        folder = Path(self._sealed.path).absolute().parent
        return self._beside(str(folder.joinpath(*inside("", location).split("/"))))

    def _beside(self, path: str) -> memoryview:
        plain = self.plain_beside and is_sealed_file(path) is False
        if plain and not default.policy().demands(path):
            return memoryview(Path(path).read_bytes())
        beside = open_sealed(path, at_once=True)
        self._stack.callback(beside.close)
        return self._stack.enter_context(beside.shared(choose(beside, ())))


def resolve(given: object, allow_plain: bool) -> adapter.Model | None:
    """The sealed model that our own class was given; None for a plain one that is allowed."""
    if is_cache_file(given):
        from modelseal.runtime.cache.onnx import CachedOnnx

        return CachedOnnx(os.fsdecode(given))  # type: ignore[arg-type]
    if is_plain(given, allow_plain=allow_plain):
        return None
    return SealedOnnx(given, plain_beside=allow_plain)


@functools.cache
def session_class() -> Any:
    """``onnxruntime.InferenceSession`` for sealed models; ``ExtraMissing`` without the runtime."""
    return adapter.make_class(adapter.runtime().InferenceSession, resolve)
