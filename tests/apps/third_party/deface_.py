"""Hides the faces of a picture and of a video with deface, by ONNX Runtime and by OpenCV."""

import hashlib
import pathlib
import subprocess
import tempfile

import imageio_ffmpeg
import numpy as np
import skimage.data
from PIL import Image
from tests.apps.third_party.serving import program

picture = skimage.data.astronaut()
with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    Image.fromarray(picture).save(folder / "p.png")
    video = imageio_ffmpeg.write_frames(str(folder / "v.mp4"), (320, 240), fps=10)
    video.send(None)
    for n in range(20):
        video.send(np.ascontiguousarray(picture[2 * n : 2 * n + 240, 80 + 3 * n : 400 + 3 * n]))
    video.close()
    for backend in ("onnxrt", "opencv"):
        for file in ("p.png", "v.mp4"):
            made = folder / f"{backend}-{file}"
            asked = [folder / file, "-o", made, "--backend", backend, "--replacewith", "mosaic"]
            subprocess.run([*program("deface"), *map(str, asked)], check=True, capture_output=True)
            print(backend, file, hashlib.sha256(made.read_bytes()).hexdigest())
