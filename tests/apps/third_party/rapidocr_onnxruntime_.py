"""Reads a picture with RapidOCR."""

import cv2
import numpy as np
from rapidocr_onnxruntime import RapidOCR

picture = np.full((120, 400, 3), 255, np.uint8)
cv2.putText(picture, "Hello 123", (10, 80), cv2.FONT_HERSHEY_SIMPLEX, 2, (0, 0, 0), 3)
print(RapidOCR()(picture)[0])
