"""A refusal is on stderr, in the journal and in the run's report before the exception leaves,
because programs catch everything and call ``os._exit``.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
from collections.abc import Iterator
from typing import Any

from modelseal.errors import (
    ConfigInvalid,
    InputMissing,
    InternalError,
    ModelsealError,
    NotActivated,
    NotFound,
    ReaderClosed,
    StateBusy,
    StateDamaged,
    TrustMalformed,
    TrustSignature,
)

RUN_REPORT = "MODELSEAL_RUN_REPORT"
MAX_REPORT_BYTES = 256 * 1024
MEMORY_NAME = "modelseal-run"
FOUND = "found"
"""The code of an entry that is no refusal: what an isolated run found."""
READ = "read"
"""The code of an entry that is no refusal: code that no app recipe names read sealed bytes."""
_ANSWERS = (InputMissing, NotFound, ReaderClosed)  # a program that looks for a file, not a refusal
_OF_THE_DEVICE = (
    ConfigInvalid, NotActivated, StateBusy, StateDamaged, TrustMalformed, TrustSignature,
)  # fmt: skip
"""What their texts call a path is that of the activation, the trust or a setting."""
_MAX_SEEN = 1024
_TOLD = "_modelseal_told"
_lock = threading.Lock()
_seen: dict[tuple[str, str], None] = {}


@contextlib.contextmanager
def told(client: Any, path: str | None) -> Iterator[None]:
    """Whatever leaves the block is of our error tree, and a refusal has been told before."""
    try:
        yield
    except ModelsealError as error:
        tell(error, path, client() if callable(client) else client)
        raise
    except (MemoryError, RecursionError):
        raise
    except OSError as error:
        from modelseal.runtime.source import translate

        ours = translate(error, path or "")
        tell(ours, path, client() if callable(client) else client)
        raise ours from error


def tell(error: ModelsealError, path: str | None, client: Any = None) -> None:
    """The refusal is on stderr, in the journal and in the run's report; once per error.

    The same reason for the same file is told once per process. Never raises.
    """
    if isinstance(error, _ANSWERS) or getattr(error, _TOLD, False):
        return
    setattr(error, _TOLD, True)
    if path is not None and not isinstance(error, _OF_THE_DEVICE):
        error.params.setdefault("path", path)
    with contextlib.suppress(Exception):
        if _is_new(error.code, str(path)):
            if client is not None:
                client.refusal(error)  # gives it the reference that stderr names
            _to_stderr(error)
            to_run_report(error, path)


def _is_new(code: str, path: str) -> bool:
    with _lock:
        if (code, path) in _seen:
            return False
        if len(_seen) >= _MAX_SEEN:
            _seen.clear()
        _seen[code, path] = None
        return True


def forget() -> None:
    """What was told before is told again; a forked child starts so, with a lock of its own."""
    global _lock  # noqa: PLW0603
    _lock = threading.Lock()
    _seen.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forget)


def lines(error: ModelsealError) -> list[str]:
    """The lines a person reads: what happened, why, what to do next."""
    reference = f" (reference {error.reference})" if error.reference else ""
    return [f"{error.message}{reference}", error.reason, error.next_step]


def _to_stderr(error: ModelsealError) -> None:
    stream = sys.stderr
    if stream is None:  # a windowed program
        return
    with contextlib.suppress(Exception):
        stream.write("".join(f"modelseal: {line}\n" for line in lines(error) if line))
        stream.flush()


def to_run_report(error: ModelsealError, path: str | None) -> None:
    """One line for the summary that ``modelseal run`` prints at the end."""
    append({
        "code": error.code,
        "internal": isinstance(error, InternalError),
        "path": path,
        "reference": error.reference,
        "lines": lines(error),
        "pid": os.getpid(),
    })  # fmt: skip


def append(entry: dict[str, Any]) -> None:
    """``entry`` is one more line of the run's report, where there is one. Never raises."""
    place = os.environ.get(RUN_REPORT)
    if not place:
        return
    line = json.dumps(entry, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
    with contextlib.suppress(OSError):
        handle = os.open(place, os.O_WRONLY | os.O_APPEND | getattr(os, "O_CLOEXEC", 0))
        try:
            known = not place.startswith("/proc/") or MEMORY_NAME in os.readlink(  # noqa: PTH115
                f"/proc/self/fd/{handle}"
            )  # the run may be gone, and its number another process's
            if known and os.fstat(handle).st_size + len(line) <= MAX_REPORT_BYTES:
                os.write(handle, line)
        finally:
            os.close(handle)
