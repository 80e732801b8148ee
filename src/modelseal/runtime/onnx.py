"""``modelseal.onnx``: ONNX Runtime sessions of sealed models."""

from __future__ import annotations

import contextlib
import functools
import posixpath
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from modelseal.errors import ModelsealError, NotSealed
from modelseal.frameworks import onnx as adapter
from modelseal.runtime import default, report
from modelseal.runtime.loading import choose, inside, is_plain, label, open_sealed
from modelseal.runtime.sniff import is_sealed_file
from modelseal.runtime.view import View

ENDINGS = (".onnx", ".ort")


class SealedOnnx:
    """See ``frameworks.onnx.Model``: opened anew each time a session is made."""

    def __init__(self, given: object, *, plain_beside: bool) -> None:
        path = label(given)
        self.path = None if path is None else str(Path(path).absolute())
        self._given = given if path is None else self.path
        self._plain_beside = plain_beside

    @contextlib.contextmanager
    def open(self) -> Iterator[_Opened]:
        """The plaintext while the session is made; a refusal has been told before it leaves."""
        with contextlib.ExitStack() as stack:
            view = open_sealed(self._given)
            stack.callback(view.close)
            with report.told(default.for_record, self.path):
                name = choose(view, ENDINGS)
                opened = _Opened(view, name, stack.enter_context(view.shared(name)), stack)
                opened.plain_beside = self._plain_beside
            try:
                yield opened
            except ModelsealError as error:
                self.refused(error)
                raise

    def refused(self, error: ModelsealError) -> None:
        """``error`` is on stderr and in the journal."""
        report.tell(error, self.path, default.for_record())


class _Opened:
    plain_beside = False

    def __init__(
        self, view: View, name: str, content: memoryview, stack: contextlib.ExitStack
    ) -> None:
        self.view = content
        self._sealed, self._name, self._stack = view, name, stack

    def external(self, location: str) -> memoryview:
        """External data: inside the same sealed model, else a file beside it."""
        name = inside(posixpath.dirname(self._name), location)
        if name in self._sealed.names():
            return self._stack.enter_context(self._sealed.shared(name))
        if self._sealed.path is None or self._sealed.inner is not None:
            raise NotSealed("external data of the model is not in the sealed model", path=location)
        folder = Path(self._sealed.path).absolute().parent
        return self._beside(str(folder.joinpath(*inside("", location).split("/"))))

    def _beside(self, path: str) -> memoryview:
        plain = self.plain_beside and is_sealed_file(path) is False
        if plain and not default.policy().demands(path):
            return memoryview(Path(path).read_bytes())
        beside = open_sealed(path)
        self._stack.callback(beside.close)
        return self._stack.enter_context(beside.shared(choose(beside, ())))


def resolve(given: object, allow_plain: bool) -> SealedOnnx | None:
    """The sealed model that our own class was given; None for a plain one that is allowed."""
    if is_plain(given, allow_plain=allow_plain):
        return None
    return SealedOnnx(given, plain_beside=allow_plain)


@functools.cache
def session_class() -> Any:
    """``onnxruntime.InferenceSession`` for sealed models; ``ExtraMissing`` without the runtime."""
    return adapter.make_class(adapter.runtime().InferenceSession, resolve)
