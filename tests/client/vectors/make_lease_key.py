"""How ``lease-key.json`` was made: straight from ``docs/spec/state-folder.md``, with cbor2 and
``cryptography`` only and no line of ``modelseal.client``. Run it to make the file again.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import cbor2
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

MAGIC = bytes.fromhex("894d534b0d0a1a0a")


def _bytes(label: str, size: int) -> bytes:
    return hashlib.shake_256(b"modelseal lease.key vector " + label.encode()).digest(size)


def vector(name: str, *, current: bool, pending: bool) -> dict[str, object]:
    storage, nonce = _bytes(name + " storage", 32), _bytes(name + " aead nonce", 12)
    device = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
    now = {"nonce": "A" * 43, "kem": _bytes(name + " current", 96)}
    asked = {
        "op": "renew",
        "nonce": "B" * 43,
        "kem": _bytes(name + " pending", 96),
        "seq": 41,
        "prev": "lea_01890a5d-ac96-774b-bcce-b302099a8057",
        "ask": _bytes(name + " ask", 32),
    }
    value = {
        "current": list(now.values()) if current else None,
        "pending": list(asked.values()) if pending else None,
    }
    bound = cbor2.dumps(["modelseal", "lease.key", 1, device], canonical=True)
    sealed = AESGCM(storage).encrypt(nonce, cbor2.dumps(value, canonical=True), bound)
    shown = lambda d: {k: v.hex() if isinstance(v, bytes) else v for k, v in d.items()}  # noqa: E731
    return {
        "name": name,
        "storage_key": storage.hex(),
        "device": device,
        "aead_nonce": nonce.hex(),
        "current": shown(now) if current else None,
        "pending": shown(asked) if pending else None,
        "data": (MAGIC + b"\x01" + nonce + sealed).hex(),
    }


if __name__ == "__main__":
    vectors = [
        vector("empty", current=False, pending=False),
        vector("lease in force", current=True, pending=False),
        vector("first question", current=False, pending=True),
        vector("renewal on its way", current=True, pending=True),
    ]
    told = {"origin": "make_lease_key.py beside this file", "vectors": vectors}
    Path(__file__).with_name("lease-key.json").write_text(json.dumps(told, indent=1) + "\n")
