"""Finds speech with silero-vad: ONNX and TorchScript."""

import hashlib

import numpy as np
import torch
from silero_vad import get_speech_timestamps, load_silero_vad

torch.set_num_threads(1)
wave = torch.tensor(np.random.default_rng(0).standard_normal(48000).astype(np.float32) * 0.3)
for onnx in (True, False):
    model = load_silero_vad(onnx=onnx)
    print(get_speech_timestamps(wave, model, threshold=0.01))
    model.reset_states()
    said = [model(wave[i : i + 512], 16000).detach().numpy() for i in range(0, 8192, 512)]
    print(hashlib.sha256(b"".join(part.tobytes() for part in said)).hexdigest())
