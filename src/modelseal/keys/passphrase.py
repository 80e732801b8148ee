"""Bytes protected by a passphrase: Argon2id (RFC 9106) and AES-256-GCM, with a cap on the work.

``protect`` and ``reveal`` undo each other under the same passphrase and purpose. Normative:
``docs/spec/keys.md``. There is no default passphrase anywhere.
"""

from __future__ import annotations

import struct
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from modelseal.errors import (
    MemoryUnavailable,
    Misuse,
    PassphraseWrong,
    WrappedKeyInvalid,
)

MAGIC = b"\x89MSP1\r\n\x1a"
VERSION = 1
SALT_BYTES = 16
MIN_PASSPHRASE_CHARACTERS = 8
MAX_PASSPHRASE_CHARACTERS = 1024
_HEADER = struct.Struct("<8sBBHII16s")  # magic, version, kdf, lanes, iterations, memory, salt
_KDF_ARGON2ID = 1
_TAG_BYTES = 16

# The key is derived anew for every protection from 16 random bytes: one fixed nonce is safe.
_NONCE = bytes(12)


@dataclass(frozen=True, slots=True)
class Work:
    """How much Argon2id works: memory in KiB, passes, lanes (RFC 9106, section 3.1)."""

    memory_kib: int
    iterations: int
    lanes: int

    def check(self) -> Work:
        """Itself when it lies between 8 MiB and the cap (2 GiB, 4 GiB of memory passes)."""
        memory_ok = 8 * 1024 <= self.memory_kib <= 2 * 1024 * 1024
        lanes_ok = 1 <= self.lanes <= 16
        passes_ok = 1 <= self.iterations <= 64
        if not (memory_ok and lanes_ok and passes_ok):
            raise WrappedKeyInvalid("the Argon2id parameters lie outside the allowed range")
        if self.memory_kib * self.iterations > 4 * 1024 * 1024:
            raise WrappedKeyInvalid("the Argon2id parameters ask for more work than the cap")
        return self


RFC_9106_LOW_MEMORY = Work(memory_kib=64 * 1024, iterations=3, lanes=4)
RFC_9106_HIGH_MEMORY = Work(memory_kib=2 * 1024 * 1024, iterations=1, lanes=4)


def protect(
    plaintext: bytes,
    passphrase: str,
    purpose: str,
    *,
    random: Callable[[int], bytes],
    work: Work = RFC_9106_LOW_MEMORY,
) -> bytes:
    """``plaintext`` protected by ``passphrase`` for one ``purpose`` (bound as associated data)."""
    check_new(passphrase)
    work.check()
    salt = random(SALT_BYTES)
    header = _HEADER.pack(
        MAGIC, VERSION, _KDF_ARGON2ID, work.lanes, work.iterations, work.memory_kib, salt
    )
    key = _derive(passphrase, salt, work)
    return header + AESGCM(key).encrypt(_NONCE, plaintext, header + purpose.encode())


def reveal(protected: bytes, passphrase: str, purpose: str) -> bytes:
    """The plaintext; ``PassphraseWrong`` when ``passphrase`` does not open it.

    Raises ``WrappedKeyInvalid`` for bytes that are no protected form or ask for absurd work.
    """
    work, salt = _read_header(protected)
    if not passphrase or len(passphrase) > MAX_PASSPHRASE_CHARACTERS:
        raise PassphraseWrong("a passphrase has 1 to 1024 characters")
    key = _derive(passphrase, salt, work)
    bound = protected[: _HEADER.size] + purpose.encode()
    try:
        return AESGCM(key).decrypt(_NONCE, protected[_HEADER.size :], bound)
    except InvalidTag:
        raise PassphraseWrong("a wrong passphrase, or altered bytes") from None


def is_protected(data: bytes) -> bool:
    """True when ``data`` begins like something ``protect`` wrote."""
    return data.startswith(MAGIC)


def check_new(passphrase: str) -> None:
    """Returns when ``passphrase`` may protect something; ``Misuse`` when it is too short."""
    if not MIN_PASSPHRASE_CHARACTERS <= len(passphrase) <= MAX_PASSPHRASE_CHARACTERS:
        raise Misuse("a passphrase has 8 to 1024 characters")


def _read_header(protected: bytes) -> tuple[Work, bytes]:
    if len(protected) < _HEADER.size + _TAG_BYTES or not is_protected(protected):
        raise WrappedKeyInvalid("nothing that a passphrase protects")
    _, version, kdf, lanes, iterations, memory_kib, salt = _HEADER.unpack_from(protected)
    if version != VERSION or kdf != _KDF_ARGON2ID:
        raise WrappedKeyInvalid("protected by another version of modelseal")
    return Work(memory_kib, iterations, lanes).check(), salt


def _derive(passphrase: str, salt: bytes, work: Work) -> bytes:
    try:
        text = unicodedata.normalize("NFC", passphrase).encode("utf-8")
    except UnicodeEncodeError:
        raise PassphraseWrong("a passphrase is Unicode text") from None
    try:
        return Argon2id(
            salt=salt,
            length=32,
            iterations=work.iterations,
            lanes=work.lanes,
            memory_cost=work.memory_kib,
        ).derive(text)
    except MemoryError:
        raise MemoryUnavailable(
            "not enough memory to derive the key", limit=work.memory_kib * 1024
        ) from None
