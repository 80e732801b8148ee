"""What the processes of one ``modelseal run`` tell: gathered where nothing is left behind, and the
summary at its end (``docs/adr/0084-refusals-of-a-run-are-gathered-in-a-file.md``).
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from modelseal.runtime.report import FOUND, MAX_REPORT_BYTES, MEMORY_NAME, READ

_PREFIX = "modelseal-run-"
_MAX_HINTS = 4


@contextlib.contextmanager
def report_file() -> Iterator[str | None]:
    """The path of an empty file of this user, gone with this process; None where there is none.

    On Linux it is a file in memory. Elsewhere it lies in the temporary folder, and what a run that
    was killed left there is removed by the next one.
    """
    with contextlib.ExitStack() as stack:
        try:
            place = _in_memory(stack) or _in_a_folder(stack)
        except OSError:
            place = None
        yield place


def _in_memory(stack: contextlib.ExitStack) -> str | None:
    if not hasattr(os, "memfd_create"):
        return None
    descriptor = os.memfd_create(MEMORY_NAME)
    stack.callback(os.close, descriptor)
    os.fchmod(descriptor, 0o600)
    place = f"/proc/{os.getpid()}/fd/{descriptor}"
    return place if os.access(place, os.R_OK | os.W_OK) else None


def _in_a_folder(stack: contextlib.ExitStack) -> str:
    _sweep(Path(tempfile.gettempdir()))
    handle, place = tempfile.mkstemp(prefix=f"{_PREFIX}{os.getpid()}-")
    os.close(handle)

    def gone() -> None:
        with contextlib.suppress(OSError):
            Path(place).unlink()

    stack.callback(gone)
    return place


def _sweep(folder: Path) -> None:
    for path in folder.glob(f"{_PREFIX}*"):
        number = path.name.removeprefix(_PREFIX).partition("-")[0]
        with contextlib.suppress(OSError):
            if number.isdecimal() and not _is_running(int(number)):
                path.unlink()


def _is_running(pid: int) -> bool:
    if sys.platform == "win32":  # a signal 0 would end it there; an open file stays anyway
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def entries(report: str | None) -> list[dict[str, Any]]:
    """Every entry that the processes of the run wrote."""
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


def refusals(told: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The refusals among them, each reason and file once."""
    kept = [e for e in told if e.get("code") not in (FOUND, READ)]
    return list({(str(e.get("code")), str(e.get("path"))): e for e in kept}.values())


def show(told: Sequence[dict[str, Any]]) -> None:
    """The refusals are on stderr, one line each."""
    refused = refusals(told)
    if not refused:
        return
    say(f"{len(refused)} refused during this run:")
    for entry in refused:
        code, path = str(entry.get("code")), str(entry.get("path"))
        first = next((str(line) for line in entry.get("lines") or () if line), code)
        where = "" if path in first or path == "None" else f"{path}: "
        say(f"  {where}{first} [{code}]")


def hint(told: Sequence[dict[str, Any]]) -> None:
    """Of a program that failed: which code read sealed bytes and got no answer of a recipe."""
    read = {(str(e.get("by")), str(e.get("path"))) for e in told if e.get("code") == READ}
    for by, path in sorted(read)[:_MAX_HINTS]:
        say(
            f"{by} read the sealed bytes of {path}. If it compares or reads the plain file,"
            " `modelseal app observe` writes an app recipe that answers it."
        )


def say(text: str) -> None:
    """One line on stderr, where there is one."""
    stream = sys.stderr
    if stream is not None:
        with contextlib.suppress(OSError, ValueError):
            stream.write(f"modelseal: {text}\n")
            stream.flush()
