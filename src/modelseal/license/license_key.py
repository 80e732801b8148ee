"""The license key: what a person types. ``MS-XXXXX-XXXXX-XXXXX-XXXXX``, Crockford base32. Pure.

Eighty random bits in four groups; the last symbol of a group is a check symbol over the group and
its place, so that a typing error is found, and its group named, without asking anybody.
``parse`` and ``format_key`` undo each other. Normative: ``docs/spec/tokens.md``, "License key".
"""

from __future__ import annotations

from dataclasses import dataclass

from modelseal.crypto import hpke
from modelseal.crypto.hpke import KemOpener, KemPublicKey
from modelseal.errors import LicenseKeyMistyped, Misuse, SealedKeyInvalid
from modelseal.ids import Random
from modelseal.license.claims import SealedText
from modelseal.license.typed import MAX_TYPED, Form, Mistyped
from modelseal.strict_json import JsonInvalid, b64u, unb64u

PREFIX = "MS"
RAW_BYTES = 10
GROUPS = 4
DATA_SYMBOLS = 4
LABEL = "license-key"
_FORM = Form(GROUPS, DATA_SYMBOLS, PREFIX)


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
    return _FORM.write(int.from_bytes(raw, "big"))


def parse(text: str) -> bytes:
    """The ten bytes of a typed license key.

    Accepts lower case, full-width letters, missing or odd dashes and spaces, ``O`` for ``0``,
    ``I`` and ``L`` for ``1``, a missing ``MS``. Raises ``LicenseKeyMistyped``; ``group`` in its
    params is the first wrong group (1 to 4), absent when the length is wrong.
    """
    try:
        return _FORM.read(text).to_bytes(RAW_BYTES, "big")
    except Mistyped as error:
        if error.group is not None:
            said = f"group {error.group} is mistyped"
            raise LicenseKeyMistyped(said, group=error.group) from None
        said = f"a license key has {_FORM.symbols} symbols after {PREFIX}"
        raise LicenseKeyMistyped(f"{said}, and at most {MAX_TYPED} characters") from None


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
