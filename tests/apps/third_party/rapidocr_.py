"""Reads a picture with RapidOCR 3, which compares the SHA-256 of its models at each start."""

import cv2
import numpy as np
from rapidocr import RapidOCR

picture = np.full((120, 400, 3), 255, np.uint8)
cv2.putText(picture, "Hello 123", (10, 80), cv2.FONT_HERSHEY_SIMPLEX, 2, (0, 0, 0), 3)
found = RapidOCR()(picture)
print(found.txts, [repr(score) for score in found.scores], np.asarray(found.boxes).tolist())
