"""A machine that measures its boot: QEMU without KVM, OVMF, a TPM emulator, Debian's cloud kernel.

``boot`` starts it and waits until the guest speaks. Needs no root and no network.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.tpm import SwTpm
from tests.vm.guest import CONTROL
from tests.vm.line import HELLO, Line

FIRMWARE = Path("/usr/share/OVMF/OVMF_CODE_4M.fd")
VARIABLES = Path("/usr/share/OVMF/OVMF_VARS_4M.fd")
COMMAND_LINE = "console=ttyS0 panic=-1 lockdown=confidentiality"
CACHE = Path(__file__).resolve().parents[2] / ".cache" / "vm"
BOOT_SECONDS = 300.0
_PACKAGE = "linux-image-cloud-amd64"

requires_machine = pytest.mark.skipif(
    not (
        FIRMWARE.exists()
        and all(shutil.which(name) for name in ("qemu-system-x86_64", "swtpm", "dpkg", "apt-get"))
    ),
    reason="needs a machine: apt-get install qemu-system-x86 ovmf swtpm swtpm-tools",
)


def kernel() -> Path:
    """Debian's cloud kernel, downloaded and unpacked once; nothing is installed."""
    found = sorted(CACHE.glob("boot/vmlinuz-*-cloud-amd64"))
    if found:
        return found[-1]
    CACHE.mkdir(parents=True, exist_ok=True)
    shown = subprocess.run(
        ["apt-cache", "depends", _PACKAGE], capture_output=True, text=True, check=True
    ).stdout
    package = next(x.split()[-1] for x in shown.splitlines() if "Depends: linux-image-" in x)
    subprocess.run(["apt-get", "download", "-q", package], cwd=CACHE, check=True)
    (archive,) = CACHE.glob(f"{package}_*.deb")
    subprocess.run(["dpkg", "-x", str(archive), str(CACHE)], check=True)
    archive.unlink()
    (image,) = CACHE.glob("boot/vmlinuz-*-cloud-amd64")
    return image


@dataclass
class Guest:
    """A guest that speaks. ``line`` is this end of its serial line."""

    line: Line
    folder: Path
    boot_seconds: float

    def __post_init__(self) -> None:
        self._port = self.line.listen(CONTROL)

    def tell(self, **asked: Any) -> dict[str, Any]:
        """One question to the guest's process 1."""
        with socket.create_connection(("127.0.0.1", self._port)) as made, made.makefile("rwb") as f:
            f.write(json.dumps(asked).encode() + b"\n")
            f.flush()
            answer = f.readline()
        assert answer, self.console[-3000:]
        found: dict[str, Any] = json.loads(answer)
        return found

    def __call__(self, *argv: object) -> dict[str, Any]:
        """``modelseal argv...`` in the guest: its code, out, err."""
        return self.tell(argv=[str(a) for a in argv])

    def do(self, *argv: object) -> Any:
        """As calling it, with ``--json``; it has to succeed."""
        ran = self(*argv, "--json")
        assert ran["code"] == 0, (argv, ran)
        return json.loads(ran["out"])

    def read(self, path: str) -> bytes:
        """A file of the guest."""
        return base64.b64decode(self.tell(read=path)["data"])

    def write(self, path: str, data: bytes) -> None:
        """A file for the guest."""
        self.tell(write=path, data=base64.b64encode(data).decode())

    @property
    def console(self) -> str:
        """What the guest wrote on its console."""
        return (self.folder / "console.txt").read_text("utf-8", "replace")


@contextlib.contextmanager
def boot(
    folder: Path, tpm: SwTpm, image: Path, *, command_line: str = COMMAND_LINE
) -> Iterator[Guest]:
    """The machine with that TPM (whose emulator does not run yet), up and speaking."""
    folder.mkdir()
    variables, line = folder / "vars.fd", folder / "line.sock"
    shutil.copyfile(VARIABLES, variables)
    control = folder / "tpm.sock"
    emulator = subprocess.Popen(
        ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={tpm.state}", "--ctrl",
         f"type=unixio,path={control}", "--flags", "startup-clear", "--terminate"],
    )  # fmt: skip
    _await(control.exists, emulator)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(line))
    listener.listen(1)
    started = time.monotonic()
    machine = subprocess.Popen(
        ["qemu-system-x86_64", "-machine", "q35,accel=tcg", "-cpu", "Nehalem,+rdrand",
         "-m", "1536", "-smp", str(min(2, os.cpu_count() or 1)), "-display", "none", "-nodefaults",
         "-no-reboot", "-device", "virtio-rng-pci",
         "-drive", f"if=pflash,format=raw,readonly=on,file={FIRMWARE}",
         "-drive", f"if=pflash,format=raw,file={variables}",
         "-chardev", f"socket,id=tpm,path={control}", "-tpmdev", "emulator,id=tpm0,chardev=tpm",
         "-device", "tpm-tis,tpmdev=tpm0",
         "-kernel", str(kernel()), "-initrd", str(image), "-append", command_line,
         "-serial", f"file:{folder / 'console.txt'}",
         "-chardev", f"socket,id=line,path={line}", "-serial", "chardev:line"],
    )  # fmt: skip
    try:
        listener.settimeout(30)
        connection, _ = listener.accept()
        connection.settimeout(BOOT_SECONDS)
        _await_hello(connection, folder)
        connection.settimeout(None)
        made = Line(connection.recv, connection.sendall, 1)
        made.start()
        yield Guest(made, folder, time.monotonic() - started)
    finally:
        for process in (machine, emulator):
            process.terminate()
        for process in (machine, emulator):
            process.wait(30)
        listener.close()


def _await_hello(connection: socket.socket, folder: Path) -> None:
    """Returns behind the guest's first words; before them the firmware speaks on this line."""
    seen = b""
    while not seen.endswith(HELLO):
        part = connection.recv(1)
        assert part, (folder / "console.txt").read_text("utf-8", "replace")[-3000:]
        seen = (seen + part)[-len(HELLO) :]


def _await(ready: Any, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 30
    while not ready():
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.01)
