"""The head of an optimised graph, and the questions that it asks."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import blake3
import cbor2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelseal import cbor
from modelseal.errors import InvalidBytes
from modelseal.frameworks.onnx import answers, head, machine
from modelseal.frameworks.onnx.answers import Question
from modelseal.frameworks.onnx.head import Head, Piece

GOOD = Head(
    machine={"system": "linux"},
    size_bytes=200,
    graph_offset=128,
    graph_bytes=72,
    pieces=(Piece("m.onnx", 5, 60, 0), Piece("m.onnx.optimised.body", 0, 136, 64)),
    direct=True,
    erased=((0, 60),),
    question=Question(bytes(16), 2, (("x", "tensor(float)", (1, 3)),)),
    answers=(bytes(32),),
)
TEXTS = st.text(max_size=20)
SMALL = st.integers(0, 1 << 20)


@st.composite
def heads(draw: st.DrawFn) -> Head:
    pieces, end = [], 0
    for name, offset, size in draw(st.lists(st.tuples(TEXTS, SMALL, SMALL), min_size=1)):
        place = end + -end % 64
        pieces.append(Piece(name, offset, size, place))
        end = place + size
    direct = draw(st.booleans())
    at = draw(st.integers(0, end))
    shape = st.lists(st.integers(0, 9), max_size=4).map(tuple)
    kinds = st.sampled_from(["tensor(float)", "tensor(int64)", "tensor(bool)"])
    return Head(
        machine=draw(st.dictionaries(TEXTS, TEXTS)), size_bytes=end, graph_offset=at,
        graph_bytes=end - at, pieces=tuple(pieces), direct=direct,
        erased=((at, end - at),) if direct and draw(st.booleans()) else (),
        question=Question(
            draw(st.binary(min_size=16, max_size=16)), draw(st.integers(1, 999)),
            tuple(draw(st.lists(st.tuples(TEXTS, kinds, shape), max_size=3))),
        ),
        answers=tuple(draw(st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=4))),
    )  # fmt: skip


@given(heads())
def test_encoding_and_decoding_undo_each_other(value: Head) -> None:
    assert head.decode(head.encode(value)) == value


@given(st.binary(max_size=200))
def test_anything_else_is_invalid_bytes(data: bytes) -> None:
    with pytest.raises(InvalidBytes):
        head.decode(data)


@pytest.mark.parametrize(
    "change",
    [
        {"typ": "modelseal-index"}, {"version": 2}, {"more": 1}, {"size": 201}, {"size": -1},
        {"size": 1 << 60}, {"graph": [128, 73]}, {"graph": [128]}, {"graph": 5},
        {"machine": {"a": 1}}, {"machine": []}, {"pieces": []}, {"pieces": [["m", 0, 200, 1]]},
        {"pieces": [["m", 0, 200]]},
        {"pieces": [["m", 0, 60, 0], ["n", 0, 200, 0]]}, {"pieces": [["m", 0, 8, 192]]},
        {"pieces": [[1, 0, 200, 0]]}, {"direct": 1}, {"direct": False}, {"erased": [[190, 11]]},
        {"erased": [[0]]}, {"erased": [[0, -1]]}, {"seed": b"short"}, {"seed": "0" * 16},
        {"modulus": 0}, {"modulus": True}, {"inputs": [["x", "tensor(string)", [1]]]},
        {"inputs": [["x", "tensor(float)", [1 << 40]]]}, {"inputs": [["x", "tensor(float)", [-1]]]},
        {"answers": []}, {"answers": [b"short"]}, {"answers": [bytes(32)] * 17},
    ],
)  # fmt: skip
def test_every_rule_is_held(change: dict[str, object]) -> None:
    value = cbor.decode(head.encode(GOOD), max_bytes=1 << 20)
    assert head.decode(cbor.encode(value)) == GOOD
    with pytest.raises(InvalidBytes):
        head.decode(cbor.encode(value | change))


def test_a_missing_member_is_invalid() -> None:
    value = cbor.decode(head.encode(GOOD), max_bytes=1 << 20)
    for name in value:
        with pytest.raises(InvalidBytes):
            head.decode(cbor.encode({k: v for k, v in value.items() if k != name}))


class _Session:
    """Answers with what it was given."""

    class _Node:
        name = "y"

    def get_outputs(self) -> list[object]:
        return [self._Node()]

    def run(self, _names: list[str], feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        return list(feeds.values())


def test_inputs_and_answers_are_made_as_the_page_says() -> None:
    kinds = ("tensor(float)", "tensor(int32)", "tensor(bool)", "tensor(float16)")
    inputs = tuple((f"x{number}", kind, (2, 3)) for number, kind in enumerate(kinds))
    question = Question(b"0123456789abcdef", 7, inputs)
    seen = blake3.blake3()
    for number, dtype in enumerate(("<f4", "<i4", "|b1", "<f2")):
        raw = blake3.blake3(question.seed + number.to_bytes(4, "little")).digest(length=6)
        values = [b / 128 - 1 if "f" in dtype else b % 7 if "i" in dtype else b < 128 for b in raw]
        data = np.array(values).astype(dtype).tobytes()
        seen.update(cbor.encode([dtype, [2, 3], len(data)]) + data)
    assert answers.answer(_Session(), question) == seen.digest()


def test_machines_differ_by_the_first_word_that_does() -> None:
    here = {"system": "linux", "processor": "avx avx2"}
    assert machine.differs(here, here) is None
    assert machine.differs({**here, "processor": "avx"}, here) == "processor"
    assert machine.differs({**here, "more": ""}, here) == "more"
    assert machine.differs(here, None) == "processor"
    assert machine._features("/nowhere/cpuinfo") is None


def test_a_head_says_nothing_it_cannot_mean() -> None:
    with pytest.raises(InvalidBytes):
        head.decode(head.encode(dataclasses.replace(GOOD, direct=False)))


def test_the_vector_is_read_as_it_says() -> None:
    """With ``cbor2`` and numpy beside our own reader."""
    place = Path(__file__).resolve().parents[2] / "vectors" / "optimised-onnx" / "manifest.json"
    told = json.loads(place.read_text())
    data = bytes.fromhex(told["head"])
    value, found = cbor2.loads(data), head.decode(data)
    for name in ("pieces", "graph", "size", "erased"):
        assert value[name] == told[name]
    assert [[p.name, p.offset, p.size_bytes, p.place] for p in found.pieces] == told["pieces"]
    feeds = answers._feeds(found.question)
    assert {name: array.ravel().tolist() for name, array in feeds.items()} == told["inputs"]
    assert [(a.dtype.str, a.shape) for a in feeds.values()] == [("<f4", (2, 4)), ("<i8", (3,))]
