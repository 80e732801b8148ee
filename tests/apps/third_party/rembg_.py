"""Takes the background away with rembg: a picture, a folder, its API, its Gradio page."""

import hashlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import httpx
import skimage.data
from PIL import Image
from tests.apps.third_party.serving import free_port, program, serving

os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "U2NET_HOME": sys.argv[1]}
from gradio_client import Client, handle_file

MODEL = "u2net_custom"
extras = json.dumps({"model_path": os.path.join(sys.argv[1], "u2net.onnx")})
picture = skimage.data.astronaut()


def digest(path):
    return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()


with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    file, frames, made = folder / "p.png", folder / "frames", folder / "made"
    Image.fromarray(picture).save(file)
    frames.mkdir()
    for n in range(3):
        Image.fromarray(picture[n : n + 240, n : n + 320]).save(frames / f"{n}.png")
    for words in (["i", file, folder / "i.png"], ["p", frames, made]):
        what, *places = map(str, words)
        command = [*program("rembg"), what, "-m", MODEL, "-x", extras, *places]
        subprocess.run(command, check=True, stdout=sys.stderr)
    print(digest(folder / "i.png"), [digest(made / f"{n}.png") for n in range(3)])
    port = free_port()
    server = [*program("rembg"), "s", "--host", "127.0.0.1", "--port", port]
    with serving(server, port, "/api") as address:
        answer = httpx.post(
            f"{address}/api/remove",
            files={"file": file.read_bytes()},
            data={"model": MODEL},
            params={"extras": extras},
            timeout=300,
        )
        print(answer.status_code, hashlib.sha256(answer.content).hexdigest())
        page = Client(address, verbose=False)
        asked = [MODEL, False, 240, 10, 40, False, True, False, False, extras]
        print(digest(page.predict(handle_file(file), *asked, api_name="/inference")))
