"""Reads a picture through the web pages of RapidOCR: Flask, and FastAPI."""

import base64
import json

import cv2
import httpx
import numpy as np
from tests.apps.third_party.serving import free_port, program, serving

picture = np.full((120, 400, 3), 255, np.uint8)
cv2.putText(picture, "Hello 123", (10, 80), cv2.FONT_HERSHEY_SIMPLEX, 2, (0, 0, 0), 3)
png = cv2.imencode(".png", picture)[1].tobytes()
told = {"file": "data:image/png;base64," + base64.b64encode(png).decode()}
for name, question in (
    ("rapidocr_web", {"json": told}),
    ("rapidocr_api", {"files": {"image_file": png}}),
):
    port = free_port()
    with serving([*program(name), "-ip", "127.0.0.1", "-p", port], port, "/") as address:
        answer = httpx.post(f"{address}/ocr", timeout=300, **question).json()
    said = {key: value for key, value in answer.items() if "elapse" not in key}
    print(name, json.dumps(said, sort_keys=True))
