"""GNOME Keyring on a D-Bus of its own: the Secret Service that desktops have."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

PASSWORD = "a login password"


class SecretService:
    """A running daemon; ``variables`` lead a process to it."""

    def __init__(self, folder: Path, *, unlocked: bool = True) -> None:
        for program in ("dbus-daemon", "gnome-keyring-daemon"):
            if shutil.which(program) is None:
                pytest.skip(f"needs {program}: apt-get install dbus gnome-keyring")
        (folder / "run").mkdir(mode=0o700)
        self.variables = {
            "HOME": str(folder),
            "XDG_DATA_HOME": str(folder / "share"),
            "XDG_RUNTIME_DIR": str(folder / "run"),
            "PATH": os.environ["PATH"],
        }
        self._bus = subprocess.Popen(
            ["dbus-daemon", "--session", "--nofork", "--print-address"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=self.variables, text=True,
        )  # fmt: skip
        assert self._bus.stdout is not None
        self.variables["DBUS_SESSION_BUS_ADDRESS"] = self._bus.stdout.readline().strip()
        self._daemon: subprocess.Popen[str] | None = None
        self.start(unlocked=unlocked)

    def start(self, *, unlocked: bool) -> None:
        """Afterwards the daemon serves; ``unlocked`` by the login password, or locked."""
        told = ["--unlock"] if unlocked else ["--start"]
        self._daemon = subprocess.Popen(
            ["gnome-keyring-daemon", "--foreground", "--components=secrets", *told[:unlocked]],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env=self.variables, text=True,
        )  # fmt: skip
        assert self._daemon.stdin is not None
        if unlocked:
            self._daemon.stdin.write(PASSWORD)
        self._daemon.stdin.close()
        self._wait(owned=True)

    def _wait(self, *, owned: bool) -> None:
        """Returns when somebody owns the name of the Secret Service, or nobody does."""
        until = time.monotonic() + 60
        while time.monotonic() < until:
            asked = subprocess.run(
                ["dbus-send", "--session", "--print-reply", "--dest=org.freedesktop.DBus", "/",
                 "org.freedesktop.DBus.NameHasOwner", "string:org.freedesktop.secrets"],
                env=self.variables, capture_output=True, text=True, check=False,
            )  # fmt: skip
            if ("boolean true" in asked.stdout) is owned:
                return
            time.sleep(0.05)
        raise AssertionError(f"the Secret Service is {'not ' if owned else ''}there")

    def stop_daemon(self) -> None:
        """Afterwards the bus is there and nobody keeps secrets on it."""
        _end(self._daemon)
        self._daemon = None
        self._wait(owned=False)

    def close(self) -> None:
        """Afterwards both processes are gone."""
        _end(self._daemon)
        _end(self._bus)


def _end(process: subprocess.Popen[str] | None) -> None:
    if process is not None:
        process.terminate()
        process.wait(60)
        if process.stdout is not None:
            process.stdout.close()
