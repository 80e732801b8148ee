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
from tests.memory.scanner import Scanner
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

    def __init__(self, shop: Path, sealed: Path, uid: int, kind: str) -> None:
        program = str(ROOT / "tests/memory/loads.py")
        command = [sys.executable, program, str(shop), str(sealed), str(uid), kind]
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


@pytest.fixture(params=["locked", "secret"])
def protection(request: pytest.FixtureRequest) -> MemoryProtection:
    wanted = MemoryProtection(request.param)
    if Arena(4096, wanted).reached is not wanted:
        pytest.skip(f"needs {wanted} memory: a kernel with secretmem enabled")
    return wanted


@pytest.fixture
def child(protection: MemoryProtection) -> Iterator[Child]:
    """A process of an ordinary user that will open a model which demands ``protection``."""
    with running("numpy", protection) as child:
        yield child


def files(kind: str, folder: Path) -> dict[str, bytes]:
    """The model as ``kind`` takes it, by name."""
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
    child = Child(folder, folder / "m.sealed", uid, kind)
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


def test_what_a_scanner_of_the_memory_finds(child: Child, protection: MemoryProtection) -> None:
    """The same user finds nothing under either protection. Root finds all of it under ``locked``,
    and none under ``secret``, during the load and after it."""
    control, scanner = os.urandom(4096), Scanner(PLAIN)
    assert child.go_on(control.hex()) == "ready"
    assert as_user(child.pid) == "opened"  # nothing was opened yet
    may_look = os.getuid() == 0
    assert Scanner(control).scan(child.pid).windows_64 == 1.0  # the scanner finds what is there
    assert child.go_on() == "loading"
    assert as_user(child.pid) == "refused"
    during = [scanner.scan(child.pid) for _ in range(3)] if may_look else []
    total = int(np.frombuffer(PLAIN, dtype=np.uint8).sum(dtype=np.uint64))
    assert child.go_on() == f"held {total} {protection}"
    assert as_user(child.pid) == "refused"
    if not may_look:
        with pytest.raises(PermissionError):
            scanner.scan(child.pid)
        return
    after = scanner.scan(child.pid)
    assert child.go_on() == "gone"
    gone = scanner.scan(child.pid)
    assert after.scanned_bytes > 1 << 20
    if protection is MemoryProtection.LOCKED:
        assert after.windows_16 == after.windows_64 == 1.0
    else:
        # What a register spilled onto a stack is 16 bytes.
        assert after.windows_64 == 0.0 and after.windows_16 < 0.0001, after
        assert all(found.windows_64 == 0.0 for found in during), during
        assert all(found.windows_16 < 0.001 for found in during), during
    assert gone.windows_64 == 0.0  # wiped as the last array went


@pytest.mark.parametrize("kind", ["pt", "torch.load", "openvino"])
def test_what_a_scanner_finds_of_other_frameworks(kind: str) -> None:
    """The same user finds nothing, during the load and after it. Root finds what is held; tensors
    of safetensors are wiped as the last one goes, what torch and OpenVINO allocated need not be."""
    scanner = Scanner(PLAIN)
    with running(kind, MemoryProtection.LOCKED) as child:
        assert child.go_on(bytes(16).hex()) == "ready"
        assert as_user(child.pid) == "opened"
        assert child.go_on() == "loading"
        assert as_user(child.pid) == "refused"
        assert child.go_on().startswith("held ")
        assert as_user(child.pid) == "refused"
        if os.getuid() != 0:
            return
        assert scanner.scan(child.pid).windows_64 == 1.0
        assert child.go_on() == "gone"
        assert as_user(child.pid) == "refused"
        assert scanner.scan(child.pid).windows_64 == 0.0 or kind != "pt"
