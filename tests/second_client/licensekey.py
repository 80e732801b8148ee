"""License keys as people type them (tokens.md, section 12)."""

from __future__ import annotations

import unicodedata

from .encoding import Refused

_SYMBOLS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_CODE = "license_key_mistyped"
_DASHES = "-\u2010\u2011\u2012\u2013\u2014\u2015\u2212\u00ad"
_DROPPED = _DASHES + ". :_\t\r\n\u2028\u2029\u0085\x0b\x0c"


def _times_a(value: int, power: int) -> int:
    """value · a^power in GF(32) with x^5 + x^2 + 1."""
    for _ in range(power):
        value = value << 1 ^ (0b100101 if value & 16 else 0)
    return value


def check_symbol(data: list[int], group: int) -> int:
    """The fifth symbol of group 1 to 4."""
    total = group
    for power, symbol in enumerate(data, 1):
        total ^= _times_a(symbol, power)
    return total


def parse(text: str) -> bytes:
    """The ten bytes of a license key, or the group that was mistyped."""
    cleaned = unicodedata.normalize("NFKC", text).upper()
    cleaned = "".join(c for c in cleaned if c not in _DROPPED)
    cleaned = cleaned.replace("O", "0").replace("I", "1").replace("L", "1")
    if len(cleaned) == 22 and cleaned.startswith("MS"):
        cleaned = cleaned[2:]
    if len(cleaned) != 20:
        raise Refused(_CODE, "twenty symbols are wanted")
    bits = 0
    for group in range(1, 5):
        part = cleaned[5 * group - 5 : 5 * group]
        values = [_SYMBOLS.find(symbol) for symbol in part]
        if -1 in values or check_symbol(values[:4], group) != values[4]:
            raise Refused(_CODE, f"group {group}", {"group": group})
        for value in values[:4]:
            bits = bits << 5 | value
    return bits.to_bytes(10, "big")
