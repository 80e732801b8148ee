"""Small files that only this device opens: AES-256-GCM under the storage key of ``device.key``.

``open_(seal(value, ...), ...) == value`` for the same kind and device. The file is magic, version
byte, nonce (12 bytes, random per write), ciphertext and tag; the plaintext is deterministic CBOR.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from modelseal import cbor
from modelseal.cbor import CborInvalid
from modelseal.errors import StateDamaged

_NONCE_BYTES = 12
_TAG_BYTES = 16


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of file: its name, magic and version, which are bound to its content."""

    name: str
    magic: bytes
    version: int
    max_bytes: int

    def _bound(self, device: str) -> bytes:
        return cbor.encode(["modelseal", self.name, self.version, device])

    def seal(
        self, value: object, storage_key: bytes, *, device: str, random: Callable[[int], bytes]
    ) -> bytes:
        """The file's bytes; ``device`` (the identity key's thumbprint) is bound to them."""
        nonce = random(_NONCE_BYTES)
        sealed = AESGCM(storage_key).encrypt(nonce, cbor.encode(value), self._bound(device))
        return self.magic + bytes([self.version]) + nonce + sealed

    def open_(self, data: bytes, storage_key: bytes, *, device: str, path: str) -> Any:
        """The value in ``data``; ``StateDamaged`` unless this device sealed exactly these bytes."""
        head = len(self.magic) + 1
        if data[: len(self.magic)] != self.magic or len(data) < head + _NONCE_BYTES + _TAG_BYTES:
            raise StateDamaged(f"not a {self.name}", path=path)
        if data[len(self.magic)] != self.version:
            raise StateDamaged("written by another version of modelseal", path=path)
        nonce, sealed = data[head : head + _NONCE_BYTES], data[head + _NONCE_BYTES :]
        try:
            plain = AESGCM(storage_key).decrypt(nonce, sealed, self._bound(device))
            return cbor.decode_secret(plain, max_bytes=self.max_bytes)
        except (InvalidTag, CborInvalid):
            raise StateDamaged("altered, or another device's", path=path) from None
