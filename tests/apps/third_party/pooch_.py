"""Fetches a model with pooch, which finds it there when its MD5 is right."""

import os
import sys
from pathlib import Path

import onnxruntime
import pooch

root = sys.argv[1]
known = "md5:" + (Path(root) / "md5").read_text()
path = pooch.retrieve("https://nowhere.invalid/custom.onnx", known, "custom.onnx", root)
print(os.path.basename(path), len(onnxruntime.InferenceSession(path).get_inputs()))
