"""Looks at a picture with NudeNet."""

import hashlib
import os
import tempfile

import cv2
import numpy as np
from nudenet import NudeDetector

picture = np.random.default_rng(1).integers(0, 255, (320, 320, 3), dtype=np.uint8)
with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "p.png")
    cv2.imwrite(path, picture)
    detector = NudeDetector()
    print(detector.detect(path), detector.detect_batch([path] * 3))
session = detector.onnx_session
feed = np.transpose(picture[None] / 255, (0, 3, 1, 2)).astype(np.float32)
answer = session.run(None, {session.get_inputs()[0].name: feed})[0]
print(hashlib.sha256(answer.tobytes()).hexdigest())
