"""One run under observation, and the recipe that comes of it."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from modelseal.runtime import reach
from modelseal.runtime import run as runner
from modelseal.runtime.hook import OBSERVED
from modelseal.runtime.observe import MAX_LOG_BYTES, summary
from modelseal.runtime.recipes import Recipe

_COMMANDS = frozenset({"bin", "Scripts"})
"""Folders of programs that do not belong together."""


class Observed(NamedTuple):
    """What the program's end was, and what it did."""

    exit_code: int
    recipe: Recipe


def observe(
    argv: Sequence[str], *, name: str | None = None, entitlement: str | None = None
) -> Observed:
    """Runs ``argv`` once; raises as ``run`` does."""
    folder = runner.program_folder(argv)
    handle, place = tempfile.mkstemp(prefix="modelseal-observe-")
    os.close(handle)
    try:
        code = runner.run(argv, environ={**os.environ, OBSERVED: place})
        with Path(place).open("rb") as file:
            log = file.read(MAX_LOG_BYTES + 65536)
    finally:
        with contextlib.suppress(OSError):
            Path(place).unlink()
    told = summary.Told(
        name or _called(argv, folder),
        " ".join(Path(part).name for part in argv[:2]),
        str(folder),
        datetime.now(UTC).date().isoformat(),
        entitlement,
    )
    return Observed(code, summary.recipe(summary.events(log), told))


def _called(argv: Sequence[str], folder: Path) -> str:
    """What the program is called: as its folder, or as its command where that is one of many."""
    named = [Path(argument) for argument in argv[:2] if not argument.startswith("-")]
    is_python = bool(named) and reach.PYTHON.fullmatch(named[0].name) is not None
    program = named[1:] if is_python else named[:1]
    is_command = folder.name in _COMMANDS or (not is_python and not Path(argv[0]).is_file())
    if is_command and program:
        return program[0].stem or "program"
    return folder.name or "program"
