"""The outer encodings in which evidence and endorsements travel: gzip, hex, base64. Pure."""

from __future__ import annotations

import base64
import binascii
import re
import zlib

from modelseal.attest.verify.steps import malformed

MAX_BYTES = 16 << 20
_GZIP = b"\x1f\x8b"
_HEX = re.compile(rb"(?:0[xX])?[0-9a-fA-F\s]+")
_BASE64 = re.compile(rb"[A-Za-z0-9+/_\-]+={0,2}")
_SHORTEST = 32


def peel(data: bytes) -> bytes:
    """``data`` without gzip and without hex or base64 text around it; JSON and PEM stay as is.

    Binary evidence is never taken for text: all of it would have to be hex or base64 digits.
    """
    if len(data) > MAX_BYTES:
        malformed(f"longer than {MAX_BYTES} bytes")
    if data.startswith(_GZIP):
        data = _gunzip(data)
    text = data.strip()
    if len(text) < _SHORTEST or text.startswith(b"-----BEGIN "):
        return data  # PEM consists of letters of base64url too
    if _HEX.fullmatch(text):
        digits = b"".join(text.split())
        digits = digits[2:] if digits[:2].lower() == b"0x" else digits
        return binascii.unhexlify(digits) if len(digits) % 2 == 0 else data
    whole = b"".join(text.split())  # first: a pattern with white space in it takes long to fail
    if _BASE64.fullmatch(whole):
        return _unbase64(whole) or data
    return data


def unbase64(text: object, what: str) -> bytes:
    """The bytes of base64 or base64url ``text``, with padding or without; else malformed."""
    if not isinstance(text, str) or len(text) > MAX_BYTES:
        malformed(f"{what} is no base64 text")
    data = _unbase64("".join(text.split()).encode("utf-8", "replace"))
    if data is None:
        malformed(f"{what} is no base64 text")
    return data


def unhex(text: object, what: str) -> bytes:
    """The bytes of hex ``text``; else malformed."""
    if not isinstance(text, str) or len(text) > MAX_BYTES:
        malformed(f"{what} is no hex text")
    try:
        return bytes.fromhex(text)
    except ValueError:
        malformed(f"{what} is no hex text")


def _unbase64(text: bytes) -> bytes | None:
    plain = text.rstrip(b"=").replace(b"-", b"+").replace(b"_", b"/")
    try:
        return base64.b64decode(plain + b"=" * (-len(plain) % 4), validate=True)
    except (ValueError, binascii.Error):
        return None


def _gunzip(data: bytes) -> bytes:
    inflate = zlib.decompressobj(wbits=31)
    try:
        plain = inflate.decompress(data, MAX_BYTES)
    except zlib.error:
        malformed("damaged gzip")
    if not inflate.eof or inflate.unused_data:
        malformed("gzip that is cut, too large or followed by something")
    return plain
