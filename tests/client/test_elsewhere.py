"""Activation, pull and load where Windows or macOS lack what Linux has.

Not run on those systems: the platform's name and the absent modules and functions are simulated
in a process of its own. Where Windows has a module that Linux lacks, one stands in for it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from tests import onnx_models

PROGRAM = textwrap.dedent("""
    import json, mmap, os, sys, types
    # Libraries that look at the platform are loaded before it changes its name.
    import ctypes, httpx, multiprocessing, numpy, onnxruntime, platform, safetensors.numpy
    import ssl, subprocess, tempfile, tuf.api.metadata, tuf.ngclient, uuid
    import cryptography.hazmat.bindings._rust

    name, job = sys.argv[1], json.loads(sys.argv[2])
    absent = {
        "win32": ("fcntl", "resource", "pwd", "grp", "termios"),
        "darwin": (),
    }[name]
    functions = {
        "win32": (
            "preadv", "pread", "pwrite", "pwritev", "memfd_create", "posix_fadvise", "fchmod",
            "sched_getaffinity", "posix_spawn", "posix_spawnp", "fork", "geteuid", "getuid",
            "register_at_fork", "O_CLOEXEC", "O_NOFOLLOW", "O_NONBLOCK", "O_DIRECTORY", "mlock",
        ),
        "darwin": ("preadv", "memfd_create", "posix_fadvise", "sched_getaffinity"),
    }[name]

    if name == "win32":
        import fcntl

        def locking(handle, mode, size, flock=fcntl.flock, kinds=(fcntl.LOCK_UN, 6)):
            flock(handle, kinds[1] if mode else kinds[0])

        msvcrt = types.ModuleType("msvcrt")
        msvcrt.LK_NBLCK, msvcrt.LK_UNLCK, msvcrt.locking = 2, 0, locking
        sys.modules["msvcrt"] = msvcrt
        ssl.enum_certificates = lambda store: []  # Windows' own certificates

    class Gone:
        def find_spec(self, asked, path=None, target=None):
            if asked in absent:
                raise ModuleNotFoundError(f"No module named {asked!r}", name=asked)

    for module in absent:
        sys.modules.pop(module, None)
    sys.meta_path.insert(0, Gone())
    for function in functions:
        if hasattr(os, function):
            delattr(os, function)
    for advice in ("MADV_HUGEPAGE", "MADV_DONTDUMP", "MADV_POPULATE_WRITE"):
        if hasattr(mmap, advice):
            delattr(mmap, advice)
    sys.platform = name
    if name == "win32":
        os.name = "nt"  # while the one module is imported that asks; paths here stay POSIX ones
        import modelseal.client.lock
        os.name = "posix"

    import modelseal

    with modelseal.Client(state=job["state"], server=job["server"], trust=job["trust"]) as client:
        client.activate(job["key"])
        pulled = client.pull(job["to"])
        told = client.status()
        modelseal.use(client)
        paths = {each.name: each.path for each in pulled.models}
        weights = modelseal.safetensors.load_file(paths["weights.safetensors"])
        session = modelseal.onnx.InferenceSession(paths["conv.onnx"])
        with modelseal.open(paths["weights.safetensors"]) as sealed:
            read = len(sealed.read(sealed.names()[0]))
        print(json.dumps({
            "state": told.state, "platform": sys.platform, "read": read,
            "sums": {key: float(value.sum()) for key, value in weights.items()},
            "outputs": [output.name for output in session.get_outputs()],
            "modules": sorted(set(absent) & set(sys.modules)),
        }))
        client.deactivate()
""")


@pytest.fixture(scope="module")
def models(shop, tmp_path_factory):
    """A safetensors file and an ONNX model, published; what they hold."""
    place = tmp_path_factory.mktemp("plain") / "weights.safetensors"
    arrays = {"a": np.arange(40_000, dtype=np.float32), "b": np.ones((3, 5), np.int64)}
    safetensors.numpy.save_file(arrays, place)
    plain = place.read_bytes()
    shop.publish("weights.safetensors", "many.models", plain)
    shop.publish("conv.onnx", "many.models", onnx_models.convolutions())
    return arrays, len(plain)


@pytest.mark.parametrize("platform", ["win32", "darwin"])
def test_a_device_is_activated_and_models_load_without_what_only_linux_has(
    shop, models, tmp_path: Path, platform: str
) -> None:
    arrays, size = models
    job = {
        "state": str(tmp_path / "state"), "to": str(tmp_path / "models"),
        "server": shop.server.url, "trust": str(shop.server.trust), "key": shop.issue("many")[0],
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, platform, json.dumps(job)],
        capture_output=True, text=True, check=False, timeout=300,
        env={k: v for k, v in os.environ.items() if not k.startswith("MODELSEAL_")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told == {
        "state": "ACTIVE", "platform": platform, "read": size, "modules": [],
        "sums": {name: float(array.sum()) for name, array in arrays.items()},
        "outputs": told["outputs"],
    }  # fmt: skip
    assert told["outputs"]
