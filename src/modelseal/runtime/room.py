"""Memory for opened weights, as protected as is demanded."""

from __future__ import annotations

from modelseal.errors import MemoryNotReached
from modelseal.memory import HUGE_PAGE_BYTES, Arena
from modelseal.runtime.ports import Licensee
from modelseal.types import MemoryProtection


def make(size_bytes: int, wanted: MemoryProtection, licensee: Licensee) -> Arena:
    """Memory of ``size_bytes`` under ``wanted``, on the device's record; ``MemoryNotReached``
    before anything is decrypted into memory that is too open."""
    arena = Arena(size_bytes, wanted)
    licensee.reached(arena.reached, swap_safe=arena.swap_safe)
    if wanted is MemoryProtection.SECRET and arena.reached is not MemoryProtection.SECRET:
        raise MemoryNotReached(
            "no such memory on this system", reached=str(arena.reached), needed=str(wanted)
        )
    if size_bytes < HUGE_PAGE_BYTES:  # larger ones lie on huge pages, touched as they come
        arena.populate()
    return arena
