"""Ids and references: type-prefixed UUIDv7 (RFC 9562, section 5.7), and what support asks for.

Pure: the time and the randomness are arguments.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable
from datetime import datetime

from modelseal.errors import Misuse
from modelseal.types import check_aware

PREFIXES = frozenset(
    {"lic", "dev", "lea", "den", "rel", "req", "evt", "pln", "cus", "mod", "prd", "tok", "srv"}
)
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
REFERENCE_CHARS = 8


def new_id(prefix: str, now: datetime, random: Callable[[int], bytes]) -> str:
    """A fresh id like ``lic_01890a5d-ac96-774b-bcce-b302099a8057``; ids sort by time."""
    if prefix not in PREFIXES:
        raise Misuse(f"no such id prefix: {prefix}")
    milliseconds = int(check_aware(now).timestamp() * 1000) & (2**48 - 1)
    tail = int.from_bytes(random(10), "big")
    value = (
        (milliseconds << 80)
        | (0x7 << 76)
        | (((tail >> 62) & 0xFFF) << 64)
        | (0x2 << 62)
        | (tail & (2**62 - 1))
    )
    return f"{prefix}_{uuid.UUID(int=value)}"


def reference(identifier: str) -> str:
    """The eight characters (40 bits, Crockford base32) by which people name ``identifier``."""
    digest = hashlib.sha256(b"modelseal reference\0" + identifier.encode("utf-8")).digest()
    value = int.from_bytes(digest[:5], "big")
    return "".join(
        _CROCKFORD[(value >> shift) & 31] for shift in range(5 * (REFERENCE_CHARS - 1), -1, -5)
    )


def normal_reference(text: str) -> str:
    """``text`` as ``reference`` writes it: upper case, O as 0, I and L as 1, no dashes."""
    kept = "".join(c for c in text.upper() if c.isalnum())
    return kept.replace("O", "0").replace("I", "1").replace("L", "1")
