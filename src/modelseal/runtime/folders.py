"""Which sealed file the path of a folder means. Imports next to nothing: most folders are plain."""

from __future__ import annotations

import os

from modelseal.runtime import places
from modelseal.runtime.sniff import find, is_sealed_file

ENDING = ".sealed"
WEIGHTS = (
    ".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".gguf", ".onnx", ".onnx_data", ".ort",
    ".tflite", ".xml", ".param",
)  # fmt: skip
"""Files that a hooked loader opens by itself."""


def sealed_path(path: str) -> tuple[str, str] | None:
    """The sealed file that the folder ``path`` means, and the folder inside it (``""``: all).

    ``models/tiny`` is the sealed file itself, ``models/tiny.sealed`` where there is nothing of that
    name, or ``models/tiny/tiny.sealed``; ``models/tiny/unet`` is the folder ``unet`` inside. The
    sealed file of a single file of weights is no folder.
    """
    if places.at(path) is not None or "\0" in path:
        return None
    bare = os.path.normpath(path)
    found, name = find(bare)
    if is_sealed_file(found):
        return None if name is None and found.lower().endswith(WEIGHTS) else (found, name or "")
    inner = ""
    while True:
        is_there = os.path.lexists(bare)
        place = _inside(bare) if is_there else bare + ENDING
        if is_sealed_file(place):
            return place, inner
        above, name = os.path.split(bare)
        if is_there or not name or not above:
            return None
        bare, inner = above, f"{name}/{inner}".rstrip("/")


def _inside(folder: str) -> str:
    """The sealed file with the folder's own name in it."""
    return os.path.join(folder, os.path.basename(os.path.abspath(folder)) + ENDING)  # noqa: PTH100, PTH118, PTH119
