"""``modelseal run -- program``: the program under the hook, otherwise untouched.

Signals, exit code and standard streams are the program's own. What the environment carries is the
hook, where the license lies and where refusals are noted; never a key: children open the lease of
the same device by themselves.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from modelseal.errors import AccessDenied, InputMissing, Misuse, ModelsealError
from modelseal.runtime import isolated as told
from modelseal.runtime import isolation, reach, summary
from modelseal.runtime.hook import RECIPE_FILE, RUN_APP, RUN_RECIPE
from modelseal.runtime.report import FOUND, RUN_REPORT
from modelseal.runtime.summary import say

_FORWARDED = ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGWINCH")
_FROM_TERMINAL = frozenset({"SIGINT", "SIGQUIT", "SIGWINCH"})
_SIGNALLED = 128
_SI_KERNEL = 0x80
_IGNORED_BY_PYTHON = ("SIGPIPE", "SIGXFSZ")


def run(
    argv: Sequence[str],
    *,
    state: str | os.PathLike[str] | None = None,
    app: str | os.PathLike[str] | None = None,
    environ: Mapping[str, str] | None = None,
    isolated: bool = False,
    report: str | os.PathLike[str] | None = None,
) -> int:
    """The exit code of ``argv`` run under the hook; 128 + n when signal n ended it.

    ``state`` and ``app`` are passed on as ``MODELSEAL_STATE`` and ``MODELSEAL_APP``. A summary of
    the refusals goes to stderr at the end, and to the file ``report`` as one JSON object. With
    ``isolated`` what could bring foreign code into the program is taken away, or said where it
    cannot be. Raises ``Misuse`` for no program, ``InputMissing`` when it is not there,
    ``AccessDenied`` when it may not be run, what writing the report raises.
    """
    if not argv:
        raise Misuse("name the program to run")
    with summary.report_file() as told_in:
        env = environment(os.environ if environ is None else environ, state=state, app=app)
        if config := _config_of(argv):
            env[RUN_APP] = config
        if _has_recipe(argv, config):
            env[RUN_RECIPE] = "1"
        found: list[dict[str, Any]] = []
        if isolated:
            env, taken = isolation.clean(env, str(site_folder()))
            found = [told.entry(each) for each in taken]
            for each in taken:
                say(f"isolated: {each}")
            _journal(found, env)
        if told_in is not None:
            env[RUN_REPORT] = told_in
        reach.warn(argv)
        code = _spawn_and_wait(list(argv), env)
        entries = summary.entries(told_in)
        later = [entry for entry in entries if entry.get("code") == FOUND]
        _journal(later, env)
        summary.show(entries)
        if 0 < code < _SIGNALLED:
            summary.hint(entries)
        if report is not None:
            from modelseal.keys import files

            files.replace(Path(report), _report(code, entries, found + later), mode=0o644)
    return code


def _journal(found: Sequence[Mapping[str, Any]], env: Mapping[str, str]) -> None:
    """What was found is in the device's journal, where this program has one."""
    if not found:
        return
    from modelseal.client import Client

    with contextlib.suppress(ModelsealError):
        place = env.get("MODELSEAL_APP") or env.get(RUN_APP)
        with Client(app=place, state=env.get("MODELSEAL_STATE"), background=False) as client:
            for entry in found:
                kind, name, outcome = (entry.get(key) for key in ("kind", "name", "outcome"))
                client.journal.write("isolation", found=kind, name=name, outcome=outcome)


def _report(code: int, entries: Sequence[dict[str, Any]], found: Sequence[dict[str, Any]]) -> bytes:
    refused = [
        {name: entry.get(name) for name in ("code", "path", "reference", "lines")}
        for entry in summary.refusals(entries)
    ]
    shown = [{name: entry.get(name) for name in ("kind", "name", "outcome")} for entry in found]
    told = {"exit_code": code, "refusals": refused, "found": shown}
    return json.dumps(told, ensure_ascii=False, indent=1).encode() + b"\n"


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
    for name in (RUN_REPORT, RUN_APP, RUN_RECIPE):
        env.pop(name, None)
    return env


def site_folder() -> Path:
    """The folder whose only module is the hook's ``sitecustomize``."""
    return Path(__file__).resolve().parent / "site"


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


def _config_of(argv: Sequence[str]) -> str | None:
    """The ``modelseal.toml`` beside the program, else in this folder or a parent.

    The program and what it starts use it where they name none and have none beside them.
    """
    with contextlib.suppress(OSError, ValueError):
        folders = _folders(argv)
        here = Path.cwd()
        for folder in (*folders, here, *here.parents):
            place = folder / "modelseal.toml"
            if place.is_file():
                return str(place)
    return None


def _folders(argv: Sequence[str]) -> list[Path]:
    """The folder that the program lies in, where that can be told."""
    named = [Path(argument) for argument in argv if not argument.startswith("-")]
    scripts = named[1:2] if named and reach.PYTHON.fullmatch(named[0].name) else named[:1]
    return [script.resolve().parent for script in scripts if script.is_file()]


def program_folder(argv: Sequence[str]) -> Path:
    """The folder that the program lies in, else the current one."""
    with contextlib.suppress(OSError, ValueError):
        return next(iter(_folders(argv)), Path.cwd())
    return Path.cwd()


def _has_recipe(argv: Sequence[str], config: str | None) -> bool:
    """Whether there is an app recipe for this very program."""
    with contextlib.suppress(OSError, ValueError):
        folders = [*_folders(argv), *([Path(config).parent] if config else [])]
        return any((folder / RECIPE_FILE).is_file() for folder in folders)
    return False
