"""Real TPM 2.0 emulators for tests: ``swtpm`` processes with their state in a folder.

``requires_swtpm`` skips where there is none. ``SwTpm`` can be killed, stopped in order and started
again over the same state, as a computer loses power and gets it back.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from modelseal.errors import KeyStoreUnavailable
from modelseal.tpm2.chip import Tpm, connect
from modelseal.tpm2.chip.state import shutdown

requires_swtpm = pytest.mark.skipif(
    shutil.which("swtpm") is None, reason="needs swtpm: apt-get install swtpm swtpm-tools"
)
_PATIENCE_SECONDS = 120.0
_ports = itertools.count(2321)


@dataclass
class SwTpm:
    """One emulated TPM. ``address`` is what a ``tpm2:`` key URI holds."""

    folder: Path
    port: int | None = None
    authority: Path | None = None
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def state(self) -> Path:
        """The emulator's own folder: whoever copies it copies the TPM."""
        return self.folder / "state"

    @property
    def address(self) -> str:
        """Where it listens."""
        if self.port is not None:
            return f"{loopback()}:{self.port}"
        return f"unix:{self.folder / 'sock'}"

    @property
    def roots(self) -> list[Path]:
        """The certificates that the EK's certificate chains to, the issuer first."""
        assert self.authority is not None
        return [self.authority / "issuercert.pem", self.authority / "swtpm-localca-rootca-cert.pem"]

    def start(self) -> SwTpm:
        """It answers, after a power-up: nothing was told to it beforehand."""
        assert self.process is None
        self.state.mkdir(exist_ok=True)
        (self.folder / "sock").unlink(missing_ok=True)
        where = (
            f"type=tcp,port={self.port},bindaddr={loopback()}"
            if self.port is not None
            else f"type=unixio,path={self.folder / 'sock'}"
        )
        arguments = ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={self.state}"]
        arguments += ["--server", where, "--flags", "not-need-init,startup-clear"]
        self.process = subprocess.Popen(arguments, stderr=subprocess.DEVNULL)
        until = time.monotonic() + _PATIENCE_SECONDS
        while True:
            with contextlib.suppress(KeyStoreUnavailable):
                connect(self.address).close()
                return self
            assert self.process.poll() is None, "swtpm ended at its start"
            assert time.monotonic() < until, "swtpm does not answer"
            time.sleep(0.01)

    def connect(self) -> Tpm:
        """A connection of its own; the emulator serves one at a time."""
        return connect(self.address)

    def kill(self) -> None:
        """The power is gone."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """An orderly shutdown."""
        with self.connect() as tpm:
            shutdown(tpm)
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait()
            self.process = None

    def manufacture(self) -> None:
        """It has EK certificates by an authority of its own, as from a factory; not running."""
        self.state.mkdir(exist_ok=True)
        self.authority = self.folder / "ca"
        self.authority.mkdir(exist_ok=True)
        conf, options = self.folder / "localca.conf", self.folder / "localca.options"
        conf.write_text(
            f"statedir = {self.authority}\n"
            f"signingkey = {self.authority}/signkey.pem\n"
            f"issuercert = {self.authority}/issuercert.pem\n"
            f"certserial = {self.authority}/certserial\n"
        )
        options.write_text(
            "--platform-manufacturer Emulated\n--platform-version 1\n--platform-model Emulated\n"
        )
        setup = self.folder / "setup.conf"
        setup.write_text(
            f"create_certs_tool = {shutil.which('swtpm_localca')}\n"
            f"create_certs_tool_config = {conf}\n"
            f"create_certs_tool_options = {options}\n"
            "active_pcr_banks = sha256\n"
        )
        me = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True)
        command = ["swtpm_setup", "--tpm2", "--tpmstate", str(self.state), "--create-ek-cert"]
        command += ["--config", str(setup), "--runas", me.stdout.strip(), "--overwrite"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@contextlib.contextmanager
def emulator(*, tcp: bool = False, manufactured: bool = False) -> Iterator[SwTpm]:
    """A running TPM in a folder of its own, gone afterwards.

    A fresh one has no EK certificate; ``manufactured`` ones take seconds to make.
    """
    with tempfile.TemporaryDirectory(prefix="mstpm-") as folder:
        tpm = SwTpm(Path(folder), next(_ports) if tcp else None)
        if manufactured:
            tpm.manufacture()
        tpm.start()
        try:
            yield tpm
        finally:
            tpm.kill()


def loopback() -> str:
    """An address of this computer that only this process uses: no port on it is another's."""
    number = os.getpid()
    return f"127.{64 + (number >> 16) % 64}.{number >> 8 & 255}.{number & 255}"
