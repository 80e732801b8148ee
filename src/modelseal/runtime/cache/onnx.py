"""``optimized_model_filepath`` of a sealed model: what ONNX Runtime writes becomes a cache file."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from modelseal.errors import CacheUseless, InputMissing, ModelsealError
from modelseal.frameworks.onnx import INFERENCES, release
from modelseal.runtime import cache, default, ending, report
from modelseal.runtime.loading import choose, open_sealed
from modelseal.runtime.onnx import Opened, note
from modelseal.runtime.view import View

KIND = "onnxruntime-optimised"


class CachedOnnx:
    """See ``frameworks.onnx.Model``: the cache file that a session of a sealed model left."""

    def __init__(self, path: str) -> None:
        self.path: str | None = str(Path(path).absolute())
        self._watch: ending.Watch | None = None

    @contextlib.contextmanager
    def open(self) -> Iterator[_Opened]:
        """The optimised model while a session of it is made; told when that is refused."""
        path = str(self.path)
        with contextlib.ExitStack() as stack:
            with report.told(default.for_record, path):
                (origin,) = self._origins(path)
                try:
                    view = open_sealed(origin.path)
                except InputMissing:
                    raise CacheUseless("the sealed model is not there", path=path) from None
                stack.callback(view.close)
                name = choose(view, (".onnx", ".ort"))
                data = cache.fetch(path, KIND, [(view, [name])])
                self._watch = view.watch(name)
            try:
                yield _Opened(view, name, stack, data)
            except ModelsealError as error:
                self.refused(error)
                raise

    def _origins(self, path: str) -> Any:
        found = cache.header(path).origins
        if len(found) != 1:
            raise CacheUseless("a cache of several sealed models", path=path)
        return found

    def made(self, session: Any) -> None:
        """``session`` stops with the license where the plan says so."""
        if self._watch is not None:
            ending.bind(session, self._watch, INFERENCES, release, self.path)

    def off(self, what: str) -> None:
        """The device's journal says what was left out."""
        note(what, self.path)

    def redirected(self, opened: Any, what: str, place: str, data: memoryview) -> None:
        """A cache is not cached again; the journal says so."""
        note(what, self.path)

    def refused(self, error: ModelsealError) -> None:
        """``error`` is on stderr and in the journal."""
        report.tell(error, self.path, default.for_record())


class _Opened(Opened):
    """One whole model, which has neither files nor an optimised form beside it."""

    def __init__(
        self, view: View, name: str, stack: contextlib.ExitStack, data: memoryview
    ) -> None:
        super().__init__(view, name, stack)
        self._data = data

    @property
    def view(self) -> memoryview:
        """The model as ONNX Runtime optimised it."""
        return self._data

    def external(self, location: str) -> memoryview:
        """It has none: ONNX Runtime wrote it in one piece."""
        raise CacheUseless("a cache that names files beside it", path=location)

    def optimised(self) -> memoryview | None:
        """None."""
        return None
