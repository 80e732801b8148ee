"""Whose code is at work: the module and function that asked for a file."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType

_PASSED = (sys.stdlib_module_names - {"__main__"}) | {"modelseal", "onnx", "numpy", "importlib"}
"""Top-level names that act for somebody else."""
_HOOK = "modelseal.runtime.hook"
"""Acts for the program, too."""


def caller(depth: int = 1) -> tuple[str, str]:
    """Module and function of the nearest code that acts for itself; two empty texts for none.

    The standard library, ``onnx``, ``numpy`` and modelseal act for who called them.
    """
    frame: FrameType | None = sys._getframe(depth)
    while frame is not None:
        name = str(frame.f_globals.get("__name__", ""))
        if name.partition(".")[0] not in _PASSED:
            return name, frame.f_code.co_name
        frame = frame.f_back
    return "", ""


def is_own(depth: int = 1) -> bool:
    """Whether modelseal itself asked, if by way of the standard library."""
    frame: FrameType | None = sys._getframe(depth)
    while frame is not None:
        name = str(frame.f_globals.get("__name__", ""))
        top = name.partition(".")[0]
        if top == "modelseal" and not name.startswith(_HOOK):
            return True
        if top != "modelseal" and top not in _PASSED:
            return False
        frame = frame.f_back
    return False
