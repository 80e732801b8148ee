"""Keys that stood in objects of Python's own, which it frees unwiped."""

from __future__ import annotations

import ctypes
import sys

_WIPED_FROM_BYTES = 16  # shorter ones may be shared


def wipe_bytes(secret: bytes) -> None:
    """``secret``, an object that nobody uses from here on, holds zeros where Python allows it.

    Libraries hand keys out as ``bytes``, which Python frees unwiped. Only for an object that was
    made for the caller: never for a constant, or what somebody else may still hold.
    """
    if sys.implementation.name == "cpython" and len(secret) >= _WIPED_FROM_BYTES:
        start = id(secret) + bytes.__basicsize__ - 1
        if memoryview((ctypes.c_char * len(secret)).from_address(start)).cast("B") == secret:
            ctypes.memset(start, 0, len(secret))
