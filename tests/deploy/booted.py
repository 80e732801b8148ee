"""A Debian of its own that systemd boots, with the license server installed as the how-to tells.

``systemd-nspawn`` shares the host's kernel and nothing else of it; the guest has no network but its
own loopback. Its own system call filter is off, so that what is refused is refused by our units.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
UNITS = ROOT / "deploy" / "systemd"
PROGRAM = "/opt/modelseal/bin/modelseal"
PACKAGES = "systemd,systemd-sysv,dbus,python3,python3-venv,iproute2"
NEEDED = "mmdebstrap", "systemd-nspawn", "nsenter"

requires_machine = pytest.mark.skipif(
    os.getuid() != 0 or any(shutil.which(name) is None for name in NEEDED),
    reason="as root: apt-get install mmdebstrap systemd-container util-linux",
)


def done(*command: object, **more: str) -> str:
    """What the command says; it succeeds."""
    ran = subprocess.run(
        [str(each) for each in command], capture_output=True, text=True, check=False,
        env={**os.environ, **more},
    )  # fmt: skip
    assert ran.returncode == 0, (command, ran.stdout[-2000:], ran.stderr[-2000:])
    return ran.stdout


def system(folder: Path) -> Path:
    """A root folder of Debian's present release in ``folder``, and in it what the server needs."""
    root = folder / "root"
    codename = next(
        line.partition("=")[2].strip('"\n')
        for line in Path("/etc/os-release").read_text().splitlines()
        if line.startswith("VERSION_CODENAME")
    )
    done("mmdebstrap", "--quiet", "--variant=minbase", f"--include={PACKAGES}", codename, root)
    wheels = root / "opt" / "wheels"
    pip = (sys.executable, "-m", "pip", "-q")
    locked = ROOT / "requirements" / "server.txt"
    version = done("chroot", root, "python3", "-c", "import sys; print(*sys.version_info[:2])")
    done(*pip, "download", "--no-deps", "--require-hashes", "--only-binary", ":all:",
         "--python-version", ".".join(version.split()), "-r", locked, "-d", wheels)  # fmt: skip
    done(*pip, "wheel", "--no-deps", "--no-build-isolation", ROOT, "-w", wheels)
    shutil.copy(locked, wheels)
    return root


class Guest:
    """The running system in ``root``; ``close`` ends it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._nspawn = subprocess.Popen(
            ["systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit",
             "--capability=all", "--private-network", "--resolv-conf=off",
             f"--directory={root}", f"--machine=modelseal-{os.getpid()}"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={**os.environ, "SYSTEMD_SECCOMP": "0", "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
        )  # fmt: skip
        self._pid = ""
        assert self.until(self._is_up, 120), "the guest does not boot"

    def _is_up(self) -> bool:
        children = Path(f"/proc/{self._nspawn.pid}/task/{self._nspawn.pid}/children")
        self._pid = children.read_text().split()[-1] if children.read_text().split() else ""
        if not self._pid:
            return False
        ran = self.run("systemctl", "is-system-running")
        return ran.stdout.strip() in ("running", "degraded")

    def run(self, *command: object) -> subprocess.CompletedProcess[str]:
        """``command`` as root in the guest."""
        inside = ["nsenter", "-t", self._pid, "-m", "-u", "-i", "-n", "-p", "-C", "env", "-i",
                  "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"]  # fmt: skip
        return subprocess.run(
            [*inside, *(str(each) for each in command)],
            capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def do(self, *command: object) -> str:
        """What it says; it succeeds."""
        ran = self.run(*command)
        assert ran.returncode == 0, (command, ran.stdout[-2000:], ran.stderr[-2000:])
        return ran.stdout

    def modelseal(self, *arguments: object) -> str:
        """A command of the publisher, as the service's user."""
        return self.do(
            "runuser", "-u", "modelseal", "--", "env", "MODELSEAL_HOME=/var/lib/modelseal",
            PROGRAM, *arguments,
        )  # fmt: skip

    def shown(self, unit: str, *names: str) -> dict[str, str]:
        """Properties of a unit."""
        lines = self.do("systemctl", "show", unit, *(f"-p{name}" for name in names)).splitlines()
        return dict(line.split("=", 1) for line in lines)

    @staticmethod
    def until(true: object, seconds: float = 120) -> bool:
        """Whether it comes true in time."""
        end = time.monotonic() + seconds
        while not true():  # type: ignore[operator]
            if time.monotonic() > end:
                return False
            time.sleep(0.2)
        return True

    def close(self) -> None:
        """The guest is off."""
        if self._pid:
            self.run("systemctl", "poweroff")
        try:
            self._nspawn.wait(60)
        except subprocess.TimeoutExpired:
            self._nspawn.kill()
            self._nspawn.wait(60)
