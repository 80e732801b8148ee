"""The converted models give what the originals give in their own runtimes."""

from __future__ import annotations

import warnings

import cv2
import numpy as np
import onnxruntime
import pytest
from conftest import needs

from face_fusion import models
from face_fusion.geometry import model_input, sample


def _lite(path, tensor):
    """Outputs of the TFLite model by size, from LiteRT."""
    needs("ai_edge_litert")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the bindings, at import
        from ai_edge_litert.interpreter import Interpreter

        lite = Interpreter(model_path=str(path), num_threads=1)
    lite.allocate_tensors()
    lite.set_tensor(lite.get_input_details()[0]["index"], tensor.transpose(0, 2, 3, 1))
    lite.invoke()
    found = [lite.get_tensor(output["index"]) for output in lite.get_output_details()]
    return {output.size: output.reshape(-1) for output in found}


def _onnx(path, tensor):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    found = session.run(None, {session.get_inputs()[0].name: tensor})
    return {output.size: output.reshape(-1) for output in found}


def test_mesh_points_equal_those_of_litert(models_dir, shipped, fusion, astronaut, hopper):
    """The 468 points of both photographs lie within 0.1 pixels."""
    for picture in (astronaut, hopper):
        region = fusion.find_face(picture).mesh.region
        tensor = model_input(sample(picture, region, 192), 0, 1)
        ours = _onnx(models_dir / models.MESH, tensor)
        theirs = _lite(shipped / "face_landmark.tflite", tensor)
        assert np.abs(ours[1404] - theirs[1404]).max() < 0.1
        assert np.abs(ours[1] - theirs[1]).max() < 0.05


def test_detector_outputs_equal_those_of_litert(models_dir, shipped, hopper):
    """All 896 boxes lie within 0.1 pixels, all scores within 0.05 (before the sigmoid)."""
    tensor = model_input(cv2.resize(hopper, (256, 256)), -1, 1)
    ours = _onnx(models_dir / models.DETECTOR, tensor)
    theirs = _lite(shipped / "face_detection_back.tflite", tensor)
    assert np.abs(ours[896 * 16] - theirs[896 * 16]).max() < 0.1
    assert np.abs(ours[896] - theirs[896]).max() < 0.05


@pytest.mark.parametrize(
    ("name", "stem", "side"),
    [("fast", "realesr-animevideov3-x4", 64), ("best", "realesrgan-x4plus", 40)],
)
def test_restoration_equals_that_of_ncnn(models_dir, shipped, hopper, name, stem, side):
    """Within one grey level, on a piece of a photograph."""
    needs("ncnn")
    import ncnn

    piece = hopper[180 : 180 + side, 220 : 220 + side, ::-1]
    chw = np.ascontiguousarray(piece.transpose(2, 0, 1), dtype=np.float32) / 255
    net = ncnn.Net()
    net.opt.use_vulkan_compute = False
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    assert net.load_param(str(shipped / f"{stem}.param")) == 0
    assert net.load_model(str(shipped / f"{stem}.bin")) == 0
    extractor = net.create_extractor()
    extractor.input("data", ncnn.Mat(chw))
    theirs = np.array(extractor.extract("output")[1]).reshape(-1)
    ours = _onnx(models_dir / models.RESTORE[name], chw[None])[theirs.size]
    assert np.abs(ours - theirs).max() * 255 < 1
