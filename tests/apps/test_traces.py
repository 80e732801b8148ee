"""Where plaintext could be after a load: system calls, files, the memory of the process."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from onnx import numpy_helper
from tests import onnx_models
from tests.apps.conftest import ROOT, Run, run_command
from tests.runtime.shop import Shop

MARKER = b"<plaintext of the model, 64 bytes that stand nowhere else at all>"[:64]
NAME = "graph_name_that_is_nobodys_business"
ROWS = 1 << 17
NEEDS_STRACE = pytest.mark.skipif(
    shutil.which("strace") is None, reason="needs strace: apt-get install strace"
)


def marked_model() -> bytes:
    """A model whose weight is full of the marker and whose graph has a telling name."""
    import onnx

    model = onnx.load_model_from_string(onnx_models.convolutions())
    model.graph.name = NAME
    (weight,) = (t for t in model.graph.initializer if t.name == "b")
    array = np.frombuffer(MARKER * (64 * 64 * 4 // 64), dtype=np.float32).reshape(64, 64)
    weight.CopyFrom(numpy_helper.from_array(array, "b"))
    return model.SerializeToString()


@NEEDS_STRACE
def test_no_system_call_carries_plaintext_out(
    shop: Shop, environment: dict[str, str], tmp_path: Path
) -> None:
    path, _ = shop.seal("conv.onnx", marked_model())
    trace = tmp_path / "trace"
    calls = (
        "write,pwrite64,writev,pwritev,pwritev2,sendto,sendmsg,sendmmsg,sendfile,copy_file_range"
    )
    prefix = ["strace", "-f", "-s", "1000000", "-o", str(trace), "-e", f"trace={calls},splice"]
    program = [sys.executable, str(ROOT / "tests/apps/programs/plain_onnx.py"), str(path)]
    found = run_command([*prefix, *program], environment)
    assert found.returncode == 0, found.stderr
    told = trace.read_bytes()
    assert b"write(" in told
    assert MARKER[:16] not in told
    assert NAME.encode() not in told


CACHES = """\
import hashlib, os, sys, onnx, onnxruntime, openvino
path, out = sys.argv[1:]
def has_sha256(path):
    return hashlib.sha256(open(path, "rb").read()).hexdigest()
def second(path):
    return onnx.load(path).graph.initializer[-1].raw_data[:4]
has_sha256(path), second(path)
options = onnxruntime.SessionOptions()
options.optimized_model_filepath = out + "/optimised.onnx"
onnxruntime.InferenceSession(path, options)
onnxruntime.InferenceSession(out + "/optimised.onnx")
core = openvino.Core()
core.set_property({"CACHE_DIR": out + "/openvino"})
core.compile_model(path, "CPU")
core.compile_model(path, "CPU")
print(sorted(os.listdir(out)), len(os.listdir(out + "/openvino")))
"""
CACHES_RECIPE = """\
typ = "modelseal-app-recipe"
version = 1
name = "caches"
title = "Caches"
[[reader]]
module = "__main__"
files = ["*.onnx"]
initializers = [-1]
[[check]]
module = "__main__"
function = "has_sha256"
kind = "sha256"
files = ["*.onnx"]
answer = "plain"
"""


@NEEDS_STRACE
def test_checks_second_readers_and_caches_write_no_plaintext_to_any_file(
    shop: Shop, environment: dict[str, str], tmp_path: Path
) -> None:
    path, _ = shop.seal("conv.onnx", marked_model())
    app, out, trace = tmp_path / "app", tmp_path / "out", tmp_path / "trace"
    app.mkdir()
    out.mkdir()
    (app / "app.py").write_text(CACHES)
    (app / "modelseal.recipe.toml").write_text(CACHES_RECIPE)
    calls = "write,pwrite64,writev,pwritev,pwritev2,sendto,sendmsg,sendfile,copy_file_range,splice"
    prefix = ["strace", "-f", "-y", "-s", "1000000", "-o", str(trace), "-e", f"trace={calls}"]
    program = [sys.executable, str(app / "app.py"), str(path), str(out)]
    found = run_command([*prefix, *program], environment)
    assert (found.returncode, found.stdout) == (0, "['openvino', 'optimised.onnx'] 1\n"), (
        found.stderr
    )
    lines = trace.read_bytes().splitlines()
    in_memory = [line for line in lines if b"</memfd:" in line]
    assert any(NAME.encode() in line for line in in_memory), "the search finds what is in memory"
    for line in lines:
        if b"</memfd:" not in line:
            assert MARKER[:16] not in line and NAME.encode() not in line
    for file in tmp_path.rglob("*"):
        if file.is_file() and file != trace:
            assert MARKER[:16] not in file.read_bytes(), file


@NEEDS_STRACE
def test_the_search_would_find_it(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    code = f"open({str(tmp_path / 'out')!r}, 'wb').write({MARKER!r})"
    command = ["strace", "-f", "-s", "1000000", "-o", str(trace), "-e", "trace=write"]
    subprocess.run([*command, sys.executable, "-c", code], check=True, timeout=300)
    assert MARKER[:16] in trace.read_bytes()


def test_no_file_holds_plaintext_after_a_load_or_a_kill(
    shop: Shop, environment: dict[str, str], protected: Run, tmp_path: Path
) -> None:
    path, _ = shop.seal("conv.onnx", marked_model())
    assert protected("plain_onnx.py", path, cwd=tmp_path).returncode == 0
    program = tmp_path / "dies.py"
    program.write_text(
        "import sys, os, signal, onnxruntime\n"
        "kept = onnxruntime.InferenceSession(sys.argv[1])\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert protected(program, path, cwd=tmp_path).returncode == 128 + 9
    for file in tmp_path.rglob("*"):
        if file.is_file():
            data = file.read_bytes()
            assert MARKER[:16] not in data, file
            assert NAME.encode() not in data or file == program, file


@pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="reads another process's memory as root"
)
def test_after_a_load_memory_holds_no_more_plaintext_than_a_plain_session_does(
    shop: Shop, environment: dict[str, str], tmp_path: Path
) -> None:
    """ONNX Runtime's own copy of the weights stays; the opened file does not."""
    data = onnx_models.embedding(MARKER * ROWS)
    plain = tmp_path / "plain.onnx"
    plain.write_bytes(data)
    sealed, _ = shop.seal("conv.onnx", data)
    program = tmp_path / "waits.py"
    program.write_text(WAITS)
    counts = {}
    for name, path in (("plain", plain), ("sealed", sealed)):
        command = [sys.executable, str(program), str(path)]
        with subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as child:
            assert child.stdin is not None and child.stdout is not None
            assert child.stdout.readline() == b"ready\n"
            counts[name] = count(child.pid, MARKER) / ROWS  # copies of the weight
            child.stdin.close()
            assert child.wait(60) == 0
    assert counts["plain"] >= 0.9, "the search finds the weights where they are"
    assert counts["sealed"] <= counts["plain"] + 0.1


WAITS = """\
import sys, modelseal
modelseal.install()
import onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
print("ready", flush=True)
sys.stdin.read()
"""


def count(pid: int, needle: bytes) -> int:
    """How often ``needle`` stands in the writable memory of process ``pid``."""
    found = 0
    maps = Path(f"/proc/{pid}/maps").read_text().splitlines()
    with open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in maps:
            place, rights = line.split()[:2]
            if not rights.startswith("rw"):
                continue
            start, end = (int(part, 16) for part in place.split("-"))
            try:
                memory.seek(start)
                found += memory.read(end - start).count(needle)
            except (OSError, ValueError, OverflowError):
                continue
    return found
