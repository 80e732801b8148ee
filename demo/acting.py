"""Running the commands of the story as a person would type them, each in its folder."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo.computers import Computer
from demo.interrupts import held_back, undisturbed
from demo.telling import Step, StoryFailed, Telling, relative
from modelseal.testing.ports import KeptPort

START_SECONDS = 300
STEP_SECONDS = 900


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """The one object on stdout."""
        return json.loads(self.stdout)


class Actor:
    """Somebody at a computer: a folder to stand in, an environment, and commands to type."""

    def __init__(
        self,
        telling: Telling,
        folder: Path,
        base: Path,
        computer: Computer,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.telling, self.folder, self.computer = telling, folder, computer
        self._base = base
        self._env = environment(folder, base) | dict(env or {})

    def types(
        self,
        title: str,
        words: Sequence[str | Path],
        *,
        code: int = 0,
        lines: int = 3,
        then: Callable[[Done, Step], None] | None = None,
    ) -> Done:
        """``words`` are run and told under ``title``; they must end with exit ``code``.

        ``lines`` is how many lines of talk are told, from their start; ``then`` adds to the step,
        or fails it, before it is told.
        """
        shown = relative(shlex.join(str(word) for word in words), self._base)
        with self.telling.doing(title, shown) as step:
            done = self.runs(words)
            if done.code != code:
                raise StoryFailed(_report(title, shown, code, done))
            step.refused = code != 0
            talk = [line.strip() for line in done.stderr.splitlines() if line.strip()]
            step.said = [relative(line, self._base) for line in talk[:lines]]
            if then is not None:
                then(done, step)
        return done

    def runs(self, words: Sequence[str | Path], *, env: Mapping[str, str] | None = None) -> Done:
        """``words`` are run and not told."""
        command = self.computer.command([str(word) for word in words])
        process = None
        try:
            with held_back():
                process = subprocess.Popen(
                    command, cwd=self.folder, env=self._env | dict(env or {}),
                    stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                    text=True, errors="replace", start_new_session=True,
                )  # fmt: skip
            stdout, stderr = process.communicate(timeout=STEP_SECONDS)
        except BaseException as error:
            if process is not None:
                with undisturbed():
                    _kill(process)
            if isinstance(error, subprocess.TimeoutExpired):
                raise StoryFailed(f"no end after {STEP_SECONDS} s: {command}") from None
            raise
        return Done(process.returncode, stdout, stderr)

    def asks(self, *words: str | Path, env: Mapping[str, str] | None = None) -> Any:
        """What one of the demo's own looks at this computer found (``demo.looking``)."""
        root = str(Path(__file__).resolve().parents[1])
        env = {"PYTHONPATH": root} | dict(env or {})
        done = self.runs([sys.executable, "-m", "demo.looking", *words], env=env)
        if done.code != 0:
            raise StoryFailed(_report(f"looking: {words[0]}", "demo.looking", 0, done))
        return done.json


class LicenseServer:
    """The license server, a process of its own; HTTPS on a free port of this computer."""

    def __init__(self, home: Path, base: Path) -> None:
        self._home, self._base, self._log = home, base, base / "server.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._port = KeptPort()
        self.address = f"127.0.0.1:{self._port.number}"
        self.url = ""

    def start(self) -> None:
        """It answers calls; after ``stop`` at the same address as before."""
        words = ["modelseal", "server", "run", "--home", str(self._home), "--listen", self.address]
        with self._log.open("ab") as log, held_back():
            at = log.tell()
            self._process = subprocess.Popen(
                words, cwd=self._home.parent, env=environment(self._home.parent, self._base),
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            said = self._log.read_bytes()[at:].decode("utf-8", "replace")
            if "listens on " in said:
                self.url = said.partition("listens on ")[2].split()[0]
                return
            if self._process.poll() is not None:
                break
            time.sleep(0.05)
        raise StoryFailed(f"the license server did not start:\n{self._log.read_text()}")

    def stop(self) -> None:
        """It has ended by itself after SIGTERM; doing it again changes nothing."""
        if self._process is None:
            return
        process, self._process = self._process, None
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(START_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _kill(process: subprocess.Popen[str]) -> None:
    """The process and its children have ended."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()  # until the last of them has closed its end of the pipes


def environment(home: Path, base: Path) -> dict[str, str]:
    """What a person at a fresh terminal has; temporary files of the story lie below ``base``."""
    kept = {
        name: value for name, value in os.environ.items() if name in {"PATH", "LD_LIBRARY_PATH"}
    }
    scratch = base / "tmp"
    scratch.mkdir(exist_ok=True)
    scripts = str(Path(sys.executable).parent)
    return kept | {
        "PATH": os.pathsep.join([scripts, kept.get("PATH", os.defpath)]),
        "HOME": str(home),
        "TMPDIR": str(scratch),
        "XDG_DATA_HOME": str(home / ".local" / "share"),
        "LANG": "C.UTF-8",
        "NO_PROXY": "127.0.0.1,localhost",
        "COLUMNS": "100",
    }


def _report(title: str, shown: str, wanted: int, done: Done) -> str:
    said = (done.stdout + done.stderr).strip()
    return f"{title}: exit code {done.code}, not {wanted}\n$ {shown}\n{said}"
