"""The hook in a virtual environment for good: ``modelseal hook install`` and ``hook remove``.

A ``.pth`` file starts it with every Python of that environment, also where no environment
variables pass. ``install`` and ``remove`` undo each other.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from modelseal.errors import AccessDenied, InputMissing, Misuse
from modelseal.keys import files

NAME = "modelseal-hook.pth"
LINE = (
    "import sys; exec('try:\\n from modelseal.runtime import hook\\n"
    "except ImportError:\\n pass\\nelse:\\n hook.start()')\n"
)
"""Python runs a line of a ``.pth`` file that begins with ``import``; silent without modelseal."""
_ASK = (
    "import json, sys, sysconfig\n"
    "from importlib.util import find_spec\n"
    "print(json.dumps([sysconfig.get_path('purelib'), sys.prefix != sys.base_prefix,"
    " find_spec('modelseal') is not None]))"
)
_SECONDS = 60


class HookFile(NamedTuple):
    """Where the hook lies, or lay; ``changed`` is False when there was nothing to do."""

    python: str
    path: str
    changed: bool


def install(python: str | None = None) -> HookFile:
    """Every program of the virtual environment of ``python`` opens sealed models from now on.

    Without ``python`` the environment that modelseal itself runs in. Raises ``Misuse`` for a
    Python outside a virtual environment or without modelseal, ``InputMissing``, ``AccessDenied``,
    ``StateNotWritable``.
    """
    python, place, has_modelseal = _environment(python)
    if not has_modelseal:
        raise Misuse(f"that Python has no modelseal: run `{python} -m pip install modelseal` first")
    if _is_ours(place):
        return HookFile(python, str(place), changed=False)
    if place.exists():
        raise Misuse("there is another file of this name; it is left alone", path=str(place))
    files.replace(place, LINE.encode(), mode=0o644)
    return HookFile(python, str(place), changed=True)


def remove(python: str | None = None) -> HookFile:
    """The hook no longer starts by itself; raises as ``install`` does."""
    python, place, _ = _environment(python)
    if not place.exists():
        return HookFile(python, str(place), changed=False)
    if not _is_ours(place):
        raise Misuse("the file of this name is another's; it is left alone", path=str(place))
    try:
        place.unlink()
    except OSError as error:
        raise files.not_written(error, place) from None
    return HookFile(python, str(place), changed=True)


def _is_ours(place: Path) -> bool:
    try:
        return place.read_text("utf-8") == LINE
    except (OSError, UnicodeDecodeError):
        return False


def _environment(python: str | None) -> tuple[str, Path, bool]:
    named = python or sys.executable
    try:
        done = subprocess.run(
            [named, "-c", _ASK], capture_output=True, timeout=_SECONDS, check=False
        )
        folder, is_virtual, has_modelseal = json.loads(done.stdout)
    except FileNotFoundError:
        raise InputMissing("no such Python", path=named) from None
    except PermissionError:
        raise AccessDenied("not a Python that may be run", path=named) from None
    except (OSError, ValueError, TypeError, subprocess.SubprocessError):
        raise Misuse(f"{named} does not answer as a Python does") from None
    if not is_virtual:
        raise Misuse("the hook is for a virtual environment; for one program use `modelseal run`")
    return named, Path(str(folder)) / NAME, bool(has_modelseal)
