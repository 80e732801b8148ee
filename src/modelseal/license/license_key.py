"""The license key, what a person types: ``MS-XXXXX-XXXXX-XXXXX-XXXXX``.

Eighty random bits as sixteen Crockford base32 symbols in four groups of four; the fifth symbol of
a group is a check symbol over the group and its place. ``parse`` undoes ``format``. The check is
linear over GF(32): it finds every single wrong symbol, every swap of two neighbours inside a
group and every swap of two whole groups that differ, and says in which group, without contact.
"""

from __future__ import annotations

from collections.abc import Callable

from modelseal.errors import LicenseKeyMistyped, SealedKeyInvalid

PREFIX = "MS"
SECRET_BYTES = 10
GROUPS = 4
SYMBOLS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_VALUES = {symbol: value for value, symbol in enumerate(SYMBOLS)} | {"O": 0, "I": 1, "L": 1}
_DATA = 4
_POLYNOMIAL = 0b100101  # x^5 + x^2 + 1, primitive over GF(2)
_MAX_TEXT = 64


def generate(random: Callable[[int], bytes]) -> str:
    """A fresh license key with 80 bits from ``random``."""
    return format(random(SECRET_BYTES))


def format(secret: bytes) -> str:
    """The text of the ten bytes ``secret``."""
    if len(secret) != SECRET_BYTES:
        raise SealedKeyInvalid("a license key has ten bytes")
    value = int.from_bytes(secret, "big")
    symbols = [(value >> shift) & 31 for shift in range(75, -1, -5)]
    groups = []
    for place in range(GROUPS):
        group = symbols[place * _DATA : (place + 1) * _DATA]
        groups.append("".join(SYMBOLS[s] for s in [*group, _check(group, place)]))
    return "-".join([PREFIX, *groups])


def parse(text: str) -> bytes:
    """The ten bytes of a typed key; lower case, O, I, L, blanks and lost dashes are forgiven.

    Raises ``LicenseKeyMistyped``; its parameter ``group`` (1 to 4) names the first bad group.
    """
    if not isinstance(text, str) or len(text) > _MAX_TEXT:
        raise LicenseKeyMistyped("a license key is a short text")
    kept = "".join(c for c in text.upper() if c not in "- \t\r\n\u2010\u2011\u2012\u2013\u2014")
    if kept.startswith(PREFIX) and len(kept) == len(PREFIX) + GROUPS * (_DATA + 1):
        kept = kept[len(PREFIX) :]
    if len(kept) != GROUPS * (_DATA + 1):
        raise LicenseKeyMistyped("a license key has MS and four groups of five symbols")
    value = 0
    for place in range(GROUPS):
        group = kept[place * (_DATA + 1) : (place + 1) * (_DATA + 1)]
        try:
            values = [_VALUES[c] for c in group]
        except KeyError:
            raise LicenseKeyMistyped("a symbol that no key has", group=place + 1) from None
        if _check(values[:_DATA], place) != values[_DATA]:
            raise LicenseKeyMistyped("the check symbol does not match", group=place + 1)
        for symbol in values[:_DATA]:
            value = value << 5 | symbol
    return value.to_bytes(SECRET_BYTES, "big")


def _check(group: list[int], place: int) -> int:
    """The check symbol: sum of symbol times x^(position + 1) in GF(32), plus the group's place.

    Distinct non-zero weights, and none of them 1 (the check symbol's own), catch every single
    error and every swap of neighbours; the place catches groups in the wrong order.
    """
    total = 0
    for position, symbol in enumerate(group):
        total ^= _times(symbol, position + 1)
    return total ^ (place + 1)


def _times(symbol: int, power: int) -> int:
    """``symbol`` times x to the ``power`` in GF(32)."""
    for _ in range(power):
        symbol <<= 1
        if symbol & 32:
            symbol ^= _POLYNOMIAL
    return symbol
