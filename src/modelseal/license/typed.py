"""What people type and read out: groups of Crockford symbols, each with a check symbol. Pure.

The last symbol of a group is computed over the group and its place, so that a typing error is
found, and its group named, without asking anybody. ``write`` and ``read`` undo each other.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

from modelseal.ids import CROCKFORD

MAX_TYPED = 128
_VALUES = {symbol: value for value, symbol in enumerate(CROCKFORD)} | {"O": 0, "I": 1, "L": 1}
_FIELD = 0b100101  # x^5 + x^2 + 1, primitive over GF(2)
_SEPARATORS = frozenset(
    "-_.: \t\r\n\u00a0\u00ad\u2010\u2011\u2012\u2013\u2014\u2015\u2212\u200b\ufeff"
)


class Mistyped(Exception):
    """``group`` (from 1) is the first that does not fit; None when the length is wrong."""

    def __init__(self, group: int | None = None) -> None:
        super().__init__(group)
        self.group = group


@dataclass(frozen=True, slots=True)
class Form:
    """``groups`` groups of ``data`` symbols and one check symbol, after an optional ``prefix``."""

    groups: int
    data: int
    prefix: str = ""

    @property
    def symbols(self) -> int:
        """How many symbols there are in all."""
        return self.groups * (self.data + 1)

    @property
    def bits(self) -> int:
        """How many bits of a number they hold."""
        return 5 * self.groups * self.data

    def write(self, number: int) -> str:
        """The one canonical text of ``number`` (below ``2 ** bits``)."""
        groups = []
        for place in range(self.groups):
            chunk = number >> 5 * self.data * (self.groups - 1 - place)
            values = [chunk >> 5 * (self.data - 1 - i) & 31 for i in range(self.data)]
            values.append(_check_value(values, place))
            groups.append("".join(CROCKFORD[value] for value in values))
        return "-".join((self.prefix, *groups) if self.prefix else groups)

    def read(self, text: str) -> int:
        """The number of a typed text; ``Mistyped`` names the first wrong group.

        Accepts lower case, full-width letters, missing or odd dashes and spaces, ``O`` for ``0``,
        ``I`` and ``L`` for ``1``, a missing prefix.
        """
        values, size, number = self._values(text), self.data + 1, 0
        for place in range(self.groups):
            group = values[place * size : (place + 1) * size]
            known = [value for value in group if value is not None]
            if len(known) != size or _check_value(known[:-1], place) != known[-1]:
                raise Mistyped(place + 1)
            for value in known[:-1]:
                number = number << 5 | value
        return number

    def _values(self, text: str) -> list[int | None]:
        """The values of the symbols, None where a character is none."""
        if not isinstance(text, str) or len(text) > MAX_TYPED:
            raise Mistyped
        plain = unicodedata.normalize("NFKC", text).upper()
        symbols = "".join(char for char in plain if char not in _SEPARATORS)
        if len(symbols) == self.symbols + len(self.prefix) and symbols.startswith(self.prefix):
            symbols = symbols[len(self.prefix) :]
        if len(symbols) != self.symbols:
            raise Mistyped
        return [_VALUES.get(symbol) for symbol in symbols]


def _check_value(data: list[int], place: int) -> int:
    """Over GF(32), with a = x: a^1 d1 + a^2 d2 + a^3 d3 + ... + (place + 1)."""
    total = place + 1
    for power, value in enumerate(data, start=1):
        for _ in range(power):
            value <<= 1
            if value & 32:
                value ^= _FIELD
        total ^= value
    return total
