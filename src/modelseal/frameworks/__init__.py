"""Adapters: opened bytes in memory -> the framework's own object.

Leaves: no adapter imports another, none knows licenses, keys or files. An adapter gets its bytes
through ``Entries``, so that the same code serves an opened file of this process now and a device
agent's later. Third parties add an adapter by the entry point group ``modelseal.frameworks``:
its name is the framework's, its object follows ``Framework``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Protocol, runtime_checkable

ENTRY_POINTS = "modelseal.frameworks"


class Entries(Protocol):
    """The plaintext files of one opened sealed model, by their original names."""

    def names(self) -> list[str]:
        """The original names that the license opens, with ``/`` between folders."""
        ...

    def size(self, name: str) -> int:
        """The length in bytes; ``NotFound`` for a name that is not there."""
        ...

    def private(self, name: str, start: int = 0, stop: int | None = None) -> memoryview:
        """Bytes ``start`` to ``stop`` in writable memory of the caller's own.

        Only the chunks in that range are read and decrypted. The memory lives as long as the
        view or anything made over it.
        """
        ...

    def shared(self, name: str) -> AbstractContextManager[memoryview]:
        """The whole file, read-only, decrypted once for all who hold it at the same time."""
        ...


@runtime_checkable
class Framework(Protocol):
    """What a third party's adapter offers; see ``docs/how-to/protect-a-program.md``."""

    name: str

    def load(self, entries: Entries, name: str, *args: object, **kwargs: object) -> object:
        """The framework's object for the file ``name`` of ``entries``.

        Raises errors of ``modelseal.errors`` only; writes no byte of the file to any disk.
        """
        ...


def third_party() -> Mapping[str, Framework]:
    """Every adapter that an installed distribution declares, by name, loaded when asked for."""
    from importlib.metadata import entry_points

    return _Lazy({point.name: point for point in entry_points(group=ENTRY_POINTS)})


class _Lazy(Mapping[str, Framework]):
    """Entry points that are imported at the first look."""

    def __init__(self, points: Mapping[str, object]) -> None:
        self._points = points

    def __getitem__(self, name: str) -> Framework:
        from modelseal.errors import Misuse

        point = self._points[name]
        try:
            found = point.load()  # type: ignore[attr-defined]
        except Exception as error:  # noqa: BLE001 - third-party code may fail in any way
            raise Misuse(f"the adapter {name} cannot be imported: {type(error).__name__}") from None
        adapter = found() if isinstance(found, type) else found
        if not isinstance(adapter, Framework):
            raise Misuse(f"the adapter {name} has no `name` and `load`")
        return adapter

    def __iter__(self) -> Iterator[str]:
        return iter(self._points)

    def __len__(self) -> int:
        return len(self._points)
