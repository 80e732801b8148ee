"""The whole plaintext of one file of a sealed model while a framework takes it over."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from modelseal.runtime import default, report
from modelseal.runtime.loading import choose, label, open_sealed
from modelseal.runtime.sniff import is_sealed_file
from modelseal.runtime.view import View


class Content:
    """``data`` is read-only and there until the block ends; ``name`` is the original name."""

    def __init__(self, view: View, name: str, data: memoryview, path: str | None) -> None:
        self.data, self.name, self.path = data, name, path
        self._view = view

    def has_partner(self, ending: str) -> bool:
        """Whether there is a sealed file of the same stem and another ``ending``."""
        return self._inner(ending) is not None or self._beside(ending) is not None

    @contextlib.contextmanager
    def partner(self, ending: str) -> Iterator[Content]:
        """The file of the same stem: in the same sealed model, else sealed beside it.

        Raises what opening it raises, ``NotSealed`` for a plain one.
        """
        inner = self._inner(ending)
        if inner is not None:
            with self._view.shared(inner) as data:
                yield Content(self._view, inner, data, self.path)
            return
        beside = str(Path(self.path or "").with_suffix(ending))
        with opened(beside, (ending,)) as content:
            yield content

    def _inner(self, ending: str) -> str | None:
        name = str(PurePosixPath(self.name).with_suffix(ending))
        return name if name in self._view.names() else None

    def _beside(self, ending: str) -> str | None:
        if self.path is None or self._view.inner is not None:
            return None
        place = str(Path(self.path).with_suffix(ending))
        return place if is_sealed_file(place) else None


@contextlib.contextmanager
def opened(given: object, endings: Sequence[str]) -> Iterator[Content]:
    """The file that ``given`` (a path, or sealed bytes) means; see ``loading.choose``.

    Raises what opening and choosing raise; a refusal has been told before it leaves.
    """
    path = label(given)
    view = open_sealed(given)
    try:
        with report.told(default.for_record, path):
            name = choose(view, endings)
            with view.shared(name) as data:
                yield Content(view, name, data, path)
    finally:
        view.close()
