"""LiteRT, ncnn, OpenCV and OpenVINO: a sealed model computes what the plain one does."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import cv2
import ncnn
import numpy as np
import openvino
import pytest
from ai_edge_litert.interpreter import Interpreter
from tests import onnx_models, small_models
from tests.runtime.shop import Shop, ShopLicensee

import modelseal
from modelseal.errors import ContainerDamaged, InputMissing, NotEntitled, NotSealed
from modelseal.runtime.sniff import CACHE_MAGIC

IMAGE = np.linspace(-1, 1, 3 * 16 * 16, dtype=np.float32).reshape(1, 3, 16, 16)


def interpreted(interpreter: Interpreter) -> bytes:
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], small_models.INPUT)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).tobytes()


def extracted(net: ncnn.Net) -> bytes:
    extractor = net.create_extractor()
    extractor.input("in0", ncnn.Mat(small_models.INPUT[0]))
    code, found = extractor.extract("out0")
    assert code == 0
    return np.array(found).tobytes()


def compiled(core: openvino.Core, model: object) -> bytes:
    request = core.compile_model(model, "CPU", {"INFERENCE_NUM_THREADS": 1})
    return request(IMAGE)[0].tobytes()


def forwarded(net: cv2.dnn.Net) -> bytes:
    net.setInput(IMAGE)
    return net.forward().tobytes()


@contextlib.contextmanager
def plain_file(shop: Shop, name: str, data: bytes) -> Iterator[Path]:
    path = shop.folder / "plain" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    yield path


@pytest.fixture
def ir(tmp_path: Path) -> tuple[bytes, bytes]:
    """The pair that OpenVINO keeps a model in."""
    model = openvino.Core().read_model(onnx_models.convolutions())
    openvino.serialize(model, str(tmp_path / "net.xml"), str(tmp_path / "net.bin"))
    return (tmp_path / "net.xml").read_bytes(), (tmp_path / "net.bin").read_bytes()


def test_litert_computes_the_same(shop: Shop, licensee: ShopLicensee) -> None:
    data = small_models.tflite_model()
    path, _ = shop.seal("mesh.tflite", data)
    expected = interpreted(Interpreter(model_content=data))
    for made in (
        modelseal.litert.Interpreter(path),
        modelseal.litert.Interpreter(model_path=str(path), num_threads=1),
        modelseal.litert.Interpreter(None, path.read_bytes()),
    ):
        assert isinstance(made, Interpreter)
        assert interpreted(made) == expected


def test_ncnn_computes_the_same(shop: Shop, licensee: ShopLicensee) -> None:
    param, weights = small_models.ncnn_pair()
    with (
        plain_file(shop, "net.param", param) as plain_param,
        plain_file(shop, "net.bin", weights) as plain_weights,
    ):
        plain = ncnn.Net()
        assert plain.load_param(str(plain_param)) == 0
        assert plain.load_model(str(plain_weights)) == 0
    alone = shop.seal("net.param", param)[0], shop.seal("net.bin", weights)[0]
    both = shop.seal("both.sealed", {"net.param": param, "net.bin": weights})[0]
    for first, second in (alone, (both, both)):
        net = modelseal.ncnn.Net()
        assert isinstance(net, ncnn.Net)
        assert (net.load_param(str(first)), net.load_model(str(second))) == (0, 0)
        assert extracted(net) == extracted(plain)


def test_opencv_computes_the_same(shop: Shop, licensee: ShopLicensee) -> None:
    data = onnx_models.convolutions()
    path, _ = shop.seal("conv.onnx", data)
    expected = forwarded(cv2.dnn.readNetFromONNX(np.frombuffer(data, np.uint8)))
    assert forwarded(modelseal.opencv.readNetFromONNX(str(path))) == expected
    assert forwarded(modelseal.opencv.readNet(path)) == expected
    assert forwarded(modelseal.opencv.readNet(str(path), "", "onnx")) == expected
    classic = modelseal.opencv.readNetFromONNX(str(path), cv2.dnn.ENGINE_AUTO)
    assert forwarded(classic) == expected


def test_openvino_computes_the_same(
    shop: Shop, licensee: ShopLicensee, ir: tuple[bytes, bytes]
) -> None:
    core, plain = modelseal.openvino.Core(), openvino.Core()
    graph, weights = ir
    onnx = onnx_models.convolutions()
    expected = compiled(plain, plain.read_model(onnx))
    path, _ = shop.seal("conv.onnx", onnx)
    assert isinstance(core, openvino.Core)
    assert compiled(core, core.read_model(path)) == expected
    assert compiled(core, str(path)) == expected
    alone, beside = shop.seal("net.xml", graph)[0], shop.seal("net.bin", weights)[0]
    both = shop.seal("both.sealed", {"net.xml": graph, "net.bin": weights})[0]
    for model in (core.read_model(alone), core.read_model(alone, beside), core.read_model(both)):
        assert compiled(core, model) == expected


def test_openvino_reads_what_it_takes_from_files_alone(shop: Shop, licensee: ShopLicensee) -> None:
    """TFLite models, and ONNX models whose weights lie in other files."""
    core, plain = modelseal.openvino.Core(), openvino.Core()
    tflite = small_models.tflite_model()
    with plain_file(shop, "m.tflite", tflite) as path:
        expected = plain.compile_model(str(path), "CPU")(small_models.INPUT)[0]
    sealed, _ = shop.seal("m.tflite", tflite)
    found = core.compile_model(core.read_model(sealed), "CPU")(small_models.INPUT)[0]
    assert found.tobytes() == expected.tobytes()
    graph, weights = onnx_models.with_external_data("w.bin")
    whole = onnx_models.inlined(graph, {"w.bin": weights})
    expected = plain.compile_model(plain.read_model(whole), "CPU")(small_models.INPUT)[0]
    both, _ = shop.seal("both.sealed", {"m.onnx": graph, "w.bin": weights})
    alone, _ = shop.seal("m.onnx", graph)
    shop.seal("w.bin", weights)
    for given in (both, alone):
        found = core.compile_model(core.read_model(given), "CPU")(small_models.INPUT)[0]
        assert found.tobytes() == expected.tobytes()


def test_weights_live_on_when_nothing_of_the_reading_does(
    shop: Shop, licensee: ShopLicensee, ir: tuple[bytes, bytes]
) -> None:
    both = shop.seal("both.sealed", {"net.xml": ir[0], "net.bin": ir[1]})[0]
    core = modelseal.openvino.Core()
    request = core.compile_model(str(both), "CPU")
    first = request(IMAGE)[0].tobytes()
    del core
    assert all(request(IMAGE)[0].tobytes() == first for _ in range(20))


def test_compiled_weights_are_kept_encrypted_and_used_again(
    shop: Shop, licensee: ShopLicensee, tmp_path: Path, ir: tuple[bytes, bytes]
) -> None:
    folder = tmp_path / "cache"
    for path in (
        shop.seal("conv.onnx", onnx_models.convolutions())[0],
        shop.seal("both.sealed", {"net.xml": ir[0], "net.bin": ir[1]})[0],
    ):
        expected = modelseal.openvino.Core().compile_model(path, "CPU")(IMAGE)[0].tobytes()
        core = modelseal.openvino.Core()
        core.set_property({"CACHE_DIR": str(folder)})
        assert core.compile_model(path, "CPU")(IMAGE)[0].tobytes() == expected
        (kept,) = folder.iterdir()
        assert kept.read_bytes().startswith(CACHE_MAGIC) and b"Conv" not in kept.read_bytes()
        assert licensee.notes[-1][:2] == ("cache_encrypted", "CACHE_DIR")
        count = len(licensee.notes)
        fresh = modelseal.openvino.Core()
        again = fresh.compile_model(path, "CPU", {"CACHE_DIR": str(folder)})
        assert again(IMAGE)[0].tobytes() == expected
        assert len(licensee.notes) == count, "it was imported, not compiled"
        shop.grant("other")
        with pytest.raises(NotEntitled):
            fresh.compile_model(path, "CPU", {"CACHE_DIR": str(folder)})
        shop.grant("face.swap")
        kept.write_bytes(kept.read_bytes()[:-1] + b"?")
        assert fresh.compile_model(path, "CPU", {"CACHE_DIR": str(folder)})(IMAGE)[0].tobytes() == (
            expected
        )
        kept.unlink()


def test_a_model_that_was_read_first_is_compiled_without_a_cache(
    shop: Shop, licensee: ShopLicensee, tmp_path: Path
) -> None:
    path, _ = shop.seal("conv.onnx", onnx_models.convolutions())
    core = modelseal.openvino.Core()
    core.set_property({"CACHE_DIR": str(tmp_path / "cache")})
    model = core.read_model(path)
    assert core.compile_model(model, "CPU")(IMAGE)
    assert licensee.notes[-1][:2] == ("cache_off", "CACHE_DIR")
    assert not list(tmp_path.glob("cache/*"))


LOADERS = {
    "litert": lambda path, **how: modelseal.litert.Interpreter(path, **how),
    "ncnn": lambda path, **how: modelseal.ncnn.Net().load_param(path, **how),
    "opencv": lambda path, **how: modelseal.opencv.readNetFromONNX(path, **how),
    "openvino": lambda path, **how: modelseal.openvino.Core().read_model(path, **how),
}
PLAIN = {
    "litert": small_models.tflite_model,
    "ncnn": lambda: small_models.ncnn_pair()[0],
    "opencv": onnx_models.convolutions,
    "openvino": onnx_models.convolutions,
}


@pytest.mark.parametrize("framework", LOADERS)
def test_what_is_plain_missing_damaged_or_not_granted(
    framework: str, shop: Shop, licensee: ShopLicensee
) -> None:
    load, data = LOADERS[framework], PLAIN[framework]()
    with plain_file(shop, "plain.model", data) as plain:
        with pytest.raises(NotSealed):
            load(str(plain))
        named = plain.rename(plain.with_suffix(".onnx"))
        load(str(named), allow_plain=True)
    with pytest.raises(InputMissing):
        load(str(shop.folder / "none"))
    forbidden, _ = shop.seal("forbidden", data, entitlement="face.restore")
    with pytest.raises(NotEntitled):
        load(str(forbidden))
    damaged, _ = shop.seal("damaged", data)
    content = bytearray(damaged.read_bytes())
    content[-20] ^= 1
    damaged.write_bytes(content)
    with pytest.raises(ContainerDamaged):
        load(str(damaged))
