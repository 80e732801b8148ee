"""Writes ``vectors/keys/stores.json``: a layered envelope and a reference, from fixed names.

``--check`` compares. The key store is one in memory that wraps as ``pkcs11`` does by AES-GCM.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from modelseal import cbor
from modelseal.keys import reference
from modelseal.keys.layered import LayeredProvider
from modelseal.keys.reference import Reference
from modelseal.types import Level

FILE = Path(__file__).resolve().parents[1] / "vectors" / "keys" / "stores.json"
CKA_ID = bytes(range(16))
CHECK_VALUE = bytes.fromhex("d1deb6")
URI = "pkcs11:token=shop;object=modelseal%20lease%20lease-2%20Ed25519;id=%00%01;type=private"


class Token:
    """AES-GCM under a fixed key and nonce; for one vector."""

    kind = "pkcs11"
    level = Level.L1
    identity = CKA_ID + b"\0" + CHECK_VALUE
    key = hashlib.sha256(b"modelseal vector kek").digest()

    def wrap_key(self, key: bytes, bound: Mapping[str, str]) -> bytes:
        """The mechanism, the nonce, and what the token made."""
        nonce = bytes(range(12))
        return b"\1" + nonce + AESGCM(self.key).encrypt(nonce, key, _aad(bound))

    def unwrap_key(self, wrapped: bytes, bound: Mapping[str, str]) -> bytes:
        """The key again."""
        return AESGCM(self.key).decrypt(wrapped[1:13], wrapped[13:], _aad(bound))

    def describe(self) -> Mapping[str, object]:
        """Nothing more."""
        return {}


def _aad(bound: Mapping[str, str]) -> bytes:
    return b"modelseal working key v1" + cbor.encode(dict(bound))


def vectors() -> dict[str, object]:
    """Both of them."""
    given = [hashlib.sha256(b"modelseal vector working key").digest(), bytes(range(32, 64))]
    provider = LayeredProvider(
        "pkcs11:x", Token(), cache_seconds=0, store_seconds=0, random=lambda _: given.pop(0)
    )
    plaintext = hashlib.sha256(b"modelseal vector data key").digest()
    told: dict[str, str | int | bytes] = {
        "product": "facefusion",
        "purpose": "data-key",
        "section": 3,
        "file_id": bytes([7]) * 32,
    }
    key = Ed25519PrivateKey.from_private_bytes(bytes(range(32))).public_key()
    public = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return {
        "origin": "made by tools/make_keystore_vectors.py from fixed names",
        "agreed_by": "an independent reader in tests/keys/test_vectors.py, from the spec alone",
        "layered": {
            "kek": Token.key.hex(),
            "cka_id": CKA_ID.hex(),
            "check_value": CHECK_VALUE.hex(),
            "context": {**told, "file_id": {"hex": "07" * 32}},
            "plaintext": plaintext.hex(),
            "wrapped": provider.wrap(plaintext, told).hex(),
        },
        "reference": {
            "uri": URI,
            "alg": "Ed25519",
            "public": public.hex(),
            "bytes": reference.encode(Reference(URI, "Ed25519", public)).hex(),
        },
    }


def main() -> int:
    """Writes the file, or says whether it is as it should be."""
    text = json.dumps(vectors(), indent=1) + "\n"
    if "--check" in sys.argv[1:]:
        return 0 if FILE.read_text("utf-8") == text else 1
    FILE.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
