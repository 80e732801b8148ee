"""Key derivation of TPM 2.0 and secrets encrypted to one of its keys (part 1, 11.4 and B, C).

``make_credential`` is the outside half of ``TPM2_ActivateCredential``: only a TPM that holds both
the endorsement key and the object with this name answers with the secret.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.decrepit.ciphers.modes import CFB
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

from modelseal.errors import EvidenceInvalid, Misuse
from modelseal.tpm2.wire.codec import digest, sized, u32
from modelseal.tpm2.wire.codes import DIGEST_BYTES, DIGEST_NAMES, Alg
from modelseal.tpm2.wire.public import Ecc, Public, Rsa, ecc_of, point_bytes

_HASHES: dict[int, Any] = {
    Alg.SHA256: hashes.SHA256,
    Alg.SHA384: hashes.SHA384,
    Alg.SHA512: hashes.SHA512,
}


def kdfa(alg: int, key: bytes, label: bytes, u: bytes, v: bytes, bits: int) -> bytes:
    """KDFa: SP 800-108 in counter mode with HMAC."""
    name, wanted = DIGEST_NAMES[alg], bits // 8
    out = b""
    while len(out) < wanted:
        counter = u32(len(out) // DIGEST_BYTES[alg] + 1)
        message = counter + label + b"\0" + u + v + u32(bits)
        out += hmac.digest(key, message, name)
    return out[:wanted]


def kdfe(alg: int, z: bytes, label: bytes, u: bytes, v: bytes, bits: int) -> bytes:
    """KDFe: SP 800-56A, one-step with a hash."""
    name, wanted = DIGEST_NAMES[alg], bits // 8
    out, counter = b"", 0
    while len(out) < wanted:
        counter += 1
        out += hashlib.new(name, u32(counter) + z + label + b"\0" + u + v).digest()
    return out[:wanted]


def cfb_encrypt(key: bytes, iv: bytes, data: bytes) -> bytes:
    """AES in CFB mode; it keeps secret and does not authenticate, an HMAC beside it does."""
    act = Cipher(algorithms.AES(key), CFB(iv)).encryptor()
    return act.update(data) + act.finalize()


def cfb_decrypt(key: bytes, iv: bytes, data: bytes) -> bytes:
    """The inverse of ``cfb_encrypt``."""
    act = Cipher(algorithms.AES(key), CFB(iv)).decryptor()
    return act.update(data) + act.finalize()


def secret_for(public: Public, label: bytes, random: Callable[[int], bytes]) -> tuple[bytes, bytes]:
    """A fresh secret of the name algorithm's length, and its form encrypted to ``public``.

    The second is the contents of a TPM2B_ENCRYPTED_SECRET. ``label`` is ``SECRET`` for a session's
    salt and ``IDENTITY`` for a credential.
    """
    length = DIGEST_BYTES[public.name_alg]
    key = public.public_key()
    if isinstance(public.body, Rsa):
        secret = random(length)
        hashed = _HASHES[public.name_alg]
        oaep = padding.OAEP(padding.MGF1(hashed()), hashed(), label + b"\0")
        return secret, key.encrypt(secret, oaep)
    if not isinstance(public.body, Ecc):
        raise Misuse("only a key can receive a secret")
    passing = ec.generate_private_key(key.curve)
    z = passing.exchange(ec.ECDH(), key)
    mine, theirs = ecc_of(passing.public_key()), ecc_of(key)
    secret = kdfe(public.name_alg, z, label, mine.x, theirs.x, 8 * length)
    return secret, sized(mine.x) + sized(mine.y)


def make_credential(
    endorsement: Public, name: bytes, secret: bytes, random: Callable[[int], bytes]
) -> tuple[bytes, bytes]:
    """(credential blob, encrypted seed) for ``TPM2_ActivateCredential``, without TPM2B lengths.

    ``secret`` (at most the hash length of the endorsement key's name) comes out of the TPM that
    holds ``endorsement`` and an object called ``name``, and out of nothing else.
    """
    symmetric = getattr(endorsement.body, "symmetric", None)
    if symmetric is None or not 0 < len(secret) <= DIGEST_BYTES[endorsement.name_alg]:
        raise EvidenceInvalid("no storage key, or a secret that is empty or too long")
    alg = endorsement.name_alg
    seed, encrypted = secret_for(endorsement, b"IDENTITY", random)
    key = kdfa(alg, seed, b"STORAGE", name, b"", symmetric.bits)
    hidden = cfb_encrypt(key, bytes(16), sized(secret))
    mac_key = kdfa(alg, seed, b"INTEGRITY", b"", b"", 8 * DIGEST_BYTES[alg])
    mac = hmac.digest(mac_key, hidden + name, DIGEST_NAMES[alg])
    return sized(mac) + hidden, encrypted


def qualified_name(parent: bytes, name: bytes, alg: int = Alg.SHA256) -> bytes:
    """The qualified name of an object under a parent with this qualified name (part 1, 26.5)."""
    return alg.to_bytes(2, "big") + digest(alg, parent, name)


__all__ = [
    "cfb_decrypt",
    "cfb_encrypt",
    "kdfa",
    "kdfe",
    "make_credential",
    "point_bytes",
    "qualified_name",
    "secret_for",
]
