"""The whole plaintext of one file of a sealed model while a framework takes it over."""

from __future__ import annotations

import contextlib
import posixpath
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from modelseal.errors import NotSealed
from modelseal.runtime import default, report
from modelseal.runtime.loading import choose, inside, label, open_sealed
from modelseal.runtime.opened import MemoryPath
from modelseal.runtime.sharing import KEPT_BYTES_EACH
from modelseal.runtime.sniff import is_sealed_file
from modelseal.runtime.view import View


class Content:
    """One file of a sealed model until the block ends; ``name`` is the original name."""

    def __init__(
        self, view: View, name: str, path: str | None, until: contextlib.ExitStack
    ) -> None:
        self.name, self.path = name, path
        self.size_bytes = view.size(name)
        self._view, self._until = view, until
        self._data: memoryview | None = None

    @property
    def data(self) -> memoryview:
        """The whole file, read-only, decrypted when it is first asked for."""
        if self._data is None:
            self._data = self._until.enter_context(self._view.shared(self.name))
        return self._data

    def copy_to(self, target: memoryview) -> None:
        """``target`` holds the whole file, decrypted straight into it when it is large."""
        if self._data is not None or self.size_bytes <= KEPT_BYTES_EACH:
            target[:] = self.data
        else:
            self._view.read_into(self.name, 0, target)

    def has_partner(self, ending: str) -> bool:
        """Whether there is a sealed file of the same stem and another ``ending``."""
        return self._inner(ending) is not None or self._beside(ending) is not None

    def together(self, ending: str) -> tuple[View, list[str]] | None:
        """The opened sealed model, and its files that make up this one and its partner of that
        ``ending``; None where the partner is in another sealed model."""
        inner = self._inner(ending)
        if inner is None and self._beside(ending) is not None:
            return None
        return self._view, [self.name, *([] if inner is None else [inner])]

    @contextlib.contextmanager
    def partner(self, ending: str) -> Iterator[Content]:
        """The file of the same stem: in the same sealed model, else sealed beside it.

        Raises what opening it raises, ``NotSealed`` for a plain one.
        """
        inner = self._inner(ending)
        if inner is not None:
            with contextlib.ExitStack() as until:
                yield Content(self._view, inner, self.path, until)
            return
        beside = str(Path(self.path or "").with_suffix(ending))
        with opened(beside, (ending,)) as content:
            yield content

    @contextlib.contextmanager
    def beside(self, location: str) -> Iterator[Content]:
        """The file at ``location``, as seen from this one: in the same sealed model, else sealed
        beside it. ``InvalidBytes`` when it leads out, ``NotSealed`` for a plain one."""
        name = inside(posixpath.dirname(self.name), location)
        if name in self._view.names():
            with contextlib.ExitStack() as until:
                yield Content(self._view, name, self.path, until)
            return
        if self.path is None or self._view.inner is not None:
            raise NotSealed("the file is not in the sealed model", path=location)
        folder = Path(self.path).absolute().parent
        with opened(str(folder.joinpath(*inside("", location).split("/"))), ()) as content:
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
    view = open_sealed(given, at_once=True)
    try:
        with report.told(default.for_record, path):
            name = choose(view, endings)
            with contextlib.ExitStack() as until:
                yield Content(view, name, path, until)
    finally:
        view.close()


@contextlib.contextmanager
def file_in_memory(given: object, endings: Sequence[str] = ()) -> Iterator[str]:
    """The path of the plaintext of ``given`` in memory while native code reads it; Linux only."""
    with (
        opened(given, endings) as content,
        MemoryPath(content.size_bytes, content.name, content.copy_to) as path,
    ):
        yield path
