"""safetensors over opened memory: tensors are views of it, nothing is copied.

Plain safetensors gives every caller arrays of its own that may be written to; so does this, by
decrypting what was asked for into memory of the caller's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

from modelseal.errors import ExtraMissing, Misuse, NotFound, ReaderClosed

from . import header as headers
from .arrays import Maker, maker
from .header import Header, TensorInfo

__all__ = ["Read", "TensorFile", "TensorSlice", "plain_safe_open", "read_header"]

_FIRST_BYTES = 64 * 1024
"""Read at once: the header of most files, in the chunk that its length stands in."""


class Read(Protocol):
    """Reads bytes ``start`` to ``stop`` of the file into writable memory of the caller's own."""

    def __call__(self, start: int, stop: int) -> memoryview:
        """A view of exactly ``stop - start`` bytes."""
        ...


class TensorFile:
    """What ``safetensors.safe_open`` gives: names, metadata, tensors and slices, lazily.

    ``read`` is called for exactly the bytes of a tensor (or of the rows of a slice), so with a
    lazy reader only their chunks are decrypted. ``close`` is called at the end of ``with``.
    """

    def __init__(
        self,
        read: Read,
        size_bytes: int,
        framework: str,
        device: Any = "cpu",
        close: Callable[[], None] = lambda: None,
        header: Header | None = None,
    ) -> None:
        self._make: Maker = maker(framework, device)
        self._close = close
        self._header: Header | None = header or read_header(read, size_bytes)
        self._read = read
        self._size_bytes = size_bytes

    @property
    def header(self) -> Header:
        """The header, for another ``TensorFile`` of the same file."""
        return self._open()

    def keys(self) -> list[str]:
        """The names of the tensors, sorted."""
        return sorted(self._open().tensors)

    def offset_keys(self) -> list[str]:
        """The names of the tensors in the order of the file."""
        return list(self._open().tensors)

    def metadata(self) -> dict[str, str] | None:
        """The free texts of the header; None without any."""
        return self._open().metadata

    def get_tensor(self, name: str) -> Any:
        """The whole tensor; ``NotFound`` for a name that is not in the file."""
        info = self._info(name)
        return self._make(self._read(info.begin, info.end), info)

    def get_tensors(self) -> dict[str, Any]:
        """Every tensor, all over one piece of memory."""
        return {name: self._make(view, info) for name, info, view in self._all()}

    def raw(self) -> list[tuple[str, dict[str, Any]]]:
        """What ``safetensors.deserialize`` gives: name, shape, dtype code and bytes of each; these
        are views of one piece of memory, not copies that nothing protects."""
        return [
            (name, {"shape": list(info.shape), "dtype": info.dtype, "data": view})
            for name, info, view in self._all()
        ]

    def get_slice(self, name: str) -> TensorSlice:
        """The tensor to be sliced; nothing is read before."""
        return TensorSlice(self._info(name), self._read, self._make)

    def __enter__(self) -> TensorFile:
        self._open()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._header = None
        self._close()

    def _open(self) -> Header:
        if self._header is None:
            raise ReaderClosed("this safetensors file is closed")
        return self._header

    def _all(self) -> Iterator[tuple[str, TensorInfo, memoryview]]:
        """Every tensor and its bytes, read at once."""
        head = self._open()
        base = head.data_begin
        view = self._read(base, self._size_bytes)
        for name, info in head.tensors.items():
            yield name, info, view[info.begin - base : info.end - base]

    def _info(self, name: str) -> TensorInfo:
        try:
            return self._open().tensors[name]
        except (KeyError, TypeError):
            raise NotFound("no tensor of this name", name=str(name)[:128]) from None


def read_header(read: Read, size_bytes: int) -> Header:
    """The header of a file of ``size_bytes``; raises ``InvalidBytes`` and what ``read`` raises."""
    start = read(0, min(size_bytes, _FIRST_BYTES))
    length = headers.header_bytes(start[: headers.PREFIX_BYTES], size_bytes)
    end = headers.PREFIX_BYTES + length
    raw = start[headers.PREFIX_BYTES : end] if end <= len(start) else read(8, end)
    return headers.parse(raw, size_bytes)


class TensorSlice:
    """One tensor, read as far as it is indexed: rows outside the first index are not read."""

    def __init__(self, info: TensorInfo, read: Read, make: Maker) -> None:
        self._info, self._read, self._make = info, read, make

    def get_shape(self) -> list[int]:
        """The shape of the whole tensor."""
        return list(self._info.shape)

    def get_dtype(self) -> str:
        """The dtype code of the format, like ``F32``."""
        return self._info.dtype

    def __getitem__(self, index: Any) -> Any:
        """The same as indexing the whole tensor; ``Misuse`` when the index does not fit."""
        first, rest = (index[0], index[1:]) if isinstance(index, tuple) and index else (index, ())
        rows, first = self._rows(first)
        info = self._info
        try:
            if rows is None:
                return self._make(self._read(info.begin, info.end), info)[index]
            start, stop = rows
            row_bytes = (info.end - info.begin) // info.shape[0]
            part = TensorInfo(
                info.dtype,
                (stop - start, *info.shape[1:]),
                info.begin + start * row_bytes,
                info.begin + stop * row_bytes,
            )
            return self._make(self._read(part.begin, part.end), part)[(first, *rest)]
        except (IndexError, TypeError, ValueError) as error:
            raise Misuse(f"the index does not fit: {error}"[:200]) from None

    def _rows(self, first: Any) -> tuple[tuple[int, int] | None, Any]:
        """The rows that ``first`` reaches and the index within them; None means all."""
        count = self._info.shape[0] if self._info.shape else 0
        if not count:
            return None, first
        if isinstance(first, slice) and first.step in (None, 1):
            start, stop, _ = first.indices(count)
            return (start, max(start, stop)), slice(None)
        if isinstance(first, int) and not isinstance(first, bool):
            row = first + count if first < 0 else first
            if not 0 <= row < count:
                raise Misuse(f"index {first} is out of bounds for {count} rows")
            return (row, row + 1), 0
        return None, first


def plain_safe_open() -> Any:
    """``safetensors.safe_open`` itself; ``ExtraMissing`` when safetensors is not installed."""
    try:
        import safetensors
    except ImportError:
        raise ExtraMissing("safetensors is not installed", extra="safetensors") from None
    return safetensors.safe_open
