"""The graph that was optimised at sealing gives the plain outputs, or is not used."""

from __future__ import annotations

import dataclasses
import functools
import gc
import os
import weakref
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from tests import onnx_graphs, onnx_models
from tests.runtime.shop import Shop, ShopLicensee

import modelseal
from modelseal import container
from modelseal.errors import ContainerDamaged, NotEntitled
from modelseal.frameworks.onnx import answers, head, machine, optimising
from modelseal.runtime import onnx as loading
from modelseal.runtime.view import View

CPU = ["CPUExecutionProvider"]
pytestmark = pytest.mark.skipif(
    machine.this(ort) is None, reason="this system does not tell its kind of processor"
)


@functools.cache
def formed(name: str) -> tuple[bytes, bytes, bytes]:
    """Model, head and body of one graph; made once, it takes a while."""
    import tempfile

    model = onnx_graphs.ALL[name]()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.onnx"
        path.write_bytes(model)
        made = optimising.optimise(path, "m.onnx", {}, os.urandom)
    return model, made.head, bytes(made.body)


def added(head_bytes: bytes, body: bytes) -> list[container.EntryPlan]:
    pairs = (head.ENDING, head_bytes, head.ROLE), (head.BODY_ENDING, body, head.BODY_ROLE)
    return [
        container.EntryPlan(f"m.onnx{ending}", container.BytesSource(data), role=role)
        for ending, data, role in pairs
    ]


def sealed(shop: Shop, name: str, change=lambda found: found) -> str:
    """The graph sealed with its optimised form, whose head went through ``change``."""
    model, told, body = formed(name)
    told = head.encode(change(head.decode(told)))
    path, _ = shop.seal(f"{name}/m.onnx", model, added=added(told, body))
    return str(path)


def opened(path: str, *args, **kwargs) -> ort.InferenceSession:
    return modelseal.onnx.InferenceSession(path, *args, providers=CPU, **kwargs)


def same(one: ort.InferenceSession, other: ort.InferenceSession, seed: int = 3) -> bool:
    question = next(iter(answers.questions(one, bytes([seed]) * 16)))
    return answers.answer(one, question) == answers.answer(other, question)


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "_answered", set())
    monkeypatch.setattr(loading, "_noted", set())


@pytest.mark.parametrize("name", onnx_graphs.ALL)
def test_the_optimised_graph_gives_the_plain_outputs_bit_for_bit(
    name: str, shop: Shop, licensee: ShopLicensee
) -> None:
    session = opened(sealed(shop, name))
    assert modelseal.onnx.why_portable(session) is None and licensee.notes == []
    plain = ort.InferenceSession(formed(name)[0], providers=CPU)
    assert all(same(plain, session, seed) for seed in range(3))
    assert isinstance(session, ort.InferenceSession)
    assert [n.name for n in session.get_inputs()] == [n.name for n in plain.get_inputs()]


@pytest.mark.parametrize("name", ["convolutions", "products"])
def test_weights_that_the_portable_model_holds_are_not_stored_twice(name: str) -> None:
    model, told, body = formed(name)
    found = head.decode(told)
    shared = sum(piece.size_bytes for piece in found.pieces if piece.name == "m.onnx")
    assert shared == (0 if name == "convolutions" else 4 * 512 * 600 + 4 * 600 * 600)
    assert len(body) < len(model) - shared + 16384


def test_the_memory_lives_with_the_native_session_and_is_shared_by_all(
    shop: Shop, licensee: ShopLicensee
) -> None:
    path = sealed(shop, "convolutions")
    others = {id(memory) for memory in loading_live()}  # that other tests still hold
    one, other = opened(path), opened(path)
    assert list(loading.default.current().protections)
    (memory,) = [memory for memory in loading_live() if id(memory) not in others]
    gone = weakref.ref(memory)
    native, plain = one._sess, ort.InferenceSession(formed("convolutions")[0], providers=CPU)
    del one, memory
    assert same(plain, other)
    del other
    gc.collect()
    assert gone() is not None  # the native session is still held
    del native
    gc.collect()
    assert gone() is None


def loading_live() -> list:
    from modelseal.runtime import sharing

    return list(sharing._live.values())


def test_what_onnx_runtime_repacked_is_erased_and_given_back(
    shop: Shop, licensee: ShopLicensee, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[memoryview] = []
    from modelseal.frameworks.onnx import optimised

    keep = optimised.keep
    monkeypatch.setattr(optimised, "keep", lambda s, m: (held.append(m), keep(s, m)))
    session = opened(sealed(shop, "products"))
    found = head.decode(formed("products")[1])
    assert found.direct and sum(size for _, size in found.erased) == 4 * (512 * 600 + 600 * 600)
    for place, size in found.erased:
        assert bytes(held[0][place : place + size]) == bytes(size)
    assert same(ort.InferenceSession(formed("products")[0], providers=CPU), session)


def _other(word: str, found: head.Head) -> head.Head:
    return dataclasses.replace(found, machine={**found.machine, word: "other"})


@pytest.mark.parametrize("word", sorted(machine.this(ort) or {}))
def test_another_machine_loads_the_portable_model_and_notes_why(
    word: str, shop: Shop, licensee: ShopLicensee
) -> None:
    path = sealed(shop, "convolutions", functools.partial(_other, word))
    for _ in range(2):
        session = opened(path)
    reason = f"made for another {word}"
    assert modelseal.onnx.why_portable(session) == reason
    assert licensee.notes == [("onnx_portable", reason, path)]
    assert same(ort.InferenceSession(formed("convolutions")[0], providers=CPU), session)


@pytest.mark.parametrize("name", ["convolutions", "products", "loop"])
def test_a_wrong_known_answer_leads_to_the_portable_model(
    name: str, shop: Shop, licensee: ShopLicensee
) -> None:
    path = sealed(shop, name, lambda h: dataclasses.replace(h, answers=(bytes(32),)))
    session = opened(path)
    assert modelseal.onnx.why_portable(session) == "the known answer differs"
    assert [note[1] for note in licensee.notes] == ["the known answer differs"]
    assert same(ort.InferenceSession(formed(name)[0], providers=CPU), session)


def test_weights_in_wrong_places_are_found_by_the_known_answer(
    shop: Shop, licensee: ShopLicensee
) -> None:
    """What the memory holds is not what the graph means: as a runtime's error would do it."""
    model, told, body = formed("convolutions")
    found = head.decode(told)
    data = bytearray(body)
    data[: found.graph_offset] = bytes(found.graph_offset)
    path, _ = shop.seal("swapped/m.onnx", model, added=added(told, bytes(data)))
    session = opened(str(path))
    assert modelseal.onnx.why_portable(session) == "the known answer differs"
    assert same(ort.InferenceSession(model, providers=CPU), session)


def test_a_graph_that_onnx_runtime_refuses_leads_to_the_portable_model(
    shop: Shop, licensee: ShopLicensee
) -> None:
    model, told, body = formed("convolutions")
    found = head.decode(told)
    data = body[: found.graph_offset] + b"\xff" * found.graph_bytes
    path, _ = shop.seal("odd/m.onnx", model, added=added(told, data))
    session = opened(str(path))
    assert (modelseal.onnx.why_portable(session) or "").startswith("not loaded")
    assert same(ort.InferenceSession(model, providers=CPU), session)


@pytest.mark.parametrize("told", [b"", b"text", b"\xa0", bytes(300)])
def test_a_head_that_is_none_leads_to_the_portable_model(
    told: bytes, shop: Shop, licensee: ShopLicensee
) -> None:
    model, _, body = formed("convolutions")
    path, _ = shop.seal("head/m.onnx", model, added=added(told, body))
    session = opened(str(path))
    assert modelseal.onnx.why_portable(session) and licensee.notes
    assert same(ort.InferenceSession(model, providers=CPU), session)


def test_the_answer_is_asked_once_per_file_and_device(
    shop: Shop, licensee: ShopLicensee, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = sealed(shop, "lookup")
    long_ago = 1_500_000_000
    os.utime(path, (long_ago, long_ago))
    monkeypatch.setattr("modelseal.runtime.files._SETTLED_NS", -1)
    asked: list[object] = []
    real = answers.answer
    monkeypatch.setattr(answers, "answer", lambda s, q: (asked.append(q), real(s, q))[1])
    opened(path)
    assert len(asked) == 1 and len(licensee.records) == 2  # the leaves, and the answer
    monkeypatch.setattr(loading, "_answered", set())
    opened(path)
    assert len(asked) == 1
    os.utime(path)  # another file for all that is known
    monkeypatch.setattr(loading, "_answered", set())
    opened(path)
    assert len(asked) == 2


def test_the_device_is_asked_once_per_process_whether_the_answer_came(
    shop: Shop, licensee: ShopLicensee, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = sealed(shop, "lookup")
    monkeypatch.setattr("modelseal.runtime.files._SETTLED_NS", -1)
    opened(path)
    monkeypatch.setattr(loading, "_answered", set())  # as a later process
    looked: list[bytes] = []
    is_marked = View.is_marked

    def counted(view: View, mark: bytes) -> bool:
        looked.append(mark)
        return is_marked(view, mark)

    monkeypatch.setattr(View, "is_marked", counted)
    sessions = [opened(path) for _ in range(3)]
    assert len(looked) == 1 and len(sessions) == 3


def test_the_license_and_the_bytes_are_judged_as_for_the_portable_model(
    shop: Shop, licensee: ShopLicensee
) -> None:
    path = sealed(shop, "products")
    shop.grant("other")
    with pytest.raises(NotEntitled):
        opened(path)
    shop.grant("face.swap")
    data = bytearray(Path(path).read_bytes())
    data[-100] ^= 1  # in the body
    Path(path).write_bytes(data)
    with pytest.raises(ContainerDamaged):
        opened(path)


def test_only_what_was_handed_in_is_listed(shop: Shop, licensee: ShopLicensee) -> None:
    with modelseal.open(sealed(shop, "loop")) as found:
        assert found.names() == ["m.onnx"]
        assert found.read() == formed("loop")[0]


def test_external_data_in_the_same_sealed_model_is_shared(
    shop: Shop, licensee: ShopLicensee, tmp_path: Path
) -> None:
    model, weights = onnx_models.with_external_data("w.bin")
    (tmp_path / "m.onnx").write_bytes(model)
    (tmp_path / "w.bin").write_bytes(weights)
    made = optimising.optimise(
        tmp_path / "m.onnx", "m.onnx", {"w.bin": tmp_path / "w.bin"}, os.urandom
    )
    path, _ = shop.seal(
        "two", {"m.onnx": model, "w.bin": weights}, added=added(made.head, bytes(made.body))
    )
    session = opened(f"{path}/m.onnx")
    assert modelseal.onnx.why_portable(session) is None
    plain = ort.InferenceSession(onnx_models.inlined(model, {"w.bin": weights}), providers=CPU)
    assert same(plain, session)
    assert np.array_equal(*(s.run(None, onnx_models.feeds(plain))[0] for s in (plain, session)))
