"""What the C library keeps of memory that a framework has given back."""

from __future__ import annotations

import contextlib
import ctypes
import sys

WORTH_BYTES = 16 << 20
"""Below it there is too little to find."""


def trim() -> None:
    """Whole pages that nothing in the C heap uses are the system's again, erased.

    A framework that repacks weights gives the unpacked ones back to the C library, which keeps
    the pages, and what is written there, for a next time. Does nothing where the C library has
    no such call.
    """
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(ctypes.c_size_t(0))
