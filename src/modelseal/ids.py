"""Ids: a prefix that says what the thing is, and a UUIDv7 (RFC 9562, section 5.7). Pure.

``lic_0190a5e2-7b1c-7f3a-9c1d-0242ac120002``: sorts by time of making, says nothing else. The
*reference* of an id is what a person reads out on the phone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import datetime

from modelseal.errors import Misuse
from modelseal.types import check_aware

PREFIXES = frozenset(
    {"lic", "dev", "lea", "den", "rel", "req", "evt", "pln", "cus", "mod", "prd", "tok", "srv"}
    | {"whk", "rly", "syn", "dlg"}
)
CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
REFERENCE_LENGTH = 8
_VERSION_AND_VARIANT = 0x7 << 76 | 0b10 << 62
_FREE = ~(0xF << 76 | 0b11 << 62)
_PAIRS = [high + low for high in CROCKFORD for low in CROCKFORD]

Random = Callable[[int], bytes]
"""That many random bytes, like ``secrets.token_bytes``."""


def new_id(prefix: str, now: datetime, random: Random) -> str:
    """A fresh id of the kind ``prefix`` (one of ``PREFIXES``), made at ``now``.

    Takes ten bytes from ``random``. Raises ``Misuse`` for another prefix or a naive ``now``.
    """
    if prefix not in PREFIXES:
        raise Misuse("an id has one of the known prefixes", prefix=str(prefix)[:16])
    milliseconds = int(check_aware(now).timestamp() * 1000)
    if not 0 <= milliseconds < 1 << 48:
        raise Misuse("an id is made after 1970")
    noise = int.from_bytes(random(10), "big")
    text = f"{milliseconds << 80 | noise & _FREE | _VERSION_AND_VARIANT:032x}"
    return f"{prefix}_{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def reference(of: str) -> str:
    """The eight Crockford symbols of an id: 40 bits of its SHA-256, the same every time."""
    digest = hashlib.sha256(b"modelseal reference\x00" + of.encode("utf-8")).digest()
    number = int.from_bytes(digest[:5], "big")
    return "".join([_PAIRS[number >> shift & 1023] for shift in (30, 20, 10, 0)])


def normal_reference(text: str) -> str:
    """``text`` as ``reference`` writes it: upper case, O is 0, I and L are 1, no dashes."""
    kept = "".join(char for char in text.upper() if char.isascii() and char.isalnum())
    return kept.replace("O", "0").replace("I", "1").replace("L", "1")
