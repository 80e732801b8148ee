"""Folders of this process that stand in for sealed ones: which path means which file inside.

Looked at for every path that a framework opens, so nothing is imported here.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from modelseal.runtime.folder import SealedFolder

_roots: dict[str, SealedFolder] = {}


def add(root: str, folder: SealedFolder) -> None:
    """Paths below ``root`` mean the files of ``folder`` from now on."""
    for place in {root, os.path.realpath(root)}:
        _roots[place] = folder


def remove(root: str) -> None:
    """Paths below ``root`` mean nothing any more."""
    for place in {root, os.path.realpath(root)}:
        _roots.pop(place, None)


def at(path: str) -> tuple[SealedFolder, str] | None:
    """The folder that ``path`` lies in, and the name inside (``""``: the folder); else None."""
    if not _roots:
        return None
    place = os.path.normpath(os.path.join(os.getcwd(), path))  # noqa: PTH109, PTH118
    for root, folder in list(_roots.items()):
        if place == root or place.startswith(root + os.sep):
            return folder, place[len(root) + 1 :].replace(os.sep, "/")
    return None
