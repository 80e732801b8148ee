"""The code of a lease that was made ahead: what support reads out and a device types. Pure.

``XXXX-XXXX-XXXX-XXXX-XXXX-XXXX-XXXX``: 105 random bits in seven groups of Crockford symbols, the
last of each a check symbol. ``open_(code, seal(code, token, binding), binding) == token``; without
the code the sealed lease says nothing. Normative: ``docs/spec/air-gap.md``.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from modelseal import cbor
from modelseal.errors import CodeMistyped, CodeUnknown
from modelseal.ids import Random
from modelseal.license.typed import Form, Mistyped
from modelseal.strict_json import b64u

FORM = Form(groups=7, data=3)
LABEL = "lease-code"
_RAW_BYTES = 14
_SPARE_BITS = 8 * _RAW_BYTES - FORM.bits
_KEY_BYTES = 32
# The key serves one lease only, so one fixed nonce is safe.
_NONCE = bytes(12)


@dataclass(frozen=True, slots=True)
class CodeBinding:
    """The one lease a code opens. ``nonce`` is the lease's ``request_nonce``."""

    server: str
    product: str
    device: str
    seq: int
    nonce: str

    def info(self) -> bytes:
        """What key derivation and encryption are bound to."""
        values = {
            "server": self.server,
            "product": self.product,
            "device": self.device,
            "seq": self.seq,
            "nonce": self.nonce,
        }
        return cbor.encode(["modelseal", LABEL, values])


def generate(random: Random) -> str:
    """A fresh code."""
    return FORM.write(int.from_bytes(random(_RAW_BYTES), "big") >> _SPARE_BITS)


def normal(text: str) -> str:
    """The canonical text of a typed code; ``CodeMistyped`` names the first wrong group (1 to 7)."""
    try:
        return FORM.write(FORM.read(text))
    except Mistyped as error:
        if error.group is None:
            raise CodeMistyped(f"a code has {FORM.symbols} symbols") from None
        said = f"group {error.group} is mistyped"
        raise CodeMistyped(said, group=error.group) from None


def next_nonce(nonce: str, place: int) -> str:
    """The ``request_nonce`` of the lease at ``place`` (from 1) after the answer to ``nonce``."""
    digest = hashlib.sha256(cbor.encode(["modelseal", "next", nonce, place])).digest()
    return b64u(digest)


def seal(code: str, token: str, binding: CodeBinding) -> bytes:
    """``token`` under ``code``; a code is used for one lease and never again."""
    info = binding.info()
    return AESGCM(_key(code, info)).encrypt(_NONCE, token.encode("ascii"), info)


def open_(code: str, sealed: bytes, binding: CodeBinding) -> str:
    """The token; ``CodeUnknown`` when it is under another code or for another place."""
    info = binding.info()
    try:
        return AESGCM(_key(code, info)).decrypt(_NONCE, sealed, info).decode("ascii")
    except (InvalidTag, ValueError):
        raise CodeUnknown("it opens no lease that waits here") from None


def _key(code: str, info: bytes) -> bytes:
    raw = FORM.read(code).to_bytes(_RAW_BYTES, "big")
    return HKDF(algorithm=hashes.SHA256(), length=_KEY_BYTES, salt=None, info=info).derive(raw)
