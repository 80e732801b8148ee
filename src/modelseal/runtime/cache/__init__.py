"""What a framework would cache of sealed models, encrypted under keys that end with the right.

A cache is a help, never a need: whatever is wrong with one, it is as if it were not there, except
where a program names the file itself.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from modelseal.errors import CacheUseless, ModelsealError
from modelseal.runtime import room
from modelseal.runtime.cache import form
from modelseal.runtime.cache.form import Header, Origin
from modelseal.runtime.view import View
from modelseal.types import MemoryProtection

Source = tuple[View, Sequence[str]]
"""An opened sealed model, and which of its files went in."""


def store(path: str, kind: str, sources: Iterable[Source], plain: memoryview) -> None:
    """The file at ``path`` is a cache of ``plain``, made of ``sources``; until then what it was.

    Raises ``OSError`` where it cannot be written, and what the license says.
    """
    sources = list(sources)
    origins, keys = [], []
    for view, names in sources:
        sections, held = _keys(view, names)
        model = view.model
        place = os.path.abspath(view.path or "")  # noqa: PTH100 - links are kept
        origins.append(Origin(place, model.file_id, model.leaf_hash, tuple(sections)))
        keys += held
    header = Header(kind, tuple(origins), len(plain), secrets.token_bytes(form.SALT_BYTES))
    front = form.encode(header)
    made = form.cipher(front, header, keys)
    handle, temporary = tempfile.mkstemp(
        prefix=".modelseal-",
        dir=os.path.dirname(path) or ".",  # noqa: PTH120
    )
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(front)
            for chunk in form.seal(made, front, plain):
                file.write(chunk)
        Path(temporary).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise


def header(path: str) -> Header:
    """What the cache file at ``path`` says; ``CacheUseless``."""
    with Path(path).open("rb") as file:
        return form.decode(memoryview(file.read()))[0]


def fetch(path: str, kind: str, sources: Iterable[Source]) -> memoryview:
    """The plaintext of the cache at ``path``, in protected memory.

    Raises ``CacheUseless`` when it is damaged or of other sealed models than ``sources``, what the
    license says, and ``OSError``.
    """
    sealed = memoryview(Path(path).read_bytes())
    told, begin = form.decode(sealed)
    sources = list(sources)
    keys: list[memoryview] = []
    if told.kind != kind or len(told.origins) != len(sources):
        raise CacheUseless("a cache of something else", path=path)
    for origin, (view, names) in zip(told.origins, sources, strict=True):
        sections, held = _keys(view, names)
        seen = view.model.file_id, view.model.leaf_hash, tuple(sections)
        if seen != (origin.file_id, origin.leaf_hash, origin.sections):
            raise CacheUseless("the sealed model is another one by now", path=path)
        keys += held
    made = form.cipher(bytes(sealed[:begin]), told, keys)
    licensee = sources[0][0]._licensee
    with room.make(told.size_bytes, _memory(*sources[0]), licensee) as arena:
        form.unseal(made, bytes(sealed[:begin]), sealed[begin:], arena.view)
        return arena.view


def _keys(view: View, names: Sequence[str]) -> tuple[list[int], list[memoryview]]:
    """The sections that the files ``names`` lie in and their data keys, while the view is open; the
    refusal when the license does not grant them all."""
    sections, model = _sections(view, names), view.model
    view._now().authorize(model, sections)
    keys = view._keyring.take(model, sections)
    return sections, [keys[section] for section in sections]


def _memory(view: View, names: Sequence[str]) -> MemoryProtection:
    """How memory for what was made of the files ``names`` has to be protected."""
    return view._protection(_sections(view, names))


def _sections(view: View, names: Sequence[str]) -> list[int]:
    return sorted({section for name in names for section in view._file.index.entry(name).sections})


class Slot:
    """One place in a program's cache folder; the name tells nothing but whether it fits."""

    def __init__(self, folder: str, kind: str, sources: Iterable[Source], facts: bytes) -> None:
        import hashlib

        self._sources = list(sources)
        self._kind = kind
        seen = hashlib.sha256(facts)
        for view, names in self._sources:
            for part in (view.model.file_id, view.model.leaf_hash, *map(str.encode, names)):
                seen.update(len(part).to_bytes(4, "little") + part)
        self._path = os.path.join(folder, f"{seen.hexdigest()[:40]}.sealed-cache")  # noqa: PTH118

    def load(self) -> memoryview | None:
        """What was stored; None when there is nothing, or nothing that fits."""
        try:
            return fetch(self._path, self._kind, self._sources)
        except (OSError, CacheUseless):
            return None

    def store(self, plain: bytes | bytearray | memoryview) -> bool:
        """Whether ``plain`` is found by ``load`` from now on."""
        try:
            Path(self._path).parent.mkdir(parents=True, exist_ok=True)
            store(self._path, self._kind, self._sources, memoryview(plain))
        except (OSError, ModelsealError):
            return False
        return True
