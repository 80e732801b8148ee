"""Speaks with Piper over HTTP, and sets the vowels of Arabic with the model it brings."""

import hashlib
import sys

import httpx
from piper.tashkeel import TashkeelDiacritizer
from tests.apps.third_party.serving import free_port, serving

print(TashkeelDiacritizer().diacritize("السلام عليكم"))
port, voice = free_port(), f"{sys.argv[1]}/voice.onnx"
command = [sys.executable, "-m", "piper.http_server", "-m", voice, "--port", port]
with serving([*command, "--host", "127.0.0.1"], port, "/voices") as address:
    for text in ("Hello there.", "One, two. Three!"):
        answer = httpx.post(f"{address}/synthesize", json={"text": text}, timeout=300)
        print(answer.status_code, hashlib.sha256(answer.content).hexdigest())
