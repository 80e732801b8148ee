"""The head of an optimised graph inside a sealed model; normative: ``docs/spec/optimised-onnx.md``.

``encode`` and ``decode`` undo each other. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from modelseal import cbor
from modelseal.errors import InvalidBytes

from .answers import SEED_BYTES, Question, is_question

ROLE, BODY_ROLE = "onnx-optimised", "onnx-optimised-body"
ENDING, BODY_ENDING = ".optimised", ".optimised.body"
LOCATION = "modelseal"
"""What the graph calls the one file that its weights lie in."""
TYP, VERSION = "modelseal-onnx-optimised", 1
ALIGNMENT_BYTES = 64
MAX_BYTES = 16 << 20
MAX_PIECES = 100_000
MAX_ANSWERS = 16
_MAX_SIZE = 1 << 46


@dataclass(frozen=True, slots=True)
class Piece:
    """``size_bytes`` of the entry ``name`` from ``offset`` on lie at ``place`` of the memory."""

    name: str
    offset: int
    size_bytes: int
    place: int


@dataclass(frozen=True, slots=True)
class Head:
    """``size_bytes`` of memory, made of ``pieces``, hold the graph and every weight outside it.

    ``machine`` says where the graph is valid. With ``direct`` the session uses that memory as
    long as it lives, but for the ranges ``erased``, of which it made forms of its own; else it
    copies everything. A session over it answers ``question`` with one of
    ``answers``, as a session of the portable model does.
    """

    machine: dict[str, str]
    size_bytes: int
    graph_offset: int
    graph_bytes: int
    pieces: tuple[Piece, ...]
    direct: bool
    erased: tuple[tuple[int, int], ...]
    question: Question
    answers: tuple[bytes, ...]


def encode(head: Head) -> bytes:
    """The head's bytes."""
    question = head.question
    return cbor.encode({
        "typ": TYP,
        "version": VERSION,
        "machine": head.machine,
        "size": head.size_bytes,
        "graph": [head.graph_offset, head.graph_bytes],
        "pieces": [[p.name, p.offset, p.size_bytes, p.place] for p in head.pieces],
        "direct": head.direct,
        "erased": [list(part) for part in head.erased],
        "seed": question.seed,
        "modulus": question.modulus,
        "inputs": [[name, kind, list(shape)] for name, kind, shape in question.inputs],
        "answers": list(head.answers),
    })  # fmt: skip


def decode(data: bytes) -> Head:
    """What ``data`` says; ``InvalidBytes`` for anything that ``encode`` would not write.

    Whether the pieces lie inside their entries is for who reads them.
    """
    value = cbor.decode(data, max_bytes=MAX_BYTES)
    if not isinstance(value, dict) or (value.get("typ"), value.get("version")) != (TYP, VERSION):
        raise InvalidBytes("an optimised graph of a kind or version that is not known")
    try:
        head = _head(value)
        fine = _is_sound(head) and encode(head) == data
    except (KeyError, TypeError, ValueError, AttributeError):
        fine = False
    if not fine:
        raise InvalidBytes("the head of an optimised graph is malformed")
    return head


def _head(value: Mapping[str, Any]) -> Head:
    graph_offset, graph_bytes = value["graph"]
    inputs = tuple((name, kind, tuple(shape)) for name, kind, shape in value["inputs"])
    return Head(
        machine=value["machine"],
        size_bytes=value["size"],
        graph_offset=graph_offset,
        graph_bytes=graph_bytes,
        pieces=tuple(Piece(*piece) for piece in value["pieces"]),
        direct=value["direct"],
        erased=tuple((place, size) for place, size in value["erased"]),
        question=Question(value["seed"], value["modulus"], inputs),
        answers=tuple(value["answers"]),
    )


def _is_sound(head: Head) -> bool:
    numbers = [head.size_bytes, head.graph_offset, head.graph_bytes, head.question.modulus]
    texts = [*head.machine, *head.machine.values()]
    end, waste = 0, 0
    for piece in head.pieces:  # ascending, apart, and with no more between than alignment needs
        numbers += [piece.offset, piece.size_bytes, piece.place]
        texts.append(piece.name)
        waste += piece.place - end
        if piece.place < end or piece.place % ALIGNMENT_BYTES:
            return False
        end = piece.place + piece.size_bytes
    for part in head.erased:
        numbers += part
        if sum(part) > head.size_bytes:
            return False
    for name, kind, shape in head.question.inputs:
        numbers += shape
        texts += [name, kind]
    return (
        all(type(n) is int and 0 <= n < _MAX_SIZE for n in numbers)
        and all(isinstance(text, str) for text in texts)
        and isinstance(head.direct, bool)
        and max(len(head.pieces), len(head.erased)) <= MAX_PIECES
        and (head.direct or not head.erased)
        and waste <= ALIGNMENT_BYTES * len(head.pieces)
        and end == head.size_bytes
        and head.graph_offset + head.graph_bytes <= head.size_bytes
        and head.question.modulus > 0
        and isinstance(head.question.seed, bytes)
        and len(head.question.seed) == SEED_BYTES
        and is_question(head.question)
        and 1 <= len(head.answers) <= MAX_ANSWERS
        and all(isinstance(a, bytes) and len(a) == 32 for a in head.answers)
    )
