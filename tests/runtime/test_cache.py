"""What frameworks cache of sealed models lies encrypted, and opens only with the right to all."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import numpy_helper
from tests import onnx_models
from tests.runtime.shop import Shop, ShopLicensee

import modelseal
from modelseal.errors import CacheUseless, EgressRefused, LicenseExpired, NotEntitled
from modelseal.runtime.cache import form
from modelseal.runtime.cache.form import Header, Origin
from modelseal.runtime.sniff import CACHE_MAGIC

CPU = ["CPUExecutionProvider"]
MARKER = bytes(range(1, 251)) * 4


def marked() -> bytes:
    model = onnx.load_model_from_string(onnx_models.convolutions())
    (weight,) = (t for t in model.graph.initializer if t.name == "b")
    data = (MARKER * (64 * 64 * 4 // len(MARKER) + 1))[: 64 * 64 * 4]
    array = np.abs(np.frombuffer(data, np.uint8).astype(np.float32)[:4096].reshape(64, 64)) + 0.5
    weight.CopyFrom(numpy_helper.from_array(array, "b"))
    return model.SerializeToString()


def outputs(session: ort.InferenceSession) -> list[bytes]:
    return [each.tobytes() for each in session.run(None, onnx_models.feeds(session))]


def options(path: Path) -> ort.SessionOptions:
    assert modelseal.onnx.InferenceSession  # from here on options are watched
    made = ort.SessionOptions()
    made.optimized_model_filepath = str(path)
    return made


def test_the_optimised_model_is_written_encrypted_and_opens_with_the_right_alone(
    shop: Shop, licensee: ShopLicensee, tmp_path: Path
) -> None:
    data = marked()
    path, out = shop.seal("conv.onnx", data)[0], tmp_path / "out.onnx"
    mine = options(out)
    first = modelseal.onnx.InferenceSession(str(path), mine, providers=CPU)
    assert mine.optimized_model_filepath == str(out)
    assert first.get_session_options().optimized_model_filepath == str(out)
    plain = tmp_path / "plain.onnx"
    plain.write_bytes(data)
    expected = outputs(
        ort.InferenceSession(str(plain), options(tmp_path / "p.onnx"), providers=CPU)
    )
    assert outputs(first) == expected
    written = out.read_bytes()
    assert written.startswith(CACHE_MAGIC) and (tmp_path / "p.onnx").stat().st_size > 16384
    for place in range(0, 16384 - 64, 1000):
        assert np.frombuffer(data, np.uint8)[place : place + 64].tobytes() not in written
    op_type = b'"\x04Conv'  # field 4 of a node
    assert op_type in data and op_type not in written
    assert licensee.notes[-1][:2] == ("cache_encrypted", "optimized_model_filepath")
    again = ort.SessionOptions()
    again.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    cached = modelseal.onnx.InferenceSession(str(out), again, providers=CPU)
    assert outputs(cached) == expected
    shop.grant("other")
    with pytest.raises(NotEntitled):
        modelseal.onnx.InferenceSession(str(out), again, providers=CPU)
    shop.grant("face.swap")
    shop.expired = True
    shop.save()
    with pytest.raises(LicenseExpired):
        modelseal.onnx.InferenceSession(str(out), again, providers=CPU)


def test_a_cache_of_another_sealing_or_a_changed_one_is_refused(
    shop: Shop, licensee: ShopLicensee, tmp_path: Path
) -> None:
    path, out = shop.seal("conv.onnx", marked())[0], tmp_path / "out.onnx"
    modelseal.onnx.InferenceSession(str(path), options(out), providers=CPU)
    whole = out.read_bytes()
    for place in (9, 40, len(whole) // 2, len(whole) - 1):
        changed = bytearray(whole)
        changed[place] ^= 1
        out.write_bytes(changed)
        with pytest.raises(CacheUseless):
            modelseal.onnx.InferenceSession(str(out), providers=CPU)
    out.write_bytes(whole)
    modelseal.onnx.InferenceSession(str(out), providers=CPU)
    shop.seal("conv.onnx", marked())
    with pytest.raises(CacheUseless):
        modelseal.onnx.InferenceSession(str(out), providers=CPU)
    path.unlink()
    with pytest.raises(CacheUseless):
        modelseal.onnx.InferenceSession(str(out), providers=CPU)


def test_options_that_cannot_be_copied_are_refused(
    shop: Shop, licensee: ShopLicensee, tmp_path: Path
) -> None:
    path, _ = shop.seal("conv.onnx", onnx_models.convolutions())
    mine = options(tmp_path / "out.onnx")
    mine.add_free_dimension_override_by_name("n", 1)
    with pytest.raises(EgressRefused):
        modelseal.onnx.InferenceSession(str(path), mine, providers=CPU)
    assert not list(tmp_path.glob("*.onnx"))


@pytest.mark.parametrize(
    "given",
    [
        {"providers": [("CPUExecutionProvider", {"trt_engine_cache_enable": True})]},
        {"providers": CPU, "provider_options": [{"cache_dir": "x"}]},
        {"providers": CPU, "provider_options": [{"ModelCacheDirectory": "x"}]},
        {"providers": CPU, "provider_options": [{"migraphx_model_cache_dir": "x"}]},
    ],
)
def test_caches_of_providers_are_switched_off_and_noted(
    shop: Shop, licensee: ShopLicensee, given: dict[str, object], tmp_path: Path
) -> None:
    path, _ = shop.seal("conv.onnx", onnx_models.convolutions())
    before = set(os.listdir())
    session = modelseal.onnx.InferenceSession(str(path), **given)
    assert outputs(session)
    assert licensee.notes[-1][0] == "cache_off"
    assert licensee.notes[-1][1] in str(given)
    assert set(os.listdir()) == before


def test_what_the_environment_asks_of_providers_is_taken_out(
    shop: Shop, licensee: ShopLicensee, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = shop.seal("conv.onnx", onnx_models.convolutions())
    monkeypatch.setenv("ORT_TENSORRT_ENGINE_CACHE_ENABLE", "1")
    modelseal.onnx.InferenceSession(str(path), providers=CPU)
    assert "ORT_TENSORRT_ENGINE_CACHE_ENABLE" not in os.environ
    assert licensee.notes[-1][:2] == ("cache_off", "ORT_TENSORRT_ENGINE_CACHE_ENABLE")


ORIGIN = Origin("/models/a.onnx", b"f" * 32, b"l" * 32, (0, 1))
KEYS = [memoryview(b"a" * 32), memoryview(b"b" * 32)]


@pytest.mark.parametrize("size", [0, 1, form.CHUNK_BYTES, 2 * form.CHUNK_BYTES + 7])
def test_sealing_and_unsealing_undo_each_other_under_the_same_keys_only(size: int) -> None:
    plain = os.urandom(size)
    header = Header("k", (ORIGIN,), size, b"s" * 32)
    front = form.encode(header)
    chunks = list(form.seal(form.cipher(front, header, KEYS), front, memoryview(plain)))
    body = b"".join(chunks)
    told, begin = form.decode(memoryview(front + body))
    assert (told, begin) == (header, len(front))
    target = bytearray(size)
    form.unseal(form.cipher(front, told, KEYS), front, memoryview(body), memoryview(target))
    assert bytes(target) == plain
    others = [KEYS[:1], KEYS[::-1], [*KEYS, KEYS[0]]]
    for keys in others:
        with pytest.raises(CacheUseless):
            form.unseal(form.cipher(front, told, keys), front, memoryview(body), memoryview(target))
        assert not any(target)
    if len(chunks) > 1:
        swapped = memoryview(b"".join([chunks[1], chunks[0], *chunks[2:]]))
        with pytest.raises(CacheUseless):
            form.unseal(form.cipher(front, told, KEYS), front, swapped, memoryview(target))
        with pytest.raises(CacheUseless):
            form.decode(memoryview(front + body[: -len(chunks[-1])]))


@given(st.binary(max_size=400))
def test_nothing_but_a_cache_file_is_taken_for_one(data: bytes) -> None:
    for given_ in (
        data,
        form.MAGIC + data,
        form.encode(Header("k", (ORIGIN,), 5, b"s" * 32)) + data,
    ):
        try:
            header, _ = form.decode(memoryview(given_))
        except CacheUseless:
            continue
        assert header.size_bytes == 5 and len(data) == 21


def test_the_vectors_are_what_this_release_writes_and_a_second_reading_agrees() -> None:
    import hashlib
    import json

    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF
    from tools import make_cache_vectors

    told = json.loads(make_cache_vectors.OUT.read_text())
    assert make_cache_vectors.manifest() == make_cache_vectors.OUT.read_text()
    front = bytes.fromhex(told["front"])
    digest = hashlib.sha256(front).digest()
    info = b"modelseal cache v1\0" + digest
    material = b"".join(map(bytes.fromhex, told["data_keys"]))
    key = HKDF(hashes.SHA256(), 32, b"\x33" * 32, info).derive(material)
    nonce = b"\1\0\0\0" + (1).to_bytes(8, "little")
    last = AESGCM(key).decrypt(nonce, bytes.fromhex(told["last_chunk"]), front[:8] + digest)
    assert last == bytes(n % 251 for n in range(1 << 20, told["size"]))
