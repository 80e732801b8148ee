"""A second reader of the wrapped device key, written from docs/spec/device.md alone.

Shares no code with the package; used by the tests to check the vectors.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

import cbor2
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

ORDER = [
    "tpm_ek", "smbios_uuid", "board_serial", "cloud_instance",
    "disk_serial", "mac", "machine_id", "cpu_class",
]  # fmt: skip
STRONG = {"tpm_ek", "smbios_uuid", "machine_id"}
MAGIC = bytes.fromhex("894d53440d0a1a0a")


def open_file(data: bytes, traits: Mapping[str, bytes]) -> bytes | None:
    """The secret, or None when no set of ``traits`` opens it."""
    body, digest = data[:-32], data[-32:]
    assert hashlib.sha256(body).digest() == digest
    assert body[:9] == MAGIC + b"\x01"
    fields = cbor2.loads(body[9:])
    for mask, slot in fields[4]:
        names = [name for bit, name in enumerate(ORDER) if mask >> bit & 1]
        if not all(name in traits for name in names):
            continue
        key = _set_key(fields[2], mask, [(name, traits[name]) for name in names])
        try:
            content = AESGCM(key).decrypt(bytes(12), slot, MAGIC + bytes([mask]))
        except Exception:
            continue
        bound = body[:9] + cbor2.dumps({**fields, 5: b""}, canonical=True)
        return bytes(cbor2.loads(AESGCM(content).decrypt(bytes(12), fields[5], bound))[1])
    return None


def _set_key(salt: bytes, mask: int, named: list[tuple[str, bytes]]) -> bytes:
    weak = [[name, value] for name, value in named if name not in STRONG]
    strong = [[name, value] for name, value in named if name in STRONG]
    stretched = b""
    if weak:
        kdf = Argon2id(salt=salt[:16], length=32, iterations=3, lanes=4, memory_cost=65536)
        stretched = kdf.derive(cbor2.dumps(weak, canonical=True))
    material = cbor2.dumps([strong, stretched], canonical=True)
    prk = hmac.new(salt, material, hashlib.sha256).digest()
    label = b"modelseal device key set v1" + bytes([mask])
    return hmac.new(prk, label + b"\x01", hashlib.sha256).digest()
