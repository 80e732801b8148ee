"""``modelseal run -- program``: the program under the hook, otherwise untouched.

Signals, exit code and standard streams are the program's own. What the environment carries is the
hook, where the license lies and where refusals are noted; never a key.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from modelseal.errors import AccessDenied, InputMissing, Misuse
from modelseal.runtime.hook import RUN_APP
from modelseal.runtime.report import MAX_REPORT_BYTES, RUN_REPORT

_FORWARDED = ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGWINCH")
_FROM_TERMINAL = frozenset({"SIGINT", "SIGQUIT", "SIGWINCH"})
_SI_KERNEL = 0x80
_IGNORED_BY_PYTHON = ("SIGPIPE", "SIGXFSZ")
_PYTHON = re.compile(r"(python|pypy)[0-9.]*(\.exe)?")
_ISOLATING, _TAKES_VALUE, _PROGRAM = "IES", "WX", "cm"


def run(
    argv: Sequence[str],
    *,
    state: str | os.PathLike[str] | None = None,
    app: str | os.PathLike[str] | None = None,
    environ: Mapping[str, str] | None = None,
) -> int:
    """The exit code of ``argv`` run under the hook; 128 + n when signal n ended it.

    ``state`` and ``app`` are passed on as ``MODELSEAL_STATE`` and ``MODELSEAL_APP``. A summary of
    the refusals goes to stderr at the end. Raises ``Misuse`` for no program, ``InputMissing``
    when it is not there, ``AccessDenied`` when it may not be run.
    """
    if not argv:
        raise Misuse("name the program to run")
    with _report_file() as report:
        env = environment(os.environ if environ is None else environ, state=state, app=app)
        if report is not None:
            env[RUN_REPORT] = report
        if config := _config_of(argv):
            env[RUN_APP] = config
        _warn_unreachable(argv)
        code = _spawn_and_wait(list(argv), env)
        _summary(report)
    return code


def environment(
    environ: Mapping[str, str],
    *,
    state: str | os.PathLike[str] | None = None,
    app: str | os.PathLike[str] | None = None,
) -> dict[str, str]:
    """``environ`` with the hook in front of ``PYTHONPATH``, which children inherit."""
    env = dict(environ)
    site = str(site_folder())
    old = [p for p in env.get("PYTHONPATH", "").split(os.pathsep) if p and p != site]
    env["PYTHONPATH"] = os.pathsep.join([site, *old])
    for name, value in (("MODELSEAL_STATE", state), ("MODELSEAL_APP", app)):
        if value is not None:
            env[name] = str(Path(value).absolute())
        elif env.get(name):
            env[name] = str(Path(env[name]).absolute())
    for name in (RUN_REPORT, RUN_APP):
        env.pop(name, None)
    return env


def site_folder() -> Path:
    """The folder whose only module is the hook's ``sitecustomize``."""
    return Path(__file__).resolve().parent / "site"


@contextlib.contextmanager
def _report_file() -> Iterator[str | None]:
    """An empty file of this user for refusals, gone afterwards; None where none can be made."""
    try:
        handle, place = tempfile.mkstemp(prefix="modelseal-run-")
    except OSError:
        yield None
        return
    os.close(handle)
    try:
        yield place
    finally:
        with contextlib.suppress(OSError):
            Path(place).unlink()


def _spawn_and_wait(argv: list[str], env: dict[str, str]) -> int:
    if not hasattr(os, "posix_spawnp") or not hasattr(signal, "sigwaitinfo"):
        return _plain_wait(argv, env)
    forwarded = {getattr(signal, name) for name in _FORWARDED if hasattr(signal, name)}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, forwarded | {signal.SIGCHLD})
    old_child = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        defaults = [getattr(signal, n) for n in _IGNORED_BY_PYTHON if hasattr(signal, n)]
        pid = _spawn(argv, env, setsigmask=before, setsigdef=defaults)
        return _wait(pid, forwarded)
    finally:
        signal.signal(signal.SIGCHLD, old_child)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _spawn(argv: list[str], env: dict[str, str], **how: Any) -> int:
    try:
        return os.posix_spawnp(argv[0], argv, env, **how)
    except FileNotFoundError:
        raise InputMissing("no such program", path=argv[0]) from None
    except (PermissionError, IsADirectoryError):
        raise AccessDenied("not a program that may be run", path=argv[0]) from None
    except OSError as error:
        if not os.access(argv[0], os.X_OK):
            raise AccessDenied(str(error.strerror), path=argv[0]) from None
        # A script without a `#!` line: the shell runs it, as it does when typed.
        return os.posix_spawnp("/bin/sh", ["/bin/sh", *argv], env, **how)
    except ValueError:
        raise Misuse("a program and its arguments hold no NUL") from None


def _wait(pid: int, forwarded: set[signal.Signals]) -> int:
    """Waits for the program; passes on signals that were meant for it and did not reach it."""
    while True:
        info = signal.sigwaitinfo(forwarded | {signal.SIGCHLD})
        if info.si_signo == signal.SIGCHLD:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done == pid:
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else 128 - code
            continue
        name = signal.Signals(info.si_signo).name
        if name in _FROM_TERMINAL and info.si_code == _SI_KERNEL:
            continue  # the terminal sent it to the program as well
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, info.si_signo)


def _plain_wait(argv: list[str], env: dict[str, str]) -> int:
    """For systems without POSIX signals: wait, and leave interrupts to the program."""
    try:
        child = subprocess.Popen(argv, env=env)
    except FileNotFoundError:
        raise InputMissing("no such program", path=argv[0]) from None
    except OSError:
        raise AccessDenied("not a program that may be run", path=argv[0]) from None
    while True:
        try:
            code = child.wait()
            return code if code >= 0 else 128 - code
        except KeyboardInterrupt:
            continue


def _warn_unreachable(argv: Sequence[str]) -> None:
    """Says so when Python is told to ignore the environment that carries the hook."""
    if not argv or not _PYTHON.fullmatch(Path(argv[0]).name):
        return
    letter = _isolating(argv[1:])
    if letter:
        _say(
            f"`{Path(argv[0]).name} -{letter}` ignores the hook, so sealed models stay closed. "
            "Leave the option out, or let the program begin with "
            "`import modelseal; modelseal.install()`."
        )


def _isolating(arguments: Sequence[str]) -> str | None:
    """The first option of the interpreter by which it ignores the environment or its site."""
    rest = iter(arguments)
    for argument in rest:
        if not argument.startswith("-") or argument in ("-", "--"):
            return None
        letters = "" if argument.startswith("--") else argument[1:]
        for place, letter in enumerate(letters):
            if letter in _ISOLATING:
                return letter
            if letter in _PROGRAM:
                return None
            if letter in _TAKES_VALUE:
                if place == len(letters) - 1:
                    next(rest, None)
                break
    return None


def _config_of(argv: Sequence[str]) -> str | None:
    """The ``modelseal.toml`` beside the program, else in this folder or a parent.

    The program and what it starts use it where they name none and have none beside them.
    """
    named = [Path(argument) for argument in argv if not argument.startswith("-")]
    scripts = named[1:2] if named and _PYTHON.fullmatch(named[0].name) else named[:1]
    with contextlib.suppress(OSError, ValueError):
        folders = [script.resolve().parent for script in scripts if script.is_file()]
        here = Path.cwd()
        for folder in (*folders, here, *here.parents):
            place = folder / "modelseal.toml"
            if place.is_file():
                return str(place)
    return None


def _summary(report: str | None) -> None:
    entries = _entries(report)
    if not entries:
        return
    refusals = {(str(e.get("code")), str(e.get("path"))): e for e in entries}
    _say(f"{len(refusals)} refused during this run:")
    for (code, path), entry in refusals.items():
        first = next((str(line) for line in entry.get("lines") or () if line), code)
        where = "" if path in first or path == "None" else f"{path}: "
        _say(f"  {where}{first} [{code}]")


def _entries(report: str | None) -> list[dict[str, Any]]:
    if report is None:
        return []
    try:
        data = Path(report).read_bytes()[: 2 * MAX_REPORT_BYTES]
    except OSError:
        return []
    found = []
    for line in data.splitlines():
        with contextlib.suppress(ValueError, RecursionError):
            entry = json.loads(line)
            if isinstance(entry, dict):
                found.append(entry)
    return found


def _say(text: str) -> None:
    stream = sys.stderr
    if stream is not None:
        with contextlib.suppress(OSError, ValueError):
            stream.write(f"modelseal: {text}\n")
            stream.flush()
