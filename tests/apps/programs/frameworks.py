"""Reads the models in a folder by four frameworks and prints what they compute."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import ncnn
import numpy as np
import openvino as ov
from ai_edge_litert.interpreter import Interpreter

folder = Path(sys.argv[1])
row = np.linspace(-1, 1, 64, dtype=np.float32)[None, :]
image = np.linspace(-1, 1, 768, dtype=np.float32).reshape(1, 3, 16, 16)

interpreter = Interpreter(model_path=str(folder / "mesh.tflite"))
interpreter.allocate_tensors()
interpreter.set_tensor(interpreter.get_input_details()[0]["index"], row)
interpreter.invoke()
print(
    "litert", interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).tobytes().hex()
)

net = ncnn.Net()
assert (net.load_param(str(folder / "net.param")), net.load_model(str(folder / "net.bin"))) == (
    0,
    0,
)
extractor = net.create_extractor()
extractor.input("in0", ncnn.Mat(row[0]))
print("ncnn", np.array(extractor.extract("out0")[1]).tobytes().hex())

dnn = cv2.dnn.readNetFromONNX(str(folder / "conv.onnx"))
dnn.setInput(image)
print("opencv", dnn.forward().tobytes().hex())

core = ov.Core()
for name in ("conv.onnx", "ir.xml"):
    request = core.compile_model(core.read_model(str(folder / name)), "CPU")
    print("openvino", name, request(image)[0].tobytes().hex())
print("compiled by name", core.compile_model(str(folder / "conv.onnx"), "CPU")(image)[0].sum())
