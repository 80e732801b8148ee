"""A key bundle: as it arrives, and what stands inside one that opens."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fuzz.harness import refusable, vector
from modelseal import cbor
from modelseal.license import bundle

_KEY, _PRODUCT, _LICENSE = bytes(32), "p", "l"
_CASE = vector("tokens/sealed.json")["bundle"]


def seeds() -> Iterable[bytes]:
    """The vector as it is, and its content."""
    data = bytes.fromhex(_CASE["data"])
    yield data
    keys = {(bytes.fromhex(file), int(section)): bytes.fromhex(key)
            for file, section, key in _CASE["keys"]}  # fmt: skip
    rows = [[file, section, key] for (file, section), key in sorted(keys.items())]
    variants = [[bytes(32), 1, [[bytes(16), bytes(32)]]]]
    yield cbor.encode({"keys": rows, "variants": variants})


def check(data: bytes) -> None:
    """Content that is accepted is sealed to the same content."""
    sealed = AESGCM(_KEY).encrypt(bytes(12), data, bundle._context(_PRODUCT, _LICENSE))
    whole = bundle.MAGIC + bytes([bundle.VERSION]) + bytes(12) + sealed
    with refusable():
        bundle.open_bundle(data, **_named(data))
    keys = bundle.open_bundle(whole, **_named(whole))
    variants = bundle.open_variants(whole, **_named(whole))
    again = bundle.seal_bundle(
        keys, variants=variants, product=_PRODUCT, license=_LICENSE, bundle_key=_KEY, random=bytes
    )
    assert again == whole


def _named(data: bytes) -> dict[str, Any]:
    digest = hashlib.sha256(data).digest()
    return {"digest": digest, "product": _PRODUCT, "license": _LICENSE, "bundle_key": _KEY}
