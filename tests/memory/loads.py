"""``loads.py SHOP PATH UID KIND``: loads a sealed model again and again, then holds it.

Says ``ready`` before it opens anything, ``loading`` while it does, ``held`` when one copy is kept;
goes on at every line of its standard input.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
from tests.runtime.shop import ShopLicensee

import modelseal.openvino
import modelseal.safetensors
import modelseal.torch
from modelseal.runtime import default

shop, path, uid, kind = sys.argv[1:]
for name in {"numpy": (), "openvino": ("openvino", "secrets")}.get(kind, ("torch",)):
    importlib.import_module(name)  # the other user may not read where Python is installed
if int(uid) != os.getuid():
    os.setgroups([])
    os.setgid(int(uid))
    os.setuid(int(uid))
ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # dumpable, as every ordinary process is


def heard() -> str:
    """A line, without the lock of ``sys.stdin``: OpenVINO's telemetry forks, and waits for it."""
    line = b""
    while not line.endswith(b"\n") and (more := os.read(0, 4096)):
        line += more
    return line.decode()


def say(word: str) -> None:
    print(word, flush=True)
    heard()


marker = np.frombuffer(bytes.fromhex(heard()), dtype=np.uint8).copy()


licensee = ShopLicensee(Path(shop))
default.use_licensee(licensee)
say("ready")
del marker
over = threading.Event()


def load() -> Any:
    if kind == "openvino":
        return modelseal.openvino.Core().compile_model(path, "CPU")
    if kind == "torch.load":
        return modelseal.torch.load(path)
    return modelseal.safetensors.load_file(path, framework=kind)


def used(model: Any) -> int:
    """Every weight had a part in it."""
    if kind == "openvino":
        return int(model(np.ones((1, 512), dtype=np.float32))[0].size)
    return int(np.asarray(model["w"]).view(np.uint8).sum(dtype=np.uint64))


def again_and_again() -> None:
    while not over.is_set():
        load()


thread = threading.Thread(target=again_and_again)
load()
thread.start()
say("loading")
over.set()
thread.join()
kept = load()
say(f"held {used(kept)} {licensee.protections[-1] if licensee.protections else None}")
del kept
say("gone")
