"""The license key: what a person types. ``MS-XXXXX-XXXXX-XXXXX-XXXXX``, Crockford base32. Pure.

Eighty random bits in four groups; the last symbol of a group is a check symbol over the group and
its place, so that a typing error is found, and its group named, without asking anybody.
``parse`` and ``format_key`` undo each other. Normative: ``docs/spec/tokens.md``, "License key".
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

from modelseal.crypto import hpke
from modelseal.crypto.hpke import KemOpener, KemPublicKey
from modelseal.errors import LicenseKeyMistyped, Misuse, SealedKeyInvalid
from modelseal.ids import CROCKFORD, Random
from modelseal.license.claims import SealedText
from modelseal.strict_json import JsonInvalid, b64u, unb64u

PREFIX = "MS"
RAW_BYTES = 10
GROUPS = 4
DATA_SYMBOLS = 4
MAX_TYPED = 128
LABEL = "license-key"

_SYMBOLS = GROUPS * (DATA_SYMBOLS + 1)
_VALUES = {symbol: value for value, symbol in enumerate(CROCKFORD)} | {"O": 0, "I": 1, "L": 1}
_FIELD = 0b100101  # x^5 + x^2 + 1, primitive over GF(2)
_SEPARATORS = frozenset(
    "-_.: \t\r\n\u00a0\u00ad\u2010\u2011\u2012\u2013\u2014\u2015\u2212\u200b\ufeff"
)


@dataclass(frozen=True, slots=True)
class KeyBinding:
    """Who may open a sealed license key, and in answer to which request."""

    server: str
    product: str
    jkt: str
    nonce: str

    def info(self) -> bytes:
        """The HPKE ``info``: label ``license-key``."""
        values = {
            "server": self.server,
            "product": self.product,
            "jkt": self.jkt,
            "nonce": self.nonce,
        }
        return hpke.info(LABEL, values)


def generate(random: Random) -> str:
    """A fresh license key of eighty bits from ``random``."""
    return format_key(random(RAW_BYTES))


def format_key(raw: bytes) -> str:
    """The one canonical text of ten bytes."""
    if len(raw) != RAW_BYTES:
        raise Misuse(f"a license key has {RAW_BYTES} bytes")
    number = int.from_bytes(raw, "big")
    groups = []
    for place in range(GROUPS):
        chunk = number >> 20 * (GROUPS - 1 - place) & 0xFFFFF
        values = [chunk >> 5 * (DATA_SYMBOLS - 1 - i) & 31 for i in range(DATA_SYMBOLS)]
        values.append(_check_value(values, place))
        groups.append("".join(CROCKFORD[value] for value in values))
    return "-".join((PREFIX, *groups))


def parse(text: str) -> bytes:
    """The ten bytes of a typed license key.

    Accepts lower case, full-width letters, missing or odd dashes and spaces, ``O`` for ``0``,
    ``I`` and ``L`` for ``1``, a missing ``MS``. Raises ``LicenseKeyMistyped``; ``group`` in its
    params is the first wrong group (1 to 4), absent when the length is wrong.
    """
    values = _symbols(text)
    number = 0
    for place in range(GROUPS):
        group = values[place * 5 : place * 5 + 5]
        data = [value for value in group if value is not None][:DATA_SYMBOLS]
        if None in group or _check_value(data, place) != group[DATA_SYMBOLS]:
            raise LicenseKeyMistyped(f"group {place + 1} is mistyped", group=place + 1)
        for value in data:
            number = number << 5 | value
    return number.to_bytes(RAW_BYTES, "big")


def seal(text: str, sealing_key: KemPublicKey, binding: KeyBinding) -> SealedText:
    """The license key, readable only by the server's sealing key; ``open_key`` undoes it.

    Raises ``LicenseKeyMistyped`` before anything is sealed.
    """
    ct = sealing_key.seal(parse(text), binding.info())
    return SealedText(recipient=sealing_key.kid, suite=hpke.SUITE, ct=b64u(ct))


def open_key(sealed: SealedText, opener: KemOpener, binding: KeyBinding) -> bytes:
    """The ten bytes; ``SealedKeyInvalid`` when sealed for another key, device or request."""
    if sealed.suite != hpke.SUITE or sealed.recipient != opener.kid:
        raise SealedKeyInvalid("sealed for another key")
    try:
        raw = opener.open(unb64u(sealed.ct), binding.info())
    except JsonInvalid:
        raise SealedKeyInvalid("not base64url") from None
    if len(raw) != RAW_BYTES:
        raise SealedKeyInvalid("no license key inside")
    return raw


def _symbols(text: str) -> list[int | None]:
    """Twenty values, None where the character is no symbol."""
    if not isinstance(text, str) or len(text) > MAX_TYPED:
        raise LicenseKeyMistyped(f"a license key is a text of at most {MAX_TYPED} characters")
    plain = unicodedata.normalize("NFKC", text).upper()
    symbols = "".join(char for char in plain if char not in _SEPARATORS)
    if len(symbols) == _SYMBOLS + len(PREFIX) and symbols.startswith(PREFIX):
        symbols = symbols[len(PREFIX) :]
    if len(symbols) != _SYMBOLS:
        raise LicenseKeyMistyped(f"a license key has {_SYMBOLS} symbols after {PREFIX}")
    return [_VALUES.get(symbol) for symbol in symbols]


def _check_value(data: list[int], place: int) -> int:
    """Over GF(32), with a = x: a^1 d1 + a^2 d2 + a^3 d3 + a^4 d4 + (place + 1)."""
    total = place + 1
    for power, value in enumerate(data, start=1):
        for _ in range(power):
            value <<= 1
            if value & 32:
                value ^= _FIELD
        total ^= value
    return total
