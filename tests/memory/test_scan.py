"""Who can read an opened model out of the memory of the process that holds it."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import openvino
import pytest
import safetensors.numpy
import torch
from onnx import TensorProto, helper, numpy_helper
from tests import small_models
from tests.memory.scanner import Found, Scanner, counts
from tests.runtime.shop import NOW, PRODUCT, Shop

from modelseal import container
from modelseal.memory import Arena
from modelseal.types import EntitlementExpression, MemoryProtection

ROOT = Path(__file__).resolve().parents[2]
NOBODY = 65534
WEIGHTS = np.random.default_rng().standard_normal((512, 1024), dtype=np.float32)
PLAIN = WEIGHTS.tobytes()

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: /proc/PID/mem")


class Child:
    """The process of ``loads.py``."""

    def __init__(self, shop: Path, sealed: Path, uid: int, kind: str, protection: str) -> None:
        program = str(ROOT / "tests/memory/loads.py")
        command = [sys.executable, program, str(shop), str(sealed), str(uid), kind, protection]
        env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=env,
            text=True,
            start_new_session=True,
        )
        self.pid = self.process.pid

    def go_on(self, line: str = "") -> str:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def end(self) -> None:
        """The process is gone, and what a library of it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.communicate()


def files(kind: str, folder: Path) -> dict[str, bytes]:
    """The model as ``kind`` takes it, by name."""
    if kind in ("view", "by_pieces"):
        return {"m.bin": PLAIN}
    if kind == "onnx":
        return {"m.onnx": onnx_product()}
    if kind == "litert":
        return {"m.tflite": small_models.tflite_model(WEIGHTS, np.zeros(512, np.float32))}
    if kind == "openvino":
        rows = openvino.opset13.parameter([1, 512], np.float32)
        weights = openvino.opset13.constant(WEIGHTS)
        product = openvino.opset13.matmul(rows, weights, False, False)
        names = "m.xml", "m.bin"
        made = openvino.Model([product], [rows], "m")
        openvino.serialize(made, *(str(folder / name) for name in names))
        return {name: (folder / name).read_bytes() for name in names}
    if kind == "torch.load":
        saved = io.BytesIO()
        torch.save({"w": torch.from_numpy(WEIGHTS)}, saved)
        return {"m.pt": saved.getvalue()}
    return {"m.safetensors": safetensors.numpy.save({"w": WEIGHTS})}


def onnx_product() -> bytes:
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 512])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1024])]
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    weights = [numpy_helper.from_array(WEIGHTS, "w")]
    graph = helper.make_graph(nodes, "g", inputs, outputs, weights)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    made.ir_version = 8
    return bytes(made.SerializeToString())


@contextlib.contextmanager
def running(kind: str, protection: MemoryProtection) -> Iterator[Child]:
    with tempfile.TemporaryDirectory(prefix="modelseal-scan-") as made:  # others may enter it
        yield from _running(Path(made), kind, protection)


def _running(folder: Path, kind: str, protection: MemoryProtection) -> Iterator[Child]:
    with tempfile.TemporaryDirectory() as plain:
        inside = files(kind, Path(plain))
    shop = Shop(folder)
    entries = [container.EntryPlan(n, container.BytesSource(d)) for n, d in inside.items()]
    right = EntitlementExpression.parse(["face.swap"])
    section = container.SectionPlan(right, entries, memory=protection)
    sink = container.BytesSink()
    plan = container.SealPlan(PRODUCT, "m", "1", 1, NOW, [section], chunk_bytes=65536)
    result = container.seal(
        plan, sink, publisher=shop.publisher, recovery=shop.recovery, random=os.urandom
    )
    (folder / "m.sealed").write_bytes(sink.getvalue())
    shop.keys[result.file_id.hex()] = {str(k): v.hex() for k, v in result.data_keys.items()}
    shop.save()
    uid = os.getuid()
    if uid == 0:  # an ordinary user's process, which root looks into
        uid = NOBODY
        for place in (folder, *folder.iterdir()):
            os.chown(place, NOBODY, NOBODY)
    child = Child(folder, folder / "m.sealed", uid, kind, protection)
    try:
        yield child
    finally:
        child.end()


def as_user(pid: int) -> str:
    """What a process of the same user gets when it opens the other's memory."""
    code = (
        "import os, sys\n"
        f"if os.getuid() == 0: os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})\n"
        f"try: open('/proc/{pid}/mem', 'rb').close()\n"
        "except PermissionError: print('refused')\n"
        "else: print('opened')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


MAY_LOOK = os.getuid() == 0
OURS = ["numpy", "pt", "by_rows", "from_bytes", "by_pieces", "view"]


def scanned(kind: str, protection: MemoryProtection) -> dict[str, Found]:
    """What root finds in the middle of a load, while the model is kept, and when it is gone.

    Another process of the same user may not even look from the moment the model is opened.
    """
    if Arena(4096, protection).reached is not protection:
        pytest.skip(f"needs {protection} memory: a kernel with secretmem enabled")
    control, scanner, found = os.urandom(64), Scanner(PLAIN), dict[str, Found]()
    with running(kind, protection) as child:
        assert child.go_on(control.hex()) == "ready"
        assert as_user(child.pid) == "opened"  # nothing was opened yet
        assert counts(child.pid, [control])[0] >= 1  # the scanner finds what is there
        for told in ("loading", f"held {protection}", "gone"):
            assert child.go_on() == told
            assert as_user(child.pid) == "refused"
            if MAY_LOOK:
                found[told.split()[0]] = scanner.scan(child.pid)
                assert found[told.split()[0]].scanned_bytes > 1 << 20
            else:
                with pytest.raises(PermissionError):
                    scanner.scan(child.pid)
        assert child.go_on() == "64"
    return found


@pytest.mark.parametrize(
    ("kind", "protection"),
    [
        *((kind, MemoryProtection.LOCKED) for kind in ("numpy", "from_bytes")),
        *((kind, MemoryProtection.SECRET) for kind in OURS),
    ],
)
def test_root_finds_all_of_an_opened_model_under_locked_and_none_under_secret(
    kind: str, protection: MemoryProtection
) -> None:
    """In the middle of the load and after it. Nothing is left where the last array is gone."""
    found = scanned(kind, protection)
    if protection is MemoryProtection.SECRET:
        # What a register spilled onto a stack is 16 bytes.
        assert all(each.windows_64 == 0.0 for each in found.values()), found
        assert all(each.windows_16 < 0.001 for each in found.values()), found
    elif found:
        assert found["loading"].windows_64 > 0.3, found
        assert found["held"].windows_64 == 1.0, found
        assert found["gone"].windows_64 == 0.0, found


@pytest.mark.parametrize("kind", ["torch.load", "openvino", "onnx", "litert"])
def test_what_a_framework_copies_is_found_by_root_whatever_the_protection(kind: str) -> None:
    """As the threat model says; another process of the same user finds nothing of it."""
    found = scanned(kind, MemoryProtection.SECRET)
    assert not found or found["held"].windows_64 > 0.9, found
