"""A publisher, a server and a device, all of them the real ``modelseal`` command.

``Shell`` types commands as a person does: another process, its own streams and environment.
``here`` runs the same command line in this process, for tests about arguments and for set-up.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from modelseal.cli import main

BIN = Path(sys.executable).parent
OPENS = """
import sys, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1])
print("opened", session.get_inputs()[0].name)
"""


@dataclass(frozen=True)
class Ran:
    """What one command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict:
        """The one object on stdout; nothing else stands there."""
        found = json.loads(self.out)
        assert isinstance(found, dict)
        return found

    def refused(self, code: str, exit_code: int) -> dict:
        """The refusal of a command that ran with ``--json``, complete."""
        assert self.code == exit_code, (self.code, self.out, self.err)
        assert sorted(self.json) == ["code", "message", "next_step", "reference"]
        assert self.json["code"] == code
        assert self.json["message"] and self.json["next_step"]
        assert "Traceback" not in self.err
        return self.json

    def told(self, exit_code: int) -> list[str]:
        """The lines of a refusal for people: what, why, then what to do next."""
        assert self.code == exit_code, (self.code, self.out, self.err)
        assert self.out == ""
        lines = self.err.splitlines()
        assert lines[0].startswith("modelseal: ")
        assert 3 <= len(lines) <= 4
        assert all(line.startswith("  ") and line.endswith((".", "。")) for line in lines[-1:])
        return lines


@dataclass
class Shell:
    """A folder to work in and an environment with nothing of ours in it."""

    folder: Path
    more: dict[str, str] = field(default_factory=dict)

    @property
    def env(self) -> dict[str, str]:
        """PATH, HOME and what the test adds."""
        return {
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(self.folder),
            "LANG": "C.UTF-8",
            **self.more,
        }

    def start(self, *args: object, **how) -> subprocess.Popen[str]:
        """The running command."""
        program = args if how.pop("anything", False) else ("modelseal", *args)
        how.setdefault("stdin", subprocess.DEVNULL)
        how.setdefault("stdout", subprocess.PIPE)
        how.setdefault("stderr", subprocess.PIPE)
        env = {**self.env, **how.pop("env", {})}
        words = [str(word) for word in program]
        return subprocess.Popen(words, cwd=self.folder, env=env, text=True, **how)

    def __call__(self, *args: object, typed: str | None = None, **how) -> Ran:
        """The command, done."""
        if typed is not None:
            how["stdin"] = subprocess.PIPE
        with self.start(*args, **how) as process:
            out, err = process.communicate(typed, timeout=300)
        return Ran(process.returncode, out or "", err or "")


def here(*args: object) -> Ran:
    """The command line in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(arg) for arg in args])
    return Ran(code, out.getvalue(), err.getvalue())


@dataclass
class Shop:
    """A workspace whose server runs; ``trust`` is what its apps ship."""

    home: Path
    url: str

    @property
    def trust(self) -> Path:
        """The publisher's trust.json."""
        return self.home / "trust.json"

    @property
    def names(self) -> tuple[object, ...]:
        """The options with which a device finds this shop."""
        return ("--server", self.url, "--trust", self.trust)

    def do(self, *args: object) -> dict:
        """What a publisher's command answers."""
        ran = here(*args, "--home", self.home, "--json")
        assert ran.code == 0, ran
        return ran.json

    def issue(self, plan: str = "trial", *more: object) -> tuple[str, str]:
        """Key and id of a new license."""
        wish = ("--plan", plan, "--customer", "li@example.com", *more)
        made = self.do("license", "issue", *wish)
        return made["license_key"], made["license_id"]


@contextlib.contextmanager
def serving(
    shell: Shell, home: Path, env: Mapping[str, str] | None = None, *flags: object
) -> Iterator[str]:
    """The URL of ``modelseal server run``; it stops as by Ctrl-C and says so."""
    here = ("--home", home, "--listen", "127.0.0.1:0")
    started = shell.start("server", "run", *here, *flags, env=dict(env or {}))
    with started as server:
        seen = []
        for line in server.stderr:  # what the libraries log stands before
            seen.append(line)
            if "listens on https://" in line:
                break
        assert seen and "listens on https://" in seen[-1], "".join(seen)
        try:
            yield line.split("listens on ")[1].split()[0]
        finally:
            server.terminate()
            _, err = server.communicate(timeout=300)
    assert server.returncode == 0, err
    assert "stopped" in err
