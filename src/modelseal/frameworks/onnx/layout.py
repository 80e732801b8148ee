"""Where the weights of an optimised graph come to lie, and which of them are stored anew."""

from __future__ import annotations

import mmap
import posixpath
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import blake3

from modelseal.errors import InvalidBytes, NotOptimisable

from . import wire
from .head import ALIGNMENT_BYTES, LOCATION, Piece
from .skeleton import Weight, split

Digest = tuple[int, bytes]
Known = Mapping[Digest, tuple[str, int]]
"""Which bytes the portable model holds: length and digest -> entry and offset."""

# Kernels of the CPU provider that make a form of their own of a constant input, and which input.
# What is missing here is held twice; what should not be here is seen by the answers.
_REPACKED = {
    "MatMul": (1,), "FusedMatMul": (1,), "Gemm": (1,), "FusedGemm": (1,), "LSTM": (1, 2),
    "GRU": (1, 2), "DynamicQuantizeLSTM": (1, 2), "MatMulInteger": (1,),
    "DynamicQuantizeMatMul": (1,), "MatMulIntegerToFloat": (1,), "QLinearMatMul": (3,),
    "QGemm": (3,), "QLinearConv": (3,), "Attention": (1,), "QAttention": (1,),
    "MatMulNBits": (1,),
}  # fmt: skip
_MERGED_BYTES = 256 * 1024  # reading on costs less than beginning anew
_OWN_RANGE_BYTES = 1 << 20  # below it a range of its own costs more than storing it twice


def mapped(fd: int, size_bytes: int) -> memoryview:
    """The file behind ``fd``, read-only."""
    return memoryview(mmap.mmap(fd, size_bytes, access=mmap.ACCESS_READ) if size_bytes else b"")


def file(path: Path) -> memoryview:
    """The file at ``path``, read-only."""
    with path.open("rb") as opened:
        return mapped(opened.fileno(), path.stat().st_size)


def weights(graph: memoryview, external: Callable[[str], memoryview]) -> list[Weight]:
    """The large weights of ``graph``, in its order."""
    found: list[Weight] = []

    def seen(weight: Weight) -> tuple[str, int]:
        found.append(weight)
        return "", 0

    split(graph, "", external, whole_bytes=0, place=seen)
    return found


def known(path: Path, name: str, beside: Mapping[str, Path]) -> Known:
    """What the model at ``path``, an entry ``name``, and its external data hold.

    ``NotOptimisable`` when external data is not among ``beside``.
    """

    def entry_of(location: str) -> str:
        return posixpath.normpath(posixpath.join(posixpath.dirname(name), location))

    def external(location: str) -> memoryview:
        if entry_of(location) not in beside:
            raise NotOptimisable(
                "its external data is not sealed with it, for the same right", path=str(path)
            )
        return file(beside[entry_of(location)])

    found: dict[Digest, tuple[str, int]] = {}
    for weight in weights(file(path), external):
        entry = name if weight.location is None else entry_of(weight.location)
        found.setdefault(_digest(weight.data), (entry, weight.offset))
    return found


class Layout:
    """Ranges of the portable model first, then the body with what it does not hold.

    ``direct``: a session uses the memory in place, so that every weight has its alignment; what it
    repacks (``erased``) is of no use afterwards. Else it copies, and ranges are read as they lie.
    """

    def __init__(self, known: Known, repacked: frozenset[str], *, direct: bool) -> None:
        self._known, self._repacked, self._direct = known, repacked, direct
        self.pieces: tuple[Piece, ...] = ()
        self.erased: tuple[tuple[int, int], ...] = ()
        self.kept_bytes = 0
        self.graph = (0, 0)
        self.size_bytes = 0

    def lay(self, graph: memoryview, body: str) -> memoryview:
        """The body, called ``body``; the rest stands in the attributes afterwards."""
        found = weights(graph, nothing_outside)
        digests = [_digest(weight.data) for weight in found]
        spans = self._spans(set(digests))
        places, start = dict[Digest, int](), _end(spans)
        self.size_bytes = start
        for digest in digests:
            at = self._shared(digest)
            if at is not None:
                places[digest] = _place_in(spans, *at)
            elif digest not in places:
                places[digest] = self._room(digest[0])
        order = iter(digests)
        final = split(
            graph, "", nothing_outside, whole_bytes=0,
            place=lambda _weight: (LOCATION, places[next(order)]),
        ).model  # fmt: skip
        self.graph = (self._room(len(final)), len(final))
        self.pieces = (*spans, Piece(body, 0, self.size_bytes - start, start))
        self._note_erased(found, digests, places)
        made = memoryview(mmap.mmap(-1, self.size_bytes - start))
        for weight, digest in zip(found, digests, strict=True):
            if places[digest] >= start:
                made[places[digest] - start :][: digest[0]] = weight.data
        made[self.graph[0] - start :] = final
        return made

    def _room(self, size_bytes: int) -> int:
        place = _aligned(self.size_bytes)
        self.size_bytes = place + size_bytes
        return place

    def _shared(self, digest: Digest) -> tuple[str, int] | None:
        if self._direct and digest[0] < _OWN_RANGE_BYTES:
            return None
        return self._known.get(digest)

    def _spans(self, digests: set[Digest]) -> list[Piece]:
        """The shared ranges, with what lies between near ones when they may lie anywhere."""
        found: list[Piece] = []
        ranges = {(*at, d[0]) for d in digests if (at := self._shared(d)) is not None}
        gap = -1 if self._direct else _MERGED_BYTES
        for name, offset, size in sorted(ranges):
            last = found[-1] if found else None
            if last and last.name == name and offset <= last.offset + last.size_bytes + gap:
                end = max(last.offset + last.size_bytes, offset + size)
                found[-1] = replace(last, size_bytes=end - last.offset)
            else:
                found.append(Piece(name, offset, size, _end(found)))
        return found

    def _note_erased(
        self, found: Sequence[Weight], digests: Sequence[Digest], places: Mapping[Digest, int]
    ) -> None:
        """What every use of it repacked; ``kept_bytes`` is the rest."""
        pairs = zip(found, digests, strict=True)
        used = {digest for weight, digest in pairs if weight.name not in self._repacked}
        self.kept_bytes = sum(size for size, _ in used)
        if self._direct:
            gone = set(digests) - used
            self.erased = tuple(sorted((places[digest], digest[0]) for digest in gone))


def nothing_outside(location: str) -> memoryview:
    """ONNX Runtime leaves nothing outside of what it optimises; ``InvalidBytes``."""
    raise InvalidBytes(f"external data in an optimised graph: {location[:100]}")


def repacked(graph: memoryview) -> frozenset[str]:
    """The weights all of whose uses are by kernels that are known to repack them."""
    seen: dict[str, bool] = {}
    for node in _nodes(graph):
        operator, inputs = "", []
        for part in wire.fields(graph, node.value_begin, node.end):
            if part.number == wire.NODE_OP_TYPE:
                operator = wire.text(graph, part)
            elif part.number == wire.NODE_INPUT:
                inputs.append(wire.text(graph, part))
        for number, name in enumerate(inputs):
            does = number in _REPACKED.get(operator, ())
            seen[name] = does and seen.get(name, True)
    return frozenset(name for name, always in seen.items() if always)


def has_branches(graph: memoryview) -> bool:
    """Whether a node of ``graph`` has graphs of its own, which an answer may not reach."""
    return any(_is_branching(graph, node) for node in _nodes(graph))


def _nodes(graph: memoryview) -> Iterator[wire.Field]:
    for top in wire.fields(graph, 0, len(graph)):
        if top.number == wire.MODEL_GRAPH and top.wire_type == wire.LENGTH:
            for item in wire.fields(graph, top.value_begin, top.end):
                if item.number == wire.GRAPH_NODE:
                    yield item


def _is_branching(graph: memoryview, node: wire.Field) -> bool:
    return any(
        part.number in wire.ATTRIBUTE_GRAPHS
        for attribute in wire.fields(graph, node.value_begin, node.end)
        if attribute.number == wire.NODE_ATTRIBUTE
        for part in wire.fields(graph, attribute.value_begin, attribute.end)
    )


def _digest(data: memoryview) -> Digest:
    return len(data), blake3.blake3(data, max_threads=blake3.blake3.AUTO).digest()


def _aligned(at: int) -> int:
    return at + -at % ALIGNMENT_BYTES


def _end(pieces: Sequence[Piece]) -> int:
    """Where the next piece begins."""
    return _aligned(pieces[-1].place + pieces[-1].size_bytes) if pieces else 0


def _place_in(spans: Sequence[Piece], name: str, offset: int) -> int:
    return next(
        s.place + offset - s.offset
        for s in spans
        if s.name == name and s.offset <= offset < s.offset + s.size_bytes
    )
