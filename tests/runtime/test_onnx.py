from __future__ import annotations

import copy
import pickle
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from tests import models, onnx_models
from tests.runtime.shop import Shop, ShopLicensee

import modelseal
from modelseal.crypto.signing import SigningKey
from modelseal.errors import (
    ContainerDamaged,
    EgressRefused,
    InputMissing,
    InvalidBytes,
    LicenseExpired,
    NotEntitled,
    NotSealed,
    WrongPublisher,
)
from modelseal.runtime import sharing
from modelseal.runtime.view import open_view

CPU = ["CPUExecutionProvider"]


@pytest.fixture(autouse=True, params=["whole", "taken apart", "streamed"])
def _small_models(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The small models of these tests go every way: as they are, and as large ones go."""
    if request.param == "taken apart":
        monkeypatch.setattr("modelseal.frameworks.onnx.skeleton.WHOLE_BYTES", 0)
    if request.param == "streamed":
        monkeypatch.setattr("modelseal.frameworks.onnx.streamed.FROM_BYTES", 0)


def outputs(session: ort.InferenceSession, seed: int = 0) -> list[np.ndarray]:
    return session.run(None, onnx_models.feeds(session, seed))


@pytest.mark.parametrize(
    "name",
    ["silero_vad.onnx", "silero_vad_16k_op15.onnx", "silero_vad_half.onnx"],
)
def test_a_sealed_session_gives_the_plain_outputs_bit_for_bit(
    name: str, shop: Shop, licensee: ShopLicensee
) -> None:
    path, _ = shop.seal(name, models.path(name).read_bytes())
    plain = ort.InferenceSession(str(models.path(name)), providers=CPU)
    sealed = modelseal.onnx.InferenceSession(str(path), providers=CPU)
    assert isinstance(sealed, ort.InferenceSession)
    for one, other in zip(outputs(plain), outputs(sealed), strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize("level", list(ort.GraphOptimizationLevel.__members__.values()))
def test_convolutions_are_identical_at_every_optimization_level(
    level: ort.GraphOptimizationLevel, shop: Shop, licensee: ShopLicensee
) -> None:
    model = onnx_models.convolutions()
    path, _ = shop.seal("conv.onnx", model)
    options = ort.SessionOptions()
    options.graph_optimization_level = level
    plain = ort.InferenceSession(model, options, providers=CPU)
    sealed = modelseal.onnx.InferenceSession(path, options, providers=CPU)
    assert np.array_equal(outputs(plain)[0], outputs(sealed)[0])


def test_the_same_options_serve_many_sessions(shop: Shop, licensee: ShopLicensee) -> None:
    model = onnx_models.convolutions()
    path, _ = shop.seal("conv.onnx", model)
    options = ort.SessionOptions()
    sessions = [
        modelseal.onnx.InferenceSession(str(path), sess_options=options, providers=CPU)
        for _ in range(4)
    ]
    first = outputs(sessions[0])[0]
    assert all(np.array_equal(first, outputs(s)[0]) for s in sessions)
    plain = ort.InferenceSession(model, options, providers=CPU)
    assert np.array_equal(first, outputs(plain)[0])


def test_sessions_made_while_another_holds_the_model_decrypt_nothing_again(
    shop: Shop, licensee: ShopLicensee
) -> None:
    model = onnx_models.convolutions()
    path, _ = shop.seal("conv.onnx", model)
    plain = ort.InferenceSession(model, providers=CPU)
    with open_view(path, licensee).shared("conv.onnx"):
        sessions = [modelseal.onnx.InferenceSession(path, providers=CPU) for _ in range(3)]
    assert len(licensee.protections) == 1
    for session in sessions:
        assert np.array_equal(outputs(plain)[0], outputs(session)[0])


def test_set_providers_opens_the_sealed_model_again(shop: Shop, licensee: ShopLicensee) -> None:
    path, _ = shop.seal("conv.onnx", onnx_models.convolutions())
    session = modelseal.onnx.InferenceSession(str(path))
    before = outputs(session)[0]
    session.set_providers(CPU)
    assert np.array_equal(before, outputs(session)[0])
    shop.expired = True
    shop.save()
    with pytest.raises(LicenseExpired):
        session.set_providers(CPU)


def test_sealed_bytes_open_as_well(shop: Shop, licensee: ShopLicensee) -> None:
    path, _ = shop.seal("conv.onnx", onnx_models.convolutions())
    session = modelseal.onnx.InferenceSession(path.read_bytes(), providers=CPU)
    assert outputs(session)[0].size


def test_external_data_inside_a_sealed_folder_is_found(shop: Shop, licensee: ShopLicensee) -> None:
    model, weights = onnx_models.with_external_data("weights/w.bin")
    path, _ = shop.seal("folder.sealed", {"net/m.onnx": model, "net/weights/w.bin": weights})
    whole = onnx_models.inlined(model, {"weights/w.bin": weights})
    plain = ort.InferenceSession(whole, providers=CPU)
    sealed = modelseal.onnx.InferenceSession(str(path), providers=CPU)
    assert np.array_equal(outputs(plain)[0], outputs(sealed)[0])
    inner = modelseal.onnx.InferenceSession(str(path / "net/m.onnx"), providers=CPU)
    assert np.array_equal(outputs(plain)[0], outputs(inner)[0])


def test_external_data_sealed_beside_the_model_is_found(shop: Shop, licensee: ShopLicensee) -> None:
    model, weights = onnx_models.with_external_data("m.onnx.data")
    path, _ = shop.seal("m.onnx", model)
    shop.seal("m.onnx.data", weights)
    session = modelseal.onnx.InferenceSession(str(path), providers=CPU)
    whole = onnx_models.inlined(model, {"m.onnx.data": weights})
    plain = ort.InferenceSession(whole, providers=CPU)
    assert np.array_equal(outputs(plain)[0], outputs(session)[0])


def test_models_in_onnx_runtimes_own_format_load(
    shop: Shop, licensee: ShopLicensee, tmp_path: Path
) -> None:
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "m.ort")
    options.add_session_config_entry("session.save_model_format", "ORT")
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    ort.InferenceSession(onnx_models.convolutions(), options, providers=CPU)
    path, _ = shop.seal("m.ort", (tmp_path / "m.ort").read_bytes())
    plain = ort.InferenceSession(str(tmp_path / "m.ort"), providers=CPU)
    sealed = modelseal.onnx.InferenceSession(path, providers=CPU)
    assert np.array_equal(outputs(plain)[0], outputs(sealed)[0])


def test_external_data_in_a_subgraph_is_found(shop: Shop, licensee: ShopLicensee) -> None:
    model, weights = onnx_models.with_external_data_in_a_branch("w.bin")
    path, _ = shop.seal("folder.sealed", {"m.onnx": model, "w.bin": weights})
    whole = onnx_models.inlined(model, {"w.bin": weights})
    plain = ort.InferenceSession(whole, providers=CPU)
    sealed = modelseal.onnx.InferenceSession(str(path), providers=CPU)
    assert np.array_equal(outputs(plain)[0], outputs(sealed)[0])


def test_plain_external_data_beside_a_sealed_model_is_refused(
    shop: Shop, licensee: ShopLicensee
) -> None:
    model, weights = onnx_models.with_external_data("m.bin")
    path, _ = shop.seal("m.onnx", model)
    (path.parent / "m.bin").write_bytes(weights)
    with pytest.raises(NotSealed):
        modelseal.onnx.InferenceSession(str(path), providers=CPU)


@pytest.mark.parametrize("location", ["../w.bin", "/etc/passwd", "a/../../w.bin", "C:\\w", "."])
def test_external_data_does_not_lead_out_of_its_folder(
    location: str, shop: Shop, licensee: ShopLicensee
) -> None:
    model, _ = onnx_models.with_external_data(location)
    path, _ = shop.seal("m.onnx", model)
    with pytest.raises(InvalidBytes):
        modelseal.onnx.InferenceSession(str(path), providers=CPU)


def test_a_plain_file_is_refused_unless_allowed(shop: Shop, licensee: ShopLicensee) -> None:
    plain = shop.folder / "plain.onnx"
    plain.write_bytes(onnx_models.convolutions())
    with pytest.raises(NotSealed):
        modelseal.onnx.InferenceSession(str(plain), providers=CPU)
    with pytest.raises(NotSealed):
        modelseal.onnx.InferenceSession(plain.read_bytes(), providers=CPU)
    allowed = modelseal.onnx.InferenceSession(str(plain), providers=CPU, allow_plain=True)
    assert outputs(allowed)[0].size
    with pytest.raises(InputMissing):
        modelseal.onnx.InferenceSession(str(shop.folder / "none.onnx"), allow_plain=True)


def test_options_that_write_the_weights_are_refused(shop: Shop, licensee: ShopLicensee) -> None:
    path, _ = shop.seal("conv.onnx", onnx_models.convolutions())
    profiled = ort.SessionOptions()
    profiled.enable_profiling = True
    with pytest.raises(EgressRefused):
        modelseal.onnx.InferenceSession(str(path), profiled, providers=CPU)
    context = ort.SessionOptions()
    context.add_session_config_entry("ep.context_enable", "1")
    with pytest.raises(EgressRefused):
        modelseal.onnx.InferenceSession(str(path), context, providers=CPU)


def test_a_sealed_session_is_not_pickled_or_copied(shop: Shop, licensee: ShopLicensee) -> None:
    path, _ = shop.seal("conv.onnx", onnx_models.convolutions())
    session = modelseal.onnx.InferenceSession(str(path), providers=CPU)
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(EgressRefused):
            attempt(session)


def test_a_session_keeps_no_plaintext(shop: Shop, licensee: ShopLicensee) -> None:
    before = sharing.live()
    path, _ = shop.seal("conv.onnx", onnx_models.convolutions())
    session = modelseal.onnx.InferenceSession(str(path), providers=CPU)
    assert session._model_bytes is None
    assert session._model_path == str(path)
    sharing.forget()  # what stays for some seconds is tested in test_view.py
    assert sharing.live() <= before
    assert all(secret._arena.closed for secret in licensee.live_secrets)


def test_refusals_come_as_our_errors(shop: Shop, licensee: ShopLicensee) -> None:
    model = onnx_models.convolutions()
    foreign = [SigningKey.generate("Ed25519")]
    path, _ = shop.seal("foreign.onnx", model, publisher=foreign)
    with pytest.raises(WrongPublisher):
        modelseal.onnx.InferenceSession(str(path), providers=CPU)
    path, _ = shop.seal("restore.onnx", model, entitlement="face.restore")
    with pytest.raises(NotEntitled) as refused:
        modelseal.onnx.InferenceSession(str(path), providers=CPU)
    assert refused.value.params["entitlement"] == "face.restore"
    path, _ = shop.seal("damaged.onnx", model)
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.write_bytes(data)
    with pytest.raises(ContainerDamaged):
        modelseal.onnx.InferenceSession(str(path), providers=CPU)


def test_what_is_no_onnx_model_is_refused_in_bounded_time(
    shop: Shop, licensee: ShopLicensee
) -> None:
    for number, data in enumerate([b"", b"\xff" * 64, b"\x3a\xff\xff\xff\xff\x7f", b"text"]):
        path, _ = shop.seal(f"bad{number}.onnx", data)
        with pytest.raises(Exception) as raised:
            modelseal.onnx.InferenceSession(str(path), providers=CPU)
        assert (
            isinstance(raised.value, InvalidBytes) or "onnxruntime" in type(raised.value).__module__
        )
