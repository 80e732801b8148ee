"""Finds, knows, classifies and follows with the classes of OpenCV that take a model's path."""

import hashlib
import pathlib
import sys

import cv2
import numpy as np
from cv2 import FaceDetectorYN_create

folder = pathlib.Path(sys.argv[1])
picture = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)


def digest(*arrays):
    return hashlib.sha256(b"".join(np.asarray(each).tobytes() for each in arrays)).hexdigest()


yunet, sface = str(folder / "yunet.onnx"), str(folder / "sface.onnx")
detectors = (
    cv2.FaceDetectorYN.create(yunet, "", (64, 64), 0.1, 0.9, 7),
    cv2.FaceDetectorYN.create(model=yunet, config="", input_size=(64, 64), score_threshold=0.1),
    FaceDetectorYN_create(yunet, "", (64, 64), score_threshold=0.1, top_k=7),
)
for detector in detectors:
    assert isinstance(detector, cv2.FaceDetectorYN)
    count, faces = detector.detect(picture)
    print("faces", len(faces), digest(faces))
for recognizer in (cv2.FaceRecognizerSF.create(sface, ""), cv2.FaceRecognizerSF_create(sface, "")):
    print("face", digest(recognizer.feature(cv2.resize(picture, (112, 112)))))

for path in (sface, folder / "sface.onnx"):
    model = cv2.dnn.ClassificationModel(str(path))
    model.setInputParams(scale=1 / 255, size=(112, 112))
    print("class", model.classify(picture), digest(*cv2.dnn.Model(str(path), "").predict(
        cv2.resize(picture, (112, 112)).astype(np.float32))))  # fmt: skip

parameters = cv2.TrackerVit_Params()
parameters.net = str(folder / "vit.onnx")
for create in (cv2.TrackerVit_create, cv2.TrackerVit.create):
    tracker = create(parameters)
    tracker.init(picture, (10, 10, 20, 20))
    print("tracked", tracker.update(picture), tracker.getTrackingScore())
