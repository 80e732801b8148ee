"""Reads a picture with ddddocr: in this process, through its own web service, and in Gradio."""

import base64
import contextlib
import hashlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

import cv2
import ddddocr
import gradio
import httpx
import numpy as np
from gradio_client import Client, handle_file

picture = np.full((64, 200, 3), 255, np.uint8)
cv2.putText(picture, "K7mQ2", (15, 48), cv2.FONT_HERSHEY_SIMPLEX, 1.6, (40, 0, 90), 3)
png = cv2.imencode(".png", picture)[1].tobytes()

for old in (False, True):
    reader = ddddocr.DdddOcr(show_ad=False, old=old)
    told = json.dumps(reader.classification(png, probability=True), sort_keys=True)
    print(reader.classification(png), hashlib.sha256(told.encode()).hexdigest())
print(ddddocr.DdddOcr(det=True, ocr=False, show_ad=False).detection(png))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


port = free_port()
command = [sys.executable, "-m", "uvicorn", "--factory", "ddddocr.api.server:create_app"]
server = subprocess.Popen([*command, "--port", str(port)], stdout=sys.stderr)
try:
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as web:
        for _ in range(600):
            with contextlib.suppress(httpx.TransportError):
                if web.get("/health").is_success:
                    break
            time.sleep(0.1)
        asked = {"image": base64.b64encode(png).decode()}
        for chosen in ({}, {"old": True}, {"det": True}):
            made = web.post("/initialize", json=chosen).json()["success"]
            print(made, web.post("/ocr", json=asked).text, web.post("/detect", json=asked).text)
finally:
    server.kill()
    server.wait()

reader = ddddocr.DdddOcr(show_ad=False)
page = gradio.Interface(
    lambda given: reader.classification(given), "image", "text", api_name="read"
)
with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "p.png")
    cv2.imwrite(path, picture)
    page.launch(prevent_thread_lock=True, quiet=True, server_port=free_port())
    client = Client(page.local_url, verbose=False)
    print([client.predict(handle_file(path), api_name="/read") for _ in range(3)])
page.close(verbose=False)
