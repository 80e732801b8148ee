"""A folder that appears whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from modelseal.errors import (
    InputMissing,
    OutputExists,
    WorkspaceExists,
)
from modelseal.keys import files

MARKER = "trust.json"
_PARTS = ("desk", "server")


@contextlib.contextmanager
def new_folder(home: Path) -> Iterator[Path]:
    """A private folder to fill; when the block ends well its content is ``home``.

    When the block fails, or anything here does, nothing is left. Raises ``WorkspaceExists`` where
    there is a workspace, ``OutputExists`` where there is anything else, ``InputMissing`` when the
    parent folder is missing.
    """
    target = Path(os.path.realpath(home))
    empty = _check_free(target)
    parent = target if empty else target.parent
    staged = parent / f".modelseal-init-{secrets.token_hex(8)}"
    try:
        staged.mkdir(mode=0o700)
    except OSError as error:
        raise files.not_written(error, target) from None
    try:
        yield staged
        _move_into(staged, target) if empty else _rename(staged, target)
    except OSError as error:
        raise files.not_written(error, target) from None
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _check_free(target: Path) -> bool:
    """True when ``target`` is an empty folder, False when there is nothing."""
    try:
        present = sorted(entry.name for entry in target.iterdir())
    except FileNotFoundError:
        if not target.parent.is_dir():
            raise InputMissing("there is no such folder", path=str(target.parent)) from None
        return False
    except NotADirectoryError:
        raise OutputExists("a file stands there", path=str(target)) from None
    except OSError as error:
        raise files.translated(error, target) from None
    if MARKER in present or set(_PARTS) & set(present):
        raise WorkspaceExists("there is a workspace already", path=str(target))
    if present:
        raise OutputExists("the folder is not empty", path=str(target))
    return True


def _rename(staged: Path, target: Path) -> None:
    try:
        staged.rename(target)
    except OSError as error:
        if target.exists():
            raise WorkspaceExists("somebody made it meanwhile", path=str(target)) from None
        raise files.not_written(error, target) from None


def _move_into(staged: Path, target: Path) -> None:
    """Move everything into the empty folder ``target``, the marker last; undo on failure."""
    names = sorted(
        (path.name for path in staged.iterdir()), key=lambda name: (name == MARKER, name)
    )
    moved: list[str] = []
    try:
        for name in names:
            if os.path.lexists(target / name):
                raise WorkspaceExists("somebody made it meanwhile", path=str(target))
            (staged / name).rename(target / name)
            moved.append(name)
    except BaseException:
        for name in moved:
            with contextlib.suppress(OSError):
                (target / name).rename(staged / name)
        raise
